"use strict";
// --- picking a car by typing: a combobox (WAI-ARIA) ---
// A name that the catalog lacks can be added to it: `added(name)` is asked then.
const picker = (input, picked, added) => {  // `picked(id, more)`: more with Shift
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
    if (wanted.length && !found.length) list.append(lacking(input.value.trim()));
    list.hidden = !wanted.length;
    input.setAttribute("aria-expanded", !list.hidden);
    if (wanted.length) input.setAttribute("aria-activedescendant", `${list.id}-${at}`); else input.removeAttribute("aria-activedescendant");
    list.children[at]?.scrollIntoView?.({ block: "nearest" });
  };
  const lacking = typed => {
    const li = make("li", "nothing", `Not in the catalog: add “${typed}” …`);
    li.id = `${list.id}-0`;
    li.setAttribute("role", "option");
    li.setAttribute("aria-selected", "true");
    li.addEventListener("mousedown", event => { event.preventDefault(); add(); });
    return li;
  };
  const add = () => { const typed = input.value.trim(); clear(); added(typed); };
  const clear = () => { input.value = ""; at = 0; draw(); };
  const pick = (car, more) => { clear(); picked(car.id, more); };
  input.addEventListener("input", () => { at = 0; draw(); });
  input.addEventListener("blur", clear);
  input.addEventListener("keydown", event => {
    event.stopPropagation();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") at = (at + (event.key === "ArrowDown" ? 1 : found.length - 1)) % Math.max(1, found.length), draw();
    else if (event.key === "Enter" && found.length) pick(found[at], event.shiftKey);
    else if (event.key === "Enter") { if (!input.value.trim()) return; add(); }
    else if (event.key === "Escape") { clear(); leave(input); }
    else return;
    event.preventDefault();
  });
};
const picked = (id, more) => { remember(id); if (more) toggle(id, true); else only(id); focusBox(); };
const leave = input => { if (viewer.open) focusBox(); else if ($("group").open) focusGroup(); else grid.move(grid.at); };
const remember = id => { recent.unshift(id, ...recent.splice(0).filter(other => other !== id)); recent.length = Math.min(recent.length, 3); };
// The cars worth a key: those that are named, the likeliest, and after them those picked last.
const OFFERED = 5, LEAST_OFFERED = 0.01, MOST_OFFERED = 9;
const offersOf = (scores, named = []) => {
  const score = new Map(scores.map(one => [one.car, one.score]));
  const likely = scores.filter(one => one.score >= LEAST_OFFERED).slice(0, OFFERED).map(one => one.car), ids = [...new Set([...named, ...likely])];
  const lately = recent.filter(id => cars.has(id) && !ids.includes(id));
  return [...ids, ...lately].slice(0, MOST_OFFERED).map(id => ({ id, score: score.get(id), isLately: lately.includes(id) }));
};
const noteOf = ({ score, isLately }) => [score !== undefined && percent(score), isLately && "lately"].filter(Boolean).join(" · ");
picker($("bulk"), id => { remember(id); bulk(() => answer("car", [id]), name(id)); }, typed => newCar(typed, () => $("bulk").focus()));
picker($("pick"), (id, more) => picked(id, more), typed => newCar(typed, id => picked(id)));
picker($("grouppick"), id => nameGroup(answer("car", [id])), typed => newCar(typed, id => nameGroup(answer("car", [id]))));
