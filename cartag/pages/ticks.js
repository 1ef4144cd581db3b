"use strict";
// What was ticked in a photo and is not saved: Enter saves it, and until then it is there again whenever one comes back.
const ticks = new Map();  // photo's path and box -> { path, box, given, seen }
const tickKey = (path, box) => JSON.stringify([path, box ?? null]);
const tickHere = () => ticks.get(tickKey(reel[current].path, at));
const tick = () => ticks.set(tickKey(reel[current].path, at), { path: reel[current].path, box: at, given, seen });
const untick = (path, box) => ticks.delete(tickKey(path, box));
// What she said of a photo meanwhile she has seen herself; of what somebody else said she has seen nothing.
const ticksAfter = told => {
  for (const [key, one] of ticks) {
    if (told.refused.includes(one.path)) ticks.delete(key);
    else if (own.has(one.path) && told.photos.some(photo => photo.path === one.path)) one.seen = own.get(one.path);
  }
  ticksOfWhatIs();
};
// Without those of photos and boxes that are there no more.
const ticksOfWhatIs = () => {
  for (const [key, { path, box }] of ticks) if (!byPath.has(path) || (box && !boxAt(byPath.get(path), box))) ticks.delete(key);
};
// Of what is not before her eyes.
const ticksElsewhere = () => [...new Set([...ticks.values()].filter(one => !viewer.open || one !== tickHere()).map(one => one.path))];
const ticksLeft = () => { const paths = ticksElsewhere(); return paths.length ? `${some(paths)}: ticked, not saved; Enter saves it.` : ""; };
