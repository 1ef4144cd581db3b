"use strict";
const OUTCOMES = { tagged: "Tagged", unknown: "Another car", "no-car": "No car", error: "Unreadable" };
const TRUTHS = { tagged: "car", unknown: "unknown", "no-car": "none" };
const STATES = { todo: "To do", settled: "Settled", differs: "Label says otherwise", all: "All" };
let cars = new Map(), photos = [], byPath = new Map(), shown = [], edition = 0;
const chosen = new Set();  // of photos
const recent = [];         // ids of the cars picked last

// --- what a photo says ---
const name = id => cars.get(id)?.name ?? id;
const thought = photo => photo.model?.scores ?? [];
const answer = (truth, ids = []) => ({ truth, cars: [...ids] });
const same = (a, b) => a.truth === b.truth && a.cars.length === b.cars.length && a.cars.every(id => b.cars.includes(id));
const stands = photo => answer(TRUTHS[photo.outcome] ?? null, photo.tags.map(tag => tag.car));
const differs = photo => Boolean(photo.label) && !same(answer(photo.label.truth, photo.label.cars), stands(photo));
// Where she has spoken of some boxes alone, the others are left to do.
const isSettled = photo => photo.settled || (!(photo.regions ?? []).some(region => region.human) && photo.tags.some(tag => tag.human));
// A person's label is a better guess than the model's tag.
const proposed = photo => (!isSettled(photo) && photo.label ? answer(photo.label.truth, photo.label.cars) : stands(photo));
const words = ({ truth, cars: ids }) => (truth === "car" ? ids.map(name).join(" + ") : truth === "unknown" ? "another car" : truth === "none" ? "no car" : "no answer");
const enrich = photo => {
  photo.text = plain([photo.path, ...photo.tags.map(tag => name(tag.car) + " " + (cars.get(tag.car)?.make ?? ""))].join(" "));
  if (photo.number !== undefined) photo.picture = size => `picture/${size}/${photo.number}/${photo.content ?? "-"}`;
  const likely = thought(photo)[0]?.score ?? 0;
  photo.sure = likely;
  photo.doubt = Math.min(likely, 1 - likely);
  return photo;
};

// --- talking to cartag ---
let saving = Promise.resolve(), pending = 0, step = 0, owed = 0;
const unsaved = new Map();   // path -> why
const disputed = new Set();  // paths of which somebody else said something, and that stands
const queued = new Map();    // path -> how many decisions of this page wait to be saved
const own = new Map();       // path -> its state after the last decision of this page
let failed = [];             // paths of what was said last, if that could not be saved
const ask = async (where, body) => {
  let answer;
  try {
    answer = await fetch(where, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) });
  } catch {
    throw new Error("cartag does not answer: it has ended. What was said before is kept; start 'cartag review' again.");
  }
  const told = await answer.json().catch(() => ({ error: `cartag answered ${answer.status}` }));
  if (!answer.ok) throw new Error(told.error);
  return told;
};
const some = paths => (paths.length > 3 ? `${paths.slice(0, 3).join(", ")} and ${number(paths.length - 3)} more` : paths.join(", "));
// What is not saved, or was said otherwise by somebody else, stays on the page until it is dealt with; the rest is said once.
const trouble = (once = "") => {
  const lines = [
    unsaved.size && `Not saved: ${some([...unsaved.keys()])}: ${[...unsaved.values()].at(-1)}`,
    disputed.size && `Somebody said something else meanwhile, and that stays: ${some([...disputed])}. Look again.`,
    viewer.open && reel[current].gone && "This photo is not in the index any more.",
    owed && `The labels' file cannot be written; it lacks ${number(owed)} that the index has.`,
    once,
  ].filter(Boolean);
  for (const place of [$("trouble"), $("state")]) {
    place.textContent = lines.join(" ");
    place.hidden = !lines.length;
  }
};
// One after the other, in the order in which they were said. `body()` is asked when its turn has come.
const send = (where, body, paths = [], over = () => {}) => {
  pending++;
  for (const path of paths) disputed.delete(path), queued.set(path, (queued.get(path) ?? 0) + 1);
  const sent = saving.then(() => ask(where, body())).finally(over).then(told => {
    failed = [];
    for (const path of paths) unsaved.delete(path);
    for (const path of told.refused) disputed.add(path), own.delete(path);
    for (const photo of told.photos) if (!told.refused.includes(photo.path)) own.set(photo.path, photo.state);
    ({ step, owed } = told);
    return told;
  }, error => {
    failed = paths;
    for (const path of paths) unsaved.set(path, error.message), own.delete(path);
    throw error;
  });
  const done = sent.finally(() => {
    pending--;
    for (const path of paths) if (queued.get(path) > 1) queued.set(path, queued.get(path) - 1); else queued.delete(path);
  }).then(
    told => take(told).catch(error => { trouble(`Saved, but the page is out of date: ${error.message}`); return []; }),
    error => { trouble(paths.length ? "" : error.message); throw error; },
  );
  saving = done.catch(() => {});
  return done;
};
const take = async told => {
  $("undo").disabled = !step;
  for (const photo of told.photos) {
    const here = byPath.get(photo.path);
    if (here) Object.assign(here, { label: undefined, error: undefined, model: undefined, regions: undefined }, photo), enrich(here);
  }
  if (told.edition !== edition) await load();
  else refresh();
  const open = viewer.open && reel[current].path;
  if (own.has(open) && told.photos.some(photo => photo.path === open)) seen = own.get(open);
  // Turned back to meanwhile: with what was ticked since, unless that was of an answer that does not stand.
  if (open && (told.refused.includes(open) || (!touched && told.photos.some(photo => photo.path === open)))) show();
  else if (open) drawBoxes();
  trouble();
  return told.photos.map(photo => byPath.get(photo.path)).filter(photo => photo && !told.refused.includes(photo.path));
};
const load = async () => {
  const data = await ask("data");
  ({ edition, step, owed } = data);
  cars = new Map(data.cars.map(car => [car.id, car]));
  const text = car => plain([car.name, car.make, ...car.aliases].join(" "));
  for (const car of cars.values()) car.text = text(car);
  const kept = new Set([...chosen].map(photo => photo.path));
  photos = data.photos.map(enrich);
  byPath = new Map(photos.map(photo => [photo.path, photo]));
  chosen.clear();
  for (const photo of photos) if (kept.has(photo.path)) chosen.add(photo);
  for (const path of [...unsaved.keys(), ...disputed]) if (!byPath.has(path)) unsaved.delete(path), disputed.delete(path);
  $("undo").disabled = !step;
  $("title").textContent = document.title = `Review of ${data.title}`;
  $("summary").dataset.about = `${data.catalog} by ${data.model}`;
  controls();
  recall();
  if (viewer.open) {  // the photo that is open stays open, with what was ticked, even if it is gone
    const open = reel[current].path, answered = touched && given, saw = seen;
    const told = new Map(reel.map(photo => [photo.path, photo.told]));
    for (const photo of photos) photo.told = told.get(photo.path);
    reel = reel.map(photo => byPath.get(photo.path) ?? (photo.path === open ? Object.assign(photo, { gone: true }) : null)).filter(Boolean);
    current = reel.findIndex(photo => photo.path === open);
    show();
    if (answered && !reel[current].gone) given = answered, touched = true, seen = saw, answers();
  }
  apply();
  trouble();
};

// --- what is shown ---
const filter = { q: "", state: "todo", outcome: "", car: "", order: "doubt" };
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
  chance: (a, b) => (a.content ?? "").localeCompare(b.content ?? ""),  // a digest of the photo: the same order tomorrow
};
const apply = (at = 0) => {
  shown = photos.filter(fits);
  if (filter.order) shown.sort(ORDERS[filter.order]);
  $("count").textContent = shown.length === photos.length ? `${number(photos.length)} photos` : `${number(shown.length)} of ${number(photos.length)} photos`;
  $("empty").hidden = shown.length > 0;
  $("empty").textContent = filter.state === "todo" && !filter.q && !filter.car && !filter.outcome ? "Every photo is settled." : "No photo fits. Clear a filter to see more.";
  for (const photo of chosen) if (!fits(photo)) chosen.delete(photo);
  history.replaceState(null, "", "#" + new URLSearchParams(Object.entries(filter).filter(([, value]) => value)));
  grid.show(shown.length, at);
  controls();
  tally();
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
  $("chosen").textContent = chosen.size === 1 ? "1 photo" : `${number(chosen.size)} photos`;
};
const recall = () => {
  const query = new URLSearchParams(location.hash.slice(1));
  if (!location.hash) return;
  for (const key of Object.keys(filter)) filter[key] = query.get(key) ?? "";
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
  else line.append(make("span", "path", photo.path));
  const boxes = photo.regions ?? [], hers = boxes.filter(region => region.human).length;
  if (hers && !isSettled(photo)) line.append(make("span", "percent", `${hers} of ${boxes.length} boxes`));
  else if (isSettled(photo) && !differs(photo)) line.append(make("span", "percent", "by hand"));
  else if (photo.tags.length && !differs(photo)) line.append(make("span", "percent", percent(photo.tags[0].score)));
  const said = photo.outcome === "error" ? photo.error : words(stands(photo));
  const button = tile(photo.outcome !== "error" && photo.picture?.("small"), "no picture", make("span", photo.tags.length ? "name" : "name none", said), line);
  button.title = photo.path;
  if (boxes.length && photo.width && button.querySelector("img")) button.firstChild.append(overlay(photo, boxes.map(region => [region.box, called(region)])));
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
const decide = (some, said, saw = photo => photo.state, over = () => {}) => {
  const decisions = some.map(photo => ({ path: photo.path, seen: saw(photo), follows: queued.has(photo.path), ...said(photo) }));
  const heard = decisions.filter(decision => decision.truth !== undefined);
  if (!heard.length) return Promise.resolve([]);
  const body = () => heard.map(({ follows, ...decision }) => ({ ...decision, seen: (follows && own.get(decision.path)) || decision.seen }));
  return send("decide", body, heard.map(decision => decision.path), over);
};
const BULK = {
  confirm: photo => (photo.outcome === "error" ? {} : stands(photo)),  // what the tile says
  labels: photo => (photo.label ? answer(photo.label.truth, photo.label.cars) : {}),
  unknown: () => answer("unknown"),
  none: () => answer("none"),
  back: () => answer(null),
};
const bulk = async said => {
  const some = [...chosen], at = grid.at;
  chosen.clear();
  refresh();
  await decide(some, said).catch(() => { for (const photo of some) chosen.add(byPath.get(photo.path) ?? photo); });
  apply(at);
};
for (const button of document.querySelectorAll("[data-bulk]")) button.addEventListener("click", () => bulk(BULK[button.dataset.bulk]));
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
  try {
    changed = await send("undo", () => ({ step }));
  } catch {
    await load().catch(() => {});  // another window decided since: see what is there
    return;
  }
  if (!viewer.open) return apply(grid.at);
  // She may have gone on meanwhile: then the photo that she looks at stays.
  if (changed.length && reel[current].path === open?.path && given === given_then) {
    const at = reel.findIndex(photo => photo.path === changed[0].path);
    if (at < 0) reel.splice(current, 0, changed[0]); else current = at;
    show();
  }
  trouble(changed.length ? `Undone: ${some(changed.map(photo => photo.path))}.` : "");
};
$("undo").addEventListener("click", undo);

// --- picking a car by typing: a combobox (WAI-ARIA) ---
const picker = (input, picked) => {  // `picked(id, more)`: more with Shift
  const list = make("ul");
  let found = [], at = 0;
  list.id = input.id + "-list";
  list.setAttribute("role", "listbox");
  list.hidden = true;
  input.after(list);
  for (const [key, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id })) input.setAttribute(key, value);
  const draw = () => {
    const wanted = plain(input.value).split(/\s+/).filter(Boolean);
    found = wanted.length ? [...cars.values()].filter(car => wanted.every(word => car.text.includes(word))) : [];
    found.sort((a, b) => b.text.startsWith(wanted[0]) - a.text.startsWith(wanted[0]) || a.name.localeCompare(b.name));
    found.length = Math.min(found.length, 12);
    at = Math.min(at, Math.max(0, found.length - 1));
    list.replaceChildren(...found.map((car, i) => {
      const li = make("li", "", car.name);
      li.id = `${list.id}-${i}`;
      li.setAttribute("role", "option");
      li.setAttribute("aria-selected", i === at);
      li.addEventListener("mousedown", event => { event.preventDefault(); pick(car, event.shiftKey); });
      return li;
    }));
    if (wanted.length && !found.length) list.append(make("li", "nothing", "no such car in the catalog"));
    list.hidden = !wanted.length;
    input.setAttribute("aria-expanded", !list.hidden);
    if (found.length) input.setAttribute("aria-activedescendant", `${list.id}-${at}`); else input.removeAttribute("aria-activedescendant");
    list.children[at]?.scrollIntoView?.({ block: "nearest" });
  };
  const clear = () => { input.value = ""; at = 0; draw(); };
  const pick = (car, more) => { clear(); picked(car.id, more); };
  input.addEventListener("input", () => { at = 0; draw(); });
  input.addEventListener("blur", clear);
  input.addEventListener("keydown", event => {
    event.stopPropagation();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") at = (at + (event.key === "ArrowDown" ? 1 : found.length - 1)) % Math.max(1, found.length), draw();
    else if (event.key === "Enter" && found.length) pick(found[at], event.shiftKey);
    else if (event.key === "Enter") { if (!input.value) return; }
    else if (event.key === "Escape") { clear(); leave(input); }
    else return;
    event.preventDefault();
  });
};
const leave = input => { if (viewer.open) focusBox(); else input.focus(); };
const remember = id => { recent.unshift(id, ...recent.splice(0).filter(other => other !== id)); recent.length = Math.min(recent.length, 3); };
picker($("bulk"), id => { remember(id); bulk(() => answer("car", [id])); });
picker($("pick"), (id, more) => { remember(id); if (more) toggle(id, true); else only(id); focusBox(); });

// --- one photo ---
const viewer = $("viewer");
viewer.tabIndex = -1;
let reel = [], current = 0;  // the photos as they were listed when it was opened, whatever becomes of the list
let given = answer(null), touched = false, seen = "", offered = [];
const open = i => { reel = [...shown]; current = i; $("frame").replaceChildren(); $("frame").dataset.of = ""; viewer.showModal(); begin(); };
const begin = () => { at = firstBox(reel[current]); setMode(""); show(); focusBox(); };
const show = () => {
  const photo = reel[current], frame = $("frame");
  const of = JSON.stringify([photo.path, photo.content, photo.outcome === "error"]);
  if (frame.dataset.of !== of) {  // else it is shown already, and may have the focus
    frame.dataset.of = of;
    frame.replaceChildren(pictured(photo));
  }
  $("what").textContent = photo.path;
  $("said").textContent = photo.label ? "Your label: " + words(answer(photo.label.truth, photo.label.cars)) : "";
  $("said").className = differs(photo) ? "differs" : "";
  $("place").textContent = `${number(current + 1)} of ${number(reel.length)}` + (photo.width ? ` · ${photo.width} × ${photo.height}` : "");
  $("before").disabled = current === 0;
  $("after").disabled = current === reel.length - 1;
  const image = frame.querySelector("img");
  if (image) image.alt = words(stands(photo));
  again();
  fit();
  for (const next of reel.slice(current + 1, current + 3)) if (next.picture && next.outcome !== "error") new Image().src = next.picture("large");
};
const pictured = photo => {
  if (!photo.picture || photo.outcome === "error") return make("div", "nothing", photo.error || "no picture");
  const image = make("img"), full = new Image();
  image.draggable = false;
  image.src = photo.picture("small");
  full.onload = () => { if (image.isConnected) image.src = full.src; };
  full.src = photo.picture("large");
  image.onerror = () => image.replaceWith(make("div", "nothing", "The photo cannot be shown: it is gone, or damaged."));
  return image;
};
// What there is to say of the box that is spoken of, or of the photo as a whole.
const again = () => {
  drawBoxes();
  const photo = reel[current], box = subject(), of = box ?? photo, regions = regionsOf(photo);
  const model = of.model && (of.model.outcome === "error" ? photo.error : words(answer(TRUTHS[of.model.outcome], of.model.tags)));
  const byHand = box ? box.human : isSettled(photo), stood = answer(TRUTHS[of.outcome] ?? null, of.tags.map(tag => tag.car));
  $("where").textContent = [
    box && `Box ${1 + regions.indexOf(box)} of ${number(regions.length)}`,
    byHand && "By hand: " + words(stood),
    box && !model ? "" : "The model says: " + (model || "not asked yet; the next 'cartag tag' does"),
    box?.other && `perhaps ${box.other.name} ${percent(box.other.score)}`,
  ].filter(Boolean).join(" · ");
  $("about").textContent = box ? "What is in this box?" : "What does it show?";
  $("back").hidden = !byHand;
  trouble();
  given = photo.gone ? answer(null) : box ? stood : proposed(photo);
  touched = false;
  seen = photo.state;
  offered = offer(photo);
  answers();
};
// The cars worth a key: those it has, those the model thought of, those picked last.
const offer = photo => {
  const box = subject(), scores = new Map(thought(box?.model ? box : photo).map(({ car, score }) => [car, score]));
  const ids = [...(box ?? photo).tags.map(tag => tag.car), ...(box ? [] : proposed(photo).cars), ...[...scores.keys()].slice(0, 5), ...recent.filter(id => cars.has(id))];
  return [...new Set(ids)].slice(0, 9).map(id => ({ id, score: box && !box.model ? undefined : scores.get(id) }));  // of a box that she drew the model said nothing
};
const answers = () => {
  const row = (key, text, checked, change, className = "", note = "") => {
    const label = make("label", className), box = make("input");
    Object.assign(box, { type: "checkbox", checked, tabIndex: 0 });
    box.addEventListener("change", change);
    label.append(box, make("kbd", "", key), make("span", "", text), make("span", "percent", note));
    return label;
  };
  const focused = [...$("answers").querySelectorAll("input")].indexOf(document.activeElement);
  $("answers").replaceChildren(
    ...offered.map(({ id, score }, i) => row(i + 1, name(id), given.cars.includes(id), () => toggle(id), "", score === undefined ? "" : percent(score))),
    row("U", "Another car", given.truth === "unknown", () => settle("unknown"), "apart"),
    row("N", at ? "No car: delete the box" : "No car", given.truth === "none", () => settle("none")),
  );
  if (focused >= 0) $("answers").querySelectorAll("input")[focused]?.focus();
  $("confirm").disabled = given.truth === null;
  $("confirm").firstChild.textContent = given.cars.length > 1 ? `Confirm ${given.cars.length} cars ` : at ? "Confirm box " : "Confirm ";
};
const give = next => {
  if (reel[current].gone) return;
  given = next;
  touched = true;
  for (const id of given.cars) if (!offered.some(offer => offer.id === id)) offered = [{ id }, ...offered].slice(0, 9);
  answers();
};
const settle = truth => give(answer(truth));
const only = id => give(answer("car", [id]));
const toggle = (id, on = !given.cars.includes(id)) => {
  if (at && on) return only(id);  // a box is of one car
  const ids = given.cars.filter(other => other !== id).concat(on ? [id] : []);
  give(ids.length ? answer("car", ids) : answer("unknown"));
};
const confirmed = () => {
  flush();
  if (given.truth === null) return;
  const photo = reel[current], said = given, saw = seen;
  for (const id of said.cars) if (!photo.tags.some(tag => tag.car === id)) remember(id);
  if (at) {
    const next = nextBox();
    tellBox({ box: at, ...said });
    if (next) return speakOf(next), focusBox();
  } else decide([photo], () => said, () => saw).catch(() => {});
  if (current < reel.length - 1) turn(1);
  else shut();
};
const fit = () => {
  const photo = reel[current], stage = viewer.querySelector(".stage"), w = photo.width || 3, h = photo.height || 2;
  const scale = Math.min((stage.clientWidth - 8) / w, (stage.clientHeight - 8) / h);
  Object.assign($("frame").style, { width: w * scale + "px", height: h * scale + "px" });
};
const turn = step => { const to = current + step; if (to >= 0 && to < reel.length) { flush(); current = to; begin(); } };
const shut = () => { flush(); viewer.close(); };
// Back to the photo that was open; where it has left the list, to the one that took its place.
viewer.addEventListener("close", async () => {
  const after = reel.slice(current).map(photo => photo.path);
  const place = () => { const here = new Map(shown.map((photo, i) => [photo.path, i])); return after.map(path => here.get(path)).find(i => i !== undefined) ?? shown.length - 1; };
  apply();
  if (shown.length) grid.move(place());
  await saving;  // what was said last may leave the list a moment later
  if (viewer.open) return;
  const focus = document.activeElement, isFree = !focus || focus === document.body || $("grid").contains(focus);
  apply();
  if (shown.length && isFree) grid.move(place());  // she may be typing elsewhere by now
});
$("before").addEventListener("click", () => turn(-1));
$("after").addEventListener("click", () => turn(1));
$("close").addEventListener("click", shut);
$("confirm").addEventListener("click", confirmed);
$("back").addEventListener("click", () => {
  flush();
  touched = false;
  if (at) tellBox({ box: at, ...answer(null) });
  else decide([reel[current]], () => answer(null)).catch(() => {});
});
viewer.addEventListener("click", event => { if (event.target.classList.contains("stage")) shut(); });
viewer.addEventListener("cancel", flush);
viewer.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase(), onButton = event.target.tagName === "BUTTON" && !event.target.matches(".box, #whole");
  // By the key's place, not by what is on it: with Shift it says something else, and French keyboards have digits there.
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1], offer = digit && offered[digit - 1];
  if (!(key === "enter" && onButton) && boxKey(event)) {
    event.preventDefault();
    return;
  }
  if (key === "arrowright") turn(1);
  else if (key === "arrowleft") turn(-1);
  else if (key === "enter" && !onButton) { if (!event.repeat) confirmed(); }  // a key held down has seen no photo
  else if (key === "u") settle("unknown");
  else if (key === "n") settle("none");
  else if (key === "z") { if (!event.repeat) undo(); }
  else if (key === "c" || key === "/") $("pick").focus();
  else if (offer) { if (event.shiftKey) toggle(offer.id); else only(offer.id); }
  else return;
  event.preventDefault();
});

// --- the controls ---
const controls = () => {
  const perCar = new Map(), makes = new Map();
  for (const photo of photos) for (const tag of photo.tags) perCar.set(tag.car, (perCar.get(tag.car) || 0) + 1);
  for (const id of [...perCar.keys()].sort((a, b) => name(a).localeCompare(name(b)))) {
    const of = cars.get(id)?.make || "Other";
    makes.set(of, [...(makes.get(of) || []), id]);
  }
  $("car").replaceChildren(option("", "Every car"));
  for (const [of, ids] of [...makes].sort(([a], [b]) => a.localeCompare(b))) {
    const group = make("optgroup");
    group.label = of;
    if (ids.length > 1) group.append(option("m:" + of, `Every ${of}`));
    group.append(...ids.map(id => option("c:" + id, `${name(id)} (${number(perCar.get(id))})`)));
    $("car").append(group);
  }
  const outcomes = Object.entries(OUTCOMES).filter(([outcome]) => photos.some(photo => photo.outcome === outcome));
  $("outcome").replaceChildren(option("", "Every outcome"), ...outcomes.map(([outcome, word]) => option(outcome, word)));
  for (const key of ["car", "outcome"]) $(key).value = filter[key];
};
for (const [state, word] of Object.entries(STATES)) {
  const button = make("button", "", word + " ");
  button.type = "button";
  button.dataset.state = state;
  button.append(make("span"));
  button.addEventListener("click", () => { filter.state = state; apply(); });
  $("states").append(button);
}
let waiting = 0;
const form = document.querySelector("form");
form.addEventListener("input", event => {
  Object.assign(filter, { q: $("search").value, outcome: $("outcome").value, car: $("car").value, order: $("order").value });
  clearTimeout(waiting);
  waiting = setTimeout(apply, event.target.id === "search" ? 120 : 0);
});
form.addEventListener("submit", event => event.preventDefault());
document.addEventListener("keydown", event => {
  if (viewer.open || /INPUT|SELECT/.test(document.activeElement.tagName)) return;
  if (event.key === "/") $("search").focus();
  else if (event.key.toLowerCase() === "z") { if (!event.repeat) undo(); }
  else if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) chooseAll();
  else if (event.key === "Escape" && chosen.size) { chosen.clear(); refresh(); }
  else return;
  event.preventDefault();
});
new ResizeObserver(() => { if (viewer.open) fit(); }).observe(document.body);
addEventListener("resize", () => { if (viewer.open) fit(); });
addEventListener("hashchange", () => { recall(); apply(); });
addEventListener("beforeunload", event => { flush(); if (pending) event.preventDefault(); });
$("done").addEventListener("click", async () => {
  await saving;
  if (unsaved.size && !window.confirm(`Not saved: ${some([...unsaved.keys()])}. End without them?`)) return;
  try {
    await ask("end", {});
  } catch (error) {
    return trouble(error.message);
  }
  const lost = [
    unsaved.size && `Not saved: ${some([...unsaved.keys()])}.`,
    owed && `The index has everything; the labels' file lacks ${number(owed)}, see what cartag says where it was started.`,
  ].filter(Boolean).join(" ") || "All is saved.";
  document.body.replaceChildren(make("p", "over", `${lost} cartag review has ended; this page may be closed.`));
});
load().catch(error => trouble(error.message));
