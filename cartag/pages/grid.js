"use strict";
const $ = id => document.getElementById(id);
const make = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
// A path of which the folder gives way first: where there is no room for all of it, the file's name can still be read.
const pathOf = path => {
  const at = path.lastIndexOf("/") + 1, span = make("span", "path parted");
  if (at) span.append(make("span", "folder", path.slice(0, at)));
  span.append(make("span", "file", path.slice(at)));
  return span;
};
const number = n => n.toLocaleString("en");
const many = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;
const percent = score => (score >= 0.9995 ? "100" : (100 * score).toFixed(score < 0.1 ? 1 : 0)) + " %";
const plain = text => text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
const option = (value, text) => { const o = make("option", "", text); o.value = value; return o; };

// A box over a picture, [x, y, width, height] in fractions of it: so it grows and shrinks with it.
const place = (box, [x, y, w, h]) => {
  Object.assign(box.style, { left: 100 * x + "%", top: 100 * y + "%", width: 100 * w + "%", height: 100 * h + "%" });
  box.classList.toggle("low", y < 0.06);
  box.classList.toggle("far", x > 0.6);
  return box;
};
const captioned = (box, at, text) => { box.append(make("span", "", text)); return place(box, at); };
// Boxes with their names over a picture that fills its frame, which may cut two of its sides off.
const overlay = ({ width, height }, boxes) => {
  const over = make("span", 2 * width > 3 * height ? "over wide" : "over");
  over.style.aspectRatio = `${width} / ${height}`;
  over.append(...boxes.map(([at, text, kind = ""]) => captioned(make("span", `box ${kind}`.trim()), at, text)));
  return over;
};

// A picture with two lines below it; what a tile says is up to the page.
const tile = (picture, missing, ...words) => {
  const button = make("button", "tile"), frame = make("span", "picture"), text = make("span", "words");
  if (picture) {
    const image = make("img");
    image.alt = "";
    image.decoding = "async";
    image.src = picture;
    image.onerror = () => { frame.textContent = missing; };
    frame.append(image);
  } else frame.textContent = missing;
  text.append(...words);
  button.append(frame, text);
  return button;
};

// Opens a dialog, and closes it with what follows: at once, since the browser's own event comes with the next frame, and a quick
// key before it would meet the list as it was. Alone that event comes where the browser closes one by itself.
const opening = dialog => { dialog.showModal(); dialog.isDue = true; };
const closing = (dialog, after) => {
  const close = () => {
    if (dialog.open) dialog.close();
    if (dialog.isDue) { dialog.isDue = false; after(); }
  };
  dialog.addEventListener("close", () => { if (!dialog.open) close(); });
  return close;
};

// Only the rows in view are in the page, so that 50,000 photos weigh as little as 50. `item(i)` makes the list item of
// tile i, with a button of class "tile" in it; the arrow keys, Home and End move between them.
class Grid {
  constructor(list, item) {
    Object.assign(this, { list, item, count: 0, at: 0, tiles: new Map(), layout: null });
    list.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.layout.columns, ArrowUp: -this.layout.columns }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey || !this.count) return;
      if (step) this.move(this.at + step);
      else if (event.key === "Home") this.move(0);
      else if (event.key === "End") this.move(this.count - 1);
      else return;
      event.preventDefault();
    });
    addEventListener("scroll", () => requestAnimationFrame(() => this.draw()), { passive: true });
    addEventListener("resize", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(document.body);
  }
  show(count, at = 0) {
    Object.assign(this, { count, at: Math.max(0, Math.min(at, count - 1)) });
    this.draw(true);
  }
  measure() {
    const gap = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--gap"));
    const inside = this.list.clientWidth, least = innerWidth <= 620 ? 150 : 230;
    const columns = Math.max(1, Math.floor((inside + gap) / (least + gap)));
    const width = (inside - gap * (columns - 1)) / columns;
    const text = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;  // what lies below the picture grows with it
    return { columns, gap, width, height: Math.round(width * 2 / 3 + text * (innerWidth <= 620 ? 68 : 62)) };
  }
  draw(anew) {
    const { columns, gap, width, height } = (this.layout = this.measure()), row = height + gap, tiles = this.tiles;
    this.list.style.height = Math.max(0, Math.ceil(this.count / columns) * row - gap) + "px";
    const top = -this.list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / row) - 2) * columns;
    const last = Math.min(this.count, (Math.ceil((top + innerHeight) / row) + 2) * columns);
    if (anew) { this.list.replaceChildren(); tiles.clear(); }
    for (const [i, li] of tiles) if (i < first || i >= last) if (!li.contains(document.activeElement)) { li.remove(); tiles.delete(i); }
    for (let i = first; i < last; i++) {
      let li = tiles.get(i);
      if (!li) {
        li = this.made(i);
        const next = [...tiles.keys()].filter(j => j > i).sort((a, b) => a - b)[0];
        this.list.insertBefore(li, next === undefined ? null : tiles.get(next));
        tiles.set(i, li);
      }
      Object.assign(li.style, { left: (i % columns) * (width + gap) + "px", top: Math.floor(i / columns) * row + "px", width: width + "px", height: height + "px" });
    }
    this.rove();
  }
  made(i) {
    const li = this.item(i);
    li.setAttribute("aria-setsize", this.count);
    li.setAttribute("aria-posinset", i + 1);
    this.button(li).addEventListener("focus", () => { this.at = i; this.rove(); });
    return li;
  }
  button(li) { return li.querySelector(".tile"); }
  rove() { for (const [i, li] of this.tiles) this.button(li).tabIndex = i === this.at || (!this.tiles.has(this.at) && li === this.list.firstChild) ? 0 : -1; }
  move(to) {
    this.at = Math.min(this.count - 1, Math.max(0, to));
    const row = this.layout.height + this.layout.gap, y = this.list.getBoundingClientRect().top + Math.floor(this.at / this.layout.columns) * row;
    if (y < 80) scrollBy(0, y - 80); else if (y + row > innerHeight) scrollBy(0, y + row - innerHeight);
    this.draw();
    const li = this.tiles.get(this.at);
    if (li) this.button(li).focus({ preventScroll: true });
  }
}
