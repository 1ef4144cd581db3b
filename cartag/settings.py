"""Settings: defaults, a settings file, `CARTAG_*` variables and command-line options, in rising order of precedence."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from cartag import plainyaml
from cartag.errors import SettingsError

log = logging.getLogger(__name__)

ENVIRONMENT_PREFIX = "CARTAG_"
DEFAULT_CATALOG = "mille-miglia-2013"


NOT_HERS = (
    # Network drives: Synology, QNAP, NetApp.
    *("@eaDir/", "#recycle/", "#snapshot/", "@Recycle/", "@Recently-Snapshot/", "@Transcode/", "~snapshot/"),
    # Systems: Windows, Linux, macOS (what a zip file of a Mac leaves elsewhere).
    *("$RECYCLE.BIN/", "RECYCLER/", "RECYCLED/", "System Volume Information/", "lost+found/", "__MACOSX/"),
    # Previews and caches: Lightroom, Capture One.
    *("*.lrdata/", "*.lrcat-data/", "*.lrlibrary/*/previews/", "CaptureOne/Cache/", "*.cocatalog/Cache/"),
    # Libraries of Photos and iPhoto, of Aperture: hers are originals, Masters and Originals; all else is made of them.
    *("*.photo*library/resources/", "*.photo*library/database/", "*.photo*library/private/", "*.photo*library/scopes/"),
    *("*.photo*library/external/", "*.photo*library/internal/", "*.photo*library/Thumbnails/"),
    *("*.photo*library/Previews/", "*.photo*library/Attachments/", "*.photo*library/Modified/"),
    *("*.photo*library/Data/", "*.photo*library/Data.noindex/", "*.migratedphotolibrary/"),
    *("*.aplibrary/Thumbnails/", "*.aplibrary/Previews/", "*.aplibrary/Attachments/"),
    *("iPhoto Library/Thumbnails/", "iPhoto Library/Previews/", "iPhoto Library/Data/", "iPhoto Library/Modified/"),
    # Trash and thumbnails of Nextcloud.
    *("files_trashbin/", "appdata_*/preview/"),
)
"""What lies among photos and is none of a person's: thumbnails and trash of systems, previews of other programs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; `configs/settings.yaml` documents each key. None means "decide from the rest"."""

    catalog: str | None = None
    model: str = "auto"
    device: str = "auto"
    runtime: str = "auto"
    index: str | None = None
    regions: str = "all"
    detector: str = "auto"
    most_regions: int = 12
    least_region: float = 0.05
    dtype: str = "auto"
    fit: str = "auto"
    batch_size: int | None = None
    decode_threads: int = 0
    look_ahead: int | None = None
    max_pixels: int = 300_000_000
    max_megabytes: int = 2048
    isolate: bool = False
    isolate_seconds: float = 60
    isolate_megabytes: int = 4096
    candidates: int = 5
    mode: str = "balanced"
    threshold: float | None = None
    margin: float | None = None
    temperature: float | None = None
    precision: float = 0.95
    raw_pairs: str = "jpeg"
    leave_out: tuple[str, ...] = NOT_HERS
    leave_out_also: tuple[str, ...] = ()
    exiftool_keys: str = "flat"
    html_photos: str = "link"
    review_keys: tuple[str, ...] = ()
    text_cache: str = "auto"
    engine_shard_size: int = 20_000
    engine_batch_size: int | None = None
    engine_decode_cpus: float = 1
    engine_actor_cpus: int = 4
    engine_list_threads: int = 16
    engine_stall_minutes: float = 10

    @property
    def not_hers(self) -> tuple[str, ...]:
        """All patterns of what is left out of a gallery (`cartag.photos.leave_out` reads them)."""
        return (*self.leave_out, *self.leave_out_also)

    def overridden(self, options: Mapping[str, Any]) -> Settings:
        """These settings with the given ones over them; None means "not given".

        Raises:
            SettingsError: an unknown key or a value that does not fit.
        """
        return _override(self, {k: v for k, v in options.items() if v is not None}, "options")


_cores: int | None = None


def use_cores(count: int) -> None:
    """This process may use so many cores from now on: it is one of several on its machine, and all have their share."""
    global _cores
    _cores = count


def usable_cores() -> int:
    """Cores that this process may use: under `taskset`, in a container or beside others fewer than the machine has."""
    if _cores is not None:
        return _cores
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_texts(settings: Settings, environment: Mapping[str, str] | None = None) -> Path | None:
    """The folder for what all galleries of this user share, by the setting ``text_cache``; None: there is none."""
    if settings.text_cache != "auto":
        return None if settings.text_cache == "off" else Path(settings.text_cache)
    return cache_folder(environment)


def cache_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """The folder of this user's caches; None where the system names none."""
    env = os.environ if environment is None else environment
    if os.path.isabs(env.get("XDG_CACHE_HOME", "")):
        return Path(env["XDG_CACHE_HOME"]) / "cartag"
    home = _home()
    if sys.platform == "win32" and env.get("LOCALAPPDATA"):
        return Path(env["LOCALAPPDATA"]) / "cartag" / "Cache"
    if home is None:
        return None
    if sys.platform == "win32":
        return home / "AppData" / "Local" / "cartag" / "Cache"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "cartag"


def _home() -> Path | None:
    """The user's home; None without one. A relative path means another folder in every folder, so it is none (nor is
    it one in XDG's variables, by their specification): what is meant for a user would lie among her photos."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_absolute() else None


def at_home(place: str) -> str:
    """A place as shells read it: ``~`` and ``~/`` in front stand for the user's home, where she has one.

    Nobody expands them in a settings file, in a quoted variable, or after ``--index=``; taken to the letter they are a
    folder called ``~`` in the current one.
    """
    if place != "~" and not place.startswith("~/"):
        return place
    home = _home()
    return place if home is None else str(home / place[2:])


_PLACES = ("catalog", "model", "detector", "index", "text_cache")
_CHOICES = {
    "regions": ("all", "main", "off"),
    "runtime": ("auto", "onnx", "torch"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "fit": ("auto", "squash", "crop", "pad"),
    "mode": ("strict", "balanced", "eager"),
    "raw_pairs": ("jpeg", "raw", "both"),
    "exiftool_keys": ("flat", "grouped"),
    "html_photos": ("link", "copy", "none"),
}
_DEVICES = r"auto|cpu|cuda(:\d+)?|mps"
_AT_LEAST = {"batch_size": 1, "decode_threads": 0, "look_ahead": 1, "max_pixels": 1, "candidates": 5, "most_regions": 1}
_AT_LEAST |= {"max_megabytes": 1, "isolate_megabytes": 64}
_AT_LEAST |= {"engine_shard_size": 1, "engine_batch_size": 1, "engine_actor_cpus": 1, "engine_list_threads": 1}
_PROBABILITIES = ("threshold", "margin", "precision", "least_region")
_ABOVE_ZERO = ("temperature", "isolate_seconds", "engine_decode_cpus", "engine_stall_minutes")
_LIKE_A_SETTING = 0.65  # how like one a key must be to be asked about: "batch" is like batch_size
_SPELLED = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def load_settings(
    options: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from a file, the environment and ``options`` (whose None values mean "not given").

    The file is ``file``, else the one that ``CARTAG_SETTINGS`` names, else ``cartag/settings.yaml`` in the user's
    configuration folder, if it is there and may be read: under `sudo` or in a container HOME is often somebody else's.

    Raises:
        SettingsError: an unknown key or a value that does not fit, with the place it came from; or a file that was
            named cannot be read.
    """
    env = os.environ if environment is None else environment
    named = file or (Path(at_home(env["CARTAG_SETTINGS"])) if env.get("CARTAG_SETTINGS") else None)
    settings = Settings()
    if named is not None:
        settings = _override(settings, _read(named), str(named))
    elif (found := _user_file(env)) is not None:
        settings = _override(settings, _read(found), str(found))
    from_env = {
        key.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for key, value in env.items()
        if key.startswith(ENVIRONMENT_PREFIX) and key not in ("CARTAG_SETTINGS",) and value != ""
    }
    settings = _override(settings, from_env, "environment")
    return settings.overridden(options or {})


def _user_file(env: Mapping[str, str]) -> Path | None:
    """The settings file in the user's configuration folder; None where there is none that this process may read."""
    home = _home()
    if os.path.isabs(env.get("XDG_CONFIG_HOME", "")):
        base = Path(env["XDG_CONFIG_HOME"])
    elif home is not None:
        base = home / ".config"
    else:
        return None
    path = base / "cartag" / "settings.yaml"
    if not os.path.isfile(path):  # unlike a Path's, False also of what may not be looked at
        return None
    if not os.access(path, os.R_OK):
        log.warning("%s: may not be read; the defaults hold", path)
        return None
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = plainyaml.read(path, SettingsError)
    except OSError as e:
        raise SettingsError(f"{path}: settings cannot be read ({e.strerror})") from e
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: expected keys and values, one a line, such as 'batch_size: 16'")
    return raw


def _override(settings: Settings, values: Mapping[str, Any], where: str) -> Settings:
    types = get_type_hints(Settings)
    known = {field.name for field in fields(Settings)}
    changes: dict[str, Any] = {}
    prefix = ENVIRONMENT_PREFIX if where == "environment" else ""
    for key, value in values.items():
        place = f"{prefix}{key.upper()}" if prefix else f"{where}: {key}"
        if key not in known:
            hint = (
                f"did you mean {prefix}{near.upper() if prefix else near}? " if (near := _nearest(key, known)) else ""
            )
            raise SettingsError(f"{place}: unknown setting; {hint}known are {', '.join(sorted(known))}")
        if key == "text_cache" and str(value).lower() in ("off", "no", "false"):
            value = "off"
        if value is not None:
            changes[key] = _checked(key, _converted(value, types[key], place), place)
    return replace(settings, **changes)


def _nearest(key: str, known: Collection[str]) -> str | None:
    """The setting that somebody means by a key that is none, where one looks like it."""
    import difflib  # noqa: PLC0415 - only a miss pays for the import

    return next(iter(difflib.get_close_matches(key.lower(), sorted(known), n=1, cutoff=_LIKE_A_SETTING)), None)


def _converted(value: Any, hint: Any, place: str) -> Any:
    if get_origin(hint) is tuple:
        return _texts(value, place)
    kind = next(t for t in get_args(hint) if t is not type(None)) if get_origin(hint) is not None else hint
    if kind is bool:
        said = _SPELLED.get(str(value).lower())
        if said is not None:
            return said
    elif kind is str:
        if isinstance(value, str | int | float | Path) and not isinstance(value, bool):
            return str(value)
    elif not isinstance(value, bool):
        number = _number(value, kind)
        if number is not None:
            return number
    wanted = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
    raise SettingsError(f"{place}: expected {wanted}, found {value!r}")


def _texts(value: Any, place: str) -> tuple[str, ...]:
    """A list of texts; in a variable or an option with commas between them, or as the settings file has it."""
    items = _listed(value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item.strip("/ ") for item in items):
        raise SettingsError(f'{place}: expected a list of texts, such as ["@eaDir/", "*.lrdata/"], found {value!r}')
    return tuple(items)


def _listed(text: str) -> list[str]:
    text = text.strip()
    if text.startswith(("[]", '["', "['")) and text.endswith("]"):  # else brackets are a glob's
        text = text[1:-1]
    return [bare for item in text.split(",") if (bare := _unquoted(item.strip()))]


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if is_quoted else text


def _number(value: Any, kind: type[int] | type[float]) -> float | None:
    """What a number or a text says; None where it is none of that kind. ``16.0`` is a whole number too."""
    for read in (kind, float):
        try:
            number = read(value)
            if float(number) == float(value) and kind(number) == number:
                return kind(number)
        except (TypeError, ValueError, OverflowError):
            continue
    return None


def _checked(key: str, value: Any, place: str) -> Any:
    if key in _PLACES:
        value = at_home(value)
    if key in _CHOICES and value not in _CHOICES[key]:
        raise SettingsError(f"{place}: {value!r} is none of {', '.join(_CHOICES[key])}")
    if key == "text_cache" and value.lower() in ("on", "yes", "true"):
        raise SettingsError(f"{place}: {value!r} is neither auto, off nor a folder")
    if key == "device" and not re.fullmatch(_DEVICES, value):
        raise SettingsError(f"{place}: no device {value!r}: use auto, cpu, cuda, cuda:N or mps")
    if key in _AT_LEAST and value < _AT_LEAST[key]:
        raise SettingsError(f"{place}: {value} is below the minimum of {_AT_LEAST[key]}")
    if key in _PROBABILITIES and not 0 <= value <= 1:
        raise SettingsError(f"{place}: {value} is no probability between 0 and 1")
    if key in _ABOVE_ZERO and not 0 < value < float("inf"):
        raise SettingsError(f"{place}: {value} must be above 0")
    return value
