"use strict";
// Every pixel of the photo, to be dragged about; and beside it the surest photo of a car, as large.
let zoom = null;       // what lies in the middle, [x, y] in fractions of the photo; null: all of it is shown
let grip = null;       // what a finger or the mouse drags: { x, y, zoom }
let beside = null;     // { id, number }: of which car which of its surest photos; null: none
const PART = 0.2;      // of what is shown: how far an arrow key goes

const middle = box => (box ? [box[0] + box[2] / 2, box[1] + box[3] / 2] : [0.5, 0.5]);
const mainBox = () => at ?? [...regionsOf(reel[current])].sort((a, b) => b.box[2] * b.box[3] - a.box[2] * a.box[3])[0]?.box ?? null;
// The photo as large as it goes in, or a pixel of it on a pixel of the screen: at least twice as large as all of it.
const lay = (pane, frame, photo, centre) => {
  const w = photo.width || 3, h = photo.height || 2, fitting = Math.min((pane.clientWidth - 8) / w, (pane.clientHeight - 8) / h);
  const scale = centre ? Math.max(1 / devicePixelRatio, 2 * fitting) : fitting, size = [w * scale, h * scale], room = [pane.clientWidth, pane.clientHeight];
  const held = (centre ?? [0.5, 0.5]).map((value, i) => { const half = Math.min(0.5, room[i] / size[i] / 2); return within(value, half, 1 - half); });
  Object.assign(frame.style, { width: size[0] + "px", height: size[1] + "px", translate: held.map((value, i) => (0.5 - value) * size[i] + "px").join(" ") });
  return { held, size };
};
const fit = () => {
  const photo = reel[current], laid = lay($("pane"), $("frame"), photo, zoom);
  if (zoom) zoom = laid.held;
  const other = besidePhoto();
  if (!other) return;
  const own = middle(mainBox()), theirs = middle(boxOfTag(other, beside.id));
  lay($("otherpane"), $("other"), other, zoom && theirs.map((value, i) => value + zoom[i] - own[i]));
};
// The whole picture is asked for when it is looked at this closely, and no earlier.
const sharpen = () => {
  for (const [frame, photo] of [[$("frame"), reel[current]], [$("other"), besidePhoto()]]) {
    const image = frame.querySelector("img");
    if (!zoom || !photo?.picture || !image || image.dataset.full || Math.max(photo.width, photo.height) <= 1600) continue;
    const full = new Image();
    image.dataset.full = "yes";
    full.onload = () => { if (image.isConnected) image.src = full.src; };
    full.src = photo.picture("full");
  }
};
const setZoom = to => {
  zoom = to;
  $("pane").classList.toggle("close-up", Boolean(zoom));
  $("zoom").setAttribute("aria-pressed", Boolean(zoom));
  $("hint").textContent = zoom ? `Every pixel: drag, or the arrow keys. ${shownKey(keyOf("zoom", "photo"))} or Esc ends.` : "";
  fit();
  sharpen();
};
const toggleZoom = (to = middle(mainBox())) => {
  if (reel[current].gone || !$("frame").querySelector("img")) return;
  flush();
  setMode("");
  setZoom(zoom ? null : to);
};
const pan = (dx, dy) => {
  const frame = $("frame").getBoundingClientRect(), pane = $("pane");
  zoom = [zoom[0] + dx * PART * pane.clientWidth / frame.width, zoom[1] + dy * PART * pane.clientHeight / frame.height];
  fit();
};
$("pane").addEventListener("dblclick", event => { if (mode !== "draw" && event.target.closest("#frame")) toggleZoom(spot(event)); });
// Before the boxes hear of it: close up, a box fills the view, and what is dragged is the photo.
$("pane").addEventListener("pointerdown", event => {
  if (!zoom || event.button || !event.isPrimary || mode) return;
  event.preventDefault();
  event.stopPropagation();
  grip = { x: event.clientX, y: event.clientY, zoom };
  $("pane").setPointerCapture(event.pointerId);
}, true);
$("pane").addEventListener("pointermove", event => {
  if (!grip) return;
  const frame = $("frame").getBoundingClientRect();
  zoom = [grip.zoom[0] - (event.clientX - grip.x) / frame.width, grip.zoom[1] - (event.clientY - grip.y) / frame.height];
  fit();
});
for (const kind of ["pointerup", "pointercancel"]) $("pane").addEventListener(kind, () => { grip = null; });
$("zoom").addEventListener("click", () => toggleZoom());

// --- side by side ---
const besidePhoto = () => (beside ? sureOf(beside.id, reel[current])[beside.number] ?? null : null);
// The car that is ticked; else the likeliest that has a photo.
const besideCar = () => given.cars.find(id => sureOf(id, reel[current]).length) ?? offered.map(({ id }) => id).find(id => sureOf(id, reel[current]).length);
const showBeside = () => {
  const id = beside && besideCar();
  if (beside && id && id !== beside.id) beside = { id, number: 0 };
  const other = besidePhoto();
  viewer.classList.toggle("two", Boolean(beside));
  $("side").setAttribute("aria-pressed", Boolean(beside));
  $("otherpane").hidden = !beside;
  if (beside) {
    const of = JSON.stringify([other?.path, beside.id]);
    if ($("other").dataset.of !== of) {
      $("other").dataset.of = of;
      $("other").replaceChildren(other ? pictured(other, false) : make("div", "nothing", "No photo of this car yet"));
      const box = other && boxOfTag(other, beside.id);
      if (box) $("other").append(place(make("div", "box"), box));
      const image = $("other").querySelector("img");
      if (image) image.alt = `${name(beside.id)}: ${other.path}`;
    }
    const sure = other && (other.settled ? "by hand" : percent(other.tags.find(tag => tag.car === beside.id)?.score ?? 0));
    $("othername").textContent = other ? `${name(beside.id)} · ${sure} · ${beside.number + 1} of ${sureOf(beside.id, reel[current]).length} · ${other.path}` : "";
  }
  fit();
  sharpen();
};
// The surest, the next, the third, none.
const nextBeside = () => {
  const id = besideCar();
  if (!beside) beside = id ? { id, number: 0 } : null;
  else beside = beside.number + 1 < sureOf(beside.id, reel[current]).length ? { id: beside.id, number: beside.number + 1 } : null;
  if (!id) trouble("No photo of an offered car yet to show beside this one.");
  showBeside();
};
$("side").addEventListener("click", nextBeside);
