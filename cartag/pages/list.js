"use strict";
// All photos: which are shown in what order, their tiles, and answers to many at once.
// --- what is shown ---
const filter = { q: "", state: "todo", outcome: "", car: "", order: "doubt", like: "" };
const inState = { todo: photo => !isSettled(photo), settled: isSettled, differs, all: () => true };
const fits = photo => {
  if (!inState[filter.state](photo) || (filter.outcome && photo.outcome !== filter.outcome)) return false;
  if (filter.car) {
    const [kind, value] = [filter.car.slice(0, 2), filter.car.slice(2)];
    if (!photo.tags.some(tag => (kind === "m:" ? cars.get(tag.car)?.make : tag.car) === value)) return false;
  }
  return plain(filter.q).split(/\s+/).every(word => photo.text.includes(word));
};
const ORDERS = {
  doubt: (a, b) => b.doubt - a.doubt,
  sure: (a, b) => b.sure - a.sure,
  like: (a, b) => (likeness.get(b.path) ?? -2) - (likeness.get(a.path) ?? -2),
  odd: (a, b) => (oddness.get(b.path) ?? -1) - (oddness.get(a.path) ?? -1),
  chance: (a, b) => (a.content ?? "").localeCompare(b.content ?? ""),  // a digest of the photo: the same order tomorrow
};
const apply = (at = 0) => {
  shown = photos.filter(fits);
  if (filter.order) shown.sort(ORDERS[filter.order]);
  $("unlike").hidden = filter.order !== "like";
  $("unlike").textContent = `Like ${filter.like} ✕`;
  $("count").textContent = shown.length === photos.length ? many(photos.length, "photo") : `${number(shown.length)} of ${many(photos.length, "photo")}`;
  $("empty").hidden = shown.length > 0;
  $("empty").textContent = filter.state === "todo" && !filter.q && !filter.car && !filter.outcome ? "Every photo is settled." : "No photo fits. Clear a filter to see more.";
  for (const photo of chosen) if (!fits(photo)) chosen.delete(photo);
  history.replaceState(null, "", "#" + new URLSearchParams(Object.entries(filter).filter(([, value]) => value)));
  grid.show(shown.length, at);
  controls();
  tally();
};
// The same with the keyboard kept in the list, unless she is typing elsewhere by now: at the place `at()`, or where she was `put`
// at a photo and has gone on from it since, at the one that she went on to.
const applyAt = (at = () => grid.at, put = "") => {
  const focus = document.activeElement, isInList = $("grid").contains(focus), isFree = !focus || focus === document.body || isInList;
  const here = isInList && put && focus.title !== put ? focus.title : "", was = grid.at;
  apply(was);
  if (!shown.length || !isFree || document.querySelector("dialog[open]")) return;
  const to = here ? shown.findIndex(photo => photo.path === here) : -1;
  grid.move(to < 0 ? at() : to);
};
const tally = () => {
  const settled = photos.filter(isSettled).length;
  $("summary").textContent = `${number(settled)} of ${number(photos.length)} settled · ${$("summary").dataset.about}`;
  Object.assign($("progress"), { max: photos.length || 1, value: settled });
  const counts = { todo: photos.length - settled, settled, differs: photos.filter(differs).length, all: photos.length };
  for (const button of $("states").querySelectorAll("button")) {
    const state = button.dataset.state;
    button.setAttribute("aria-pressed", filter.state === state);
    button.lastChild.textContent = number(counts[state]);
    button.hidden = state === "differs" && !counts.differs && filter.state !== "differs";
  }
  $("bar").hidden = !chosen.size;
  document.querySelector('[data-bulk="labels"]').hidden = ![...chosen].some(differs);
  $("chosen").textContent = many(chosen.size, "photo");
};
const recall = () => {
  const query = new URLSearchParams(location.hash.slice(1));
  if (!location.hash) return;
  for (const key of Object.keys(filter)) filter[key] = query.get(key) ?? "";
  if (filter.like) likeOption();
  if (!(filter.state in STATES)) filter.state = "todo";
  for (const key of ["outcome", "car", "order"]) {
    $(key).value = filter[key];
    if ($(key).selectedIndex < 0) $(key).value = filter[key] = "";
  }
  $("search").value = filter.q;
};

// --- the grid ---
const grid = new Grid($("grid"), i => {
  const photo = shown[i], li = make("li"), line = make("span", "line"), box = make("input", "choose");
  if (differs(photo)) line.append(make("span", "path differs", "label: " + words(answer(photo.label.truth, photo.label.cars))));
  else line.append(pathOf(photo.path));
  const boxes = photo.regions ?? [], hers = boxes.filter(region => region.human).length;
  if (hers && !isSettled(photo)) line.append(make("span", "percent", `${hers} of ${boxes.length} box${boxes.length === 1 ? "" : "es"}`));
  else if (isSettled(photo) && !differs(photo)) line.append(make("span", "percent", "by hand"));
  else if (photo.tags.length && !differs(photo)) line.append(make("span", "percent", percent(photo.tags[0].score)));
  const said = photo.outcome === "error" ? photo.error : words(stands(photo)) + (boxes.length === 1 && photo.outcome === "unknown" ? perhaps(boxes[0]) : "");
  const button = tile(photo.outcome !== "error" && photo.picture?.("small"), "no picture", make("span", photo.tags.length ? "name" : "name none", said), line);
  button.title = photo.path;
  if (boxes.length && photo.width && button.querySelector("img")) button.firstChild.append(overlay(photo, boxes.map(region => [region.box, labelOf(region), region.human ? "hers" : ""])));
  button.addEventListener("click", event => (event.ctrlKey || event.metaKey ? choose(i) : event.shiftKey ? choose(i, true) : open(i)));
  Object.assign(box, { type: "checkbox", checked: chosen.has(photo), tabIndex: -1, ariaLabel: "Choose " + photo.path });
  box.addEventListener("click", event => choose(i, event.shiftKey));
  li.className = [chosen.has(photo) && "chosen", isSettled(photo) && "settled"].filter(Boolean).join(" ");
  li.append(button, box);
  return li;
});
let anchor = null;
const choose = (i, range = false) => {
  const to = !chosen.has(shown[i]), start = range && shown.includes(anchor) ? shown.indexOf(anchor) : i;
  for (let j = Math.min(start, i); j <= Math.max(start, i); j++) if (to || range) chosen.add(shown[j]); else chosen.delete(shown[j]);
  anchor = shown[i];
  refresh();
};
const refresh = () => {
  for (const [i, li] of grid.tiles) {
    li.classList.toggle("chosen", chosen.has(shown[i]));
    li.classList.toggle("settled", isSettled(shown[i]));
    li.querySelector(".choose").checked = chosen.has(shown[i]);
  }
  tally();
};
for (const kind of ["keydown", "keyup"]) $("grid").addEventListener(kind, event => {  // a button's own click on a space comes with either
  if (event.key !== " " || !event.target.classList.contains("tile")) return;
  event.preventDefault();
  if (kind === "keydown") choose(grid.at);
});

// --- the answer to many at once ---
// What was seen goes along: where somebody said something else meanwhile, that stays. Her own earlier word is not somebody's:
// of a photo whose decision is still on its way, the state that it leads to was "seen".
const sayAll = (pairs, saw = photo => photo.state, over = () => {}) => {
  const decisions = pairs.map(([photo, said]) => ({ path: photo.path, seen: saw(photo), follows: queued.has(photo.path), ...said }));
  const heard = decisions.filter(decision => decision.truth !== undefined);
  if (!heard.length) return Promise.resolve([]);
  for (const { path, box, to } of heard) untick(path, box ?? to);
  const body = () => heard.map(({ follows, ...decision }) => ({ ...decision, seen: (follows && own.get(decision.path)) || decision.seen }));
  return send("decide", body, [...new Set(heard.map(decision => decision.path))], over);
};
const decide = (some, said, saw, over) => sayAll(some.map(photo => [photo, said(photo)]), saw, over);
const BULK = {
  confirm: photo => (photo.outcome === "error" ? {} : stands(photo)),  // what the tile says
  labels: photo => (photo.label ? answer(photo.label.truth, photo.label.cars) : {}),
  unknown: () => answer("unknown"),
  none: () => answer("none"),
  back: () => answer(null),
};
const DONE = { confirm: "right as they are", labels: "as labelled", unknown: "not in the catalog", none: "no car", back: "taken back" };
// The place of the photo after the last of those that were answered; where none follows, of the one before them.
const nextTo = (some, at) => {
  const answered = new Set(some), last = shown.findLastIndex(photo => answered.has(photo));
  const next = [...shown.slice(last + 1), ...shown.slice(0, Math.max(0, last)).reverse()].filter(photo => !answered.has(photo)).map(photo => photo.path);
  return () => {
    const here = new Map(shown.map((photo, i) => [photo.path, i])), to = next.find(path => here.has(path));
    return to === undefined ? at : here.get(to);
  };
};
const bulk = async (said, what) => {
  const some = [...chosen], at = grid.at, place = nextTo(some, at);
  chosen.clear();
  refresh();
  grid.move(at);  // the bar is gone, and with it the button that had the focus
  const put = shown[at]?.path;
  try {
    const changed = await decide(some, said);
    applyAt(place, put);
    if (changed.length) news(`${many(changed.length, "photo")}: ${what}. ${shownKey(keyOf("undo", "list"))} undoes it.`);
  } catch {
    for (const photo of some) chosen.add(byPath.get(photo.path) ?? photo);
    applyAt(() => at, put);
  }
};
const bulkOf = kind => bulk(BULK[kind], DONE[kind]);
for (const button of document.querySelectorAll("[data-bulk]")) button.addEventListener("click", () => bulkOf(button.dataset.bulk));
// While some are chosen, these keys speak of them. True: that was one of them.
const chosenKey = (event, action) => {
  if (!chosen.size || !["confirm", "unknown", "none", "any"].includes(action)) return false;
  if (event.key === "Enter" && event.target.matches("button:not(.tile), summary, a")) return false;
  if (action === "any") $("bulk").focus(); else if (!event.repeat) bulkOf(action);
  return true;
};
const chooseAll = () => { for (const photo of shown) chosen.add(photo); refresh(); };
$("all").addEventListener("click", chooseAll);
$("none").addEventListener("click", () => { chosen.clear(); refresh(); });
$("trouble").addEventListener("click", () => { disputed.clear(); trouble(); });
const undo = async () => {
  flush();
  if (failed.length) {  // what was said last never took place
    for (const path of failed) unsaved.delete(path);
    failed = [];
    return trouble("Given up.");
  }
  if ($("undo").disabled) return;
  const open = viewer.open && reel[current], given_then = given;
  let changed;
  $("saved").textContent = "";
  try {
    changed = await send("undo", () => ({ step }));
  } catch {
    await load().catch(() => {});  // another window decided since: see what is there
    return;
  }
  if (!viewer.open) {
    groupUndone(changed);
    applyAt();
    if (changed.length) news(`Undone: ${some(changed.map(photo => photo.path))}.`);
    return;
  }
  // She may have gone on meanwhile: then the photo that she looks at stays.
  if (changed.length && reel[current].path === open?.path && given === given_then) {
    const at = reel.findIndex(photo => photo.path === changed[0].path);
    if (at < 0) reel.splice(current, 0, changed[0]); else current = at;
    show();
  }
  trouble(changed.length ? `Undone: ${some(changed.map(photo => photo.path))}.` : "");
};
$("undo").addEventListener("click", undo);
