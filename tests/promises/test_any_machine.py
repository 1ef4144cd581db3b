"""Machines that are not as at home: a HOME that may not be entered, and file systems that refuse what ours does."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery
from reviews import served
from test_bad_state import run_bound

import cartag
from cartag.errors import GalleryError, IndexFileError, LabelsError, SettingsError
from cartag.settings import Settings, load_settings, shared_texts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="homes and mounts of POSIX")

# --- homes --------------------------------------------------------------------------------------------------------


def forbidden(folder: Path) -> Path:
    """A home with settings that would count, could they be read."""
    for part in (".config", "config"):
        (folder / "home" / part / "cartag").mkdir(parents=True)
        (folder / "home" / part / "cartag" / "settings.yaml").write_text("candidates: 7\n")
    (folder / "home").chmod(0)
    return folder / "home"


def test_a_home_that_may_not_be_entered_gives_the_defaults(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.paint("a.jpg", "red")
    gallery.paint("bad.jpg").write_bytes(b"no picture")
    home = forbidden(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    for key in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.delenv(key, raising=False)
    try:
        tagged = run_bound(gallery, "tag", "gallery", "--catalog", "colours.yaml")
        assert (tagged.returncode, tagged.stderr.count("\n")) == (0, 1), tagged.stderr
        assert len(gallery.record("a.jpg")["candidates"]) <= 5
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        monkeypatch.setenv("HF_HOME", str(home / "hub"))
        found = run_bound(gallery, "find", "gallery", "red")
        assert (found.returncode, found.stdout, found.stderr) == (0, "gallery/a.jpg\n", "")
        again = run_bound(gallery, "tag", "gallery", "--retag")
        assert (again.returncode, again.stderr.count("\n")) == (0, 1), again.stderr
        listed = run_bound(gallery, "models")
        assert (listed.returncode, listed.stderr) == (0, "")
        monkeypatch.setenv("CARTAG_SETTINGS", str(home / "config" / "cartag" / "settings.yaml"))
        named = run_bound(gallery, "find", "gallery", "red")
        assert named.returncode == 2
        assert named.stderr.endswith("settings.yaml: settings cannot be read (Permission denied)\n")
    finally:
        home.chmod(0o700)


def test_a_home_that_is_a_file_and_settings_that_are_a_folder_give_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "cartag" / "settings.yaml").mkdir(parents=True)
    for base in (tmp_path / "file", tmp_path, tmp_path / "file" / "deeper"):
        assert load_settings(environment={"XDG_CONFIG_HOME": str(base)}) == Settings()
    for named in (tmp_path, tmp_path / "nothing", tmp_path / "file" / "deeper"):
        with pytest.raises(SettingsError, match="cannot be read"):
            load_settings(environment={"CARTAG_SETTINGS": str(named)})


def test_settings_that_may_not_be_read_give_the_defaults_and_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cartag").mkdir()
    (tmp_path / "cartag" / "settings.yaml").write_text("candidates: 7\n")
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert load_settings(environment=environment).candidates == 7
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    assert load_settings(environment=environment) == Settings()
    assert "settings.yaml: may not be read; the defaults hold" in caplog.text


@pytest.mark.parametrize("home", ["relative", "../up", "."])
def test_a_home_that_is_no_folder_of_a_user_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / home / ".config", tmp_path / home):
        (place / "cartag").mkdir(parents=True, exist_ok=True)
        (place / "cartag" / "settings.yaml").write_text("candidates: 9\n", encoding="utf-8")
    monkeypatch.setenv("HOME", home)
    for given in ({}, {"XDG_CONFIG_HOME": "relative", "XDG_CACHE_HOME": "relative"}):
        assert load_settings(environment=given) == Settings()
        assert shared_texts(Settings(), given) is None


def test_a_cache_folder_that_cannot_be_used_is_no_cache(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    gallery.paint("a.jpg", "red")
    for cache in (tmp_path / "file", tmp_path / "file" / "deeper", Path("/proc/nowhere")):
        assert shared_texts(Settings(), {"XDG_CACHE_HOME": str(cache)}) == cache / "cartag"
        assert gallery.tag(text_cache=str(cache), retag=True).embedded == 1


def test_folders_that_may_not_be_entered_are_errors_with_a_name(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    stat, opened = os.stat, Path.read_bytes

    def refused(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if "/closed" in os.fsdecode(path) if not isinstance(path, int) else False:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refused)
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened(path) if refused(path) else b"")
    closed = gallery.path / "closed"
    with pytest.raises(GalleryError, match=r"closed: cannot be looked at \(Permission denied\)"):
        cartag.tag(closed, model="fake")
    with pytest.raises(GalleryError, match="closed"):
        cartag.find(closed, ["red"])
    with pytest.raises(IndexFileError, match="Permission denied"):
        cartag.find(gallery.path, ["red"], index=closed / "cartag.json")
    with pytest.raises(LabelsError, match="labels"):
        cartag.evaluate(gallery.path, closed / "labels.csv")


# --- file systems -------------------------------------------------------------------------------------------------


def everything(gallery: Gallery) -> None:
    """All that writes into a gallery, twice: for new files, and for those that are replaced."""
    labels = gallery.path.parent / "labels.csv"
    labels.write_text("file,label\na.jpg,red racer\nb.jpg,red racer\nc.jpg,yellow yeti\nd.jpg,yellow yeti\n")
    for mark in range(2):
        for name, colour in {"a": "red", "b": "red", "c": "yellow", "d": "yellow"}.items():
            gallery.paint(f"{name}.jpg", colour, mark=mark * 8 + ord(name) - ord("a"))
        gallery.tag()
        assert gallery.find("red racer") == ["a.jpg", "b.jpg"]
        with served(gallery.path, labels=gallery.path / "said.csv") as review:
            assert review.decide(("c.jpg", "car", "yellow-yeti")).status == 200
        for as_, to in (("xmp", None), ("csv", "tables"), ("html", "page"), ("xmp", "sidecars")):
            report = cartag.export(gallery.path, as_, to=None if to is None else gallery.path.parent / to)
            assert report.failures == 0
        cartag.learn(gallery.path, labels)
        cartag.evaluate(gallery.path, labels, report=gallery.path.parent / "report")
    gallery.tag(retag=True)
    assert cartag.load(gallery.path).photos["c.jpg"].confirmed is True
    assert not list(gallery.path.rglob("*.tmp"))


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_rights_links_times_and_attributes(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise OSError(error, os.strerror(error))

    for name in ("chmod", "chown", "fchmod", "fchown", "lchown", "link", "symlink", "utime"):
        monkeypatch.setattr(os, name, refused)
    for name in ("getxattr", "listxattr", "setxattr", "removexattr"):
        monkeypatch.setattr(os, name, refused, raising=False)
    if error != errno.EPERM:
        monkeypatch.setattr(os, "fsync", refused)
    everything(gallery)


@contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Path | None]:
    """A file system as of Windows or a network drive, where this machine lets one be mounted."""
    at = folder / f"{kind}-mounted"
    at.mkdir()
    if kind == "bindfs":
        (folder / "behind").mkdir()
        flags = ["--chmod-deny", "--chown-deny", "--chgrp-deny", "--xattr-none"]
        commands = [["bindfs", *flags, str(folder / "behind"), str(at)]]
    else:
        image = folder / "ntfs.image"
        with image.open("wb") as file:
            file.truncate(64 << 20)
        commands = [["mkfs.ntfs", "-F", "-q", str(image)], ["ntfs-3g", str(image), str(at)]]
    done = all(
        shutil.which(command[0]) and not subprocess.run(command, capture_output=True, check=False).returncode
        for command in commands
    )
    try:
        yield at if done else None
    finally:
        if done:
            subprocess.run(["umount", str(at)], capture_output=True, check=True)


def test_file_systems_of_windows_and_of_network_drives(gallery: Gallery, tmp_path: Path) -> None:
    tried = []
    with ExitStack() as stack:
        for kind in ("bindfs", "ntfs"):
            at = stack.enter_context(mounted(kind, tmp_path))
            if at is not None:
                tried.append(kind)
                (at / "gallery").mkdir()
                everything(Gallery(at / "gallery", gallery.catalog))
    if not tried:
        pytest.skip("neither bindfs nor ntfs-3g can mount anything here (both need FUSE, and mostly root)")
