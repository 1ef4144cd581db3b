"""Settings: who goes before whom, and every wrong value named with its place."""

from __future__ import annotations

import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

from cartag.errors import SettingsError
from cartag.resources import shipped
from cartag.settings import Settings, load_settings, shared_texts


def settings_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "settings.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="folders of Linux")
def test_the_text_cache_lies_where_caches_lie(tmp_path: Path) -> None:
    def where(said: str = "auto", **environment: str) -> Path | None:
        return shared_texts(Settings(text_cache=said), environment)

    assert where(XDG_CACHE_HOME="/caches") == Path("/caches/cartag")
    assert where() == Path.home() / ".cache" / "cartag"
    assert where("off", XDG_CACHE_HOME="/caches") is None
    assert where(str(tmp_path)) == tmp_path
    assert load_settings(environment={"CARTAG_TEXT_CACHE": "off"}).text_cache == "off"
    assert load_settings(file=settings_file(tmp_path, "text_cache: off"), environment={}).text_cache == "off"


def test_a_user_without_a_home_has_neither_settings_nor_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert load_settings(environment={}) == Settings()
    assert shared_texts(Settings(), {}) is None


def test_without_anything_the_defaults_hold() -> None:
    assert load_settings(environment={"XDG_CONFIG_HOME": "/nowhere"}) == Settings()


def test_options_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "batch_size: 1\nmodel: one\ndevice: cpu\n")
    found = load_settings({"model": "three"}, file=file, environment={"CARTAG_BATCH_SIZE": "2", "CARTAG_MODEL": "two"})
    assert (found.device, found.batch_size, found.model) == ("cpu", 2, "three")


def test_an_option_not_given_takes_nothing_back() -> None:
    assert load_settings({"model": None}, environment={"CARTAG_MODEL": "two"}).model == "two"


def test_the_file_is_named_by_a_variable_or_lies_in_the_users_folder(tmp_path: Path) -> None:
    (tmp_path / "cartag").mkdir()
    settings_file(tmp_path / "cartag", "batch_size: 3\n")
    assert load_settings(environment={"XDG_CONFIG_HOME": str(tmp_path)}).batch_size == 3
    other = settings_file(tmp_path, "batch_size: 4\n")
    env = {"XDG_CONFIG_HOME": str(tmp_path), "CARTAG_SETTINGS": str(other)}
    assert load_settings(environment=env).batch_size == 4


def test_an_empty_value_or_file_means_decide_from_the_rest(tmp_path: Path) -> None:
    assert load_settings(file=settings_file(tmp_path, ""), environment={}) == Settings()
    found = load_settings(file=settings_file(tmp_path, "threshold:\n"), environment={"CARTAG_MODEL": ""})
    assert found == Settings()


def test_the_shipped_file_documents_every_key_with_its_default() -> None:
    path = shipped("configs", "settings.yaml")
    documented = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert list(documented) == [field.name for field in fields(Settings)]
    assert documented == {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(Settings()).items()}
    assert load_settings(file=path, environment={}) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 1", "batchsize: unknown setting; did you mean batch_size? known are batch_size, candidates, "),
        ("treshold: 0.5", "treshold: unknown setting; did you mean threshold?"),
        ("Decode-Threads: 2", "did you mean decode_threads?"),
        ("colour: red", "colour: unknown setting; known are batch_size"),
        ("1: 2", "1: unknown setting; known are"),
        ("batch_size: many", "batch_size: expected a whole number, found 'many'"),
        ("batch_size: 1.5", "batch_size: expected a whole number, found '1.5'"),
        ("batch_size: yes", "batch_size: expected a whole number, found 'yes'"),
        ("batch_size: [1]", "batch_size: expected a whole number"),
        ("batch_size: .inf", "batch_size: expected a whole number"),
        ("batch_size: 0", "batch_size: 0 is below the minimum of 1"),
        ("candidates: 4", "candidates: 4 is below the minimum of 5"),
        ("threshold: 1.1", "threshold: 1.1 is no probability"),
        ("threshold: .nan", "threshold: expected a number"),
        ("margin: -0.1", "margin: -0.1 is no probability"),
        ("temperature: 0", "temperature: 0.0 must be above 0"),
        ("model: {a: b}", "model: expected a text"),
        ("batch_size: 1:30", "batch_size: expected a whole number, found '1:30'"),
        ("batch_size: 0x10", "batch_size: expected a whole number, found '0x10'"),
        ("isolate: maybe", "isolate: expected true or false, found 'maybe'"),
        ("text_cache: on", "text_cache: 'on' is neither auto, off nor a folder"),
        ("model: a\nmodel: b", "line 2, column 1: the key 'model' is given twice"),
        ("? [model]\n: a", "line 1, column 3: a key must be a text"),
        ("fit: stretch", "fit: 'stretch' is none of auto, squash, crop, pad"),
        ("dtype: int8", "dtype: 'int8' is none of auto"),
        ("device: gpu", "no device 'gpu': use auto, cpu, cuda, cuda:N or mps"),
        ("- a", "expected keys and values"),
        ("batch_size: [", "not valid YAML"),
        (b"model: \xff", "not valid YAML"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(file=settings_file(tmp_path, text), environment={})
    assert str(caught.value).startswith(f"{tmp_path / 'settings.yaml'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("batch_size: 16", "batch_size", 16),
        ("batch_size: 16.0", "batch_size", 16),
        ("max_pixels: 300_000", "max_pixels", 300_000),
        ("isolate: Yes", "isolate", True),
        ("isolate: 'off'", "isolate", False),
        ("temperature: 1e-3", "temperature", 0.001),
        ("model: 037", "model", "037"),
        ("model: 1e3", "model", "1e3"),
        ("model: No", "model", "No"),
        ("model: 2013-99-99", "model", "2013-99-99"),
        ("model: ~", "model", "auto"),
        ("model: null", "model", "auto"),
        ("threshold: Null", "threshold", None),
        ("text_cache: No", "text_cache", "off"),
        ("text_cache: false", "text_cache", "off"),
    ],
)
def test_a_value_of_the_file_is_what_is_written(tmp_path: Path, text: str, key: str, value: object) -> None:
    assert getattr(load_settings(file=settings_file(tmp_path, text), environment={}), key) == value


@pytest.mark.parametrize("key", ["catalog", "model", "detector", "index", "text_cache"])
def test_a_place_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    at_home = str(tmp_path / "cars" / "a.yaml")
    assert getattr(load_settings(file=settings_file(tmp_path, f"{key}: ~/cars/a.yaml"), environment={}), key) == at_home
    assert getattr(load_settings(environment={f"CARTAG_{key.upper()}": "~/cars/a.yaml"}), key) == at_home
    assert getattr(load_settings(environment={f"CARTAG_{key.upper()}": "a~/b"}), key) == "a~/b"


def test_the_settings_file_may_be_named_from_home_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    settings_file(tmp_path, "batch_size: 7")
    assert load_settings(environment={"CARTAG_SETTINGS": "~/settings.yaml"}).batch_size == 7


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("exports/,*_thumb.jpg", ("exports/", "*_thumb.jpg")),
        ('["exports/", "*_thumb.jpg"]', ("exports/", "*_thumb.jpg")),
        ("['exports/']", ("exports/",)),
        ('"exports/", x', ("exports/", "x")),
        ("[]", ()),
        ("[ab].jpg,[cd]", ("[ab].jpg", "[cd]")),
    ],
)
def test_a_list_in_the_environment_is_read_with_commas_and_as_in_the_file(text: str, patterns: tuple[str, ...]) -> None:
    assert load_settings(environment={"CARTAG_LEAVE_OUT_ALSO": text}).leave_out_also == patterns
    assert load_settings(environment={"CARTAG_LEAVE_OUT": text}).leave_out == patterns


def test_a_mistake_in_the_environment_is_named_by_its_variable() -> None:
    with pytest.raises(SettingsError, match="CARTAG_BATCH_SIZE: expected a whole number, found 'many'"):
        load_settings(environment={"CARTAG_BATCH_SIZE": "many"})
    with pytest.raises(
        SettingsError, match=r"CARTAG_BATCH: unknown setting; did you mean CARTAG_BATCH_SIZE\? known are"
    ):
        load_settings(environment={"CARTAG_BATCH": "8"})
    with pytest.raises(SettingsError, match="CARTAG_COLOUR: unknown setting; known are"):
        load_settings(environment={"CARTAG_COLOUR": "red"})


def test_a_named_file_that_is_not_there_is_an_error_and_the_users_own_need_not_be(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: settings cannot be read"):
        load_settings(environment={"CARTAG_SETTINGS": str(tmp_path / "none.yaml")})
    assert load_settings(environment={"XDG_CONFIG_HOME": str(tmp_path)}) == Settings()


def test_numbers_may_come_as_text_and_as_whole_floats() -> None:
    found = Settings().overridden({"batch_size": "16", "threshold": "0.25", "look_ahead": 2.0, "catalog": Path("a/b")})
    assert (found.batch_size, found.threshold, found.look_ahead, found.catalog) == (16, 0.25, 2, "a/b")
