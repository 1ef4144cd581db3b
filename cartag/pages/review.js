"use strict";
// The controls above the photos, the keys among them, the end; and the start of it all.
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
  if (["odd", "like"].includes(filter.order) && event.target.id === "order") return fetchOrder();
  waiting = setTimeout(apply, event.target.id === "search" ? 120 : 0);
});
form.addEventListener("submit", event => event.preventDefault());
document.addEventListener("keydown", event => {
  if (document.querySelector("dialog[open]") || document.activeElement.matches("input:not(.choose), select, textarea")) return;
  const action = does(event, "list"), key = event.key.toLowerCase(), withCtrl = event.ctrlKey || event.metaKey;
  const isFree = document.activeElement === document.body && !withCtrl && !event.altKey;
  if (chosenKey(event, action)) return event.preventDefault();
  if (action === "search") $("search").focus();
  else if (action === "undo" || (key === "z" && !withCtrl && !event.altKey && !action)) { if (!event.repeat) undo(); }  // Z: as it was once
  else if (action === "all" || (key === "a" && withCtrl)) chooseAll();
  else if (action === "groups") openGroups();
  else if (action === "help") help();
  else if (isFree && shown.length && (event.key in ARROWS || ["home", "end"].includes(key))) grid.move(key === "end" ? shown.length - 1 : grid.at);
  else if (isFree && shown.length && key === " ") { grid.move(grid.at); choose(grid.at); }
  else if (key === "escape" && chosen.size) { chosen.clear(); refresh(); }
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll(".helps")) button.addEventListener("click", help);
new ResizeObserver(() => { if (viewer.open) fit(); }).observe(document.body);
addEventListener("resize", () => { if (viewer.open) fit(); });
addEventListener("hashchange", () => { recall(); apply(); fetchOrder(); });
addEventListener("beforeunload", event => { flush(); if (pending || ticks.size) event.preventDefault(); });
$("done").addEventListener("click", async () => {
  await saving;
  const left = [...new Set([...unsaved.keys(), ...[...ticks.values()].map(one => one.path)])];
  if (left.length && !window.confirm(`Not saved: ${some(left)}. End without them?`)) return;
  try {
    await ask("end", {});
  } catch (error) {
    return trouble(error.message);
  }
  ticks.clear();
  clearTimeout(waiting);
  const lost = [
    unsaved.size && `Not saved: ${some([...unsaved.keys()])}.`,
    owed && `The index has everything; the labels' file lacks ${number(owed)}, see what cartag says where it was started.`,
  ].filter(Boolean).join(" ") || "All is saved.";
  document.body.replaceChildren(make("p", "over", `${lost} cartag review has ended; this page may be closed.`));
});
load().then(fetchOrder).catch(error => trouble(error.message));
