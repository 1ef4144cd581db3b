"""`cartag tag --regions` and `--detector`: what is asked for is what the run is told."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Gallery
from processes import run

import cartag
from cartag.cli.tag import Regions
from cartag.errors import SettingsError
from cartag.settings import _CHOICES, Settings
from cartag.tagging import tagging


class _AskedError(Exception):
    def __init__(self, settings: Settings) -> None:
        self.settings = settings


@pytest.fixture(autouse=True)
def _only_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(gallery: Any, place: Any, settings: Settings, progress: Any) -> None:
        raise _AskedError(settings)

    monkeypatch.setattr(tagging, "prepare", asked)


def settings_of(gallery: Gallery, **options: Any) -> tuple[str, str]:
    with pytest.raises(_AskedError) as error:
        cartag.tag(gallery.path, **options)
    return error.value.settings.regions, error.value.settings.detector


def test_what_is_asked_for_goes_before_the_settings(gallery: Gallery) -> None:
    assert settings_of(gallery) == (Settings().regions, Settings().detector)
    assert settings_of(gallery, regions="main", detector="dfine-nano") == ("main", "dfine-nano")
    own = Settings(regions="off", detector="someone/cars")
    assert settings_of(gallery, settings=own) == ("off", "someone/cars")
    assert settings_of(gallery, settings=own, regions="all") == ("all", "someone/cars")


def test_the_command_offers_what_the_settings_take(gallery: Gallery) -> None:
    assert tuple(Regions) == _CHOICES["regions"]
    with pytest.raises(SettingsError, match="all, main, off"):
        cartag.tag(gallery.path, regions="some")
    done = run(gallery.path, "-m", "cartag", "tag", ".", "--regions", "some")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
