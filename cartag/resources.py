"""Where the files that ship with cartag lie: `configs/` and `models/`, in a wheel or in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IN_WHEEL = _PACKAGE / "_shipped"  # pyproject.toml puts configs/ and models/ here when it builds the wheel


def shipped(kind: str, name: str = "") -> Path:
    """Path of a shipped file or folder, e.g. ``shipped("configs", "prompts.yaml")``; it may not exist."""
    root = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent
    return root / kind / name


def shipped_catalogs() -> dict[str, Path]:
    """The catalogs that ship with cartag, by name."""
    no_catalogs = {"prompts", "models", "settings", "gazetteer"}
    found = sorted(shipped("configs").glob("*.yaml"))
    return {path.stem: path for path in found if path.stem not in no_catalogs}
