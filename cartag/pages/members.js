"use strict";
// The members of the group that is open: a click or Space takes one out that does not belong, Z shows its whole photo.
const HOW = "Take out what does not belong: click it, or Space. Then name the rest. What you took out comes back after the groups.";
const FEW = [[4, 2], [6, 3], [12, 4]];     // of so many members at most, so many stand in a row
let members = [], out = new Set();  // [photo, box]; the places of those that are taken out
const SEEN = 2 / 3;                 // of a picture, or of the window that it is larger than, has been in sight
let unseen = new Set();             // the places of those that have not
let looked = -1;                    // the place of the one whose whole photo is shown

const inIt = () => members.filter((_, i) => !out.has(i));
const memberButtons = () => [...$("members").querySelectorAll(".member")];
const drawMembers = () => {
  const few = FEW.find(([most]) => members.length <= most)?.[1];
  $("members").dataset.few = few ?? "";
  $("members").replaceChildren(...members.map(([photo, box], i) => {
    const li = make("li"), button = make("button", "member");
    button.type = "button";
    button.title = photo.path;
    button.tabIndex = i ? -1 : 0;
    button.append(crop(photo, box ?? (photo.regions ?? [])[0]?.box, few < 4 ? "large" : "small"), pathOf(photo.path));
    button.addEventListener("click", () => takeOut(i));
    button.addEventListener("dblclick", () => lookAt(i));  // its two clicks took it out and put it back
    button.addEventListener("focus", () => rove(i));
    li.append(button);
    return li;
  }));
  lookAt(-1);
  sheet.scrollTop = 0;
  unseen = new Set(members.keys());
};
// While cartag looks for groups, and when there are no more.
const showNone = () => {
  members = [];
  for (const id of ["members", "offers", "apart"]) $(id).replaceChildren();
  lookAt(-1);
  $("grouptitle").textContent = "Looking for what looks alike …";
  $("groupwhere").textContent = $("groupdone").textContent = "";
  $("nameall").hidden = $("more").hidden = true;
  group.focus();
};
const areMostlyNone = () => 2 * members.filter(([photo, box]) => (boxIn(photo, box) ?? photo).outcome === "no-car").length > members.length;
const rove = to => memberButtons().forEach((button, i) => { button.tabIndex = i === to ? 0 : -1; });
const marks = () => {
  look();
  memberButtons().forEach((button, i) => {
    button.setAttribute("aria-pressed", !out.has(i));
    button.setAttribute("aria-label", `${members[i][0].path}: ${out.has(i) ? "taken out" : "in the group"}`);
  });
  const n = inIt().length;
  const { isPooled, isAlone } = bunches[bunch];
  $("grouptitle").textContent = isAlone ? "One that you took out" : `${number(members.length)} that ${isPooled ? "are probably not in the catalog" : areMostlyNone() ? "probably show no car" : "look alike"}`;
  $("how").textContent = isAlone ? "Name it: one key, or any car by typing. What you skip stays to do." : HOW;
  $("nameall").firstChild.textContent = unseen.size ? `See the other ${number(unseen.size)} first ` : `${n === 1 ? "This" : `All ${number(n)}`}: ${words(proposedForAll())} `;
  $("nameall").disabled = !n && !unseen.size;
  $("more").hidden = !unseen.size;
  const isBelow = unseen.has(members.length - 1), keys = `${shownKey(keyOf("confirm", "group"))} or Page Down`;
  $("more").textContent = `${number(members.length - unseen.size)} of ${number(members.length)} shown, more ${isBelow ? "below" : "above"}: ${keys}`;
  groupWhere();
};

// --- no key names what was not in sight: the first ones go on to it ---
const sheet = group.querySelector(".sheet");
const look = () => {
  const { top, bottom, height } = sheet.getBoundingClientRect(), pictures = $("members").querySelectorAll(".crop");
  for (const i of unseen) {
    const its = pictures[i].getBoundingClientRect();
    if (Math.min(its.bottom, bottom) - Math.max(its.top, top) >= SEEN * Math.min(its.height, height)) unseen.delete(i);
  }
};
const lookOn = () => {
  look();
  if (!unseen.size) return false;
  const next = memberButtons()[Math.min(...unseen)];
  next.scrollIntoView({ block: "start" });
  next.focus({ preventScroll: true });
  marks();
  $("groupdone").textContent = `Nothing is named yet. ${unseen.size ? "There is more below." : "Now all were shown."}`;
  return true;
};
const lookAgain = () => { if (group.open && unseen.size) marks(); };
sheet.addEventListener("scroll", lookAgain, { passive: true });
// Groups are counted as `showGroup` goes through them: a photo that is being saved changes nothing.
const groupWhere = () => {
  if (!group.open || !members.length) return;
  const rest = bunches.slice(bunch + 1).filter(isWorth).length, what = bunches[bunch].isAlone ? "photo" : "group";
  const more = rest ? `${number(rest)} more ${what}${rest === 1 ? "" : "s"}` : `the last ${what}`;
  $("groupwhere").textContent = [out.size && `${number(out.size)} taken out`, more, `${number(photos.filter(isDone).length)} of ${number(photos.length)} settled`].filter(Boolean).join(" · ");
};
const takeOut = i => { if (out.has(i)) out.delete(i); else out.add(i); marks(); };
const focusGroup = () => { ($("members").querySelector('.member[tabindex="0"]') ?? group).focus({ preventScroll: true }); };
const stepTo = (from, key) => {
  const all = memberButtons(), across = Math.max(1, all.filter(one => Math.abs(one.getBoundingClientRect().top - all[0].getBoundingClientRect().top) < 2).length);
  const to = { ArrowRight: from + 1, ArrowLeft: from - 1, ArrowDown: from + across, ArrowUp: from - across, Home: 0, End: all.length - 1 }[key];
  if (all[to]) all[to].focus();
  if (looked >= 0 && all[to]) lookAt(to);
};

// --- the whole photo of one, with its box ---
const lookAt = i => {
  looked = i;
  $("closer").hidden = i < 0;
  if (i < 0) return $("closerframe").replaceChildren();
  const [photo, box] = members[i], its = box ?? (photo.regions ?? [])[0]?.box;
  $("closerframe").replaceChildren(pictured(photo, false));
  if (its) $("closerframe").append(place(make("div", "box"), its));
  const image = $("closerframe").querySelector("img");
  if (image) image.alt = `${photo.path}: the whole photo`;
  $("closername").textContent = `${photo.path} · ${shownKey(keyOf("zoom", "group"))} or Esc: back`;
  lay($("closer"), $("closerframe"), photo, null);
};
addEventListener("resize", () => { if (looked >= 0) lookAt(looked); lookAgain(); });
$("closer").addEventListener("click", () => lookAt(-1));

// --- keys; true: that was one of ours ---
const memberKey = (event, action) => {
  const focused = memberButtons().indexOf(document.activeElement), isStep = event.key in ARROWS || event.key === "Home" || event.key === "End";
  if (isStep && focused >= 0) stepTo(focused, event.key);
  else if (isStep) focusGroup();
  else if (event.key === " " && focused >= 0) takeOut(focused);
  else if (event.key === "PageDown" && !action && unseen.size) lookOn();
  else if (action === "zoom" && members.length) lookAt(looked < 0 ? Math.max(0, focused) : -1);
  else if (event.key === "Escape" && looked >= 0) lookAt(-1);
  else return false;
  return true;
};
$("members").addEventListener("keyup", event => { if (event.key === " ") event.preventDefault(); });  // a button's own click
