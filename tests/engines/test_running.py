"""Runs on a cluster from the listing to the index, with workers that are called here, one after the other, without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from conftest import Gallery, write_catalog
from msgspec import UNSET
from PIL import Image
from reviews import served

import cartag
from cartag.encoder.fake import COLOURS
from cartag.errors import EngineError, IndexFileError
from cartag.reviewing.session import Session
from cartag.settings import Settings
from cartag.state import place_of, read_index, shard_folder

pytest.importorskip("ray", reason="the extra cartag[ray] is not installed")

import pyarrow as pa

from cartag.engines import running, worker
from cartag.engines.cluster import Nodes
from cartag.engines.job import Job, PlannedShard
from cartag.engines.pipeline import Done


def _run_here(job: Job, nodes: Nodes, replaced: Callable[[PlannedShard], Sequence[tuple[str, str]]], *_: Any) -> Done:
    """As `cartag.engines.pipeline.run`, by the same worker and the same writer."""
    done, tally = Done(), MagicMock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_job_of", lambda _: job)
        looker = worker.Looker(tally)
        for shard in job.shards:
            parts = [looker({"id": part})["done"] for part in range(shard.first, shard.first + shard.parts)]
            failed, outcomes = worker.finish(job, shard, replaced(shard), pa.table({"done": parts}))
            assert not failed
            done.shards, done.photos = done.shards + 1, done.photos + shard.photos
            done.outcomes = {of: done.outcomes.get(of, 0) + count for of, count in outcomes.items()}
    done.dtype = tally.loaded.remote.call_args.args[0]
    return done


@pytest.fixture
def tag(gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`cartag.tag(engine="ray")` with an index beside the gallery; at the end it says which photos the index holds."""
    monkeypatch.setattr(running, "cluster", lambda _: nullcontext(Nodes(1, 0, 1)))
    monkeypatch.setattr(running, "check_nodes", lambda: None)
    monkeypatch.setattr(running, "run", _run_here)

    def run(**options: Any) -> Any:
        settings = Settings(engine_shard_size=3, engine_batch_size=2, engine_actor_cpus=1, decode_threads=1)
        options = {
            "catalog": gallery.catalog,
            "model": "fake",
            "settings": settings,
            "index": tmp_path / "index",
        } | options
        return cartag.tag(gallery.path, engine="ray", **options)

    return run


def test_photos_that_come_and_go_come_back_every_time(
    gallery: Gallery, tag: Callable[..., Any], tmp_path: Path
) -> None:
    """As on a disk that is mounted now and then: each return is planned as the one before, and has a shard of its own."""
    gallery.paint("here.jpg")
    disk, aside = gallery.path / "disk", tmp_path / "aside"
    for i in range(4):
        gallery.paint(f"disk/{i}.jpg", mark=i)
    tag()
    everything = set(read_index(gallery.path, tmp_path / "index").photos)
    assert len(everything) == 5
    for _ in range(3):
        disk.rename(aside)
        assert tag().gone == 4
        assert set(read_index(gallery.path, tmp_path / "index").photos) == {"here.jpg"}
        aside.rename(disk)
        assert tag().embedded == 4
        assert set(read_index(gallery.path, tmp_path / "index").photos) == everything
    assert (tag().unchanged, tag().embedded) == (5, 0)


def test_names_of_former_cars_and_fields_of_others_outlast_a_run(
    gallery: Gallery, tag: Callable[..., Any], tmp_path: Path
) -> None:
    index = tmp_path / "index"
    for i, colour in enumerate(("red", "blue", "yellow")):
        gallery.paint(f"{colour}.jpg", colour, mark=i)
    tag()
    with served(gallery.path, index=index) as review:
        review.decide(("red.jpg", "car", "yellow-yeti"))
    raw = json.loads((index / "cartag.json").read_bytes())
    raw["catalog"]["theirs"], raw["house"] = 1, "ours"
    (index / "cartag.json").write_text(json.dumps(raw))
    few = write_catalog(tmp_path, "name: few\ncars: [Blue Bolt]\nother_cars: [Orange Other]\n", "few.yaml")
    (gallery.path / "blue.jpg").unlink()
    assert tag(catalog=few, retag=True).gone == 1
    found = read_index(gallery.path, index)
    former = found.header.catalog.former
    assert former
    assert [car.name for car in former] == ["Yellow Yeti"], "as long as she names it; of the others nobody speaks"
    assert found.foreign.header == {"house": "ours", "catalog": {"theirs": 1}}
    assert [hit.path for hit in cartag.find(gallery.path, "Yellow Yeti", index=index)] == ["red.jpg"]


def test_a_car_added_while_a_run_is_under_way_is_looked_for_by_the_next_that_does_all_again(
    gallery: Gallery, tag: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    gallery.paint("a.jpg", "red")
    tag(catalog="sports-cars")

    def run_beside_a_review(*arguments: Any) -> Done:
        Session(gallery.path, place_of(gallery.path, index)).add_car("Lada Niva", [])
        return _run_here(*arguments)

    gallery.paint("b.jpg", "blue")
    with monkeypatch.context() as patch:
        patch.setattr(running, "run", run_beside_a_review)
        assert tag(catalog=None).embedded == 1
    catalog = read_index(gallery.path, index).header.catalog
    assert catalog.source == str(index / "cartag.catalog.yaml")
    assert catalog.former
    assert [car.id for car in catalog.former] == ["lada-niva"]
    tag(catalog=None, retag=True)
    catalog = read_index(gallery.path, index).header.catalog
    assert (catalog.cars[-1].id, catalog.former) == ("lada-niva", UNSET)


@pytest.mark.parametrize("scheme", ["memory://", ""])
def test_what_was_learned_is_used_by_the_next_run_that_does_all_again(
    gallery: Gallery, tag: Callable[..., Any], tmp_path: Path, scheme: str
) -> None:
    index = f"memory://{tmp_path.name}/index" if scheme else str(tmp_path / "an index")
    catalog = write_catalog(tmp_path, "cars: [Red Racer, Phantom]\nother_cars: [Orange Other]\nno_car: [green grass]\n")
    for i in range(2):
        gallery.paint(f"red-{i}.jpg", "red", mark=i)
        gallery.paint(f"phantom-{i}.jpg", "silver", mark=4 + i)
    tag(catalog=catalog, index=index)
    assert cartag.find(gallery.path, "phantom", index=index) == []
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nphantom-0.jpg,Phantom\nred-0.jpg,Red Racer\n")
    assert cartag.learn(gallery.path, labels, index=index).kept
    with pytest.raises(IndexFileError, match="with --retag"):
        tag(catalog=catalog, index=index)
    tag(catalog=catalog, index=index, retag=True)
    found = cartag.find(gallery.path, "phantom", index=index)
    assert sorted(hit.path for hit in found) == ["phantom-0.jpg", "phantom-1.jpg"]


def test_a_small_car_in_a_panorama_is_kept_as_a_local_run_keeps_it(
    gallery: Gallery, tag: Callable[..., Any], tmp_path: Path
) -> None:
    image = Image.new("RGB", (4000, 250), (128, 128, 128))
    for colour, box in (("red", (400, 60, 540, 200)), ("blue", (3000, 100, 3010, 140))):
        image.paste(COLOURS[colour], box)
    image.save(gallery.path / "long.png")
    gallery.paint("usual.jpg", "yellow")
    (gallery.path / "broken.jpg").write_bytes(b"no photo")
    gallery.tag(detector="fake")
    tag(detector="fake")
    found, wanted = (read_index(gallery.path, index).photos for index in (tmp_path / "index", None))
    assert [one.car for one in wanted["long.png"].tags] == ["red-racer"], "0.035 of the whole, and 0.16 of a tile"
    assert found == wanted


def test_two_runs_on_photos_that_came_back_give_their_shards_the_same_names(
    gallery: Gallery, tag: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What two of them do at once is done once: the names follow from what was done when they began."""
    gallery.paint("here.jpg")
    there, aside = gallery.paint("there.jpg", "blue"), tmp_path / "aside.jpg"
    tag()
    for _ in range(2):
        there.rename(aside)
        tag()
        aside.rename(there)
        names: list[str] = []

        def dies(job: Job, *_: Any, names: list[str] = names) -> Done:
            names += [shard.name for shard in job.shards]
            raise EngineError("this one is killed")

        with monkeypatch.context() as patch:
            patch.setattr(running, "run", dies)
            with pytest.raises(EngineError, match="killed"):
                tag()
        tag()
        assert names
        assert f"shards/{names[0]}.json" in shard_folder(tmp_path / "index").names("shards")
