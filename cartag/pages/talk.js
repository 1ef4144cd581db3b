"use strict";
// What the page knows of photos and cars, and how it talks to cartag.
const OUTCOMES = { tagged: "Tagged", unknown: "Not in the catalog", "no-car": "No car", error: "Unreadable" };
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
const words = ({ truth, cars: ids }) => (truth === "car" ? ids.map(name).join(" + ") : truth === "unknown" ? "not in the catalog" : truth === "none" ? "no car" : "no answer");
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
  for (const [place, text] of [["trouble", lines], ["groupstate", lines], ["state", [...lines, ticksLeft()]]]) {
    $(place).textContent = text.filter(Boolean).join(" ");
    $(place).hidden = !$(place).textContent;
  }
  news();
};
// What is no trouble is said calmly, below the title: what came of something, and what is ticked and not saved.
const news = (once = "") => { $("news").textContent = [once, !viewer.open && ticksLeft()].filter(Boolean).join(" "); };
const tell = text => { if (viewer.open) trouble(text); else if (group.open) $("groupdone").textContent = text; else news(text); };
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
const undoable = () => { for (const id of ["undo", "photoundo"]) $(id).disabled = !step; };
const take = async told => {
  undoable();
  surest.clear();
  for (const photo of told.photos) {
    const here = byPath.get(photo.path);
    if (here) Object.assign(here, { label: undefined, error: undefined, model: undefined, regions: undefined }, photo), enrich(here);
  }
  if (told.edition !== edition) await load();
  else refresh();
  ticksAfter(told);
  const open = viewer.open && reel[current].path;
  if (own.has(open) && told.photos.some(photo => photo.path === open)) seen = own.get(open);
  // Turned back to meanwhile: with what was ticked since, unless that was of an answer that does not stand.
  if (open && (told.refused.includes(open) || (!tickHere() && told.photos.some(photo => photo.path === open)))) show();
  else if (open) drawBoxes();
  groupWhere();
  trouble();
  return told.photos.map(photo => byPath.get(photo.path)).filter(photo => photo && !told.refused.includes(photo.path));
};
const load = async () => {
  const data = await ask("data");
  ({ edition, step, owed } = data);
  keyTable = data.keys;
  drawKeys();
  surest.clear();
  cars = new Map(data.cars.map(car => [car.id, car]));
  const text = car => plain([car.name, car.make, ...car.aliases].join(" "));
  for (const car of cars.values()) car.text = text(car);
  const kept = new Set([...chosen].map(photo => photo.path));
  photos = data.photos.map(enrich);
  byPath = new Map(photos.map(photo => [photo.path, photo]));
  members = members.map(([photo, box]) => [byPath.get(photo.path) ?? photo, box]);
  chosen.clear();
  for (const photo of photos) if (kept.has(photo.path)) chosen.add(photo);
  ticksOfWhatIs();
  for (const path of [...unsaved.keys(), ...disputed]) if (!byPath.has(path)) unsaved.delete(path), disputed.delete(path);
  undoable();
  $("title").textContent = document.title = `Review of ${data.title}`;
  $("summary").dataset.about = `${data.catalog} by ${data.model}`;
  controls();
  recall();
  if (viewer.open) {  // the photo that is open stays open, with what was ticked, even if it is gone
    const open = reel[current].path;
    const told = new Map(reel.map(photo => [photo.path, photo.told]));
    for (const photo of photos) photo.told = told.get(photo.path);
    reel = reel.map(photo => byPath.get(photo.path) ?? (photo.path === open ? Object.assign(photo, { gone: true }) : null)).filter(Boolean);
    current = reel.findIndex(photo => photo.path === open);
    show();
  }
  apply();
  trouble();
};
