"use strict";
// --- picking a car by typing: a combobox (WAI-ARIA) ---
// While nothing is typed it lists all cars; Enter picks none of them before an arrow key has gone to one.
// A name that the catalog lacks can be added to it: `added(name)` is asked then.
const picker = (input, picked, added) => {  // `picked(id, more)`: more with Shift
  const list = make("ul");
  let found = [], at = -1, there = "";  // `there`: where the field stood when the list was put beside it
  list.id = input.id + "-list";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Cars of the catalog");
  list.hidden = true;
  input.after(list);
  for (const [key, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id })) input.setAttribute(key, value);
  const draw = () => {
    const wanted = plain(input.value).split(/\s+/).filter(Boolean), first = car => wanted.length && car.text.startsWith(wanted[0]);
    found = [...cars.values()].filter(car => wanted.every(word => car.text.includes(word)));
    found.sort((a, b) => first(b) - first(a) || a.name.localeCompare(b.name));
    list.replaceChildren(...found.map((car, i) => row(i, car.name, event => pick(car, event.shiftKey))));
    if (wanted.length && !found.length) list.append(lacking(input.value.trim()));
    const wasHidden = list.hidden;
    list.hidden = !list.children.length;
    list.scrollTop = 0;
    if (wasHidden) put();
    input.setAttribute("aria-expanded", !list.hidden);
    mark(wanted.length ? 0 : -1);
  };
  const row = (i, text, chosen) => {
    const li = make("li", "", text);
    li.id = `${list.id}-${i}`;
    li.setAttribute("role", "option");
    li.addEventListener("click", chosen);
    return li;
  };
  const lacking = typed => Object.assign(row(0, `Not in the catalog: add “${typed}” …`, () => add()), { className: "nothing" });
  const mark = to => {
    at = to;
    [...list.children].forEach((li, i) => li.setAttribute("aria-selected", i === at));
    if (at >= 0) input.setAttribute("aria-activedescendant", `${list.id}-${at}`); else input.removeAttribute("aria-activedescendant");
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };
  // Where there is more room, below or above, over whatever lies there; and there it stays, wherever the field goes.
  const put = () => {
    if (list.hidden) return;
    requestAnimationFrame(put);
    const { left, top, bottom, width } = input.getBoundingClientRect(), here = [left, top, width, innerWidth, innerHeight].join();
    if (here === there) return;
    there = here;
    const below = innerHeight - bottom, isBelow = below >= Math.min(top, MOST_HIGH);
    const wide = Math.min(Math.max(width, LEAST_WIDE), innerWidth - 2 * AWAY);
    Object.assign(list.style, {
      left: Math.max(AWAY, Math.min(left, innerWidth - wide - AWAY)) + "px", width: wide + "px", maxHeight: Math.min((isBelow ? below : top) - 2 * AWAY, MOST_HIGH) + "px",
      top: isBelow ? bottom + AWAY / 2 + "px" : "auto", bottom: isBelow ? "auto" : innerHeight - top + AWAY / 2 + "px",
    });
  };
  const add = () => { const typed = input.value.trim(); clear(); added(typed); };
  const shut = () => { list.hidden = true; input.setAttribute("aria-expanded", false); mark(-1); };
  const clear = () => { input.value = ""; shut(); };
  const pick = (car, more) => { clear(); picked(car.id, more); };
  list.addEventListener("mousedown", event => event.preventDefault());  // the field keeps the keyboard
  input.addEventListener("input", draw);
  input.addEventListener("focus", draw);
  input.addEventListener("click", () => { if (list.hidden) draw(); });
  input.addEventListener("blur", clear);
  input.addEventListener("keydown", event => {
    event.stopPropagation();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      if (list.hidden) draw();
      if (found.length) mark(at < 0 ? (step > 0 ? 0 : found.length - 1) : (at + step + found.length) % found.length);
    } else if (event.key === "Enter" && found[at] && !list.hidden) pick(found[at], event.shiftKey);
    else if (event.key === "Enter") { if (!input.value.trim()) return; add(); }
    else if (event.key === "Escape") { clear(); leave(input); }
    else return;
    event.preventDefault();
  });
};
const AWAY = 8, MOST_HIGH = 440, LEAST_WIDE = 260;  // pixels
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
