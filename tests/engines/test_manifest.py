"""Listing photos and holding them against an index: the walk's own rules, the plan's own rules, and bad input."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Storage, storage
from conftest import paint, write_catalog
from hypothesis import given, settings, strategies as st

import cartag
from cartag.errors import (
    CartagError,
    CatalogError,
    EngineError,
    GalleryError,
    IndexFileError,
    SettingsError,
    UsageError,
)
from cartag.photos import Source, source_of, walk
from cartag.progress import Silent
from cartag.values import RETRIED_REASONS, PhotoFile

pytest.importorskip("ray", reason="the extra cartag[ray] is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

from cartag.engines.manifest import LISTED, Ledger, list_photos, photos_of


@pytest.fixture(scope="module", params=["s3", "gs"])
def store(request: pytest.FixtureRequest) -> Iterator[Storage]:
    with storage(request.param) as found:
        yield found


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


def listed(source: Source, to: Path, notes: Notes | None = None) -> list[PhotoFile]:
    list_photos(source, to, "jpeg", ("@eaDir/",), 3, notes or Silent())
    return sorted(photos_of(pq.read_table(to)), key=lambda photo: photo.path)


# --- listing --------------------------------------------------------------------------------------------------------


def test_a_folder_is_listed_as_the_walk_lists_it(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    raw = os.fsencode(photos)
    for name in (
        b"a.jpg",
        b"b/IMG_1.JPG",
        b"b/c/x.png",
        b"@eaDir/a.jpg",
        b".hidden/a.jpg",
        b"b/.a.jpg",
        b"b/caf\xe9.png",
    ):
        paint(raw + b"/" + name)
    for name in ("nfd-e\u0301.png", "nfd-\u00e9.png", "e\u0301/x.png", "\u00e9/x.png", "%2F.png", "new\nline.png"):
        paint(photos / name)
    for name in ("b/IMG_1.CR2", "b/IMG_2.CR2", "b/scan.psd"):
        (photos / name).write_bytes(b"raw")
    (photos / "b" / "broken.jpg").symlink_to("nowhere")
    wanted = walk(photos, "jpeg", ("@eaDir/",))
    to = tmp_path / "listed.parquet"
    found = list_photos(source_of(photos), to, "jpeg", ("@eaDir/",), 3, Silent())
    assert (found.left_out, found.unreadable_kinds, found.raw_pairs) == ({"@eaDir/": 1}, {".psd": 1}, 1)
    with Ledger(tmp_path, to, iter(()), ()) as ledger:  # which tells folders of one name in NFC apart
        assert photos_of(ledger.photos(0, 100)) == wanted.photos
    assert listed(source_of(photos.as_uri()), to) == listed(source_of(photos), to)


def test_a_key_may_hold_a_line_break(tmp_path: Path) -> None:
    """In a store of memory: moto's server takes no such key."""
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe_file("/lines/a/new\nline %2F.jpg", b"x")
    try:
        source = source_of("memory://lines")
        (photo,) = listed(source, tmp_path / "listed.parquet")
        assert (photo.path, source.read(photo, 1)) == ("a/new\nline %2F.jpg", b"x")
    finally:
        store.rm("/lines", recursive=True)


def test_a_prefix_with_a_hundred_thousand_objects(tmp_path: Path) -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFile

    store = fsspec.filesystem("memory")
    ours = {f"/crowd/{i:06}.jpg": MemoryFile(store, f"/crowd/{i:06}.jpg", b"x") for i in range(100_000)}
    store.store.update(ours)  # writing them one by one takes a minute
    try:
        found = listed(source_of("memory://crowd"), tmp_path / "listed.parquet")
    finally:
        for path in ours:
            del store.store[path]
    assert [photo.path for photo in found] == [f"{i:06}.jpg" for i in range(100_000)]


def test_a_bucket_is_listed_page_by_page_whatever_its_keys_are(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartag.photos.sources._PAGE", 10)
    store.fs.mkdir("crowd")
    keys = [f"many/{i:04}.jpg" for i in range(31)] + ["a b.jpg", "%2F/é+&?=.jpg", "<>\"'.jpg", "a#1.jpg"]
    for key in keys:
        store.fs.pipe_file(f"crowd/{key}", b"x")
    for odd in ("a//b.jpg", "dir/"):
        store.put("crowd", odd, b"")
    notes = Notes()
    source = source_of(store.uri("crowd"))
    found = listed(source, tmp_path / "listed.parquet", notes)
    assert [photo.path for photo in found] == sorted(keys)
    assert any("1 prefix(es)" in said for said in notes.said)
    assert {source.read(photo, 1) for photo in found if not photo.path.startswith("many/")} == {b"x"}
    assert listed(source, tmp_path / "again.parquet") == found, "times and etags too"
    (below,) = listed(source_of(store.uri("crowd/%2F")), tmp_path / "below.parquet")
    assert below.path == "é+&?=.jpg"
    assert listed(source_of(store.uri("crowd/nothing/here")), tmp_path / "nothing.parquet") == []
    store.fs.rm_file("crowd/a b.jpg")
    with pytest.raises(cartag.errors.PhotoError, match="no longer there"):
        source.read(PhotoFile("a b.jpg", "a b.jpg", 1, 1), 1)


def test_an_object_that_is_written_anew_is_another_one(store: Storage, tmp_path: Path) -> None:
    """Of one size, within a second: Google's generation, or S3's etag, tells."""
    store.fs.mkdir("anew")
    store.fs.pipe_file("anew/a.jpg", b"x")
    before, after = tmp_path / "before.parquet", tmp_path / "after.parquet"
    listed(source_of(store.uri("anew")), before)
    store.fs.pipe_file("anew/a.jpg", b"y")
    listed(source_of(store.uri("anew")), after)
    (was,), (is_now) = pq.read_table(before)["etag"].to_pylist(), pq.read_table(after)["etag"].to_pylist()
    assert was
    assert [was] != is_now


# --- what is left to do ---------------------------------------------------------------------------------------------

NAMES = [f"p{i}.jpg" for i in range(8)]
REASONS = [None, "truncated", *sorted(RETRIED_REASONS)]
there = st.dictionaries(
    st.sampled_from(NAMES), st.tuples(st.integers(1, 2), st.integers(1, 2), st.sampled_from([None, "a", "b"]))
)
rows = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.integers(1, 2),
        st.integers(1, 2),
        st.sampled_from([None, "a", "b"]),
        st.sampled_from(REASONS),
        st.sampled_from(["s1", "s2", "old"]),
    ),
    max_size=10,
    unique_by=lambda row: (row[0], row[5]),
)


@settings(max_examples=20, deadline=None)
@given(there, rows, st.integers(1, 4))
def test_every_photo_stands_or_is_to_be_done_and_every_old_row_has_its_end(
    now: dict[str, tuple[int, int, str | None]],
    before: list[tuple[str, int, int, str | None, str | None, str]],
    size: int,
) -> None:
    names = ("path", "size", "mtime_ns", "etag", "reason", "shard")
    table = pa.table(
        {name: [row[i] for row in before] for i, name in enumerate(names)},
        pa.schema(
            [
                ("path", pa.string()),
                ("size", pa.int64()),
                ("mtime_ns", pa.int64()),
                ("etag", pa.string()),
                ("reason", pa.string()),
                ("shard", pa.string()),
            ]
        ),
    )
    table = table.append_column("sha256", pa.array(["0" * 64] * len(before), pa.string()))
    table = table.append_column("outcome", pa.array(["tagged"] * len(before), pa.string()))
    listing = [
        {"id": i, "path": path, "path_on_disk": None, "size": of[0], "mtime_ns": of[1], "etag": of[2]}
        for i, (path, of) in enumerate(now.items())
    ]
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.Table.from_pylist(listing, LISTED), f"{folder}/listed.parquet")
        with Ledger(Path(folder), Path(folder) / "listed.parquet", iter([table]), ["old"]) as ledger:
            starts = range(0, ledger.to_do, size)
            to_do = [photo.path for start in starts for photo in photos_of(ledger.photos(start, size))]
            outdated = [row for start in starts for row in ledger.outdated(start, size)]
            gone = [row for some in ledger.gone_rows(2) for row in some]
            standing = sum(ledger.standing().values())
            assert ledger.gone == len({path for _, path in gone})
    by_path: dict[str, list[tuple[str, int, int, str | None, str | None, str]]] = {}
    for row in before:
        by_path.setdefault(row[0], []).append(row)
    stands = {
        path
        for path, (size_now, mtime, etag) in now.items()
        if len(known := by_path.get(path, [])) == 1
        and (known[0][1], known[0][2]) == (size_now, mtime)
        and (etag is None or known[0][3] is None or etag == known[0][3])
        and known[0][4] not in RETRIED_REASONS
        and known[0][5] != "old"
    }
    assert to_do == sorted(now.keys() - stands)
    assert standing == len(stands)
    assert sorted(outdated) == sorted((row[5], row[0]) for row in before if row[0] in now and row[0] not in stands)
    assert sorted(gone) == sorted((row[5], row[0]) for row in before if row[0] not in now)


# --- what cannot go well: a line each, and before any work ----------------------------------------------------------


def refused(error: type[CartagError], said: str, gallery: Path | str, **options: object) -> None:
    with pytest.raises(error, match=said) as e:
        cartag.tag(gallery, model="fake", **{"engine": "ray", "index": "/nowhere/index", **options})  # type: ignore[arg-type]
    assert "\n" not in str(e.value)


def test_what_is_asked_for_wrongly_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    photos, index = tmp_path / "photos", tmp_path / "index"
    refused(UsageError, r"name where the index goes", photos, index=None)
    refused(SettingsError, r"no engine 'spark': use local or ray", photos, engine="spark")
    refused(UsageError, r"--address is a cluster's", photos, engine="local", address="a:1")
    refused(UsageError, r"a URI is tagged with --engine ray", "s3://bucket/photos", engine="local")
    refused(EngineError, r"127\.0\.0\.1:9: no cluster answers there", photos, index=index, address="127.0.0.1:9")
    refused(EngineError, r"not as Ray's client", photos, index=index, address="ray://somewhere:10001")
    refused(EngineError, r"no address; write HOST:PORT", photos, index=index, address="somewhere")
    refused(GalleryError, r"no such folder", tmp_path / "nowhere", index=index)
    refused(GalleryError, r"names another machine", "file://other/photos", index=index)
    refused(GalleryError, r"is no URI", "s3://[photos", index=index)
    refused(GalleryError, r"Protocol not known|use a folder", "gopher://photos", index=index)
    paint(photos / "a.jpg")
    cartag.tag(photos, model="fake", catalog=write_catalog(tmp_path))
    refused(IndexFileError, r"in a folder of its own: --index URI", photos, index=photos)


def test_without_rawpy_it_is_said_that_the_jpeg_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cartag.engines.running.reads_raw", lambda: False)
    paint(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "a.dng").write_bytes(b"the same")
    notes = Notes()
    options = {"index": tmp_path / "index", "raw_pairs": "raw", "progress": notes, "catalog": "nowhere"}
    refused(CatalogError, "no catalog 'nowhere'", tmp_path / "photos", **options)  # so that no cluster is started
    assert "raw_pairs: raw wants rawpy (pip install 'cartag[raw]')" in "\n".join(notes.said)


def test_a_bucket_that_is_not_there(store: Storage, tmp_path: Path) -> None:
    nowhere = store.uri("no-such-bucket/x")
    refused(GalleryError, f"{nowhere}: no such bucket or folder", nowhere, index=tmp_path / "i")


def test_s3_wants_credentials(tmp_path: Path) -> None:
    with storage("s3") as store, pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        type(store.fs).clear_instance_cache()
        refused(GalleryError, r"set the credentials of the store", "s3://crowd/2013", index=tmp_path / "i")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, r"gs://closed/x: cannot be listed \(Anonymous caller .*\); set the credentials of the store"),
        (403, r"gs://closed/x: may not be listed \(someone@.* does not have .*\); check the credentials"),
    ],
    ids=["nobody", "somebody"],
)
def test_google_wants_credentials(status: int, said: str, tmp_path: Path) -> None:
    with storage("gs") as store:
        store.fs.mkdir("closed")
        assert store.google is not None
        store.google.closed["closed"] = status
        refused(GalleryError, said, "gs://closed/x", index=tmp_path / "i")


@pytest.mark.parametrize("missing", ["ray", "duckdb", "pyarrow"])
def test_without_the_extra_a_line_says_what_to_install(missing: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from cartag.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "tag", tmp_path, "--engine", "ray", "--index", tmp_path / "index"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'cartag[ray]'" in done.stderr


def test_an_empty_gallery_does_not_empty_an_index(tmp_path: Path) -> None:
    """No photo, no work, no cluster: what is there already is asked about first."""
    from cartag.state import done_shards, shard_folder, write_shard
    from cartag.values import PhotoRecord

    (tmp_path / "photos").mkdir()
    index = tmp_path / "index"
    options = {"engine": "ray", "index": index, "model": "fake", "catalog": write_catalog(tmp_path)}
    assert cartag.tag(tmp_path / "photos", **options).outcomes["tagged"] == 0  # type: ignore[arg-type]
    write_shard(shard_folder(index), "s1", [PhotoRecord(path="a.jpg", size=1, mtime_ns=1, outcome="unknown")], {})
    refused(IndexFileError, r"knows 1 photo, and .* holds none", tmp_path / "photos", index=index)
    report = cartag.tag(tmp_path / "photos", gone=True, **options)  # type: ignore[arg-type]
    assert (report.gone, sum(report.outcomes.values())) == (1, 0)
    assert len(done_shards(shard_folder(index))) == 2
    refused(
        IndexFileError, "holds an index of shards: go on with it by --engine ray", tmp_path, engine="local", index=index
    )
