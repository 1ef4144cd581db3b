"use strict";
// Cars that look alike, to be named at once: one key for all of them. `members.js` shows those of the group that is open.
let bunches = [], bunch = 0;   // groups as cartag gave them, { members: [path, box] each, isPooled, isAlone }; the one that is open
let choices = [];              // cars offered: { id, score, isLately }
let isAsking = false, wereOut = false;           // of cartag; whether something was taken out of a group since
const saidOf = [];             // what was named here, last at the end: { one, keys, outs, what }
const named = new Set();       // views that were named here, from the moment of the key on
const passed = new Set();      // views of groups that were skipped
const rejected = new Map();    // view -> what she said it is not: ids of cars, "unknown", "none"
const group = $("group");
group.tabIndex = -1;

const boxIn = (photo, box) => (box ? (photo.regions ?? []).find(region => alike(region.box, box)) : null);
const viewOf = ([photo, box]) => JSON.stringify([photo.path, box]);
const isOpen = (photo, box) => photo && photo.outcome !== "error" && !isSettled(photo) && !named.has(viewOf([photo, box])) && (!box || boxIn(photo, box)?.human === undefined && boxIn(photo, box));
const left = one => one.members.map(([path, box]) => [byPath.get(path), box]).filter(([photo, box]) => isOpen(photo, box));
// Whether there is something to name: what was taken out is shown by itself, anything else beside what it looks like.
const isWorth = one => left(one).length > (one.isAlone ? 0 : 1) && !(one.isAlone && passed.has(JSON.stringify(one.members[0])));
const openGroups = async () => {
  if (group.open || document.querySelector("dialog[open]")) return;
  for (const one of [saidOf, bunches]) one.length = 0;
  for (const one of [named, passed]) one.clear();
  trouble();
  opening(group);
  await askGroups("Nothing that is left to do looks alike");
};
const askGroups = async (none, words) => {
  bunches = [];
  bunch = 0;
  wereOut = false;
  isAsking = true;
  showNone();
  try {
    await saving;
    const told = await ask("groups", {});
    const found = [...told.groups.map(members => ({ members })), ...told.pooled.map(members => ({ members, isPooled: true }))];
    bunches.push(...found.map(withoutPassed));
  } catch (error) {
    shutGroup();
    return trouble(error.message);
  } finally {
    isAsking = false;
  }
  if (!group.open) return;
  if (bunches.some(isWorth)) showGroup(0, words === undefined ? "" : `${words} What was taken out comes now.`.trim());
  else await oneByOne(none, words);
};
// What she passed over is not shown again, and what she said is in the catalog not among what is probably none of it.
const withoutPassed = ({ members, isPooled }) => ({
  members: members.filter(([path, box]) => !passed.has(viewOf([{ path }, box])) && !(isPooled && rejected.get(viewOf([{ path }, box]))?.has("unknown"))),
  isPooled,
});
const showGroup = (from, words = "") => {
  bunch = from;
  while (bunch < bunches.length && !isWorth(bunches[bunch])) bunch++;
  if (bunch >= bunches.length) return endRound(words);
  members = left(bunches[bunch]);
  out = new Set();
  choices = offerGroup();
  $("nameall").hidden = false;
  drawMembers();
  drawChoices();
  $("groupdone").textContent = words;
  marks();  // with what is in sight beside all that
  focusGroup();
};
// Those that were taken out may form groups of their own now; what forms none comes by itself, at the very end.
const endRound = words => (wereOut ? askGroups : oneByOne)("Groups done", words);
const oneByOne = async (none, words = "") => {
  wereOut = false;
  const alone = [...rejected].filter(([, no]) => no.size).map(([key]) => ({ members: [JSON.parse(key)], isAlone: true })).filter(isWorth);
  if (!alone.length) return groupsDone(none);
  bunches.push(...alone);
  showGroup(bunches.length - alone.length, `${words} What was taken out comes now, one by one.`.trim());
};
const groupsDone = async what => {
  showNone();
  await saving;
  if (!group.open || bunches.some(isWorth)) return;  // what could not be saved has come back meanwhile
  shutGroup();
  const settled = photos.filter(isSettled).length;
  news(`${what}: ${number(settled)} of ${number(photos.length)} settled, ${number(photos.length - settled)} left.`);
};

// --- what is said of a group ---
// Of one view: what the model says, unless she said that it is not that; then the likeliest that is left.
const likely = (photo, box) => {
  const of = boxIn(photo, box) ?? photo, no = rejected.get(viewOf([photo, box])) ?? new Set();
  const stood = answer(TRUTHS[of.outcome] ?? "unknown", of.tags.map(tag => tag.car).filter(id => !no.has(id)).slice(0, 1));
  if (stood.truth === "car" ? stood.cars.length : !no.has(stood.truth)) return stood;
  const next = thought(of).find(({ car }) => !no.has(car));
  return no.has("unknown") && next ? answer("car", [next.car]) : answer("unknown");
};
// What most of them are said to be: what Enter says of all.
const proposedForAll = () => {
  const counts = new Map();
  for (const [photo, box] of out.size < members.length ? inIt() : members) {
    const said = JSON.stringify(likely(photo, box));
    counts.set(said, (counts.get(said) ?? 0) + 1);
  }
  return JSON.parse([...counts].sort((a, b) => b[1] - a[1])[0][0]);
};
// The mean score of each car, likeliest first; last those that she said most of them are not.
const offerGroup = () => {
  const sums = new Map(), isNot = id => 2 * members.filter(one => rejected.get(viewOf(one))?.has(id)).length >= members.length;
  for (const [photo, box] of members) for (const { car, score } of thought(boxIn(photo, box) ?? photo)) sums.set(car, (sums.get(car) ?? 0) + score / members.length);
  const offers = offersOf([...sums].map(([car, score]) => ({ car, score })).sort((a, b) => b.score - a.score));
  return offers.sort((a, b) => isNot(a.id) - isNot(b.id));
};
const drawChoices = () => {
  const row = (key, text, said, note = "", pictures = "") => {
    const button = make("button", "choice"), words = make("span", "said");
    button.type = "button";
    words.append(make("span", "", text), make("span", "percent", note));
    button.append(make("kbd", "", key), words, pictures);
    button.addEventListener("click", () => nameGroup(said));
    return button;
  };
  $("offers").replaceChildren(...choices.map((offer, i) => row(i + 1, name(offer.id), answer("car", [offer.id]), noteOf(offer), surePictures(offer.id, null))));
  $("apart").replaceChildren(
    row(shownKey(keyOf("unknown", "group")), OUTCOMES.unknown, answer("unknown")),
    row(shownKey(keyOf("none", "group")), OUTCOMES["no-car"], answer("none")),
  );
};
// All of them are one decision: saved together, undone together. The next group is there at once.
const nameGroup = said => {
  const these = inIt(), from = bunch;
  if (!these.length || !group.open || !bunches[from]) return;
  if (lookOn()) return offerToo(said);
  for (const id of said.cars) remember(id);
  const step = { one: bunches[from], keys: these.map(viewOf), outs: members.filter((_, i) => out.has(i)).map(viewOf), what: said.cars[0] ?? said.truth };
  took(step);
  const sent = sayAll(these.map(([photo, box]) => [photo, box ? { box, ...said } : said]));
  sent.catch(() => {  // it is to do again, and says why
    if (!gaveBack(step)) return;
    if (group.open && !isAsking) showGroup(placeOf(step));
  });
  showGroup(from + 1, `${toldOf(these, words(said))} ${shownKey(keyOf("undo", "group"))} undoes it.`);
};
// A car that was typed has a number from now on.
const offerToo = ({ cars: ids }) => {
  if (ids.every(id => choices.some(offer => offer.id === id))) return;
  for (const id of ids) remember(id);
  choices = offerGroup();
  drawChoices();
};
// Settled, or it is on its way: then every car in it has been named.
const isDone = photo => isSettled(photo) || (queued.has(photo.path) && isNamed(photo));
const isNamed = photo => {
  const boxes = photo.regions ?? [];
  return named.has(viewOf([photo, null])) || (boxes.length > 1 && boxes.every(one => one.human || named.has(viewOf([photo, one.box]))));
};
// What was named: photos; cars, where not each of them is all that its photo shows.
const toldOf = (these, what) => {
  const its = [...new Set(these.map(([photo]) => photo))], open = its.filter(photo => !isDone(photo)).length, settled = its.length - open;
  const left = [settled && `${many(settled, "photo")} settled`, `${number(open)} ${open === 1 ? "has another car" : "have other cars"} open`].filter(Boolean).join(", ");
  const counted = its.length === these.length && !open ? many(its.length, "photo") : `${many(these.length, "car")} in ${many(its.length, "photo")}`;
  return `${counted}: ${what}${open ? `; ${left}` : ""}.`;
};
const took = step => {
  saidOf.push(step);
  for (const key of step.keys) named.add(key);
  for (const key of step.outs) rejected.set(key, new Set(rejected.get(key)).add(step.what));
  if (step.outs.length) wereOut = true;
};
const gaveBack = step => {
  const at = saidOf.lastIndexOf(step);
  if (at < 0) return false;
  saidOf.splice(at, 1);
  for (const key of step.keys) named.delete(key);
  for (const key of step.outs) rejected.get(key)?.delete(step.what);
  return true;
};
// Of an earlier round of cartag's groups it comes in here.
const placeOf = ({ one }) => {
  if (!bunches.includes(one)) bunches.splice(bunch, 0, one);
  return Math.min(bunch, bunches.indexOf(one));
};
const groupUndone = changed => {
  const step = saidOf.at(-1), paths = new Set(changed.map(photo => photo.path));
  const isIt = step?.keys.some(key => paths.has(JSON.parse(key)[0])) && gaveBack(step);
  if (!group.open) return;
  if (isIt) showGroup(placeOf(step), "Undone."); else $("groupdone").textContent = changed.length ? "Undone." : "";
};
const skipGroup = () => { for (const one of members) passed.add(viewOf(one)); showGroup(bunch + 1); };
const shutGroup = closing(group, async () => {
  apply();
  if (shown.length) grid.move(0);
  const put = shown[0]?.path;
  await saving;  // what was said last leaves the list a moment later
  if (!group.open && !viewer.open) applyAt(() => grid.at, put);
});
group.addEventListener("keydown", event => {
  const action = does(event, "group"), onButton = event.target.tagName === "BUTTON" && !event.target.matches(".member"), key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey || event.altKey) && action !== "undo") return;
  const choice = choices[digitOf(event) - 1];
  if (memberKey(event, action)) return event.preventDefault();
  if (action === "confirm" && !(key === "enter" && onButton)) { if (!event.repeat && members.length) nameGroup(proposedForAll()); }
  else if (action === "unknown" || action === "none") { if (!event.repeat) nameGroup(answer(action)); }
  else if (action === "any") { if (!lookOn()) $("grouppick").focus(); }
  else if (action === "skip") { if (members.length) skipGroup(); }
  else if (action === "undo") { if (!event.repeat) undo(); }
  else if (action === "help") help();
  else if (choice) { if (!event.repeat) nameGroup(answer("car", [choice.id])); }
  else if (key === "escape") shutGroup();
  else return;
  event.preventDefault();
});
$("nameall").addEventListener("click", () => nameGroup(proposedForAll()));
$("skip").addEventListener("click", skipGroup);
$("groupundo").addEventListener("click", () => undo());
$("groupclose").addEventListener("click", shutGroup);
$("groups").addEventListener("click", openGroups);
