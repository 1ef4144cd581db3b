"""Both kinds of index answer alike: a gallery's file made into shards, asked, and made into a file again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Gallery, picture
from reviews import served
from typer.testing import CliRunner

import cartag
from cartag.cli import app
from cartag.encoder.fake import FakeEncoder
from cartag.errors import IndexFileError, UsageError
from cartag.merging import merging
from cartag.state import Store, place_of, read_said, shard_folder, tag_as_typed, with_foreign_fields
from cartag.state.index import encode

LARGE, SMALL, ASIDE = [0.1, 0.35, 0.6, 0.55], [0.75, 0.41, 0.2, 0.18], [0.0, 0.0, 0.1, 0.1]


@pytest.fixture
def both(gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Gallery, Path]:
    """A gallery with regions, a person's words and unknown fields, its index as a file and as three shards."""
    for i, colour in enumerate(("red", "red", "yellow", "blue", "orange", "green", "black")):
        gallery.paint(f"day {i % 2}/{colour}-{i}.jpg", colour, mark=i)
    (gallery.path / "damaged.jpg").write_bytes(b"none")
    gallery.tag()
    two = gallery.record("day 0/red-0.jpg")
    region = {"found": 0.8, "outcome": "tagged", "tags": [{"car": "red-racer", "score": 0.9, "source": "model"}]}
    other = {"found": 0.7, "outcome": "unknown", "other": {"name": "Orange Other", "score": 0.7}}
    gallery.edit_photo("day 0/red-0.jpg", regions=[{"box": LARGE, **region}, {"box": SMALL, **other}], later=[1])
    gallery.edit_photo("day 1/green-5.jpg", regions=[])
    with Store(place_of(gallery.path).state, FakeEncoder.identity) as store:
        vectors = FakeEncoder().embed_images([np.asarray(picture(colour)) for colour in ("red", "orange", "blue")])
        keys = [(two["sha256"], tuple(box)) for box in (LARGE, SMALL, ASIDE)]
        store.put_regions(dict(zip(keys, vectors, strict=True)))  # type: ignore[arg-type]
    gallery.tag_by_hand("day 0/black-6.jpg", "blue-bolt", note="hers")
    gallery.edit_photo("day 1/blue-3.jpg", confirmed=True, by_model={"outcome": "unknown"})
    gallery.edit(lambda raw: raw.update(invented={"later": True}))
    monkeypatch.setattr(merging, "SHARD", 3)
    report = cartag.merge(gallery.path, tmp_path / "shards")
    assert (report.photos, report.shards, report.embedded) == (8, 3, 7)
    return gallery, tmp_path / "shards"


def test_records_are_the_same(both: tuple[Gallery, Path], tmp_path: Path) -> None:
    gallery, shards = both
    one, other = cartag.load(gallery.path), cartag.load(gallery.path, shards)
    assert list(other.photos.items()) == list(one.photos.items())
    assert other.header == one.header
    back = tmp_path / "back" / "again.json"
    report = cartag.merge(gallery.path, back, index=shards)
    assert (report.photos, report.shards, report.embedded) == (8, 0, 7)
    as_it_was = encode(with_foreign_fields(cartag.load(gallery.path)))
    assert json.loads(back.read_bytes()) == json.loads(as_it_was), "with every field that this version does not know"
    assert b'"later"' in as_it_was
    assert b'"note"' in as_it_was
    identity = FakeEncoder.identity
    hashes = [photo["sha256"] for photo in gallery.raw()["photos"]]
    before = Store.read_photos(place_of(gallery.path).state, identity, hashes)
    after = Store.read_photos(place_of(tmp_path, back).state, identity, hashes)
    assert after.keys() == before.keys()
    for key, vector in before.items():
        np.testing.assert_allclose(after[key], vector, atol=1e-3)
    assert len(Store.read_regions(place_of(tmp_path, back).state, identity, hashes)) == 1


QUERIES: list[dict[str, Any]] = [
    {"cars": ["red"]},
    {"cars": ["rossi"]},
    {"cars": ["red", "blue"]},
    {"cars": ["red"], "limit": 1},
    {"cars": ["red", "blue"], "every": True},
    {"cars": ["rossi"], "exclude": ["yellow"]},
    {"exclude": ["rossi"]},
    {"cars": ["red"], "min_score": 0.0},
    {"cars": ["blue"], "min_score": 0.3},
    {"cars": ["rossi"], "regions": True},
    {"text": "red car"},
    {"text": "red car", "limit": 2},
    {"text": "orange", "limit": 3},
    {"text": "blue", "min_score": 0.2},
    {"text": "yellow", "cars": ["rossi"], "limit": 2},
    {"text": "yellow", "exclude": ["red racer"]},
    {"text": "yellow", "cars": ["blue"], "min_score": 0.0},
    {"like": "day 0/red-0.jpg"},
    {"like": "day 0/red-0.jpg#2"},
    {"like": "day 0/black-6.jpg", "exclude": ["yellow"]},
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_queries_have_the_same_answers(both: tuple[Gallery, Path], query: dict[str, Any]) -> None:
    gallery, shards = both
    if "like" in query:
        query = query | {"like": f"{gallery.path}/{query['like']}"}
    one = cartag.find(gallery.path, **query)
    other = cartag.find(gallery.path, index=shards, **query)
    one, other = (sorted(hits, key=lambda hit: (-round(hit.score, 2), hit.path)) for hits in (one, other))
    assert [hit.path for hit in other] == [hit.path for hit in one]
    for here, there in zip(one, other, strict=True):
        assert there.score == pytest.approx(here.score, abs=2e-3), "float16"
        assert replace(there, score=0) == replace(here, score=0)
    assert one or query.get("every"), "or it asks nothing"


def test_nearly_the_best_are_the_best_of_a_small_index(both: tuple[Gallery, Path]) -> None:
    gallery, shards = both
    for asked in ({"text": "red car"}, {"text": "orange"}, {"like": gallery.path / "day 0" / "red-0.jpg"}):
        exactly = cartag.find(gallery.path, index=shards, limit=3, **asked)
        assert len(exactly) == 3
        for _ in ("made", "kept"):
            assert cartag.find(gallery.path, index=shards, limit=3, approximate=True, **asked) == exactly
    graphs = list((shards / ".cartag" / "near").iterdir())
    assert len(graphs) == 3
    stale, half, anothers = (
        graphs[0].with_name(name)
        for name in (f"00000-{'0' * 16}.usearch", f".00000-{'0' * 16}.usearch.4711.tmp", "notes.txt")
    )
    for path in (stale, half, anothers):
        path.write_bytes(b"of a shard that holds no longer, or of somebody else")
    graphs[0].unlink()
    assert cartag.find(gallery.path, index=shards, limit=3, approximate=True, **asked) == exactly
    assert sorted(graphs[0].parent.iterdir()) == sorted([*graphs, anothers])
    anothers.unlink()
    graphs[0].write_bytes(b"damaged")
    assert cartag.find(gallery.path, index=shards, limit=3, approximate=True, **asked) == exactly
    for wrong in ({}, {"limit": 1, "cars": ["red"]}, {"limit": 1, "exclude": ["red"]}):
        with pytest.raises(UsageError, match="--approximate"):
            cartag.find(gallery.path, index=shards, approximate=True, text="red", **wrong)
    with pytest.raises(UsageError, match="searched exactly"):
        cartag.find(gallery.path, approximate=True, text="red", limit=1)


def test_a_graph_that_cannot_be_written_leaves_no_half(
    both: tuple[Gallery, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cartag.state.shards import near

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    gallery, shards = both
    here = tmp_path / "index"
    shutil.copytree(shards, here, ignore=shutil.ignore_patterns("near"))
    monkeypatch.setattr(near.os, "replace", full)
    with pytest.raises(IndexFileError, match="No space left on device"):
        cartag.find(gallery.path, index=here, limit=3, approximate=True, text="red car")
    assert list((here / ".cartag" / "near").iterdir()) == []


def test_show_eval_and_export_say_the_same(both: tuple[Gallery, Path], tmp_path: Path) -> None:
    gallery, shards = both
    one, other = cartag.show(gallery.path), cartag.show(gallery.path, index=shards)
    assert replace(other, index="") == replace(one, index="")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nday 0/red-0.jpg,Red Racer\nday 1/red-1.jpg,unknown\nday 1/green-5.jpg,none\n")
    measured = [asdict(cartag.evaluate(gallery.path, labels, index=index)) for index in (None, shards)]
    assert measured[0] == measured[1]
    for kind in ("csv", "exiftool"):
        texts = [cartag.export(gallery.path, as_=kind, index=index).document for index in (None, shards)]
        assert texts[0]
        assert texts[0] == texts[1]


def test_learning_finds_the_embeddings_in_the_shards(both: tuple[Gallery, Path], tmp_path: Path) -> None:
    gallery, shards = both
    labels = tmp_path / "labels.csv"
    rows = [
        "day 0/red-0.jpg,Red Racer",
        "day 1/red-1.jpg,Red Racer",
        "day 1/green-5.jpg,none",
        "day 0/yellow-2.jpg,Yellow Yeti",
    ]
    labels.write_text("\n".join(["file,label", *rows]) + "\n")
    one = cartag.learn(gallery.path, labels, cv=2)
    other = cartag.learn(gallery.path, labels, cv=2, index=shards)
    assert [(c.car, c.labels) for c in other.cars] == [(c.car, c.labels) for c in one.cars]
    assert (other.photos, other.not_embedded) == (one.photos, one.not_embedded) == (4, 0)


def test_what_a_person_says_in_a_review_lies_beside_the_shards(both: tuple[Gallery, Path]) -> None:
    gallery, shards = both
    before = {
        path.name: path.read_bytes() for kind in ("photos", "tags", "shards") for path in (shards / kind).iterdir()
    }
    with served(gallery.path, index=shards) as review:
        assert {photo["path"] for photo in review.data()["photos"]} == set(cartag.load(gallery.path).photos)
        assert review.decide(("day 1/red-1.jpg", "car", "blue-bolt")).status == 200
        assert review.decide(("day 0/yellow-2.jpg", "none")).status == 200
        assert review.undo().status == 200
    after = {
        path.name: path.read_bytes() for kind in ("photos", "tags", "shards") for path in (shards / kind).iterdir()
    }
    assert after == before, "no run could lose it"
    record = cartag.load(gallery.path, shards).photos["day 1/red-1.jpg"]
    assert record.confirmed is True
    assert [tag.car for tag in record.tags] == ["blue-bolt"]
    assert "day 1/red-1.jpg" in [hit.path for hit in cartag.find(gallery.path, "blue", index=shards)]
    assert "day 1/red-1.jpg" not in [hit.path for hit in cartag.find(gallery.path, "red", index=shards)]
    assert set(read_said(shard_folder(shards)).records) >= {"day 1/red-1.jpg", "day 0/black-6.jpg", "day 1/blue-3.jpg"}
    raw = cartag.load(gallery.path, shards)
    assert raw.foreign.header == {"invented": {"later": True}}


@pytest.mark.parametrize("where", ["a folder", "object storage"])
def test_a_car_added_in_a_review_leaves_what_is_said_beside_the_shards(
    both: tuple[Gallery, Path], tmp_path: Path, where: str
) -> None:
    gallery, index = both[0], str(both[1])
    if where == "object storage":
        index = f"memory://{tmp_path.name}/added"
        cartag.merge(gallery.path, index)
    with served(gallery.path, index=index) as review:
        assert review.ask("car", b'{"name": "Green Goblin"}').json()["car"] == "green-goblin"
        assert review.decide(("day 1/green-5.jpg", "car", "green-goblin")).status == 200
        assert review.decide(("day 1/red-1.jpg", "none")).status == 200
    assert "Green Goblin" in gallery.catalog.read_text()
    records = read_said(shard_folder(index)).records
    assert [tag.car for tag in records["day 1/green-5.jpg"].tags] == ["green-goblin"]
    assert records["day 1/red-1.jpg"].outcome == "no-car"
    assert not (where == "object storage" and place_of(gallery.path, index).index.exists()), "nothing lies elsewhere"
    again = cartag.load(gallery.path, index)
    assert again.photos["day 1/red-1.jpg"].outcome == "no-car"
    assert "Green Goblin" in [car.name for car in again.header.catalog.named]
    assert again.foreign.header == {"invented": {"later": True}}
    assert [hit.path for hit in cartag.find(gallery.path, "goblin", index=index)] == ["day 1/green-5.jpg"]


@pytest.mark.parametrize("where", ["a folder", "object storage"])
def test_a_review_of_shards_knows_what_looks_alike(both: tuple[Gallery, Path], tmp_path: Path, where: str) -> None:
    gallery, index = both[0], str(both[1])
    if where == "object storage":
        index = f"memory://{tmp_path.name}/alike"
        cartag.merge(gallery.path, index)
    like = [b'{"path": "day 1/red-1.jpg"}', b'{"path": "day 0/red-0.jpg", "box": [0.75, 0.41, 0.2, 0.18]}']
    with served(gallery.path) as review:
        groups, odd = review.ask("groups", b"").json(), review.ask("odd", b"").json()["odd"]
        alike = [dict(review.ask("like", what).json()["like"]) for what in like]
    assert groups["groups"]
    assert odd
    assert all(alike)
    with served(gallery.path, index=index) as review:
        assert review.ask("groups", b"").json() == groups
        assert review.ask("odd", b"").json()["odd"] == pytest.approx(odd, abs=2e-3)
        for what, known in zip(like, alike, strict=True):
            assert dict(review.ask("like", what).json()["like"]) == pytest.approx(known, abs=2e-3)


def test_learning_in_a_review_of_shards_says_what_it_lacks(both: tuple[Gallery, Path], tmp_path: Path) -> None:
    gallery, uri = both[0], f"memory://{tmp_path.name}/learns"
    cartag.merge(gallery.path, uri)
    with served(gallery.path, index=uri) as review:
        told = review.ask("learn", b"{}").json()["error"]
        assert (
            told == f"{uri}: learning from an index on object storage needs hand labels beside it; begin the review "
            "with --labels FILE"
        )
    with served(gallery.path, index=uri, labels=tmp_path / "labels.csv") as review:
        review.decide(("day 1/red-1.jpg", "car", "red-racer"), ("day 0/yellow-2.jpg", "none"))
        assert review.ask("learn", b"{}").json()["photos"] == 2
    with served(gallery.path, index=both[1]) as review:
        review.decide(("day 1/red-1.jpg", "car", "red-racer"), ("day 0/yellow-2.jpg", "none"))
        assert review.ask("learn", b"{}").json()["photos"] >= 2


def test_a_merge_that_was_killed_is_begun_anew(both: tuple[Gallery, Path]) -> None:
    gallery, shards = both
    (shards / "cartag.json").unlink()
    (shards / "photos" / "00009-0123456789abcdef.parquet").write_bytes(b"half")
    with pytest.raises(IndexFileError, match="no index there"):
        cartag.load(gallery.path, shards)
    cartag.merge(gallery.path, shards)
    assert cartag.load(gallery.path, shards).photos == cartag.load(gallery.path).photos
    assert len(list((shards / "photos").iterdir())) == 3


def test_nothing_that_is_there_is_overwritten(both: tuple[Gallery, Path], tmp_path: Path) -> None:
    gallery, shards = both
    with pytest.raises(UsageError, match="lies there already"):
        cartag.merge(gallery.path, shards)
    with pytest.raises(UsageError, match="of that kind already"):
        cartag.merge(gallery.path, tmp_path / "other.json")
    with pytest.raises(UsageError, match="of that kind already"):
        cartag.merge(gallery.path, tmp_path / "others", index=shards)
    (tmp_path / "taken.json").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        cartag.merge(gallery.path, tmp_path / "taken.json", index=shards)
    (shards / "cartag.json").unlink()
    with pytest.raises(IndexFileError, match="--engine ray"):
        cartag.load(gallery.path, "memory://nothing/there")


def test_a_plain_run_does_not_write_a_file_over_shards(both: tuple[Gallery, Path]) -> None:
    gallery, shards = both
    header = (shards / "cartag.json").read_bytes()
    gallery.paint("new.jpg", "red")
    with pytest.raises(IndexFileError, match="cartag merge"):
        gallery.tag(index=shards)
    assert (shards / "cartag.json").read_bytes() == header


def test_the_tag_that_goes_on_with_shards_is_named_with_its_engine(both: tuple[Gallery, Path], tmp_path: Path) -> None:
    gallery, shards = both
    on = f"--engine ray --index {shards}'"
    assert tag_as_typed(gallery.path, index=shards) == f"'cartag tag {gallery.path} {on}"
    assert tag_as_typed(gallery.path, index=shards / "cartag.json", anew=True).endswith(
        f" --engine ray --retag {on[13:]}"
    )
    assert tag_as_typed(gallery.path, index="s3://a/b", anew=True).endswith(" --engine ray --retag --index s3://a/b'")
    assert tag_as_typed(gallery.path, anew=True) == f"'cartag tag {gallery.path}'"
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nday 0/red-0.jpg,red racer\nday 1/blue-3.jpg,unknown\n")
    done = CliRunner().invoke(app, ["learn", str(gallery.path), str(labels), "--index", str(shards)])
    assert f"'cartag tag {gallery.path} --engine ray --retag --index {shards}' uses it" in done.stdout


def test_an_index_on_object_storage_answers_too(both: tuple[Gallery, Path], tmp_path: Path) -> None:
    gallery, _ = both
    uri = f"memory://{tmp_path.name}/an index"
    cartag.merge(gallery.path, uri)
    assert cartag.load(gallery.path, uri).photos == cartag.load(gallery.path).photos
    for query in ({"cars": ["red"]}, {"text": "red car", "limit": 2}):
        assert [h.path for h in cartag.find(gallery.path, index=uri, **query)] == [
            h.path for h in cartag.find(gallery.path, **query)
        ]
    assert cartag.show(gallery.path, index=uri).photos == 8


def test_the_command_says_what_it_made(both: tuple[Gallery, Path], tmp_path: Path) -> None:
    gallery, shards = both
    run = CliRunner()
    done = run.invoke(app, ["merge", str(gallery.path), "--index", str(shards), "--to", str(tmp_path / "one.json")])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/one.json: 8 photos in one file, 7 with embeddings\n")
    done = run.invoke(app, ["merge", str(gallery.path), "--to", str(tmp_path / "more"), "--format", "json"])
    assert json.loads(done.stdout) == {"index": str(tmp_path / "more"), "photos": 8, "shards": 3, "embedded": 7}
    found = run.invoke(app, ["find", str(gallery.path), "red", "--index", (tmp_path / "more").as_uri()])
    assert found.stdout.splitlines() == [f"{gallery.path}/day 0/red-0.jpg", f"{gallery.path}/day 1/red-1.jpg"]


def test_without_the_extra_it_says_what_to_install(both: tuple[Gallery, Path]) -> None:
    gallery, shards = both
    code = "import sys; sys.modules['pyarrow'] = None; from cartag.cli import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", code, "find", str(gallery.path), "red"]
    done = subprocess.run([*words, "--index", str(shards)], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "pip install 'cartag[ray]'" in line
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), "a file needs none of it"
