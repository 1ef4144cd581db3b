"""`learn` as a verb: from cached embeddings and hand labels to what the next `tag` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Gallery, Seen, counts, write_catalog
from typer.testing import CliRunner

import cartag
from cartag.cli import app
from cartag.errors import IndexFileError, LabelsError, UsageError
from cartag.learning.learned import load_learned
from cartag.scoring import calibration as calibrations
from cartag.scoring.calibration import Calibration
from cartag.values import Tag

# The fake model does not know what a Silver Ghost looks like ("silver" is a colour to it; "Phantom" is not).
NEW_CAR = """
name: colours
cars:
  - {name: Red Racer, make: Rossi}
  - {name: Phantom, make: Volt}
templates: ["a photo of a {name}."]
other_cars: [Orange Other]
no_car: [a photo of green grass., a photo of a white wall.]
"""


@pytest.fixture
def phantoms(gallery: Gallery, tmp_path: Path) -> Gallery:
    """Three red cars, three silver ones that the model cannot name, and things that are no car."""
    gallery.catalog = write_catalog(tmp_path, NEW_CAR, "phantom.yaml")
    for i in range(3):
        gallery.paint(f"red-{i}.jpg", "red", mark=i)
        gallery.paint(f"phantom-{i}.jpg", "silver", mark=i)
    gallery.paint("green.jpg", "green")
    gallery.tag()
    return gallery


def label(gallery: Gallery, *rows: str) -> Path:
    path = gallery.path.parent / "labels.csv"
    path.write_text("file,label\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_one_labelled_photo_of_a_new_car_finds_the_others(phantoms: Gallery) -> None:
    assert phantoms.outcomes()["phantom-1.jpg"] != "tagged"
    report = cartag.learn(
        phantoms.path, label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer", "green.jpg,none")
    )
    assert report.kept
    assert counts(phantoms.tag()) == (0, 7, 0, 0), "scored from the cache, nothing embedded"
    assert phantoms.find("phantom") == ["phantom-0.jpg", "phantom-1.jpg", "phantom-2.jpg"]
    assert phantoms.find("red racer") == ["red-0.jpg", "red-1.jpg", "red-2.jpg"]
    assert counts(phantoms.tag()) == (7, 0, 0, 0), "and then it stands"
    (phantom,) = [car for car in report.cars if car.car == "phantom"]
    assert (phantom.labels, phantom.adapted, phantom.wants) == (1, True, 7)


def test_nothing_is_embedded_or_loaded_to_learn(phantoms: Gallery, forbid_encoder: Callable[[], None]) -> None:
    forbid_encoder()
    cartag.learn(phantoms.path, label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer"))


def test_what_the_gallery_shows_is_said_where_labels_are_no_fair_sample_of_it(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartag.learning.splits.NEAR_DUPLICATE", 2)  # to the fake model all photos of a colour are one
    monkeypatch.setattr("cartag.learning.learning._helps", lambda *arguments: True)
    for name, many in (("red", 6), ("blue", 6), ("orange", 40)):
        for i in range(many):
            gallery.paint(f"{name}-{i}.jpg", name, mark=10 * i + len(name))
    gallery.tag()
    rows = [f"red-{i}.jpg,Red Racer" for i in range(5)] + [f"blue-{i}.jpg,Blue Bolt" for i in range(5)]
    labels = label(gallery, *rows, *(f"orange-{i}.jpg,unknown" for i in range(4)))
    report = cartag.learn(gallery.path, labels)
    assert report.shares is not None
    assert set(report.shares) == {"car", "unknown"}, "of what has no label nothing is said"
    assert report.shares["car"] == pytest.approx(12 / 52, abs=0.08)
    result = CliRunner().invoke(app, ["learn", str(gallery.path), str(labels)])
    assert "what the gallery shows, about: a car of the catalog " in result.stdout
    as_json = CliRunner().invoke(app, ["learn", str(gallery.path), str(labels), "--format", "json"])
    assert json.loads(as_json.stdout)["shares"] == report.shares


def test_what_was_learned_outlives_the_state_folder(phantoms: Gallery) -> None:
    import shutil

    cartag.learn(phantoms.path, label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer"))
    shutil.rmtree(phantoms.path / ".cartag")
    phantoms.tag(retag=True)
    assert "phantom-1.jpg" in phantoms.find("phantom")


def test_deleting_what_was_learned_brings_the_old_answers_back(phantoms: Gallery) -> None:
    before = phantoms.outcomes()
    report = cartag.learn(phantoms.path, label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer"))
    phantoms.tag()
    assert phantoms.outcomes() != before
    for file in report.files:
        Path(file).unlink()
    phantoms.tag()
    assert phantoms.outcomes() == before


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, what: str, total: int | None) -> None: ...
    def advance(self, steps: int = 1) -> None: ...
    def finish(self) -> None: ...
    def note(self, message: str) -> None:
        self.notes.append(message)


def other_catalog(tmp_path: Path) -> Path:
    return write_catalog(tmp_path, NEW_CAR.replace("Orange Other", "Yellow Other"), "other.yaml")


def test_what_was_learned_is_learned_again_for_another_catalog(phantoms: Gallery, tmp_path: Path) -> None:
    cartag.learn(phantoms.path, label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer"))
    notes = Notes()
    phantoms.catalog = other_catalog(tmp_path)
    phantoms.tag(progress=notes)
    assert [n for n in notes.notes if "learned again from the 2 labels" in n]
    assert phantoms.find("phantom") == ["phantom-0.jpg", "phantom-1.jpg", "phantom-2.jpg"]
    assert counts(phantoms.tag()) == (7, 0, 0, 0), "and then it stands"


def test_labels_that_are_gone_leave_what_was_learned_alone_and_it_is_said(phantoms: Gallery, tmp_path: Path) -> None:
    labels = label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer")
    cartag.learn(phantoms.path, labels)
    labels.unlink()
    notes = Notes()
    phantoms.tag(progress=notes)
    assert "phantom-1.jpg" in phantoms.find("phantom")
    assert [n for n in notes.notes if "labels.csv" in n and "stays" in n]
    phantoms.tag(catalog=other_catalog(tmp_path), progress=notes)
    assert phantoms.find("phantom") == [], "it is of another catalog and cannot be used"
    assert (phantoms.path / "cartag.learned.json").is_file()


def test_an_index_of_labels_that_is_gone_leaves_what_was_learned_alone_too(phantoms: Gallery, tmp_path: Path) -> None:
    phantoms.tag_by_hand("phantom-0.jpg", "phantom")
    phantoms.tag_by_hand("red-0.jpg", "red-racer")
    backup = tmp_path / "backup" / "2025.json"
    backup.parent.mkdir()
    backup.write_bytes(phantoms.index_file.read_bytes())
    assert cartag.learn(phantoms.path, backup).kept
    backup.unlink()
    notes = Notes()
    phantoms.tag(progress=notes)
    assert phantoms.find("phantom") == ["phantom-0.jpg", "phantom-1.jpg", "phantom-2.jpg"]
    assert [n for n in notes.notes if f"{backup}: cannot be read; it is not there" in n and "stays" in n]
    backup.write_bytes(b"{")
    phantoms.tag(progress=notes)
    assert [n for n in notes.notes if f"{backup}: damaged" in n and "stays" in n]


def test_changed_labels_are_learned_from_by_the_next_run(phantoms: Gallery, forbid_encoder: Callable[[], None]) -> None:
    cartag.learn(phantoms.path, label(phantoms, "red-0.jpg,Red Racer", "green.jpg,none"))
    phantoms.tag()
    assert phantoms.find("phantom") == []
    label(phantoms, "red-0.jpg,Red Racer", "green.jpg,none", "phantom-0.jpg,Phantom")
    notes = Notes()
    forbid_encoder()
    phantoms.tag(progress=notes)
    assert [n for n in notes.notes if "learned again from the 3 labels" in n]
    assert phantoms.find("phantom") == ["phantom-0.jpg", "phantom-1.jpg", "phantom-2.jpg"]
    assert counts(phantoms.tag()) == (7, 0, 0, 0), "and then it stands"


def test_labels_that_were_of_no_use_for_once_are_followed_still(
    phantoms: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: record.candidates for path, record in cartag.load(phantoms.path).photos.items()}
    rows = ("phantom-0.jpg,Phantom", "red-0.jpg,Red Racer")
    cartag.learn(phantoms.path, label(phantoms, *rows))
    phantoms.tag()
    assert phantoms.find("phantom")
    notes = Notes()
    with monkeypatch.context() as patch:
        patch.setattr("cartag.learning.learning._helps", lambda *arguments: False)
        label(phantoms, *rows, "red-1.jpg,Phantom")
        phantoms.tag(progress=notes)
    assert [n for n in notes.notes if "no better than the model alone, so that scores now" in n]
    assert {path: record.candidates for path, record in cartag.load(phantoms.path).photos.items()} == before
    assert counts(phantoms.tag(progress=notes)) == (7, 0, 0, 0), "and then it stands"
    assert len(notes.notes) == 1
    label(phantoms, *rows)
    phantoms.tag(progress=notes)
    assert phantoms.find("phantom") == ["phantom-0.jpg", "phantom-1.jpg", "phantom-2.jpg"]


def test_her_own_corrections_are_learned_from_by_the_next_run(phantoms: Gallery) -> None:
    phantoms.edit_photo("green.jpg", confirmed=True)
    phantoms.tag_by_hand("red-0.jpg", "red-racer")
    cartag.learn(phantoms.path, phantoms.index_file)
    phantoms.tag()
    phantoms.tag_by_hand("phantom-0.jpg", "phantom")
    phantoms.tag()
    assert phantoms.find("phantom") == ["phantom-0.jpg", "phantom-1.jpg", "phantom-2.jpg"]
    (said,) = cartag.load(phantoms.path).photos["phantom-0.jpg"].tags
    assert said == Tag(car="phantom", score=1.0, source="human")


def test_retag_learns_again(phantoms: Gallery) -> None:
    cartag.learn(phantoms.path, label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer"))
    notes = Notes()
    report = phantoms.tag(retag=True, progress=notes)
    assert [n for n in notes.notes if "learned again" in n]
    assert report.embedded == 7
    assert phantoms.find("phantom") == ["phantom-0.jpg", "phantom-1.jpg", "phantom-2.jpg"]


def test_human_tags_of_an_index_are_labels(phantoms: Gallery) -> None:
    phantoms.tag_by_hand("phantom-0.jpg", "phantom")
    phantoms.edit_photo("green.jpg", confirmed=True)
    report = cartag.learn(phantoms.path, phantoms.index_file)
    assert report.photos == 2
    phantoms.tag()
    assert phantoms.find("phantom") == ["phantom-0.jpg", "phantom-1.jpg", "phantom-2.jpg"]
    (said,) = cartag.load(phantoms.path).photos["phantom-0.jpg"].tags
    assert said == Tag(car="phantom", score=1.0, source="human")


def test_an_index_elsewhere_keeps_what_was_learned_beside_it(phantoms: Gallery, tmp_path: Path) -> None:
    elsewhere = tmp_path / "away" / "mine.json"
    phantoms.tag(index=elsewhere)
    report = cartag.learn(phantoms.path, label(phantoms, "phantom-0.jpg,Phantom"), index=elsewhere)
    assert [Path(f).name for f in report.files] == ["mine.learned.json", "mine.learned.safetensors"]
    assert all(Path(f).parent == elsewhere.parent for f in report.files)
    assert not (phantoms.path / "cartag.learned.json").exists()


def test_half_a_pair_is_refused_with_what_to_do(phantoms: Gallery) -> None:
    report = cartag.learn(phantoms.path, label(phantoms, "phantom-0.jpg,Phantom"))
    Path(report.files[1]).write_bytes(b"something else")
    with pytest.raises(IndexFileError, match=r"does not belong to .*'cartag learn' again"):
        phantoms.tag()
    Path(report.files[1]).unlink()
    with pytest.raises(IndexFileError, match="missing or damaged"):
        phantoms.tag()
    Path(report.files[0]).write_text("{")
    with pytest.raises(IndexFileError, match="damaged"):
        phantoms.tag()


def test_what_does_not_fit_is_told(phantoms: Gallery) -> None:
    report = cartag.learn(phantoms.path, label(phantoms, "phantom-0.jpg,Phantom", "gone.jpg,none", "red-0.jpg,Trabant"))
    assert (report.not_in_index, report.without_label) == (("gone.jpg",), 5)
    assert report.names_outside_catalog == {"Trabant": 1}
    with pytest.raises(UsageError, match="--cv 1"):
        cartag.learn(phantoms.path, label(phantoms, "red-0.jpg,none"), cv=1)
    with pytest.raises(LabelsError, match="no tag of a person"):
        cartag.learn(phantoms.path, phantoms.index_file)


def test_learning_twice_gives_the_same_files(phantoms: Gallery) -> None:
    labels = label(phantoms, "phantom-0.jpg,Phantom", "phantom-1.jpg,Phantom", "red-0.jpg,Red Racer", "green.jpg,none")
    files = [Path(f) for f in cartag.learn(phantoms.path, labels).files]
    first = [f.read_bytes() for f in files]
    phantoms.tag()
    cartag.learn(phantoms.path, labels)
    assert [f.read_bytes() for f in files] == first


def test_the_command_says_what_it_did(phantoms: Gallery) -> None:
    labels = label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer", "green.jpg,none", "gone.jpg,none")
    done = CliRunner().invoke(app, ["learn", str(phantoms.path), str(labels)])
    assert done.exit_code == 0, done.output
    assert "taken on trust" in done.output
    assert "what this is worth is not known" in done.output
    assert "1 labelled file(s) are not in the index: gone.jpg" in done.output
    raw = json.loads(CliRunner().invoke(app, ["learn", str(phantoms.path), str(labels), "--format", "json"]).stdout)
    assert (raw["photos"], raw["kept"]) == (3, True)


def test_a_misspelt_label_is_told_with_what_may_have_been_meant(phantoms: Gallery) -> None:
    labels = label(phantoms, "phantom-0.jpg,Phanton", "red-0.jpg,Red Racer")
    said = CliRunner().invoke(app, ["learn", str(phantoms.path), str(labels)])
    assert "labels.csv: line 2: 'Phanton' is no car that cartag knows; did you mean 'Phantom'?" in str(said.exception)
    labels.write_text(labels.read_text().replace("Phanton", "unknown: Phanton"))
    said = CliRunner().invoke(app, ["learn", str(phantoms.path), str(labels)])
    assert said.exit_code == 0
    assert "'Phanton' counts as another car; did you mean 'Phantom'?" in said.stderr


def test_eval_warns_of_tags_that_were_learned(phantoms: Gallery, seen: Seen) -> None:
    labels = label(phantoms, "phantom-0.jpg,Phantom", "red-0.jpg,Red Racer")
    assert not cartag.evaluate(phantoms.path, labels).uses_learned
    cartag.learn(phantoms.path, labels)
    phantoms.tag()
    assert cartag.evaluate(phantoms.path, labels).uses_learned
    place = cartag.state.index.place_of(phantoms.path)
    learned = load_learned(place)
    assert learned is not None
    assert learned.facts.labels == {"red-racer": 1, "phantom": 1, "unknown": 0, "none": 0}


# --- mode -------------------------------------------------------------------------------------------------------


def test_a_mode_moves_every_threshold_by_its_odds() -> None:
    base = Calibration(threshold=0.5, car_thresholds={"a": 0.8})
    free = {"threshold": None, "margin": None, "temperature": None}
    assert calibrations.adjusted(base, **free, mode="balanced") == base
    strict, eager = (calibrations.adjusted(base, **free, mode=mode) for mode in ("strict", "eager"))
    assert (strict.threshold, eager.threshold) == (0.8, 0.2)
    assert (strict.threshold_of("a"), eager.threshold_of("a")) == (pytest.approx(16 / 17, abs=1e-6), 0.5)
    mine = calibrations.adjusted(base, threshold=0.3, margin=None, temperature=None, mode="strict")
    assert mine.threshold_of("a") == mine.threshold_of("b") == 0.3, "a threshold of the user's own goes before"


def test_an_eager_run_tags_no_less_and_a_strict_one_no_more(gallery: Gallery) -> None:
    for i, colour in enumerate(("red", "yellow", "blue", "orange", "black", "silver", "green")):
        gallery.paint(f"{i}.jpg", colour)
    tags = {}
    for mode in ("strict", "balanced", "eager"):
        gallery.tag(mode=mode)
        tags[mode] = {(p, t.car) for p, r in cartag.load(gallery.path).photos.items() for t in r.tags}
    assert tags["strict"] <= tags["balanced"] <= tags["eager"]
