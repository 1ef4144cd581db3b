"use strict";
// What looks like what: the surest photos of a car, those most like one photo, and the odd ones within a name.
const surest = new Map();     // id of a car -> its surest photos, best first; made anew after every change
const likeness = new Map();   // path -> how much it looks like `filter.like`
const oddness = new Map();    // path -> how little it looks like the others of its name
const likest = new Map();     // of photos that were open: path and box -> the photos most like it
const SUREST = 3, LIKEST = 6, REST = 150;

// A box of a photo in a frame of three by two, as large as it goes in; without a box the photo, cut to that.
const crop = (photo, box, size = "small") => {
  const frame = make("span", "crop"), image = make("img");
  image.alt = "";
  image.decoding = "async";
  if (photo.picture && photo.outcome !== "error") image.src = photo.picture(size);
  if (box && photo.width && photo.height) {
    const [x, y, w, h] = box, W = photo.width, H = photo.height;
    const scale = Math.max(Math.min(3 / (w * W), 2 / (h * H)), 3 / W, 2 / H), wide = scale * W / 3, high = scale * H / 2;
    const side = (middle, size) => Math.min(Math.max(0.5 - middle * size, 1 - size), 0);
    Object.assign(image.style, { width: 100 * wide + "%", height: 100 * high + "%", left: 100 * side(x + w / 2, wide) + "%", top: 100 * side(y + h / 2, high) + "%" });
  } else image.classList.add("all");
  frame.append(image);
  return frame;
};
const boxOfTag = (photo, id) => photo.tags.find(tag => tag.car === id)?.box ?? ((photo.regions ?? []).length === 1 ? photo.regions[0].box : null);

// Of each car the photos that show it most surely: those a person named, then by the model's score. All in one pass.
const sureOnes = id => {
  if (!surest.size) {
    for (const photo of photos) for (const tag of photo.tags) {
      if (photo.outcome === "error") continue;
      const ones = surest.get(tag.car) ?? [], score = thought(photo).find(({ car }) => car === tag.car)?.score ?? 0;
      const sure = score + (tag.human || photo.settled ? 2 : 0);
      if (ones.length > SUREST && sure <= ones[SUREST].sure) continue;
      ones.push({ photo, sure });
      ones.sort((a, b) => b.sure - a.sure);
      ones.length = Math.min(ones.length, SUREST + 1);
      surest.set(tag.car, ones);
    }
    surest.set("", []);
  }
  return surest.get(id) ?? [];
};
const sureOf = (id, but) => sureOnes(id).map(one => one.photo).filter(photo => photo !== but).slice(0, SUREST);
const surePictures = (id, but) => {
  const row = make("span", "sure");
  row.append(...sureOf(id, but).map(photo => crop(photo, boxOfTag(photo, id))));
  return row;
};

// --- beside the large view: what is most like it ---
let resting = 0;
const showLikest = () => {
  const photo = reel[current], key = JSON.stringify([photo.path, at]);
  clearTimeout(resting);
  drawLikest(photo, likest.get(key) ?? []);
  if (likest.has(key) || photo.gone || photo.outcome === "error") return;
  resting = setTimeout(async () => {
    if (!viewer.open) return;  // closed meanwhile, and perhaps cartag has ended
    const told = await ask("like", { path: photo.path, box: at, most: LIKEST }).catch(() => ({ like: [] }));
    likest.set(key, told.like.map(([path]) => path));
    if (viewer.open && reel[current] === photo && JSON.stringify([photo.path, at]) === key) drawLikest(photo, likest.get(key));
  }, REST);
};
const drawLikest = (photo, paths) => {
  const focused = [...$("likest").children].indexOf(document.activeElement);
  $("alike").hidden = Boolean(photo.gone) || photo.outcome === "error";
  $("likest").replaceChildren(...paths.map(path => byPath.get(path)).filter(Boolean).map(other => {
    const button = make("button", "small");
    button.type = "button";
    button.title = `${other.path}: ${words(stands(other))}`;
    button.ariaLabel = `Open ${other.path}: ${words(stands(other))}`;
    button.append(crop(other, other.tags[0] ? boxOfTag(other, other.tags[0].car) : (other.regions ?? [])[0]?.box));
    button.addEventListener("click", () => goTo(other));
    return button;
  }));
  if (focused >= 0) ($("likest").children[focused] ?? viewer).focus();
};
// It comes after the photo that is open, unless it is in the list: then she goes on from there.
const goTo = photo => {
  flush();
  const there = reel.indexOf(photo);
  if (there >= 0) current = there; else reel.splice(++current, 0, photo);
  begin();
};

// --- all photos, by likeness to one ---
const likeOption = () => { if (!$("order").querySelector("[value=like]")) $("order").append(option("like", "Most like a photo")); };
const byLikeness = async (path, box = null) => {
  likeness.clear();
  const told = await ask("like", { path, box });
  likeness.set(path, 2);
  for (const [other, much] of told.like) likeness.set(other, much);
};
const showLike = async () => {
  const { path } = reel[current], box = at;
  try {
    await byLikeness(path, box);
  } catch (error) {
    return trouble(error.message);
  }
  likeOption();
  Object.assign(filter, { q: "", state: "all", outcome: "", car: "", order: "like", like: path });
  $("search").value = "";
  $("order").value = "like";
  if (!viewer.open) return apply();
  shut();
  scrollTo(0, 0);
  if (shown.length) grid.move(0);
};
$("unlike").addEventListener("click", () => { Object.assign(filter, { order: "doubt", like: "" }); $("order").value = "doubt"; apply(); });

// --- the odd ones within a name ---
const byOddness = async () => {
  const told = await ask("odd", {});
  oddness.clear();
  for (const [path, much] of Object.entries(told.odd)) oddness.set(path, much);
};
// An order that cartag has to be asked for; what it says is shown as soon as it is there.
const fetchOrder = async () => {
  try {
    if (filter.order === "odd") await byOddness();
    else if (filter.order === "like" && filter.like && likeness.get(filter.like) !== 2) await byLikeness(filter.like);
    else return;
    apply();
  } catch (error) {
    trouble(error.message);
  }
};
