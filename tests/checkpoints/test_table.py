"""From a model's name to its files: the table, the hub's cache, the hub, `auto`, and copies to carry away."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import (
    COMMIT,
    checkpoints,  # noqa: F401 - a fixture
    copy_of,
    make_clip,
    put_in_cache,
)
from conftest import Gallery
from hubs import (
    empty_hub,  # noqa: F401 - a fixture
    no_config,
    no_processor,
    no_tokenizer,
    no_vocabulary,
    one_line,
    one_thread,  # noqa: F401 - a fixture
    sharded_copy,
    texts_of,
    weights_of,
)
from notes import Notes
from PIL import Image
from processes import run

import cartag
from cartag import encoder
from cartag.checkpoints import folders, hub as hubs_client, resolve, resolve_auto, table
from cartag.errors import CartagError, ModelError
from cartag.progress import Silent
from cartag.resources import shipped
from cartag.values import IndexedModel, ModelFiles, ModelSpec

Checkpoints = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]


def indexed(files: ModelFiles) -> IndexedModel:
    """What an index keeps of the model it was made with."""
    return IndexedModel(name=files.spec.name, source=files.spec.source, revision=files.revision, dtype="float32")


# --- the table --------------------------------------------------------------------------------------------------


PROMISED = ["clip-b32", "siglip2-b16", "siglip2-l16", "siglip-b16", "clip-l14", "siglip-so400m", "openai-b32"]


def test_the_table_holds_the_promised_models() -> None:
    assert list(table.known_models()) == ["mini", *PROMISED]
    assert [model.name for model in cartag.models() if model.kind == "model"] == ["mini", *PROMISED]


def test_every_model_of_the_hub_says_what_a_choice_needs() -> None:
    for name in PROMISED:
        spec = table.known_models()[name]
        assert all((spec.licence, spec.revision, spec.input_size, spec.size_mb, spec.stanford_cars_top1, spec.cost)), (
            name
        )


@pytest.mark.parametrize("name", PROMISED)
def test_a_name_of_the_table_is_found_in_the_hubs_cache(name: str, hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    spec = table.known_models()[name]
    snapshot = put_in_cache(hub, spec.source, checkpoints("clip"), spec.revision or "main")
    files = resolve(name, Silent())
    assert (files.spec, Path(files.folder), files.revision) == (spec, snapshot, COMMIT)
    assert {m.name for m in cartag.models() if m.here} == {"mini", "look", name}


def test_an_unknown_name_lists_the_known_ones(hub: Path) -> None:
    with pytest.raises(ModelError) as error:
        resolve("clip-b23", Silent())
    assert all(name in one_line(error) for name in ("clip-b23", "clip-b32", "mini"))


@pytest.mark.parametrize("name", ["Clip-B32", "./nowhere", "/nowhere/model", "a/b/c", "~/model"])
def test_what_can_be_no_model_lists_the_known_ones(name: str, hub: Path) -> None:
    with pytest.raises(ModelError) as error:
        resolve(name, Silent())
    assert repr(name) in one_line(error)
    assert ", ".join(table.known_models()) in one_line(error)


def test_mini_is_the_folder_that_ships() -> None:
    files = resolve("mini", Silent())
    assert (files.spec.source, Path(files.folder)) == ("models/mini", shipped("models", "mini"))
    assert files.revision == resolve(files.folder, Silent()).revision


@pytest.mark.parametrize("name", ["clip-b32", "someone/cars-clip"])
def test_another_revision_in_the_cache_is_another_model(name: str, hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    spec = table.known_models().get(name, ModelSpec(name, name))
    put_in_cache(hub, spec.source, checkpoints("clip"), "experiment")
    with pytest.raises(ModelError, match="not in the local cache"):
        resolve(name, Silent())


# --- the hub ----------------------------------------------------------------------------------------------------


def test_any_hub_id_in_the_cache_loads_without_network(hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    put_in_cache(hub, "someone/cars-clip", checkpoints("clip"))
    files = resolve("someone/cars-clip", Silent())
    np.testing.assert_array_equal(texts_of(files), texts_of(resolve(str(checkpoints("clip")), Silent())))


def test_half_a_snapshot_is_no_model(hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    snapshot = put_in_cache(hub, "someone/cars-clip", checkpoints("clip"))
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="not in the local cache") as error:
        resolve("someone/cars-clip", Silent())
    one_line(error)


def _broken_link(snapshot: Path) -> None:
    (snapshot / "model.safetensors").resolve().unlink()


def _lost_shard(snapshot: Path) -> None:
    shards = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(shards))


@pytest.mark.parametrize("loss", [_broken_link, _lost_shard, no_config, no_tokenizer, no_vocabulary, no_processor])
def test_a_download_that_broke_off_is_no_model(
    loss: Callable[[Path], None],
    hub: Path,
    checkpoints: Checkpoints,  # noqa: F811
) -> None:
    loss(put_in_cache(hub, table.known_models()["clip-b32"].source, checkpoints("clip")))
    with pytest.raises(ModelError, match=r"clip-b32.*not in the local cache"):
        resolve("clip-b32", Silent())
    assert [model.name for model in cartag.models() if model.here] == ["mini", "look"]
    assert resolve_auto(None, Silent()).spec.name == "mini"


def test_the_place_of_the_cache_is_the_environments(tmp_path: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    """Everything real: the variables, the client that reads them, the command, and what it writes."""
    put_in_cache(tmp_path / "home" / "hub", "someone/cars-clip", checkpoints("clip"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "cars.yaml").write_text("cars: [Red Racer, Blue Bird]\nother_cars: [Green Goblin]\nno_car: [black]\n")
    Image.new("RGB", (60, 40), (220, 20, 30)).save(tmp_path / "photos" / "red.png")
    tag = ("-m", "cartag", "tag", "photos", "--catalog", "cars.yaml", "--device", "cpu")
    here = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = run(tmp_path, *tag, "--model", "someone/cars-clip", **here)
    assert done.returncode == 0, done.stderr
    model = json.loads((tmp_path / "photos" / "cartag.json").read_text())["model"]
    assert (model["name"], model["revision"]) == ("someone/cars-clip", COMMIT)


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_the_command_fetches_from_the_cache_without_network(
    variable: str,
    tmp_path: Path,
    checkpoints: Checkpoints,  # noqa: F811
) -> None:
    cache = tmp_path / "place" / "hub"
    put_in_cache(cache, table.known_models()["clip-b32"].source, checkpoints("clip"))
    place = {variable: str(cache.parent if variable == "HF_HOME" else cache), "HF_HUB_OFFLINE": "1"}
    done = run(tmp_path, "-m", "cartag", "models", "fetch", "clip-b32", "--to", "copy", **place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "copy\n", "")
    whole, copy = (resolve(str(folder), Silent()) for folder in (checkpoints("clip"), tmp_path / "copy"))
    assert copy.revision == whole.revision
    np.testing.assert_array_equal(texts_of(copy), texts_of(whole))
    done = run(tmp_path, "-m", "cartag", "models", "fetch", "clip-b32", **place)  # without --to: where the cache has it
    assert done.returncode == 0, done.stderr
    cached = resolve(done.stdout.strip(), Silent())
    assert Path(cached.folder).is_relative_to(cache)
    assert cached.revision == whole.revision


def test_what_is_not_here_offline_says_what_to_do(hub: Path) -> None:
    with pytest.raises(ModelError) as error:
        resolve("clip-l14", Silent())
    for words in ("clip-l14", "offline", "cartag models fetch clip-l14", "--model mini"):
        assert words in one_line(error)


def test_a_hub_that_does_not_answer_costs_seconds_not_minutes(tmp_path: Path) -> None:
    """In a process of its own: the hub's client reads its settings when it is imported."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "CARTAG_", "TRANSFORMERS_"))}
    environment = {k: v for k, v in environment.items() if not k.lower().endswith("_proxy")}
    environment |= {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cartag", "models", "fetch", "clip-b32", "--to", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be reached" in done.stderr
    assert "--model mini" in done.stderr
    assert not (tmp_path / "out").exists()


def test_tagging_with_a_hub_that_does_not_answer_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "photos" / "one.png")
    done = run(tmp_path, "-m", "cartag", "tag", "photos", "--model", "siglip-b16", HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    for words in ("siglip-b16", "cannot be reached", "cartag models fetch siglip-b16", "--model mini"):
        assert words in done.stderr


def test_auto_with_a_hub_that_does_not_answer_is_mini_and_says_so(tmp_path: Path) -> None:
    code = (
        "from cartag import checkpoints; from cartag.cli.output import TerminalProgress;"
        "print(checkpoints.resolve_auto(None, TerminalProgress()).spec.name)"
    )
    done = run(tmp_path, "-c", code, HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "mini\n", 1), done.stderr
    for words in ("mini", "clip-b32", "cannot be fetched"):
        assert words in done.stderr


class _KnowsNothing(http.server.BaseHTTPRequestHandler):
    """A hub that has no such repository."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_hub_that_knows_no_such_model_is_one_line(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _KnowsNothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        fetch = ("-m", "cartag", "models", "fetch", "someone/no-such", "--to", "out")
        done = run(tmp_path, *fetch, HF_ENDPOINT=endpoint)
        server.shutdown()
    assert done.returncode == 1
    notes, last = done.stderr.splitlines()[:-1], done.stderr.splitlines()[-1]
    assert all(note.startswith("cartag: model: fetching someone/no-such") for note in notes)
    assert last.startswith("cartag: model someone/no-such")
    assert "--model mini" in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("endpoint", "port"), [("http://hub.invalid", 80), ("https://hub.invalid", 443)])
def test_the_quick_look_knocks_at_the_port_of_the_endpoint(
    endpoint: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test cannot open port 80, hence the stand-in for the socket."""
    knocked = []

    def connect(address: tuple[str, int], timeout: float | None = None) -> socket.socket:
        knocked.append(address)
        raise OSError

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr(socket, "create_connection", connect)
    assert not hubs_client.hub_answers()
    assert knocked == [("hub.invalid", port)]


@pytest.mark.parametrize("endpoint", ["http://hub:eighty", "http://hub:99999", "http://[hub"])
def test_another_hub_that_is_no_address_is_one_line(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ModelError, match=re.escape(f"HF_ENDPOINT={endpoint}: is no address")):
        hubs_client.hub_answers()


@pytest.mark.parametrize("find", [table.resolve, table.resolve_detector])
def test_a_name_that_is_half_an_address_is_one_line(find: Callable[..., object]) -> None:
    with pytest.raises(ModelError, match=r"no (model|detector) 'http://\[x'"):
        find("http://[x", Silent())


def test_a_fetched_copy_is_a_model_folder(hub: Path, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    spec = table.known_models()["clip-b32"]
    put_in_cache(hub, spec.source, checkpoints("clip"))
    folder = cartag.fetch("clip-b32", tmp_path / "to" / "carry")
    assert not any(path.is_symlink() for path in folder.iterdir())
    shutil.rmtree(hub)
    np.testing.assert_array_equal(
        texts_of(resolve(str(folder), Silent())), texts_of(resolve(str(checkpoints("clip")), Silent()))
    )


def test_a_fetched_copy_of_shards_holds_every_one(hub: Path, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    shards = sharded_copy(checkpoints("clip"), tmp_path / "sharded")
    put_in_cache(hub, "someone/cars-clip", tmp_path / "sharded")
    folder = cartag.fetch("someone/cars-clip", tmp_path / "out")
    assert {path.name for path in shards} <= {path.name for path in folder.iterdir()}
    whole = resolve(str(checkpoints("clip")), Silent())
    assert weights_of(folder) == weights_of(checkpoints("clip"))
    np.testing.assert_allclose(texts_of(resolve(str(folder), Silent())), texts_of(whole), rtol=0, atol=1e-6)


def test_a_fetched_copy_holds_what_is_needed_and_nothing_else(
    hub: Path,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Hub repositories hold the same weights once more for other tools: gigabytes that nobody wants to carry."""
    full = copy_of(checkpoints("clip"), tmp_path / "full")
    for name in ("pytorch_model.bin", "open_clip_model.safetensors", "flax_model.msgpack", "evil.py"):
        (full / name).write_bytes(b"not needed")
    put_in_cache(hub, "someone/cars-clip", full)
    folder = cartag.fetch("someone/cars-clip", tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {path.name for path in checkpoints("clip").iterdir()}


def test_a_fetched_mini_keeps_its_calibration(tmp_path: Path) -> None:
    folder = cartag.fetch("mini", tmp_path / "out")
    assert (folder / "calibration.json").read_bytes() == (shipped("models", "mini") / "calibration.json").read_bytes()
    assert not folders.missing_files(folder)


@pytest.mark.parametrize("place", ["itself", "a-file", "a-file/below"])
def test_a_place_that_cannot_take_a_copy_is_one_line(place: str, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    model = copy_of(checkpoints("clip"), tmp_path / "itself")
    (tmp_path / "a-file").write_text("mine")
    with pytest.raises(CartagError) as error:
        cartag.fetch(str(model), tmp_path / place)
    assert str(tmp_path / place) in one_line(error)
    assert (tmp_path / "a-file").read_text() == "mine"
    assert texts_of(resolve(str(model), Silent())).shape[0] == 2, "the model itself is as it was"


# --- auto -------------------------------------------------------------------------------------------------------


def test_auto_is_mini_when_clip_b32_cannot_be_had_and_says_so(hub: Path) -> None:
    notes = Notes()
    assert resolve_auto(None, notes).spec.name == "mini"
    (note,) = notes.said
    assert all(words in note for words in ("mini", "clip-b32", "offline"))


def test_auto_is_clip_b32_when_it_is_here(hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    put_in_cache(hub, table.known_models()["clip-b32"].source, checkpoints("clip"))
    notes = Notes()
    assert resolve_auto(None, notes).spec.name == "clip-b32"
    assert not notes.said


def test_auto_is_first_of_all_the_model_of_the_index(hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    put_in_cache(hub, table.known_models()["clip-b32"].source, checkpoints("clip"))
    put_in_cache(hub, "someone/cars-clip", checkpoints("clip"))

    def indexed(spec: ModelSpec) -> IndexedModel:
        return IndexedModel(name=spec.name, source=spec.source, revision="1", dtype="float32")

    for spec in (
        table.known_models()["mini"],
        ModelSpec("someone/cars-clip", "someone/cars-clip"),
        ModelSpec("siglip", str(checkpoints("siglip"))),
    ):
        assert resolve_auto(indexed(spec), Silent()).spec.source == spec.source
    with pytest.raises(ModelError, match="gone"):  # never another model in its place without being asked
        resolve_auto(indexed(ModelSpec("gone", "/nowhere/gone")), Silent())


@pytest.mark.parametrize("name", ["clip-l14", "mini", "fake"])
def test_auto_keeps_to_the_folder_of_the_index_whatever_it_is_called(
    name: str,
    hub: Path,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    """`models fetch clip-l14 --to ./clip-l14` is what the docs show; the hub's own may not even be here."""
    files = resolve(str(copy_of(checkpoints("clip"), tmp_path / name)), Silent())
    assert resolve_auto(indexed(files), Silent()) == files


def test_a_gallery_begun_with_mini_stays_with_it(hub: Path, checkpoints: Checkpoints, gallery: Gallery) -> None:  # noqa: F811
    gallery.paint("red.jpg")
    first, second = Notes(), Notes()
    gallery.tag(model="auto", device="cpu", progress=first)
    assert gallery.raw()["model"]["name"] == "mini"
    assert any("mini" in note and "clip-b32" in note for note in first.said)
    put_in_cache(hub, table.known_models()["clip-b32"].source, checkpoints("clip"))
    gallery.paint("blue.jpg", "blue")
    gallery.tag(model="auto", device="cpu", progress=second)
    assert gallery.raw()["model"]["name"] == "mini"
    assert not any("clip-b32" in note for note in second.said)


def test_two_names_for_one_seed_are_two_models(tmp_path: Path) -> None:
    one, other = make_clip(tmp_path / "one", seed=21), make_clip(tmp_path / "other", seed=22)
    files = [resolve(str(folder), Silent()) for folder in (one, other)]
    assert encoder.identity(files[0]) != encoder.identity(files[1])
    assert np.abs(texts_of(files[0]) - texts_of(files[1])).max() > 0.01
