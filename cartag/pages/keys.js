"use strict";
// Keys: the table comes from cartag (`reviewing/keys.py`, and what a person set otherwise), so that the page knows none by itself.
let keyTable = [];
const PLACES = { list: "Among all photos", photo: "In a photo", group: "In a group that looks alike" };
const FIXED = {
  list: [["← → ↑ ↓", "move"], ["Enter", "open, where none is chosen"], ["Space", "choose, or not"], ["Esc", "choose none"]],
  photo: [["1 – 9", "tick that car; Enter saves"], ["← →", "photo before, after"], ["Tab", "next box"], ["Esc", "leave drawing, moving or the pixels; else close the photo"]],
  group: [["1 – 9", "all are that car"], ["← → ↑ ↓", "move"], ["Space", "take one out, or back in"], ["Home End", "first, last"], ["Page Down", "the next ones, where not all are shown"], ["Esc", "close"]],
};
const SIGNS = { enter: "Enter", delete: "Del", backspace: "⌫" };
const keyOf = (action, where) => keyTable.find(one => one.action === action && one.where === where)?.key ?? "";
const shownKey = key => SIGNS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
// What a key does in a place; Ctrl-Z undoes everywhere, whatever the table says.
const does = (event, where) => {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) return key === "z" && !event.shiftKey ? "undo" : "";
  if (event.altKey) return "";
  return keyTable.find(one => one.where === where && one.key === key)?.action ?? "";
};
// By the key's place, not by what is on it: with Shift it says something else, and French keyboards have digits there.
const digitOf = event => /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1] ?? "";
const drawKeys = () => {
  for (const kbd of document.querySelectorAll("kbd[data-key]")) {
    const [where, action] = kbd.dataset.key.split(".");
    kbd.textContent = shownKey(keyOf(action, where));
  }
  $("keys").replaceChildren(...Object.entries(PLACES).map(([where, words]) => {
    const part = make("section"), list = make("dl"), actions = keyTable.filter(one => one.where === where);
    const rows = [...FIXED[where], ...actions.map(one => [shownKey(one.key), one.words])];
    for (const [key, what] of rows) {
      const dt = make("dt");
      dt.append(make("kbd", "", key));
      list.append(dt, make("dd", "", what));
    }
    part.append(make("h3", "", words), list);
    return part;
  }));
};
// The title has the focus: at the button below, the table would open scrolled down.
const help = () => { if (!$("help").open) { $("help").showModal(); $("helptitle").focus(); } };
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
