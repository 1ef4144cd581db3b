"use strict";
// Another car for the catalog, and learning from what was settled: both only after a person has seen what it comes to.
const FIGURES = {
  recall_at_95_precision: "Cars found, at 95 % right tags",
  precision: "Tags that are right",
  recall: "Cars that are tagged",
  top1: "Likeliest car is the right one",
};
let afterwards = () => {};   // what is done with the id of a car that was added

const newCar = (typed = "", then = () => {}) => {
  afterwards = then;
  $("carname").value = typed;
  $("caraliases").value = "";
  $("cartold").textContent = "";
  $("newcar").showModal();
  $("carname").focus();
};
$("carform").addEventListener("submit", async event => {
  event.preventDefault();
  $("carsave").disabled = true;
  try {
    const aliases = $("caraliases").value.split(",").map(text => text.trim()).filter(Boolean);
    const told = await ask("car", { name: $("carname").value, aliases });
    await load();
    $("newcar").close();
    tell(`${name(told.car)} is in ${told.file} now; the next 'cartag tag' looks for it in all photos.`);
    afterwards(told.car);
  } catch (error) {
    $("cartold").textContent = error.message;
  } finally {
    $("carsave").disabled = false;
  }
});
$("addcar").addEventListener("click", () => newCar("", () => $("addcar").focus()));

// --- learning ---
const learnFrom = async () => {
  $("learned").replaceChildren();
  $("learntold").textContent = "Learning from all that is settled, and checking it on photos held back …";
  $("take").hidden = true;
  $("refuse").textContent = "Close";
  $("learn").showModal();
  if (!photos.some(photo => isSettled(photo) || photo.label)) {
    $("learntold").textContent = "Nothing is settled yet: say of some photos what they show, of each car a few.";
    return;
  }
  await saving;
  try {
    const told = await ask("learn", {});
    $("learntold").textContent = verdict(told);
    if (told.folds) $("learned").append(gainTable(told));
    $("take").hidden = !told.helps;
    $("refuse").textContent = told.helps ? "Leave it" : "Close";
    if (told.helps && $("learn").open) $("take").focus();
  } catch (error) {
    $("learntold").textContent = error.message;
  }
};
const verdict = told => {
  const from = `Learned from ${many(told.photos, "photo")}.`;
  if (!told.helps) return `${from} On photos held back it is no better than now, so there is nothing to take.`;
  if (!told.folds) return `${from} They are too few to hold some back: whether it helps cannot be told.`;
  return `${from} On photos held back:`;
};
const share = value => (value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`);
const gainTable = told => {
  const table = make("table"), head = make("tr");
  head.append(...["", "now", "then", "gain, 95 % interval"].map(text => { const th = make("th", "", text); th.scope = "col"; return th; }));
  table.append(make("caption", "offscreen", "What learning changes on photos held back"), head);
  for (const [figure, text] of Object.entries(FIGURES)) {
    if (told.before[figure] === undefined) continue;
    const row = make("tr"), th = make("th", "", text), gain = told.gain[figure];
    th.scope = "row";
    const interval = gain ? gain.map(value => (value > 0 ? "+" : "") + Math.round(100 * value)).join(" to ") : "–";
    row.append(th, make("td", "", share(told.before[figure])), make("td", "", share(told.after[figure])), make("td", "", interval));
    table.append(row);
  }
  return table;
};
$("take").addEventListener("click", async () => {
  try {
    await ask("take", { take: true });
    $("learn").close();
    tell("Taken: the next 'cartag tag' uses it.");
  } catch (error) {
    $("learntold").textContent = error.message;
  }
});
$("refuse").addEventListener("click", () => { ask("take", { take: false }).catch(() => {}); $("learn").close(); });
$("learnbutton").addEventListener("click", learnFrom);
