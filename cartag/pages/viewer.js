"use strict";
// One photo, large: what it and its boxes show.
// --- one photo ---
const viewer = $("viewer");
viewer.tabIndex = -1;
let reel = [], current = 0;  // the photos as they were listed when it was opened, whatever becomes of the list
let given = answer(null), seen = "", offered = [];
let alsoNext = false;  // the next number is one car more, as with Shift
const open = i => { reel = [...shown]; current = i; $("frame").replaceChildren(); $("frame").dataset.of = ""; $("saved").textContent = ""; opening(viewer); begin(); };
const begin = () => {
  at = firstBox(reel[current]);
  alsoNext = false;
  setMode("");
  if (zoom) setZoom(null);
  if (beside) beside.number = 0;
  show();
  focusBox();
};
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
  showBeside();
  for (const next of reel.slice(current + 1, current + 3)) if (next.picture && next.outcome !== "error") prepare(next);
};
// Large pictures that were asked for: of the photos around the one that is open, decoded before they are turned to.
const ready = new Map(), KEPT = 6;
const prepare = photo => {
  const address = photo.picture("large");
  let image = ready.get(address);
  if (!image) {
    image = new Image();
    image.draggable = false;
    image.src = address;
    image.decode().catch(() => {});
  }
  ready.delete(address);
  ready.set(address, image);
  for (const [old, image] of ready) {
    if (ready.size <= KEPT) break;
    if (image.isConnected) continue;
    if (!image.complete) image.src = "";  // passed over: others are waited for
    ready.delete(old);
  }
  return image;
};
const pictured = (photo, isOwn = true) => {
  if (!photo.picture || photo.outcome === "error") return make("div", "nothing", photo.error || "no picture");
  const full = isOwn ? prepare(photo) : Object.assign(new Image(), { src: photo.picture("large"), draggable: false });
  if (full.dataset.full) { delete full.dataset.full; full.src = photo.picture("large"); }
  if (full.complete && full.naturalWidth) return full;
  const image = make("img");
  image.draggable = false;
  image.src = photo.picture("small");
  full.onload = () => { if (image.isConnected) full.alt = image.alt, image.replaceWith(full), sharpen(); };
  full.onerror = () => ready.delete(photo.picture("large"));
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
  $("back").textContent = `Take back “${words(stood)}”`;
  trouble();
  given = photo.gone ? answer(null) : tickHere()?.given ?? (box ? stood : proposed(photo));
  seen = tickHere()?.seen ?? photo.state;
  offered = offer(photo);
  answers();
  showLikest();
};
const offer = photo => {
  const box = subject(), ticked = tickHere()?.given.cars ?? [];
  const offers = offersOf(thought(box?.model ? box : photo), [...ticked, ...(box ?? photo).tags.map(tag => tag.car), ...(box ? [] : proposed(photo).cars)]);
  return box && !box.model ? offers.map(one => ({ ...one, score: undefined })) : offers;  // of a box that she drew the model said nothing
};
const answers = () => {
  const row = (key, text, checked, change, className = "", note = "", pictures = "") => {
    const label = make("label", className), box = make("input");
    Object.assign(box, { type: "checkbox", checked, tabIndex: 0 });
    box.addEventListener("change", change);
    const said = make("span", "said");
    said.append(make("span", "", text), make("span", "percent", note));
    label.append(box, make("kbd", "", key), said, pictures);
    return label;
  };
  const focused = [...$("answers").querySelectorAll("input")].indexOf(document.activeElement);
  $("answers").replaceChildren(
    ...offered.map((one, i) => row(i + 1, name(one.id), given.cars.includes(one.id), () => toggle(one.id), "", noteOf(one), surePictures(one.id, reel[current]))),
    row(shownKey(keyOf("unknown", "photo")), OUTCOMES.unknown, given.truth === "unknown", () => settle("unknown"), "apart"),
    row(shownKey(keyOf("none", "photo")), at ? "No car: delete the box" : "No car", given.truth === "none", () => settle("none")),
  );
  if (focused >= 0) $("answers").querySelectorAll("input")[focused]?.focus();
  $("confirm").disabled = given.truth === null;
  $("confirm").firstChild.textContent = given.cars.length > 1 ? `Confirm ${given.cars.length} cars ` : at ? "Confirm box " : "Confirm ";
};
const give = next => {
  if (reel[current].gone) return;
  given = next;
  tick();
  captions();
  alsoNext = false;
  for (const id of given.cars) if (!offered.some(offer => offer.id === id)) offered = [{ id }, ...offered].slice(0, MOST_OFFERED);
  answers();
  if (beside) showBeside();
};
const settle = truth => give(answer(truth));
const only = id => give(answer("car", [id]));
const toggle = (id, on = !given.cars.includes(id)) => {
  if (at && on) return only(id);  // a box is of one car
  const ids = given.cars.filter(other => other !== id).concat(on ? [id] : []);
  give(ids.length ? answer("car", ids) : answer("unknown"));
};
const tellSaved = said => changed => {
  $("saved").textContent = changed?.length ? `Saved: ${words(said)} · ${number(photos.filter(isSettled).length)} of ${number(photos.length)} settled` : "";
};
const confirmed = () => {
  flush();
  if (given.truth === null) return;
  const photo = reel[current], said = given, saw = seen;
  for (const id of said.cars) if (!photo.tags.some(tag => tag.car === id)) remember(id);
  if (at) {
    const next = nextBox();
    tellBox({ box: at, ...said }).then(tellSaved(said));
    if (next) return speakOf(next), focusBox();
  } else decide([photo], () => said, () => saw).then(tellSaved(said)).catch(() => {});
  if (current < reel.length - 1) turn(1);
  else shut();
};
$("like").addEventListener("click", () => showLike());
const turn = step => { const to = current + step; if (to >= 0 && to < reel.length) { flush(); current = to; begin(); } };
// Back to the photo that was open; where it has left the list, to the one that took its place.
const toList = async () => {
  const after = reel.slice(current).map(photo => photo.path);
  const place = () => { const here = new Map(shown.map((photo, i) => [photo.path, i])); return after.map(path => here.get(path)).find(i => i !== undefined) ?? shown.length - 1; };
  apply();
  news();
  if (shown.length) grid.move(place());
  const put = shown[grid.at]?.path;
  await saving;  // what was said last may leave the list a moment later
  if (!viewer.open) applyAt(place, put);
};
const closeViewer = closing(viewer, toList), shut = () => { flush(); closeViewer(); };
$("before").addEventListener("click", () => turn(-1));
$("after").addEventListener("click", () => turn(1));
$("close").addEventListener("click", shut);
$("confirm").addEventListener("click", confirmed);
$("photoundo").addEventListener("click", () => undo().then(() => { if (viewer.open) focusBox(); }));
$("back").addEventListener("click", () => {
  flush();
  untick(reel[current].path, at);
  if (at) tellBox({ box: at, ...answer(null) });
  else decide([reel[current]], () => answer(null)).catch(() => {});
});
viewer.addEventListener("click", event => { if (!zoom && event.target.matches(".stage, .pane")) shut(); });
viewer.addEventListener("cancel", flush);
viewer.addEventListener("keydown", event => {
  const key = event.key.toLowerCase(), action = does(event, "photo"), onButton = event.target.tagName === "BUTTON" && !event.target.matches(".box, #whole");
  if ((event.ctrlKey || event.metaKey || event.altKey) && action !== "undo") return;
  const digit = digitOf(event), offer = digit && offered[digit - 1];
  const isConfirm = action === "confirm" && !(key === "enter" && onButton);
  if (zoom && (event.key in ARROWS || key === "escape")) {
    if (key === "escape") setZoom(null); else pan(...ARROWS[event.key].map(Math.sign));
  } else if (!(key === "enter" && onButton) && boxKey(event, action)) {
    // that was it
  } else if (key === "arrowright") turn(1);
  else if (key === "arrowleft") turn(-1);
  else if (isConfirm) { if (!event.repeat) confirmed(); }  // a key held down has seen no photo
  else if (action === "unknown" || action === "none") settle(action);
  else if (action === "undo") { if (!event.repeat) undo(); }
  else if (action === "any" || key === "/") $("pick").focus();
  else if (action === "also") { alsoNext = true; $("hint").textContent = "And which car too? A number; Esc: none."; }
  else if (action === "zoom") toggleZoom();
  else if (action === "side") nextBeside();
  else if (action === "like") showLike();
  else if (action === "help") help();
  else if (offer) {
    const more = event.shiftKey || alsoNext;
    if (alsoNext) $("hint").textContent = "";
    if (more) toggle(offer.id); else only(offer.id);
  } else if (key === "escape" && alsoNext) { alsoNext = false; $("hint").textContent = ""; }
  else if (key === "escape") shut();
  else return;
  event.preventDefault();
});
