"""Galleries that several people share: what cartag makes follows umask, group and ACL; what it replaces keeps its own."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Gallery, write_catalog
from reviews import served

import cartag
from cartag.state import index as indexes, rights
from cartag.state.journal import Journal
from cartag.state.place import place_of

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")


@contextmanager
def umask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def made_by_everything(gallery: Gallery) -> list[Path]:
    """All that the commands write for a gallery, but for its photos and what was there before."""
    gallery.paint("a.jpg", "red")
    gallery.paint("b.jpg", "yellow")
    gallery.tag()
    with served(gallery.path, labels=gallery.path / "said.csv") as review:
        photo = review.photo("a.jpg")
        assert review.ask(f"picture/small/{photo['number']}/{photo['content']}").status == 200
        assert review.decide(("a.jpg", "car", "red-racer")).status == 200
    cartag.export(gallery.path, "xmp")
    cartag.export(gallery.path, "csv", to=gallery.path / "exported")
    for other in gallery.path.parent.rglob("*"):
        assert not other.name.endswith(".tmp"), other
    return [
        path
        for path in gallery.path.rglob("*")
        if path.parent == place_of(gallery.path).state / "thumbs" or path.suffix != ".jpg"
    ]


@pytest.mark.parametrize("bits", [0o002, 0o022, 0o077])
def test_new_files_have_the_rights_that_the_umask_leaves(gallery: Gallery, bits: int) -> None:
    with umask(bits):
        made = made_by_everything(gallery)
    names = {path.name for path in made}
    assert {"cartag.json", "embeddings.sqlite", "cartag.lock", "cartag.write.lock", "a.jpg.xmp", "said.csv"} <= names
    for path in made:
        assert mode(path) & 0o777 == (0o777 if path.is_dir() else 0o666) & ~bits, path


def test_the_journal_is_everybodys_who_may_write_the_index(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.paint("a.jpg", "red")
    monkeypatch.setattr(Journal, "remove", Journal.close)
    with umask(0o002):
        gallery.tag()
    assert mode(place_of(gallery.path).journal) == 0o664


ACL_OF_FOLDER = struct.pack(  # user::rwx group::--- group:4242:rwx mask::rwx other::---
    "<I" + "HHI" * 5,
    *(2, 0x01, 7, 0xFFFFFFFF, 0x04, 0, 0xFFFFFFFF, 0x08, 7, 4242, 0x10, 7, 0xFFFFFFFF, 0x20, 0, 0xFFFFFFFF),
)


@pytest.mark.skipif(sys.platform != "linux", reason="ACLs of Linux")
def test_a_folders_default_acl_decides_and_a_replaced_file_keeps_its_own(gallery: Gallery) -> None:
    try:
        os.setxattr(gallery.path, "system.posix_acl_default", ACL_OF_FOLDER)
    except OSError as e:
        pytest.skip(f"this file system has no ACLs ({e.strerror})")
    (gallery.path / "made.txt").touch()
    wanted = os.getxattr(gallery.path / "made.txt", rights._ACL)
    for path in made_by_everything(gallery):
        if not path.is_dir():
            assert os.getxattr(path, rights._ACL) == wanted, path
    index = gallery.index_file
    os.removexattr(index, rights._ACL)
    index.chmod(0o640)
    gallery.paint("c.jpg", "blue")
    gallery.tag()
    assert mode(index) == 0o640
    with pytest.raises(OSError, match="No data"):
        os.getxattr(index, rights._ACL)


def another_group() -> int:
    """A group that this process may give files to, other than its first if it has one."""
    if os.geteuid() == 0:
        return 4242
    return next((group for group in os.getgroups() if group != os.getegid()), os.getegid())


def test_a_replaced_file_keeps_mode_group_and_the_attributes_that_people_set(tmp_path: Path) -> None:
    path = tmp_path / "said.csv"
    path.write_bytes(b"old")
    os.chown(path, -1, another_group())
    path.chmod(0o664)
    has_attributes = True
    try:
        os.setxattr(path, "user.xdg.tags", b"mine")
    except (OSError, AttributeError):
        has_attributes = False
    indexes.replace_file(path, b"new")
    after = path.stat()
    assert (path.read_bytes(), after.st_gid, mode(path)) == (b"new", another_group(), 0o664)
    if has_attributes:
        assert os.getxattr(path, "user.xdg.tags") == b"mine"


def test_a_private_file_is_never_readable_by_others_even_for_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "said.csv"
    path.touch(0o600)
    with umask(0):
        handle, temporary = rights.temporary_for(path, path.parent)
    os.close(handle)
    assert mode(temporary) == 0o600


def test_a_group_that_cannot_be_kept_leaves_the_new_one_no_more_than_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "said.csv"
    path.write_bytes(b"old")
    path.chmod(0o664)
    monkeypatch.setattr(rights, "_owned", lambda *arguments: False)
    indexes.replace_file(path, b"new")
    assert mode(path) == 0o644


# --- two people ---------------------------------------------------------------------------------------------------


def as_person(user: int, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of another user of the group 2000, with umask 002.

    She may read everything, for Python itself may lie where only root looks; she may write what her rights say.
    """
    who = ["--reuid", str(user), "--regid", "2000", "--clear-groups"]
    who += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"HOME": "/nonexistent", "HF_HUB_OFFLINE": "1", "LC_ALL": "C.UTF-8"}
    script = f'umask 002; exec "{sys.executable}" -m cartag "$@"'
    command = ["setpriv", *who, "sh", "-c", script, "sh", *words]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def shared() -> Iterator[Gallery]:
    """A gallery of user 1001 and group 2000, whose files get its group; elsewhere than where only one user may look."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("two users need root and setpriv (util-linux)")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        gallery = Gallery(Path(folder) / "gallery", write_catalog(Path(folder)))
        gallery.paint("a.jpg", "red")
        os.chown(gallery.path, 1001, 2000)
        gallery.path.chmod(0o2775)
        done = as_person(1001, gallery.path.parent, "tag", "gallery", "--catalog", "colours.yaml", "--model", "fake")
        assert done.returncode == 0, done.stderr
        yield gallery


def test_two_people_of_a_group_share_a_gallery(shared: Gallery) -> None:
    home = shared.path.parent
    shared.paint("b.jpg", "blue")
    second = as_person(1002, home, "tag", "gallery")
    assert second.returncode == 0, second.stderr
    assert "1 embedded" in second.stdout
    shared.paint("c.jpg", "yellow")
    first = as_person(1001, home, "tag", "gallery")
    assert first.returncode == 0, first.stderr
    for who in (1002, 1001):
        assert as_person(who, home, "export", "gallery", "--as", "xmp").returncode == 0
    for path in [shared.index_file, *place_of(shared.path).state.iterdir(), *shared.path.glob("*.xmp")]:
        assert (path.stat().st_gid, mode(path)) == (2000, 0o664), path


@pytest.mark.parametrize("name", ["embeddings.sqlite", "cartag.lock", "cartag.write.lock"])
def test_what_another_person_may_not_write_is_one_line_with_the_file_and_what_to_do(shared: Gallery, name: str) -> None:
    """As older versions have left it."""
    path = place_of(shared.path).state / name
    path.chmod(0o644)
    shared.paint("b.jpg", "blue")
    second = as_person(1002, shared.path.parent, "tag", "gallery")
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert name in second.stderr
    assert "its owner can let you: chmod" in second.stderr
