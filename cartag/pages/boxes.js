"use strict";
// The boxes of the photo that is open: which one is spoken of, and drawing, moving, sizing and deleting them.
// A box is [x, y, width, height] in fractions of the photo, with four digits as the index has them; its numbers name it.
// `viewer.js` says what a box shows.
const LEAST = 0.01, STEP = 0.01, BIG = 0.3, STILL = 4, PAUSE = 600;
const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const HINTS = {
  draw: () => "Drawing: drag over the car, or Enter for a box in the middle. Esc ends.",
  move: key => `Moving: the arrow keys move the box. ${key("size")} changes its size, ${key("move")} or Esc ends.`,
  size: key => `Sizing: the arrow keys move its right and lower side. ${key("move")} moves it, ${key("size")} or Esc ends.`,
};
let at = null;       // the box that is spoken of; null: the photo as a whole
let mode = "";       // what the mouse or the arrow keys do: "", "draw", "move", "size"
let drag = null;     // what a pointer is doing: { from, start, handle, box, moved }
let nudged = null;   // where the arrow keys have brought the box, not told to cartag yet
let nudging = 0;     // the timer that tells it

// --- what is there: the index, and over it what is on its way there ---
const alike = (one, other) => Boolean(one) && Boolean(other) && one.every((value, i) => value === other[i]);
const changed = (regions, { box, to, truth, cars: ids }) => {
  const said = { outcome: truth === "car" ? "tagged" : "unknown", tags: ids.map(car => ({ car, score: 1, human: true })), human: true, pending: true };
  if (!box) return [...regions, { ...said, box: to }];
  return regions.flatMap(region => {
    if (!alike(region.box, box)) return [region];
    if (truth === "none") return [];
    return [truth === null ? { ...region, pending: true } : { ...region, ...said, box: to ?? box }];
  });
};
const regionsOf = photo => (photo.told ?? []).reduce(changed, photo.regions ?? []);
const boxAt = (photo, box) => regionsOf(photo).find(region => alike(region.box, box));
const subject = () => (at && boxAt(reel[current], at)) || null;
const perhaps = ({ outcome, other }) => (outcome === "unknown" && other ? ` (${other.name}?)` : "");
const called = region => {
  if (region.tags.length) return region.tags.map(tag => name(tag.car)).join(" + ");
  return words(answer(TRUTHS[region.outcome])) + perhaps(region);
};
const labelOf = region => (region.human && !region.pending ? "✓ " : "") + called(region);
const toSay = photo => regionsOf(photo).filter(region => !region.human);

// --- telling cartag ---
const tellBox = change => {
  const photo = reel[current];
  (photo.told ??= []).push(change);
  const over = () => { photo.told.splice(photo.told.indexOf(change), 1); };
  const saw = seen;
  drawBoxes();
  // `take` has shown the answer before this; what is over must not be shown again on top of it.
  return decide([photo], () => change, () => saw, over).catch(() => { if (viewer.open && reel[current] === photo) again(); });
};
const nameOf = () => {
  const region = subject(), stood = answer(TRUTHS[region.outcome], region.tags.map(tag => tag.car));
  return given.truth === "car" || given.truth === "unknown" ? given : stood.truth === "none" ? answer("unknown") : stood;
};
const moveTo = to => {
  const box = at, said = nameOf();
  if (alike(box, to) || (regionsOf(reel[current]).some(region => alike(region.box, to)))) return drawBoxes();
  at = to;
  tellBox({ box, to, ...said });
  again();
};
const putBox = to => {
  const photo = reel[current];
  if (boxAt(photo, to)) return;
  // The first box of a photo with one name is that car's; of any other, nobody has said what it is.
  const said = !regionsOf(photo).length && photo.tags.length === 1 ? answer("car", [photo.tags[0].car]) : answer("unknown");
  setMode("");
  at = to;
  tellBox({ to, ...said });
  again();
  focusBox();
};
const deleteBox = () => {
  if (!subject() || reel[current].gone) return;
  dropNudge();
  const box = at, regions = regionsOf(reel[current]), place = regions.findIndex(region => alike(region.box, box));
  at = (regions[place + 1] ?? regions[place - 1])?.box ?? null;
  setMode("");
  tellBox({ box, ...answer("none") });
  again();
  focusBox();
};

// --- which one is spoken of ---
const speakOf = box => {
  if (box === at || alike(box, at)) return;
  flush();
  at = box;
  setMode("");
  again();
};
// Where she begins: with the first box that is still to be confirmed, of a photo that has several.
const firstBox = photo => (!isSettled(photo) && regionsOf(photo).length > 1 ? toSay(photo)[0]?.box ?? null : null);
const nextBox = () => toSay(reel[current]).find(region => !alike(region.box, at))?.box ?? null;
const focusBox = () => { (at ? chosenBox() ?? viewer : viewer).focus(); };

// --- showing them ---
let drawn = "";  // what the boxes in the page were made of: as long as that is so they stay, and with them the focus
const drawBoxes = () => {
  const photo = reel[current], frame = $("frame"), regions = regionsOf(photo), inside = frame.contains(document.activeElement);
  if (at && !boxAt(photo, at)) at = null;
  const of = JSON.stringify([photo.path, regions, photo.tags]);
  if (of !== drawn || !frame.querySelector(".box")) {
    for (const old of frame.querySelectorAll(".box:not(.ghost)")) old.remove();
    frame.append(...regions.map(boxOf));
    for (const tag of regions.length ? [] : photo.tags.filter(tag => tag.box)) frame.append(captioned(make("div", "box"), tag.box, name(tag.car)));
    drawn = of;
  }
  regions.forEach((region, i) => {
    const box = frame.querySelectorAll("button.box")[i], isIt = alike(region.box, at);
    box.setAttribute("aria-pressed", isIt);
    place(box, isIt && nudged ? nudged : region.box);
    if (isIt !== Boolean(box.querySelector("i"))) box.replaceChildren(box.firstChild, ...(isIt ? HANDLES.map(side => make("i", side)) : []));
  });
  captions();
  $("whole").hidden = !regions.length;
  $("whole").setAttribute("aria-pressed", !at);
  $("delete").hidden = $("move").hidden = $("size").hidden = !at;
  if (inside && !frame.contains(document.activeElement)) focusBox();
};
const boxOf = region => {
  const box = Object.assign(captioned(make("button", region.human ? "box hers" : "box"), region.box, ""), { type: "button" });
  for (const kind of ["focus", "click"]) box.addEventListener(kind, () => speakOf(region.box));
  return box;
};
// What each box is called: by what is ticked and not saved, where that is so.
const captions = () => {
  const photo = reel[current], regions = regionsOf(photo);
  $("frame").querySelectorAll("button.box").forEach((box, i) => {
    const region = regions[i], tick = ticks.get(tickKey(photo.path, region.box)) ?? (regions.length === 1 ? ticks.get(tickKey(photo.path, null)) : undefined);
    const sure = !region.human && region.tags.length && percent(region.tags[0].score), state = region.pending ? "being saved" : region.human ? "confirmed" : "to be confirmed";
    const said = tick ? [words(tick.given), "ticked, not saved"] : [called(region), sure, state];
    box.querySelector("span").textContent = tick ? words(tick.given) : labelOf(region);
    box.ariaLabel = `Box ${i + 1} of ${regions.length}: ${said.filter(Boolean).join(", ")}`;
  });
};
const chosenBox = () => document.querySelector("#frame .box[aria-pressed=true]");
const setMode = to => {
  mode = to;
  $("frame").classList.toggle("drawing", mode === "draw");
  $("hint").textContent = HINTS[mode]?.(action => shownKey(keyOf(action, "photo"))) ?? "";
  for (const name of ["draw", "move", "size"]) $(name).setAttribute("aria-pressed", mode === name);
};
const toggleMode = to => {
  if (reel[current].gone || !$("frame").querySelector("img") || (to !== "draw" && !at)) return;
  flush();
  if (zoom) setZoom(null);
  setMode(mode === to ? "" : to);
  if (mode !== "draw") focusBox();
};

// --- where they stand ---
const rounded = ([x, y, w, h]) => {
  const [left, top] = [x, y].map(value => Math.round(1e4 * value) / 1e4);
  return [left, top, Math.round(1e4 * Math.min(w, 1 - left)) / 1e4, Math.round(1e4 * Math.min(h, 1 - top)) / 1e4];
};
const within = (value, least, most) => Math.min(Math.max(value, least), most);
const moved = ([x, y, w, h], dx, dy) => [within(x + dx, 0, 1 - w), within(y + dy, 0, 1 - h), w, h];
const sized = ([x, y, w, h], sides, dx, dy) => {
  let [left, top, right, bottom] = [x, y, x + w, y + h];
  if (sides.includes("w")) left = within(left + dx, 0, right - LEAST);
  if (sides.includes("e")) right = within(right + dx, left + LEAST, 1);
  if (sides.includes("n")) top = within(top + dy, 0, bottom - LEAST);
  if (sides.includes("s")) bottom = within(bottom + dy, top + LEAST, 1);
  return [left, top, right - left, bottom - top];
};
const between = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.abs(ax - bx), Math.abs(ay - by)];
const spot = event => {
  const frame = $("frame").getBoundingClientRect();
  return [within((event.clientX - frame.left) / frame.width, 0, 1), within((event.clientY - frame.top) / frame.height, 0, 1)];
};

// --- arrow keys: told when they rest ---
const nudge = (dx, dy) => {
  const from = nudged ?? at;
  nudged = rounded(mode === "size" ? sized(from, "se", dx, dy) : moved(from, dx, dy));
  place(chosenBox(), nudged);
  clearTimeout(nudging);
  nudging = setTimeout(flush, PAUSE);
};
const dropNudge = () => { clearTimeout(nudging); const there = nudged; nudged = null; return there; };
const flush = () => { const to = dropNudge(); if (to && subject()) moveTo(to); };

// --- mouse, finger, pen ---
const dragged = event => {
  const [x, y] = spot(event), dx = x - drag.from[0], dy = y - drag.from[1];
  if (!drag.start) return between(drag.from, [x, y]);
  return drag.handle ? sized(drag.start, drag.handle, dx, dy) : moved(drag.start, dx, dy);
};
$("frame").addEventListener("pointerdown", event => {
  if (event.button || !event.isPrimary || !viewer.open || reel[current].gone) return;
  const box = event.target.closest("button.box"), isDrawing = mode === "draw";
  if (!box && !isDrawing) return speakOf(null);
  event.preventDefault();
  const handle = event.target.tagName === "I" ? event.target.className : "", which = [...$("frame").querySelectorAll("button.box")].indexOf(box);
  flush();
  if (!isDrawing) {
    $("frame").querySelectorAll("button.box")[which]?.focus({ preventScroll: true });
    if (!at) return;
    drag = { from: spot(event), x: event.clientX, y: event.clientY, start: at, handle };
  } else drag = { from: spot(event), x: event.clientX, y: event.clientY, start: null, ghost: $("frame").appendChild(make("div", "box ghost")) };
  $("frame").setPointerCapture(event.pointerId);
});
$("frame").addEventListener("pointermove", event => {
  if (!drag || (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < STILL)) return;
  drag.moved = true;
  const box = drag.ghost ?? chosenBox();
  if (box) place(box, dragged(event));
});
const letGo = (event, isDone) => {
  if (!drag) return;
  const to = rounded(dragged(event)), { start, moved: isMoved, ghost } = drag;
  ghost?.remove();
  drag = null;
  if (!isDone || !isMoved) return drawBoxes();
  if (start) { if (subject()) moveTo(to); else drawBoxes(); }
  else if (to[2] >= LEAST && to[3] >= LEAST) putBox(to);
};
$("frame").addEventListener("pointerup", event => letGo(event, true));
$("frame").addEventListener("pointercancel", event => letGo(event, false));

// --- keys; true: that was one of ours ---
const ARROWS = { ArrowRight: [STEP, 0], ArrowLeft: [-STEP, 0], ArrowDown: [0, STEP], ArrowUp: [0, -STEP] };
const boxKey = (event, action) => {
  const key = event.key.toLowerCase();
  if (key === "escape" && (mode || drag)) {
    drag?.ghost?.remove();
    drag = null;
    flush();
    setMode("");
    drawBoxes();
  } else if (key === "enter" && mode === "draw") { if (!event.repeat) putBox(rounded([(1 - BIG) / 2, (1 - BIG) / 2, BIG, BIG])), toggleMode("move"); }
  else if (key === "enter" && mode) toggleMode(mode);
  else if (event.key in ARROWS && at && (mode === "move" || mode === "size")) nudge(...ARROWS[event.key]);
  else if ((action === "delete" || key === "backspace") && at) { if (!event.repeat) deleteBox(); }
  else if (action === "draw") toggleMode("draw");
  else if (action === "move" && at) toggleMode("move");
  else if (action === "size" && at) toggleMode("size");
  else return false;
  return true;
};
for (const name of ["draw", "move", "size"]) $(name).addEventListener("click", () => toggleMode(name));
$("delete").addEventListener("click", deleteBox);
for (const kind of ["focus", "click"]) $("whole").addEventListener(kind, () => speakOf(null));
