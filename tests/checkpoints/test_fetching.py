"""Fetching from the hub: its real client against a hub on 127.0.0.1, what comes over the wire, and what goes wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import COMMIT, MAKERS, checkpoints, make_bert_only  # noqa: F401 - a fixture
from conftest import paint
from detectors import made_detectors  # noqa: F401 - a fixture
from hubs import one_line, one_thread, sharded_copy, texts_of  # noqa: F401 - a fixture
from loopback import LARGE, NOT_NEEDED, Hub, loopback_hub, sha256  # noqa: F401 - a fixture
from notes import Notes
from processes import ROOT, run

import cartag
from cartag.checkpoints import known_detectors, known_models, resolve, resolve_auto, resolve_detector, resolve_either
from cartag.errors import ModelError
from cartag.progress import Silent

Folders = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("one_thread")
CARS = "someone/cars-clip"


def weights_in(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# --- what is fetched --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_checkpoint_of_every_family_is_fetched_and_loads(kind: str, loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints(kind))
    files = resolve(CARS, Silent())
    assert (files.revision, Path(files.folder).name) == (COMMIT, COMMIT)
    np.testing.assert_array_equal(texts_of(files), texts_of(resolve(str(checkpoints(kind)), Silent())))


@pytest.mark.parametrize("kind", list(MAKERS))
def test_only_what_is_needed_comes_over_the_wire(kind: str, loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints(kind))
    folder = Path(resolve(CARS, Silent()).folder)
    wanted = {path.name: path.stat().st_size for path in checkpoints(kind).iterdir()}
    assert {path.name for path in folder.rglob("*") if path.is_file()} == set(wanted)
    assert loopback.bytes_of_files() == sum(wanted.values())
    assert not set(NOT_NEEDED) & set(loopback.fetched())


def test_of_shards_every_one_is_fetched(loopback: Hub, checkpoints: Folders, tmp_path: Path) -> None:  # noqa: F811
    shards = sharded_copy(checkpoints("clip"), tmp_path / "sharded")
    loopback.publish(CARS, tmp_path / "sharded")
    files = resolve(CARS, Silent())
    assert len(shards) > 1
    assert {path.name for path in shards} <= {path.name for path in Path(files.folder).iterdir()}
    np.testing.assert_allclose(texts_of(files), texts_of(resolve(str(checkpoints("clip")), Silent())), atol=1e-6)


def test_what_was_fetched_is_found_without_the_hub(loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    spec = known_models()["clip-b32"]
    loopback.publish(spec.source, checkpoints("clip"))
    first = resolve("clip-b32", Silent())
    loopback.requests.clear()
    assert resolve("clip-b32", Silent()) == first
    assert not loopback.requests
    assert {model.name for model in cartag.models() if model.here} >= {"mini", "clip-b32"}


def test_a_moved_branch_does_not_fetch_a_model_that_is_here(loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    repository = loopback.publish(CARS, checkpoints("clip"))
    first = resolve(CARS, Silent())
    repository.commit = "b" * 40
    assert resolve(CARS, Silent()) == first


def test_what_is_to_be_fetched_is_said_once_with_size_and_licence(loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints("clip"))
    notes = Notes()
    resolve(CARS, notes)
    (note,) = notes.said
    assert all(words in note for words in (CARS, "1 MB", "once", "licence apache-2.0")), note


def test_auto_fetches_the_first_model_that_it_may(loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    for name in ("clip-b32", "siglip2-b16"):
        if name in known_models():
            loopback.publish(known_models()[name].source, checkpoints("clip"))
    found = resolve_auto(None, Silent())
    assert found.spec.name != "mini"
    assert found.revision == COMMIT


def test_a_detector_by_name_and_by_hub_id(loopback: Hub, detectors: Folders) -> None:
    for name in (known_detectors()["dfine-nano"].source, "someone/cars-detector"):
        loopback.publish(name, detectors("yolos"))
    assert resolve_detector("dfine-nano", Silent()).revision == COMMIT
    loopback.requests.clear()
    with pytest.raises(ModelError, match="is a detector, which --detector takes") as error:
        resolve("someone/cars-detector", Silent())
    one_line(error)
    assert loopback.fetched() == ["config.json"], "no weights for a no"
    assert resolve_either("someone/cars-detector", Silent()).spec.kind == "detector"


def test_a_model_is_no_detector(loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints("clip"))
    with pytest.raises(ModelError, match="no detector; --model takes it") as error:
        resolve_detector(CARS, Silent())
    one_line(error)


def test_the_commands_with_a_hub(loopback: Hub, checkpoints: Folders, tmp_path: Path) -> None:  # noqa: F811
    """Fetch to carry away, then tag with a name that is fetched on the way: everything real but the hub's place."""
    loopback.publish(known_models()["clip-b32"].source, checkpoints("clip"))
    loopback.publish("someone/cars-siglip", checkpoints("siglip"))
    there = loopback.variables(tmp_path / "home")
    done = run(tmp_path, "-m", "cartag", "models", "fetch", "clip-b32", "--to", "copy", **there)
    assert (done.returncode, done.stdout) == (0, "copy\n"), done.stderr
    assert weights_in(tmp_path / "copy") == weights_in(checkpoints("clip"))
    assert done.stderr.count("\n") == 1, done.stderr
    paint(tmp_path / "photos" / "red.jpg")
    (tmp_path / "cars.yaml").write_text("cars: [Red Racer]\nother_cars: [Green Goblin]\nno_car: [a wall]\n")
    tag = ("-m", "cartag", "tag", "photos", "--catalog", "cars.yaml", "--device", "cpu", "--regions", "off")
    done = run(tmp_path, *tag, "--model", "someone/cars-siglip", **there)
    assert done.returncode == 0, done.stderr
    assert "1 photo with someone/cars-siglip" in done.stdout


# --- on the way -------------------------------------------------------------------------------------------------


def test_a_token_goes_to_the_hub_and_to_nobody_else(
    loopback: Hub,
    checkpoints: Folders,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback.publish(CARS, checkpoints("clip"), private=True)
    monkeypatch.setenv("HF_TOKEN", loopback.token)
    assert resolve(CARS, Silent()).revision == COMMIT
    assert {r.host for r in loopback.requests if "authorization" in r.headers} == {"hub"}
    assert [r for r in loopback.requests if r.host == "store"]


def test_a_proxy_is_used(loopback: Hub, checkpoints: Folders, tmp_path: Path) -> None:  # noqa: F811
    """The hub's name is known to the proxy alone: the loopback hub, which answers whole addresses too."""
    loopback.publish(CARS, checkpoints("clip"))
    there = {**loopback.variables(tmp_path / "home"), "HF_ENDPOINT": "http://hub.invalid"}
    fetch = ("-m", "cartag", "models", "fetch", CARS, "--to")
    no_proxy = run(tmp_path, *fetch, "none", **there)
    assert (no_proxy.returncode, "cannot be reached" in no_proxy.stderr) == (1, True), no_proxy.stderr
    for variable in ("HTTP_PROXY", "ALL_PROXY"):
        done = run(tmp_path, *fetch, variable, NO_PROXY="127.0.0.1", **{variable: loopback.endpoint}, **there)
        assert done.returncode == 0, done.stderr
        assert weights_in(tmp_path / variable) == weights_in(checkpoints("clip"))
    closed = run(
        tmp_path, *fetch, "none", HTTP_PROXY="http://127.0.0.1:9", **{**there, "HF_HOME": str(tmp_path / "other")}
    )
    assert (closed.returncode, closed.stderr.count("\n")) == (1, 1), closed.stderr
    assert "--model mini" in closed.stderr


@pytest.mark.parametrize("part", ["model.safetensors", "tokenizer.json"])
def test_a_connection_that_is_cut_goes_on_where_it_was(
    part: str,
    loopback: Hub,
    checkpoints: Folders,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(
        constants, "DOWNLOAD_CHUNK_SIZE", 100
    )  # what is kept of a connection that is cut, in tens of MB
    loopback.publish(CARS, checkpoints("clip"))
    loopback.fail(part, cut_after=1000, method="GET")
    notes = Notes()
    files = resolve(CARS, notes)
    np.testing.assert_array_equal(texts_of(files), texts_of(resolve(str(checkpoints("clip")), Silent())))
    assert any("the connection was cut" in note for note in notes.said), notes.said
    if part == "model.safetensors":
        ranges = [r.headers["range"] for r in loopback.requests if "range" in r.headers]
        assert ranges == ["bytes=1000-"], "only the rest is fetched"


@pytest.mark.parametrize(
    ("status", "headers"), [(429, {"Retry-After": "0"}), (500, {}), (503, {})], ids=["429", "500", "503"]
)
def test_a_hub_that_is_busy_once_is_asked_again(
    status: int,
    headers: dict[str, str],
    loopback: Hub,
    checkpoints: Folders,  # noqa: F811
) -> None:
    loopback.publish(CARS, checkpoints("clip"))
    loopback.fail("/resolve/", status=status, headers=headers)
    assert resolve(CARS, Silent()).revision == COMMIT


def test_xet_storage_that_cannot_be_had_is_done_without(loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints("clip"), xet=True)
    files = resolve(CARS, Silent())
    assert weights_in(Path(files.folder)) == weights_in(checkpoints("clip"))


def test_without_xets_library_nothing_is_asked_of_it(loopback: Hub, checkpoints: Folders, tmp_path: Path) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints("clip"), xet=True)
    there = {**loopback.variables(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = run(tmp_path, "-m", "cartag", "models", "fetch", CARS, "--to", "copy", **there)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert not [r for r in loopback.requests if "xet" in r.path]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_what_is_not_what_the_hub_lists_is_thrown_away(name: str, loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    """The hub's client looks at the size alone."""
    loopback.publish(CARS, checkpoints("clip"))
    loopback.spoiled.add(name)
    with pytest.raises(ModelError, match=rf"{name} is not what the hub lists.*thrown away") as error:
        resolve(CARS, Silent())
    one_line(error)
    with pytest.raises(ModelError):
        resolve(CARS, Silent(), fetch=False)
    loopback.spoiled.clear()
    loopback.requests.clear()
    files = resolve(CARS, Silent())
    assert weights_in(Path(files.folder)) == weights_in(checkpoints("clip"))
    assert name in loopback.fetched()
    assert name == "config.json" or loopback.fetched() == [name], "the others are here"


def test_a_fetch_that_was_killed_goes_on_with_the_files_it_lacks(
    loopback: Hub,
    checkpoints: Folders,  # noqa: F811
    tmp_path: Path,
) -> None:
    loopback.publish(CARS, checkpoints("clip"))
    loopback.speed = 50_000
    with _fetching(loopback, tmp_path) as process:
        small = [path for path in checkpoints("clip").iterdir() if path.stat().st_size < LARGE]
        _until(lambda: len(_snapshot(tmp_path)) >= len(small))
        process.kill()
    assert "model.safetensors" not in _snapshot(tmp_path)
    whole = set(_snapshot(tmp_path))
    loopback.speed = None
    loopback.requests.clear()
    done = run(
        tmp_path, "-m", "cartag", "models", "fetch", CARS, "--to", "copy", **loopback.variables(tmp_path / "home")
    )
    assert done.returncode == 0, done.stderr
    assert weights_in(tmp_path / "copy") == weights_in(checkpoints("clip"))
    assert not whole & set(loopback.fetched())


def test_two_processes_fetch_one_copy(loopback: Hub, checkpoints: Folders, tmp_path: Path) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints("clip"))
    loopback.speed = 200_000
    with _fetching(loopback, tmp_path, "one") as one, _fetching(loopback, tmp_path, "two") as two:
        assert (one.wait(60), two.wait(60)) == (0, 0)
    for name in ("one", "two"):
        assert weights_in(tmp_path / name) == weights_in(checkpoints("clip"))
    assert Counter(loopback.fetched())["model.safetensors"] == 1


def test_a_disk_without_room_is_said_before_anything_large_is_fetched(
    loopback: Hub,
    checkpoints: Folders,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback.publish(CARS, checkpoints("clip"))
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(ModelError, match=r"needs \d+ MB and .* has 0 MB left.*HF_HOME") as error:
        resolve(CARS, Silent())
    one_line(error)
    assert loopback.fetched() == ["config.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_fills_up_meanwhile_is_one_line(loopback: Hub, checkpoints: Folders, tmp_path: Path) -> None:  # noqa: F811
    """A file may not grow past 20 kB in that process: the weights do not fit, as on a full disk."""
    loopback.publish(CARS, checkpoints("clip"))
    limit = (
        "import errno, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "from cartag.cli import main; sys.argv = ['cartag', 'models', 'fetch', sys.argv[1]]; main()"
    )
    done = run(tmp_path, "-c", limit, CARS, **loopback.variables(tmp_path / "home"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"cartag: model {CARS}:"), done.stderr
    assert "HF_HOME" in done.stderr.splitlines()[-1]
    again = run(tmp_path, "-m", "cartag", "models", "fetch", CARS, **loopback.variables(tmp_path / "home"))
    assert again.returncode == 0, again.stderr


def test_a_cache_that_may_not_be_written_is_one_line(loopback: Hub, checkpoints: Folders, tmp_path: Path) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints("clip"))
    (tmp_path / "home").write_text("a file where the cache should be")
    done = run(tmp_path, "-m", "cartag", "models", "fetch", CARS, **loopback.variables(tmp_path / "home"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"cartag: model {CARS}:"), done.stderr


# --- what the hub refuses -----------------------------------------------------------------------------------------


def refused(name: str) -> str:
    with pytest.raises(ModelError) as error:
        resolve(name, Silent())
    return one_line(error)


def test_a_hub_id_with_a_typo_is_asked_about(loopback: Hub) -> None:
    assert "did you mean laion/CLIP-ViT-B-32-laion2B-s34B-b79K?" in refused("laion/CLIP-ViT-B-32-laion2B-s34B-b97K")
    assert "log in with 'hf auth login', or set HF_TOKEN" in refused("someone/nothing-like-any")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("clip-b23", "did you mean 'clip-b32'?"),
        ("https://huggingface.co/google/siglip-base-patch16-256", "did you mean 'google/siglip-base-patch16-256'?"),
        ("datasets/someone/photos", "a dataset of the hub"),
        ("https://huggingface.co/spaces/someone/demo", "a space of the hub"),
    ],
)
def test_what_is_no_hub_id_is_asked_about_without_the_hub(said: str, words: str, loopback: Hub) -> None:
    assert words in refused(said)
    assert not loopback.requests


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_a_dataset_or_a_space_is_no_model(kind: str, loopback: Hub) -> None:
    loopback.publish("someone/photos", kind=kind)
    assert f"is a {kind} of the hub and no model" in refused("someone/photos")


def test_a_private_repository_says_how_to_log_in(loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    loopback.publish(CARS, checkpoints("clip"), private=True)
    assert "private: then log in with 'hf auth login'" in refused(CARS)


def test_a_gated_repository_says_what_to_do(
    loopback: Hub,
    checkpoints: Folders,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback.publish(CARS, checkpoints("clip"), gated=True)
    said = refused(CARS)
    assert all(words in said for words in ("gated", f"accept its terms on https://huggingface.co/{CARS}", "HF_TOKEN"))
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    assert "this account has not been let in" in refused(CARS)
    monkeypatch.setenv("HF_TOKEN", loopback.token)
    assert resolve(CARS, Silent()).revision == COMMIT


def test_a_token_that_is_not_valid_is_said(
    loopback: Hub,
    checkpoints: Folders,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback.publish(CARS, checkpoints("clip"))
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    assert "the hub refuses the token" in refused(CARS)


def test_a_revision_that_is_gone_is_said(loopback: Hub, checkpoints: Folders) -> None:  # noqa: F811
    loopback.publish(known_models()["clip-b32"].source, checkpoints("clip"), revisions=("trunk",))
    assert "has no revision 'main', or has it no longer" in refused("clip-b32")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["model-q4.gguf"], "GGUF only"),
        (["onnx/model.onnx", "config.json"], "ONNX only"),
        (["pytorch_model.bin", "config.json"], "pickle (.bin, .pt, .ckpt) only"),
        (["PE-Core-B16-224.pt", "open_clip_model.safetensors"], "pickle (.bin, .pt, .ckpt) and open_clip only"),
        (["README.md"], "lacks config.json and model.safetensors"),
        (["model.safetensors"], "lacks config.json"),
    ],
)
def test_a_repository_without_safetensors_is_refused_before_anything_is_fetched(
    names: list[str], words: str, loopback: Hub
) -> None:
    loopback.publish(CARS, extra=False).files.update(dict.fromkeys(names, b"{}"))
    assert words in refused(CARS)
    assert not loopback.fetched()


def test_a_model_without_an_image_tower_is_refused_by_its_config(loopback: Hub, tmp_path: Path) -> None:
    loopback.publish(CARS, make_bert_only(tmp_path / "bert"))
    assert "(a bert model) has no image tower" in refused(CARS)
    assert loopback.fetched() == ["config.json"]


@pytest.mark.parametrize(("status", "words"), [(503, "answers with 503"), (429, "too many requests")])
def test_a_hub_that_stays_busy_is_one_line_and_auto_is_mini(status: int, words: str, loopback: Hub) -> None:
    loopback.fail("/api/models", status=status, times=100, headers={"Retry-After": "0"})
    said = refused("clip-b32")
    assert words in said
    assert "--model mini" in said
    assert resolve_auto(None, Silent()).spec.name == "mini"


def test_a_hub_that_does_not_finish_its_answer_is_given_up(loopback: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from cartag.checkpoints import hub

    monkeypatch.setattr(hub, "_ANSWER_SECONDS", 0.3)
    loopback.fail("/api/models", seconds=2, times=100)
    began = time.monotonic()
    assert "takes too long to answer" in refused("clip-b32")
    assert time.monotonic() - began < 2


# --- processes --------------------------------------------------------------------------------------------------


class _fetching:  # noqa: N801 - a with-statement's word
    """`cartag models fetch` at work in a process of its own; it is gone when the block ends."""

    def __init__(self, hub: Hub, folder: Path, to: str = "copy") -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "CARTAG_", "TRANSFORMERS_"))}
        environment |= {"PYTHONPATH": str(ROOT), **hub.variables(folder / "home")}
        command = [sys.executable, "-m", "cartag", "models", "fetch", CARS, "--to", to]
        self._process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)


def _snapshot(folder: Path) -> list[str]:
    return [path.name for path in (folder / "home").glob(f"hub/models--*/snapshots/{COMMIT}/*") if path.exists()]


def _until(holds: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "it never came to that"
        time.sleep(0.02)
