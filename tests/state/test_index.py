"""The index file: its bytes, its schema, what is refused, and how it is replaced."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Gallery, check_index
from hypothesis import given, settings
from strategies import index_files

import cartag
from cartag.errors import GalleryError, IndexFileError
from cartag.learning.learned import learned_files
from cartag.state import index as indexes


def read_back(data: bytes) -> indexes.Index:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cartag.json"
        path.write_bytes(data)
        found = indexes.read_index_if_there(indexes.place_of(Path(folder)))
        assert found is not None
        return indexes.with_foreign_fields(found)


# --- round trip -------------------------------------------------------------------------------------------------


@given(index_files())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_an_index_keeps_every_field_known_or_not_and_its_bytes_are_stable(raw: dict[str, Any]) -> None:
    once = indexes.encode(read_back(json.dumps(raw).encode()))
    written = json.loads(once)
    assert written.pop("photos") == sorted(raw["photos"], key=lambda photo: photo["path"])
    assert written == {key: value for key, value in raw.items() if key != "photos"}
    assert indexes.encode(read_back(once)) == once


@given(index_files())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_whatever_is_written_keeps_to_the_schema(raw: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cartag.json"
        path.write_bytes(indexes.encode(read_back(json.dumps(raw).encode())))
        check_index(path)


def test_a_photo_takes_one_line_and_a_file_ends_with_a_newline(gallery: Gallery) -> None:
    for name in ("b.jpg", "a.jpg"):
        gallery.paint(name)
    gallery.tag()
    text = gallery.index_file.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if '"path":' in line]
    assert [json.loads(line.strip().rstrip(","))["path"] for line in lines] == ["a.jpg", "b.jpg"]
    assert text.endswith("}\n")


def test_the_schema_is_a_valid_one_and_refuses_what_is_wrong(gallery: Gallery) -> None:
    schema = indexes.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    gallery.paint("a.jpg")
    gallery.tag()
    good = gallery.raw()
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(good)
    for change in (
        {"outcome": "perhaps"},
        {"size": -1},
        {"tags": [{"car": "x", "score": 1.5}]},
        {"sha256": "short"},
        {"path": 7},
    ):
        assert not validator.is_valid({**good, "photos": [{**good["photos"][0], **change}]}), change


# --- refused ----------------------------------------------------------------------------------------------------


@pytest.mark.damaged_index
def test_a_newer_schema_is_refused_and_left_alone(gallery: Gallery) -> None:
    gallery.paint("a.jpg")
    gallery.tag()
    gallery.edit(lambda raw: raw.update(schema_version=2, photos={"in": "another shape"}))
    before = gallery.index_file.read_bytes()
    for verb in (gallery.tag, lambda: cartag.find(gallery.path, ["red"]), lambda: cartag.load(gallery.path)):
        with pytest.raises(IndexFileError, match=r"cartag\.json: written by a newer cartag \(schema 2.*update cartag"):
            verb()
    assert gallery.index_file.read_bytes() == before


@pytest.mark.damaged_index
@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"", r"cartag\.json: damaged"),
        (b'{"schema_version": 1, "photos": [', r"cartag\.json: damaged"),
        (b'{"schema_version": 1}\xff', r"cartag\.json: damaged.*byte"),
        (b'{"schema_version": 1, "generator": "\xff"}', r"cartag\.json: damaged"),
        (b"[]", r"cartag\.json: damaged"),
        (b"{}", r"cartag\.json: damaged.*schema_version"),
        (b'{"schema_version": 0}', r"cartag\.json: damaged"),
    ],
)
def test_a_damaged_index_is_named_and_never_overwritten(gallery: Gallery, data: bytes, place: str) -> None:
    gallery.paint("a.jpg")
    gallery.index_file.write_bytes(data)
    for verb in (gallery.tag, lambda: cartag.show(gallery.path)):
        with pytest.raises(IndexFileError, match=place) as caught:
            verb()
        assert "\n" not in str(caught.value)
    assert gallery.index_file.read_bytes() == data


@pytest.mark.damaged_index
@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"outcome": "maybe"}, r"\$\.photos\[1\]\.outcome"),
        ({"tags": [{"car": "x", "score": 2}]}, r"\$\.photos\[1\]\.tags\[0\]\.score"),
        ({"size": "big"}, r"\$\.photos\[1\]\.size"),
        ({"path": "a.jpg"}, r"a path stands twice"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(gallery: Gallery, fields: dict[str, Any], place: str) -> None:
    gallery.paint("a.jpg")
    gallery.paint("b.jpg")
    gallery.tag()
    gallery.edit_photo("b.jpg", **fields)
    with pytest.raises(IndexFileError, match=place):
        cartag.load(gallery.path)


def test_no_index_and_no_gallery_are_two_errors(gallery: Gallery) -> None:
    with pytest.raises(IndexFileError, match=r"no index there; make one with 'cartag tag \S+ --index \S+/a\.json'$"):
        cartag.load(gallery.path, gallery.path / "a.json")
    with pytest.raises(IndexFileError, match=r"cartag\.json: no index there; make one with 'cartag tag \S+'$"):
        cartag.load(gallery.path)
    with pytest.raises(GalleryError, match="nowhere: no such folder"):
        cartag.load(gallery.path / "nowhere")


def test_of_a_folder_within_a_gallery_that_gallery_is_named(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.paint("2013/may/a.jpg")
    gallery.tag()
    monkeypatch.chdir(gallery.path / "2013")
    named = [(gallery.path / "2013", gallery.path), (Path("may"), gallery.path), (Path("../2013"), gallery.path)]
    for asked, holds in named:
        with pytest.raises(IndexFileError, match=rf", or name {re.escape(str(holds))}, whose index holds"):
            cartag.load(asked)
    monkeypatch.chdir(gallery.path)
    with pytest.raises(IndexFileError, match=r", or name \., whose index holds"):
        cartag.load("2013/may")
    with pytest.raises(IndexFileError, match=r"b\.json'$"):
        cartag.load("2013", "b.json")


def test_an_index_on_object_storage_is_none_of_plain_tag_s(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg")
    with pytest.raises(
        IndexFileError, match=r"memory://.*/index: an index on object storage is written by --engine ray"
    ):
        gallery.tag(index=f"memory://{tmp_path.name}/index")
    gallery.tag(index=(tmp_path / "far away").as_uri())
    assert (tmp_path / "far away").is_file()


def test_where_the_index_lies_the_settings_say_to_load_too(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.paint("a.jpg")
    gallery.tag(index=tmp_path / "far.json")
    monkeypatch.setenv("CARTAG_INDEX", str(tmp_path / "far.json"))
    assert list(cartag.load(gallery.path).photos) == ["a.jpg"]


# --- writing ----------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_index_and_no_litter(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.paint("a.jpg")
    gallery.tag()
    before = gallery.index_file.read_bytes()
    gallery.paint("b.jpg", "blue")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(IndexFileError, match=r"cartag\.json: cannot be written \(No space left on device\)"):
            gallery.tag()
    assert gallery.index_file.read_bytes() == before
    assert sorted(os.listdir(gallery.path)) == [".cartag", "a.jpg", "b.jpg", "cartag.json"]
    assert gallery.tag().scored == 1, "what was embedded is not lost"


def test_permissions_and_a_symlinked_index_stay_as_they_are(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg")
    gallery.tag()
    real = tmp_path / "real.json"
    gallery.index_file.rename(real)
    gallery.index_file.symlink_to(real)
    real.chmod(0o640)
    gallery.paint("b.jpg", "blue")
    gallery.tag()
    assert gallery.index_file.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert len(json.loads(real.read_bytes())["photos"]) == 2


def test_a_folder_given_as_index_holds_the_index(gallery: Gallery, tmp_path: Path) -> None:
    folder = tmp_path / "indexes"
    folder.mkdir()
    gallery.paint("a.jpg")
    assert gallery.tag(index=folder).index.path == folder / "cartag.json"


def test_two_indexes_side_by_side_share_no_journal_and_no_lock(tmp_path: Path) -> None:
    places = [indexes.place_of(tmp_path, tmp_path / name) for name in ("one.json", "two.json", "one.idx")]
    assert len({place.state for place in places}) == 1
    for file in ("journal", "lock", "write_lock"):
        assert len({getattr(place, file) for place in places}) == 3
    assert len({learned_files(place)[0] for place in places}) == 3


# --- in memory --------------------------------------------------------------------------------------------------


def test_rows_are_one_a_tag_and_one_for_a_photo_without(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    gallery.paint("b.jpg", "green")
    gallery.tag()
    gallery.tag_by_hand("a.jpg", "blue-bolt")
    rows = cartag.load(str(gallery.path)).rows()
    assert [(row["path"], row["name"], row["source"]) for row in rows] == [
        ("a.jpg", "Blue Bolt", "human"),
        ("a.jpg", "Red Racer", "model"),
        ("b.jpg", None, None),
    ]


def test_loaded_photos_are_there_by_path_and_in_order(gallery: Gallery) -> None:
    for name in ("c.jpg", "a.jpg", "b/a.jpg"):
        gallery.paint(name)
    gallery.tag()
    index = cartag.load(gallery.path)
    assert [record.path for record in index] == list(index.photos) == ["a.jpg", "b/a.jpg", "c.jpg"]
    assert len(index) == 3


@pytest.mark.parametrize("change", [{}, {"photos": "in another file"}, {"model": None}])
@pytest.mark.damaged_index
def test_a_newer_index_is_refused_by_its_version_whatever_else_it_holds(
    gallery: Gallery, change: dict[str, Any]
) -> None:
    gallery.paint("a.jpg")
    gallery.tag()
    gallery.edit(lambda raw: raw.update(schema_version=2, **change))
    for read in (indexes.read_index, indexes.read_tags, indexes.read_outcomes):
        with pytest.raises(IndexFileError, match="written by a newer cartag \\(schema 2"):
            read(gallery.path)


def test_read_tags_tells_the_same_of_the_tags_as_the_whole(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    gallery.paint("ä.jpg", "black")
    (gallery.path / "bad.jpg").write_bytes(b"no picture")
    gallery.tag()
    gallery.tag_by_hand("ä.jpg", "blue-bolt")
    whole, tags = indexes.read_index(gallery.path), indexes.read_tags(gallery.path)
    assert tags.header == whole.header
    assert tags.path == whole.path
    assert len(tags.photos) == len(whole) == 3
    for part, record in zip(tags, whole, strict=True):
        assert all(getattr(part, name) == getattr(record, name) for name in part.__struct_fields__)
    assert indexes.outcome_counts(tags) == indexes.outcome_counts(whole)


@pytest.mark.parametrize("uri", ["s3://[x", "file://[x/index", "gs://[x/y"])
def test_what_looks_like_a_uri_and_is_none_is_one_line(uri: str, gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    for ask in (
        lambda: cartag.tag(gallery.path, model="fake", index=uri),
        lambda: cartag.find(gallery.path, "red", index=uri),
        lambda: cartag.merge(gallery.path, uri),
        lambda: cartag.check(gallery.path, index=uri),
    ):
        with pytest.raises(IndexFileError, match="is no URI"):
            ask()
