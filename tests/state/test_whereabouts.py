"""A person's word belongs to the photo: the table of `docs/architecture.md`, row by row, and against a model of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from conftest import CountingEncoder, Gallery, Seen, human_tags, image_bytes, later, picture, write_catalog
from hypothesis import HealthCheck, given, settings, strategies as st
from notes import tag

import cartag.encoder
from cartag.state.whereabouts import Word, content_aside, place_words

# --- the table, without files -------------------------------------------------------------------------------------

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
GONE_A = f"1.jpg (gone {A[:12]})"
ROWS: dict[
    str, tuple[dict[str, Word], dict[str, str | None], dict[str, str | None], dict[str, str], dict[str, str]]
] = {
    # words, before, now -> where they are, what is missing
    "same content": ({"1.jpg": Word(A)}, {"1.jpg": A}, {"1.jpg": A}, {"1.jpg": "1.jpg"}, {}),
    "renamed": ({"1.jpg": Word(A)}, {"1.jpg": A}, {"2.jpg": A}, {"2.jpg": "1.jpg"}, {}),
    "swapped": (
        {"1.jpg": Word(A), "2.jpg": Word(B)},
        {"1.jpg": A, "2.jpg": B},
        {"1.jpg": B, "2.jpg": A},
        {"1.jpg": "2.jpg", "2.jpg": "1.jpg"},
        {},
    ),
    "moved up": (
        {"1.jpg": Word(A), "2.jpg": Word(B), "3.jpg": Word(C)},
        {"1.jpg": A, "2.jpg": B, "3.jpg": C},
        {"1.jpg": B, "2.jpg": C},
        {"1.jpg": "2.jpg", "2.jpg": "3.jpg"},
        {GONE_A: "1.jpg"},
    ),
    "new photo under an old name": (
        {"1.jpg": Word(A)},
        {"1.jpg": A},
        {"1.jpg": B, "old/1.jpg": A},
        {"old/1.jpg": "1.jpg"},
        {},
    ),
    "a known photo over it": (
        {"1.jpg": Word(A)},
        {"1.jpg": A, "2.jpg": B},
        {"1.jpg": B, "2.jpg": B},
        {},
        {GONE_A: "1.jpg"},
    ),
    "edited": ({"1.jpg": Word(A)}, {"1.jpg": A}, {"1.jpg": B}, {"1.jpg": "1.jpg"}, {}),
    "gone": ({"1.jpg": Word(A)}, {"1.jpg": A}, {}, {}, {"1.jpg": "1.jpg"}),
    "gone, and another came": ({"1.jpg": Word(A, True)}, {"1.jpg": A}, {"1.jpg": B}, {}, {GONE_A: "1.jpg"}),
    "gone, and back": ({"1.jpg": Word(A, True)}, {"1.jpg": A}, {"1.jpg": A}, {"1.jpg": "1.jpg"}, {}),
    "set aside, and back": ({GONE_A: Word(A, True)}, {GONE_A: A}, {"7.jpg": A}, {"7.jpg": GONE_A}, {}),
    "set aside, still": ({GONE_A: Word(A, True)}, {GONE_A: A}, {"1.jpg": B}, {}, {GONE_A: GONE_A}),
    "a copy takes nothing": ({"1.jpg": Word(A)}, {"1.jpg": A}, {"0.jpg": A, "1.jpg": A}, {"1.jpg": "1.jpg"}, {}),
    "the name that is new to it comes before a copy": (
        {"1.jpg": Word(A)},
        {"0.jpg": A, "1.jpg": A},
        {"0.jpg": A, "2.jpg": A},
        {"2.jpg": "1.jpg"},
        {},
    ),
    "a copy that was there": ({"1.jpg": Word(A)}, {"0.jpg": A, "1.jpg": A}, {"0.jpg": A}, {"0.jpg": "1.jpg"}, {}),
    "equal photos, a word each": (
        {"1.jpg": Word(A), "2.jpg": Word(A)},
        {"1.jpg": A, "2.jpg": A},
        {"3.jpg": A, "4.jpg": A},
        {"3.jpg": "1.jpg", "4.jpg": "2.jpg"},
        {},
    ),
    "equal photos, one of them gone": (
        {"1.jpg": Word(A), "2.jpg": Word(A)},
        {"1.jpg": A, "2.jpg": A},
        {"1.jpg": A},
        {"1.jpg": "1.jpg"},
        {"2.jpg": "2.jpg"},
    ),
    "cannot be read": ({"1.jpg": Word(A)}, {"1.jpg": A}, {"1.jpg": None, "2.jpg": A}, {"1.jpg": "1.jpg"}, {}),
    "no hash, something new": ({"1.jpg": Word(None)}, {"1.jpg": None}, {"1.jpg": B}, {"1.jpg": "1.jpg"}, {}),
    "no hash, a known photo": (
        {"1.jpg": Word(None)},
        {"1.jpg": None, "2.jpg": B},
        {"1.jpg": B},
        {},
        {"1.jpg (gone)": "1.jpg"},
    ),
    "no hash, something that has a copy": (
        {"1.jpg": Word(None)},
        {"1.jpg": None, "2.jpg": B},
        {"1.jpg": B, "2.jpg": B},
        {"1.jpg": "1.jpg"},
        {},
    ),
    "one that could not be read, and a copy of a third photo in its place": (
        {"1.jpg": Word(None), "2.jpg": Word(A), "3.jpg": Word(A)},
        {"1.jpg": None, "2.jpg": A, "3.jpg": A},
        {"1.jpg": A, "2.jpg": A},
        {"1.jpg": "3.jpg", "2.jpg": "2.jpg"},
        {"1.jpg (gone)": "1.jpg"},
    ),
    "two set aside under one name": (
        {GONE_A: Word(A, True), "1.jpg": Word(A)},
        {GONE_A: A, "1.jpg": A, "2.jpg": B},
        {"1.jpg": B},
        {},
        {GONE_A: GONE_A, f"1.jpg (gone {A[:12]}, 2)": "1.jpg"},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table(row: str) -> None:
    words, before, now, at, missing = ROWS[row]
    where = place_words(words, before, now)
    assert (where.at, where.missing) == (at, missing)
    assert where.edited == (("1.jpg",) if row == "edited" else ())


def test_what_cannot_be_read_as_a_picture_says_not_that_it_is_another_one() -> None:
    for damaged in (B, ""):
        where = place_words({"1.jpg": Word(A)}, {"1.jpg": A}, {"1.jpg": damaged}, {"1.jpg"})
        assert (where.at, where.edited) == ({"1.jpg": "1.jpg"}, ())
        assert place_words(
            {"1.jpg": Word(A, is_missing=True)}, {"1.jpg": A}, {"1.jpg": damaged}, {"1.jpg"}
        ).missing == {GONE_A: "1.jpg"}, "half a file may be half of any photo"
    words = {"1.jpg": Word(A, is_missing=True)}
    assert place_words(words, {"1.jpg": A}, {"1.jpg": "", "2.jpg": A}, {"1.jpg"}).at == {"2.jpg": "1.jpg"}


def test_a_name_that_was_set_aside_tells_its_content() -> None:
    assert content_aside(GONE_A, [B, None, "", A]) == A
    assert content_aside(f"1.jpg (gone {A[:12]}, 2)", [A]) == A
    assert content_aside(GONE_A, [B]) is content_aside("1.jpg", [A]) is content_aside("1.jpg (gone)", [A]) is None


_contents = st.sampled_from([A, B, C, D])
_names = st.sampled_from(["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"])


@given(
    before=st.dictionaries(_names, _contents | st.none()),
    now=st.dictionaries(_names, _contents | st.none() | st.just("")),
    data=st.data(),
)
def test_no_word_is_lost_doubled_or_on_a_photo_that_it_is_not_of(
    before: dict[str, str | None], now: dict[str, str | None], data: st.DataObject
) -> None:
    spoken = data.draw(st.lists(st.sampled_from(sorted(before)), unique=True)) if before else []
    words = {path: Word(before[path], data.draw(st.booleans())) for path in spoken}
    where = place_words(words, before, now)
    assert sorted((*where.at.values(), *where.missing.values())) == sorted(words)
    assert not set(where.at) & set(where.missing)
    assert set(where.at) <= set(now)
    assert not set(where.missing) & set(now)
    for path, old in where.at.items():
        assert words[old].sha256 == now[path] or path == old
    settled = {path: Word(now[path] or words[old].sha256) for path, old in where.at.items()}
    kept = {path: Word(words[old].sha256, is_missing=True) for path, old in where.missing.items()}
    again = place_words(settled | kept, now | {path: word.sha256 for path, word in kept.items()}, now)
    assert again.homes == {path: path for path in settled | kept}, "and there it stays"


# --- in galleries -------------------------------------------------------------------------------------------------


def words(gallery: Gallery) -> dict[str, str]:
    """What people said, by path."""
    return {photo["path"]: tags[0]["car"] for photo in gallery.raw()["photos"] if (tags := human_tags(photo))}


@pytest.fixture
def three(gallery: Gallery) -> Gallery:
    """Three photos, a word on each: red, yellow, blue."""
    for i, (colour, car) in enumerate([("red", "red-racer"), ("yellow", "yellow-yeti"), ("blue", "blue-bolt")], 1):
        later(gallery.paint(f"{i}.jpg", colour, mark=i))
        os.utime(gallery.path / f"{i}.jpg", ns=(0, i * 10**9))
        gallery.tag()
        gallery.tag_by_hand(f"{i}.jpg", car, box=[0.1 * i, 0.1, 0.2, 0.2], who=f"Linh {i}")
        gallery.edit_photo(f"{i}.jpg", **{"x-rating": i})
    return gallery


def swap(gallery: Gallery, one: str, two: str) -> None:
    (gallery.path / one).rename(gallery.path / "swap")
    (gallery.path / two).rename(gallery.path / one)
    (gallery.path / "swap").rename(gallery.path / two)


def test_after_renumbering_every_word_is_on_its_photo(three: Gallery) -> None:
    before = {name: three.record(name) for name in ("1.jpg", "2.jpg", "3.jpg")}
    (three.path / "1.jpg").unlink()
    (three.path / "2.jpg").rename(three.path / "1.jpg")
    (three.path / "3.jpg").rename(three.path / "2.jpg")
    aside = f"1.jpg (gone {before['1.jpg']['sha256'][:12]})"
    moved, waits = tag(three)
    assert moved == "index: what a person said went with its photo, 2.jpg is 1.jpg now (and 1 more)"
    assert (
        waits
        == f"index: what a person said waits for its photo: 1.jpg is another one now, so it is kept as {aside}, missing"
    )
    assert three.record("1.jpg") == {**before["2.jpg"], "path": "1.jpg"}, "tags, boxes, and fields of others"
    assert three.record("2.jpg") == {**before["3.jpg"], "path": "2.jpg"}
    assert three.record(aside) == {**before["1.jpg"], "path": aside, "missing": True}
    index = three.index_file.read_bytes()
    assert tag(three) == []
    assert three.index_file.read_bytes() == index
    three.paint("back.jpg", "red", mark=1)
    assert tag(three) == [f"index: what a person said went with its photo, {aside} is back.jpg now"]
    assert human_tags(three.record("back.jpg")) == human_tags(before["1.jpg"])
    assert three.record("back.jpg")["x-rating"] == 1
    assert "missing" not in three.record("back.jpg")


@pytest.mark.parametrize("options", [{}, {"retag": True}, {"threshold": 0.3}])
def test_swapped_names_swap_their_words(three: Gallery, options: dict[str, Any]) -> None:
    three.edit_photo("2.jpg", confirmed=True, by_model={"outcome": "no-car", "tags": [], "candidates": []})
    before = {name: three.record(name) for name in ("1.jpg", "2.jpg")}
    swap(three, "1.jpg", "2.jpg")
    tag(three, **options)
    assert three.record("1.jpg")["by_model"]["tags"][0]["car"] == "yellow-yeti", "the model was asked again"
    after = {key: value for key, value in three.record("1.jpg").items() if key != "by_model"}
    assert after == {key: value for key, value in before["2.jpg"].items() if key != "by_model"} | {"path": "1.jpg"}
    assert three.record("2.jpg") == {**before["1.jpg"], "path": "2.jpg"}


def test_a_swap_that_keeps_size_and_time_is_told_by_a_retag(gallery: Gallery) -> None:
    for name, colour in (("1.png", "red"), ("2.png", "blue")):
        gallery.paint(name, colour)
        data = (gallery.path / name).read_bytes().ljust(400, b"\0")
        (gallery.path / name).write_bytes(data)
        os.utime(gallery.path / name, ns=(0, 10**9))
    gallery.tag()
    gallery.tag_by_hand("1.png", "red-racer")
    swap(gallery, "1.png", "2.png")
    tag(gallery, retag=True)
    assert words(gallery) == {"2.png": "red-racer"}


def test_an_edited_photo_keeps_its_word_and_that_is_said_once(three: Gallery) -> None:
    later(three.paint("2.jpg", "green", mark=9))
    assert tag(three) == [
        "index: what a person said stays on 2.jpg, whose content is new: look whether it holds",
    ]
    assert words(three) == {"1.jpg": "red-racer", "2.jpg": "yellow-yeti", "3.jpg": "blue-bolt"}
    assert three.record("2.jpg")["x-rating"] == 2
    assert tag(three) == []


def test_a_new_photo_under_an_old_name_has_the_models_word(three: Gallery) -> None:
    (three.path / "old").mkdir()
    (three.path / "1.jpg").rename(three.path / "old/1.jpg")
    three.paint("1.jpg", "blue", mark=7)
    tag(three)
    assert words(three) == {"old/1.jpg": "red-racer", "2.jpg": "yellow-yeti", "3.jpg": "blue-bolt"}
    assert [tag["car"] for tag in three.record("1.jpg")["tags"]] == ["blue-bolt"]
    assert (three.record("old/1.jpg")["x-rating"], three.record("1.jpg").get("x-rating")) == (1, None)


def test_a_name_that_was_empty_for_a_run_is_not_taken_for_an_edit(three: Gallery) -> None:
    (three.path / "1.jpg").unlink()
    tag(three)
    three.paint("1.jpg", "blue", mark=7)
    (said,) = tag(three)
    assert "1.jpg is another one now" in said
    assert "missing" not in three.record("1.jpg")
    assert human_tags(three.record("1.jpg")) == []
    assert "red-racer" in words(three).values()


def test_what_is_still_on_its_way_under_the_name_of_a_photo_that_had_gone_takes_nothing(three: Gallery) -> None:
    (three.path / "1.jpg").unlink()
    tag(three)
    for half in (b"", b"\xff\xd8\xff half of it"):
        (three.path / "1.jpg").write_bytes(half)
        tag(three)
        assert "1.jpg" not in words(three)
    three.paint("1.jpg", "blue", mark=7)
    tag(three)
    assert "1.jpg" not in words(three)
    three.paint("back.jpg", "red", mark=1)
    tag(three)
    assert words(three) == {"back.jpg": "red-racer", "2.jpg": "yellow-yeti", "3.jpg": "blue-bolt"}


def test_a_name_in_other_bytes_is_the_name_that_is_opened(gallery: Gallery) -> None:
    """As after a copy by way of a Mac: the same identity, another name on disk, size and time as they were."""
    nfc, nfd = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    gallery.paint(nfc, "red")
    gallery.tag()
    gallery.tag_by_hand(nfc, "red-racer")
    for one, two in ((nfc, nfd), (nfd, nfc)):
        (gallery.path / one).rename(gallery.path / two)
        assert tag(gallery) == []
        (hit,) = cartag.find(gallery.path, ["red racer"])
        assert Path(hit.file).exists()
    assert "path_on_disk" not in gallery.record(nfc)


def test_a_photo_that_could_not_be_read_for_a_run_is_known_when_it_is_found_elsewhere(three: Gallery) -> None:
    data = (three.path / "1.jpg").read_bytes()
    (three.path / "1.jpg").write_bytes(b"")
    tag(three)
    assert three.record("1.jpg")["error"]["reason"] == "empty"
    assert words(three)["1.jpg"] == "red-racer"
    (three.path / "9.jpg").write_bytes(data)
    tag(three)
    assert words(three) == {"9.jpg": "red-racer", "2.jpg": "yellow-yeti", "3.jpg": "blue-bolt"}


def test_fields_of_other_programs_go_with_photos_that_nobody_spoke_of(three: Gallery) -> None:
    for name in ("1.jpg", "2.jpg"):
        three.edit_photo(name, tags=[])
    swap(three, "1.jpg", "2.jpg")
    tag(three)
    assert (three.record("1.jpg")["x-rating"], three.record("2.jpg")["x-rating"]) == (2, 1)
    (three.path / "1.jpg").unlink()
    (three.path / "2.jpg").rename(three.path / "1.jpg")
    tag(three)
    assert three.record("1.jpg")["x-rating"] == 1


def test_a_word_goes_to_a_copy_that_is_as_it_was(three: Gallery) -> None:
    shutil.copy2(three.path / "1.jpg", three.path / "copy.jpg")
    tag(three)
    (three.path / "1.jpg").unlink()
    tag(three)
    assert words(three) == {"copy.jpg": "red-racer", "2.jpg": "yellow-yeti", "3.jpg": "blue-bolt"}
    record = three.record("copy.jpg")
    assert [(tag["car"], tag["source"]) for tag in record["tags"]] == [("red-racer", "human")]


# --- against a model ----------------------------------------------------------------------------------------------

NAMES = ("a.png", "b.png", "d/a.png", "é.png")
_verb = st.sampled_from(
    ["rename", "swap", "rename", "swap", "copy", "new", "delete", "stash", "back", "empty", "garbage", "stop"]
)
_then = st.sampled_from(["tag", "tag", "say", "nothing"])
_steps = st.lists(st.tuples(_verb, st.integers(0, 3), st.sampled_from(NAMES), _then), min_size=6, max_size=20)
Steps = list[tuple[str, int, str, str]]


@dataclass
class Spoken:
    """A word in the model: what it is of, and where."""

    content: bytes
    path: str
    is_missing: bool = False


@dataclass
class Model:
    """Files as bytes, words by number, and what the last run knew; decides nothing, asserts the table."""

    gallery: Gallery
    known: dict[str, bytes] = field(default_factory=dict)
    """What the index has of each name."""
    spoken: dict[int, Spoken] = field(default_factory=dict)
    stashed: list[tuple[bytes, int]] = field(default_factory=list)
    clock: int = 0

    # --- what happens to files

    def files(self) -> dict[str, bytes]:
        found = {name: self.gallery.path / name for name in NAMES}
        return {name: path.read_bytes() for name, path in found.items() if path.exists()}

    def write(self, name: str, data: bytes, mtime: int | None = None) -> None:
        path = self.gallery.path / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        self.clock += 1
        os.utime(path, ns=(0, mtime if mtime is not None else self.clock * 10**9))

    def do(self, verb: str, one: str, two: str) -> None:
        a, b = self.gallery.path / one, self.gallery.path / two
        b.parent.mkdir(exist_ok=True)
        if verb == "new":
            self.write(one, image_bytes(picture("red", mark=self.clock + 1, size=(48, 8)), "PNG"))
        elif verb in ("empty", "garbage"):
            self.write(one, b"" if verb == "empty" else b"no photo %d" % self.clock)
        elif verb == "back" and self.stashed:
            self.write(one, *self.stashed.pop())
        elif verb == "swap" and a.exists() and b.exists() and one != two:
            swap(self.gallery, one, two)
        elif verb == "rename" and a.exists():
            a.replace(b)
        elif verb == "copy" and a.exists() and one != two:
            shutil.copy2(a, b)
        elif verb in ("delete", "stash") and a.exists():
            if verb == "stash":
                self.stashed.append((a.read_bytes(), a.stat().st_mtime_ns))
            a.unlink()

    # --- runs

    def tag(self) -> None:
        self.gallery.tag()
        now, records = self.files(), self.gallery.raw()["photos"]
        seen = set(self.known.values()) | {word.content for word in self.spoken.values()}
        for number, word in self.spoken.items():
            (record,) = [record for record in records if number in _numbers(record)]
            self._check(word, record, now, seen)
        for content in {word.content for word in self.spoken.values()}:
            homes = [_find(records, n)["path"] for n, word in self.spoken.items() if word.content == content]
            copies = [name for name, data in now.items() if data == content]
            assert len({*homes} & {*copies}) == min(len(homes), len(copies)), "as many as can be are on photos"
        for number, word in self.spoken.items():
            record = _find(records, number)
            word.path, word.is_missing = record["path"], "missing" in record
            if not word.is_missing and now[word.path]:
                word.content = now[word.path]
            assert record["sha256"] == hashlib.sha256(word.content).hexdigest()
        self.known = {name: data for name, data in now.items() if data}
        assert {record["path"] for record in records if "missing" not in record} == set(now)

    def _check(self, word: Spoken, record: dict[str, Any], now: dict[str, bytes], seen: set[bytes]) -> None:
        path, there = record["path"], now.get(word.path)
        if there == word.content:
            assert path == word.path, "its name has its content"
        elif path in now and now[path] == word.content:
            assert "missing" not in record, "it went with its content"
        elif there is None:
            assert (path, "missing" in record) == (word.path, True), "it waits under its name"
        elif there in seen or word.is_missing:
            assert "missing" in record, "another photo has its name"
            assert path not in now
        else:
            assert path == word.path, "edited, or damaged"
            assert "missing" not in record

    def stop(self, interrupted: Callable[[Gallery], None]) -> None:
        before = self.gallery.raw()["photos"] if self.gallery.index_file.exists() else []
        try:
            interrupted(self.gallery)
        except RuntimeError:  # it came to its end: what it did is what the same again finds
            return self.tag()
        after = self.gallery.raw()["photos"] if self.gallery.index_file.exists() else []
        for number in self.spoken:
            assert _find(before, number) == _find(after, number)
        now, index = self.files(), {record["path"] for record in after}
        self.known |= {name: data for name, data in now.items() if name in index and name not in self.known and data}

    def say(self, name: str) -> None:
        """A person speaks of a photo, as the index knows it."""
        if self.files().get(name, b"").startswith(b"\x89PNG") and self.known.get(name) == self.files()[name]:
            record = self.gallery.record(name)
            if not _numbers(record) and "missing" not in record and "error" not in record:
                number = len(self.spoken)
                self.gallery.tag_by_hand(name, "blue-bolt", number=number)
                self.spoken[number] = Spoken(self.known[name], name)


def _numbers(record: dict[str, Any]) -> set[int]:
    return {tag["number"] for tag in record["tags"] if "number" in tag}


def _find(records: list[dict[str, Any]], number: int) -> dict[str, Any]:
    return next(record for record in records if number in _numbers(record))


class _Stopped(CountingEncoder):
    def embed_images(self, pixels: Any) -> Any:
        if self.seen.batches:
            raise KeyboardInterrupt
        return super().embed_images(pixels)


def _interrupted(gallery: Gallery) -> None:
    """A run that is stopped at its second photo, if it gets there."""
    load = cartag.encoder.load
    cartag.encoder.load = lambda *args, **kwargs: _Stopped(Seen())  # type: ignore[assignment]
    try:
        gallery.tag(batch_size=1)
    except KeyboardInterrupt:
        return
    finally:
        cartag.encoder.load = load
    raise RuntimeError("it was not stopped")


def _plays(steps: Steps) -> None:
    with TemporaryDirectory() as folder:
        (path := Path(folder) / "gallery").mkdir()
        model = Model(Gallery(path, write_catalog(Path(folder))))
        for name in NAMES[:3]:
            model.do("new", name, name)
        model.tag()
        for name in NAMES:
            model.say(name)
        for verb, which, two, then in steps:
            there = sorted(model.files()) or [two]
            if verb == "stop":
                model.stop(_interrupted)
            else:
                model.do(verb, there[which % len(there)], two)
            if then == "tag":
                model.tag()
            elif then == "say":
                model.say(two)
        model.tag()
        model.tag()


_slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(_slow, max_examples=12)
@given(_steps)
def test_whatever_happens_between_runs_every_word_is_on_its_photo(steps: Steps) -> None:
    _plays(steps)


@pytest.mark.stress
@pytest.mark.timeout(1800)
@settings(_slow, max_examples=600)
@given(_steps)
def test_whatever_happens_between_runs_often(steps: Steps) -> None:
    _plays(steps)
