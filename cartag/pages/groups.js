"use strict";
// Cars that look alike, to be named at once: one key for all of them, a click or Space for one that is none of these.
let bunches = [], bunch = 0;   // groups as cartag gave them, [path, box] each; the one that is open
let members = [], out = new Set();  // of that one: [photo, box]; those that are taken out
let choices = [];              // ids of the cars offered
const saidOf = [];             // groups that were named here, last at the end
const group = $("group");

const boxIn = (photo, box) => (box ? (photo.regions ?? []).find(region => alike(region.box, box)) : null);
const isOpen = (photo, box) => photo && photo.outcome !== "error" && !isSettled(photo) && !queued.has(photo.path) && (!box || boxIn(photo, box)?.human === undefined && boxIn(photo, box));
const left = one => one.map(([path, box]) => [byPath.get(path), box]).filter(([photo, box]) => isOpen(photo, box));
const openGroups = async () => {
  if (group.open || document.querySelector("dialog[open]")) return;
  bunches = [];
  members = [];
  saidOf.length = 0;
  trouble();
  for (const id of ["members", "choices"]) $(id).replaceChildren();
  $("grouptitle").textContent = "Looking for what looks alike …";
  $("groupwhere").textContent = $("groupdone").textContent = "";
  $("nameall").hidden = true;
  group.showModal();
  try {
    bunches = (await ask("groups", {})).groups;
  } catch (error) {
    shutGroup();
    return trouble(error.message);
  }
  if (group.open) showGroup(0, "", "Nothing that is left to do looks alike.");
};
const showGroup = (from, words = "", none = "No more groups.") => {
  bunch = from;
  while (bunch < bunches.length && left(bunches[bunch]).length < 2) bunch++;
  if (bunch >= bunches.length) { shutGroup(); return trouble(words || none); }
  $("nameall").hidden = false;
  members = left(bunches[bunch]);
  out = new Set();
  choices = offerGroup();
  drawMembers();
  drawChoices();
  $("groupdone").textContent = words;
  group.querySelector(".sheet").scrollTop = 0;
  focusGroup();
};
// What the model says of all of them: the mean score of each car.
const meanScores = () => {
  const sums = new Map();
  for (const [photo, box] of members) for (const { car, score } of thought(boxIn(photo, box) ?? photo)) sums.set(car, (sums.get(car) ?? 0) + score / members.length);
  return [...sums].sort((a, b) => b[1] - a[1]);
};
// What most of them are said to be: what Enter says of all.
const offerGroup = () => {
  const ids = meanScores().slice(0, 5).map(([id]) => id);
  return [...new Set([...ids, ...recent.filter(id => cars.has(id))])].slice(0, 9);
};
const proposedForAll = () => {
  const counts = new Map();
  for (const [photo, box] of members) {
    const of = boxIn(photo, box) ?? photo, said = JSON.stringify(answer(TRUTHS[of.outcome] ?? "unknown", of.tags.map(tag => tag.car)));
    counts.set(said, (counts.get(said) ?? 0) + 1);
  }
  const most = JSON.parse([...counts].sort((a, b) => b[1] - a[1])[0][0]);
  return most.truth === "car" && most.cars.length > 1 ? answer("car", [most.cars[0]]) : most;
};
const inIt = () => members.filter((_, i) => !out.has(i));
const drawMembers = () => {
  $("members").replaceChildren(...members.map(([photo, box], i) => {
    const li = make("li"), button = make("button", "member");
    button.type = "button";
    button.title = photo.path;
    button.tabIndex = i ? -1 : 0;
    button.append(crop(photo, box ?? (photo.regions ?? [])[0]?.box), make("span", "path", photo.path));
    button.addEventListener("click", () => takeOut(i));
    button.addEventListener("focus", () => rove(i));
    li.append(button);
    return li;
  }));
  marks();
};
const rove = to => { [...$("members").querySelectorAll(".member")].forEach((button, i) => { button.tabIndex = i === to ? 0 : -1; }); };
const marks = () => {
  [...$("members").querySelectorAll(".member")].forEach((button, i) => {
    button.setAttribute("aria-pressed", !out.has(i));
    button.setAttribute("aria-label", `${members[i][0].path}: ${out.has(i) ? "taken out" : "in the group"}`);
  });
  const n = inIt().length, rest = bunches.slice(bunch + 1).filter(one => left(one).length > 1).length;
  $("grouptitle").textContent = `${number(members.length)} that look alike`;
  $("groupwhere").textContent = [out.size && `${number(out.size)} taken out`, rest ? `${number(rest)} more groups` : "the last group"].filter(Boolean).join(" · ");
  const proposal = proposedForAll();
  $("nameall").firstChild.textContent = `${n === 1 ? "This" : `All ${number(n)}`}: ${words(proposal)} `;
  $("nameall").disabled = !n;
};
const takeOut = i => { if (out.has(i)) out.delete(i); else out.add(i); marks(); };
const drawChoices = () => {
  const means = new Map(meanScores());
  const row = (key, text, said, note = "", pictures = "") => {
    const button = make("button", "choice"), words = make("span", "said");
    button.type = "button";
    words.append(make("span", "", text), make("span", "percent", note));
    button.append(make("kbd", "", key), words, pictures);
    button.addEventListener("click", () => nameGroup(said));
    return button;
  };
  $("choices").replaceChildren(
    ...choices.map((id, i) => row(i + 1, name(id), answer("car", [id]), means.has(id) ? percent(means.get(id)) : "", surePictures(id, null))),
    row(shownKey(keyOf("unknown", "group")), "Another car", answer("unknown")),
    row(shownKey(keyOf("none", "group")), "No car", answer("none")),
  );
};
// All of them are one decision: saved together, undone together. The next group is there at once.
const nameGroup = said => {
  const these = inIt(), from = bunch;
  if (!these.length || !group.open) return;
  for (const id of said.cars) remember(id);
  saidOf.push(from);
  const sent = sayAll(these.map(([photo, box]) => [photo, box ? { box, ...said } : said]));
  sent.catch(() => {  // it is to do again, and says why
    const at = saidOf.lastIndexOf(from);
    if (at >= 0) saidOf.splice(at, 1);
    if (group.open) showGroup(Math.min(from, bunch));
  });
  showGroup(from + 1, `${number(these.length)} ${these.length === 1 ? "photo" : "photos"}: ${words(said)}. ${shownKey(keyOf("undo", "group"))} undoes it.`);
};
const groupUndone = () => {
  if (!group.open || !saidOf.length) return;
  showGroup(saidOf.pop(), "Undone.");
};
const focusGroup = () => { ($("members").querySelector('.member[tabindex="0"]') ?? group).focus({ preventScroll: true }); };
const shutGroup = () => { if (group.open) group.close(); };
group.addEventListener("close", () => { apply(); if (shown.length) grid.move(0); });
const stepTo = (from, event) => {
  const all = [...$("members").querySelectorAll(".member")];
  const across = Math.max(1, all.filter(one => Math.abs(one.getBoundingClientRect().top - all[0].getBoundingClientRect().top) < 2).length);
  const to = from + { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  if (all[to]) all[to].focus();
};
group.addEventListener("keydown", event => {
  const action = does(event, "group"), onButton = event.target.tagName === "BUTTON" && !event.target.matches(".member"), key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey || event.altKey) && action !== "undo") return;
  const choice = choices[digitOf(event) - 1], focused = [...$("members").querySelectorAll(".member")].indexOf(document.activeElement);
  if (event.key in ARROWS && focused >= 0) stepTo(focused, event);
  else if (event.key in ARROWS) focusGroup();
  else if (key === " " && focused >= 0) takeOut(focused);
  else if (action === "confirm" && !(key === "enter" && onButton)) { if (!event.repeat && members.length) nameGroup(proposedForAll()); }
  else if (action === "unknown" || action === "none") { if (!event.repeat) nameGroup(answer(action)); }
  else if (action === "any") $("grouppick").focus();
  else if (action === "skip") showGroup(bunch + 1);
  else if (action === "undo") { if (!event.repeat) undo(); }
  else if (action === "help") help();
  else if (choice) { if (!event.repeat) nameGroup(answer("car", [choice])); }
  else return;
  event.preventDefault();
});
$("members").addEventListener("keyup", event => { if (event.key === " ") event.preventDefault(); });  // a button's own click
$("nameall").addEventListener("click", () => nameGroup(proposedForAll()));
$("skip").addEventListener("click", () => showGroup(bunch + 1));
$("groupundo").addEventListener("click", () => undo());
$("groupclose").addEventListener("click", shutGroup);
$("groups").addEventListener("click", openGroups);
