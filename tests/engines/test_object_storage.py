"""An index on object storage, asked and written by every verb that takes one: moto's S3, and Google's API by real gcsfs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Storage, storage
from conftest import Gallery
from reviews import served

import cartag
from cartag.errors import GalleryError, IndexFileError
from cartag.merging import merging
from cartag.paths import object_storage
from cartag.state import done_shards, read_said, shard_folder

pytest.importorskip("pyarrow", reason="the extra cartag[ray] is not installed")


@pytest.fixture(scope="module", params=["s3", "gs"])
def store(request: pytest.FixtureRequest) -> Iterator[Storage]:
    with storage(request.param) as found:
        found.fs.mkdir("indexes")
        yield found


@pytest.fixture
def index(store: Storage, gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A gallery's index in a bucket, as shards of three photos."""
    for i, colour in enumerate(("red", "red", "yellow", "blue", "orange", "green", "black")):
        gallery.paint(f"day {i % 2}/{colour}-{i}.jpg", colour, mark=i)
    gallery.tag()
    gallery.tag_by_hand("day 0/black-6.jpg", "blue-bolt", note="hers")
    monkeypatch.setattr(merging, "SHARD", 3)
    uri = store.uri(f"indexes/{tmp_path.name}/of 2013")
    report = cartag.merge(gallery.path, uri)
    assert (report.photos, report.shards, report.embedded) == (7, 3, 7)
    return uri


def found(gallery: Gallery, index: str | None, **query: object) -> list[tuple[str, float | None]]:
    return [(hit.path, hit.score) for hit in cartag.find(gallery.path, index=index, **query)]  # type: ignore[arg-type]


def test_what_is_asked_is_answered_as_by_a_file(index: str, gallery: Gallery) -> None:
    assert cartag.load(gallery.path, index).photos == cartag.load(gallery.path).photos
    for query in ({"cars": ["red"]}, {"exclude": ["rossi"]}, {"cars": ["rossi"], "min_score": 0.0}):
        assert found(gallery, index, **query) == found(gallery, None, **query)
    for query in ({"text": "red car", "limit": 2}, {"like": gallery.path / "day 0/red-0.jpg", "limit": 3}):
        exactly = found(gallery, index, **query)
        assert [path for path, _ in exactly] == [path for path, _ in found(gallery, None, **query)]
        assert found(gallery, index, approximate=True, **query) == exactly
    one, other = cartag.show(gallery.path), cartag.show(gallery.path, index=index)
    assert (other.photos, other.outcomes, other.cars) == (one.photos, one.outcomes, one.cars)


def test_what_a_person_says_in_a_review_stays(index: str, gallery: Gallery) -> None:
    place = shard_folder(index)
    names = [name for kind in ("photos", "tags", "shards") for name in place.names(kind)]
    before = dict(zip(names, place.read_all(names), strict=True))
    with served(gallery.path, index=index) as review:
        assert review.decide(("day 1/red-1.jpg", "car", "blue-bolt")).status == 200
        assert review.decide(("day 0/yellow-2.jpg", "none")).status == 200
        assert review.undo().status == 200
    record = cartag.load(gallery.path, index).photos["day 1/red-1.jpg"]
    assert (record.confirmed, [tag.car for tag in record.tags]) == (True, ["blue-bolt"])
    assert "day 1/red-1.jpg" in dict(found(gallery, index, cars=["blue"]))
    assert set(read_said(place).records) >= {"day 1/red-1.jpg", "day 0/black-6.jpg"}
    assert dict(zip(names, place.read_all(names), strict=True)) == before


@pytest.mark.parametrize("store", ["gs"], indirect=True)
def test_it_becomes_a_file_again(index: str, gallery: Gallery, tmp_path: Path) -> None:
    back = tmp_path / "back" / "again.json"
    report = cartag.merge(gallery.path, back, index=index)
    assert (report.photos, report.shards, report.embedded) == (7, 0, 7)
    assert json.loads(back.read_bytes())["photos"] == gallery.raw()["photos"]


@pytest.mark.parametrize("store", ["gs"], indirect=True)
def test_a_check_names_what_is_damaged_or_gone(index: str, gallery: Gallery, store: Storage) -> None:
    assert cartag.check(gallery.path, index=index).remaining == ()
    first, second, _ = done_shards(shard_folder(index))
    root = index.partition("://")[2]
    store.fs.pipe_file(f"{root}/{first.tags.name}", b"damaged")
    store.fs.rm_file(f"{root}/{second.counts.name}")
    remaining = cartag.check(gallery.path, index=index).remaining
    assert [finding.path for finding in remaining] == [f"{index}/{first.tags.name}", f"{index}/{second.counts.name}"]


def test_what_another_machine_wrote_is_seen(index: str, store: Storage) -> None:
    """A client remembers lists: nothing is asked of one that this process has."""
    place = shard_folder(index)
    seen = place.names("said")
    elsewhere, root = object_storage(index, GalleryError, skip_instance_cache=True)
    elsewhere.pipe_file(f"{root}/said/of another.jsonl", b"")
    assert place.is_there("said/of another.jsonl")
    assert place.names("said") == sorted([*seen, "said/of another.jsonl"])
    elsewhere.rm_file(f"{root}/said/of another.jsonl")
    assert not place.is_there("said/of another.jsonl")
    assert place.names("said") == seen


def test_a_large_file_comes_in_parts_and_is_whole(store: Storage, tmp_path: Path) -> None:
    place = shard_folder(store.uri(f"indexes/{tmp_path.name}"))
    data = os.urandom(2**20) * 50 + b"\r\n--\r"  # beyond what the clients send at once
    place.write("photos/large.parquet", data)
    assert place.read("photos/large.parquet") == data
    with place.open("photos/large.parquet") as file:
        assert not isinstance(file, str)
        file.seek(-7, os.SEEK_END)
        assert file.read() == data[-7:]
        file.seek(2**20 - 3)
        assert file.read(6) == data[2**20 - 3 : 2**20 + 3]
    if store.google is not None:
        assert store.google.uploads == {}
    place.remove("photos/large.parquet")
    assert place.names("photos") == []


def test_an_index_that_is_not_there_or_may_not_be_asked(gallery: Gallery) -> None:
    with storage("gs") as store:
        assert store.google is not None
        store.fs.mkdir("mine")
        for nowhere in ("gs://mine/nothing", "gs://no-such-bucket/nothing"):
            with pytest.raises(IndexFileError, match="--engine ray"):
                cartag.load(gallery.path, nowhere)
        place = shard_folder("gs://mine/2013")
        place.write("cartag.json", b"before")
        store.google.closed["mine"] = 403
        for action in (lambda: place.write("cartag.json", b"after"), lambda: place.read("cartag.json")):
            with pytest.raises(
                IndexFileError, match=r"gs://mine/2013/cartag.json: may not be (written|read) \(someone"
            ):
                action()
        with pytest.raises(IndexFileError, match="may not be read"):
            place.is_there("cartag.json")  # which is not the same as that there is none
        del store.google.closed["mine"]
        assert place.read("cartag.json") == b"before"


def test_whoever_is_nobody_reads_one_line(gallery: Gallery) -> None:
    """gcsfs itself would put a traceback on the screen, and ask elsewhere of what kind the bucket is."""
    with storage("gs") as store:
        assert store.google is not None
        store.fs.mkdir("closed")
        store.google.closed["closed"] = 401
        command = [sys.executable, "-m", "cartag", "find", str(gallery.path), "red", "--index", "gs://closed/x"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "Anonymous caller does not have storage.objects.list access" in line
        assert line.endswith("set the credentials of the store")
