"""A million rows through the real pipeline, with the fake encoder: memory and open files stay flat, deaths cost nothing.

``CARTAG_STRESS_ROWS`` and ``CARTAG_STRESS_KILLS`` make it smaller, to try it out.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clusters import kill_one, ray_cluster, shard_files
from conftest import COLOURS, paint, write_catalog

from cartag.state import done_shards, read_identities, shard_folder

pytest.importorskip("ray", reason="the extra cartag[ray] is not installed")
pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(8 * 3600),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory and files are counted by /proc"),
]
# Read as the module is: a test's own environment has none of these.
ROWS = int(os.environ.get("CARTAG_STRESS_ROWS", "1_000_000"))
KILLS = int(os.environ.get("CARTAG_STRESS_KILLS", "20"))
A_FOLDER = 10_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster() as found:
        yield found


@dataclass
class Driver:
    """A run of the command, and what it takes while it runs."""

    process: subprocess.Popen[bytes]
    memory: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self) -> None:
        folder = Path(f"/proc/{self.process.pid}")
        try:
            status = (folder / "status").read_text()
            self.files.append(len(list((folder / "fd").iterdir())))
        except OSError:
            return
        found = [line for line in status.splitlines() if line.startswith("VmRSS")]
        self.memory += [int(line.split()[1]) / 1024 for line in found]


def gallery(folder: Path, count: int) -> Path:
    """Links to a few pictures: what is read, decoded and written is a photo a link."""
    for i, colour in enumerate(sorted(COLOURS)):
        paint(folder / "pictures" / f"{colour}.jpg", colour, mark=i)
    pictures = sorted((folder / "pictures").iterdir())
    for i in range(count):
        to = folder / "photos" / f"{i // A_FOLDER:04}"
        if i % A_FOLDER == 0:
            to.mkdir(parents=True)
        (to / f"{i:08}.jpg").symlink_to(pictures[i % len(pictures)])
    return folder / "photos"


def begin(folder: Path, address: str) -> Driver:
    command = [sys.executable, "-m", "cartag", "tag", folder / "photos", "--engine", "ray", "--address", address]
    command += ["--index", folder / "index", "--model", "fake", "--catalog", folder / "colours.yaml"]
    size = max(50, ROWS // 50)
    settings = {
        "CARTAG_ENGINE_SHARD_SIZE": size,
        "CARTAG_ENGINE_BATCH_SIZE": min(500, size),
        "CARTAG_ENGINE_ACTOR_CPUS": 1,
    }
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
    for name in ("CARTAG_STRESS_ROWS", "CARTAG_STRESS_KILLS"):
        environment.pop(name, None)
    return Driver(subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL))


def check(folder: Path) -> None:
    """Every photo once, and nothing else."""
    rows, seen = 0, set[str]()
    for table in read_identities(shard_folder(folder / "index")):
        rows += table.num_rows
        seen.update(table["path"].to_pylist())
    assert (rows, len(seen)) == (ROWS, ROWS)
    assert sum(sum(shard.outcomes.values()) for shard in done_shards(shard_folder(folder / "index"))) == ROWS


def test_memory_and_open_files_stay_flat(cluster: Any, tmp_path: Path) -> None:
    write_catalog(tmp_path)
    gallery(tmp_path, ROWS)
    driver = begin(tmp_path, cluster.address)
    while driver.process.poll() is None:
        if shard_files(tmp_path / "index"):  # the start is over
            driver.look()
        time.sleep(0.2)
    assert driver.process.returncode == 0
    check(tmp_path)
    quarter = max(1, len(driver.memory) // 4)
    assert max(driver.memory[-quarter:]) < 1.2 * max(driver.memory[:quarter]) + 50, driver.memory[::quarter]
    assert max(driver.files[-quarter:]) < max(driver.files[:quarter]) + 50, driver.files[::quarter]


def test_deaths_at_random_moments_cost_nothing(cluster: Any, tmp_path: Path) -> None:
    chance = random.Random(0)
    write_catalog(tmp_path)
    gallery(tmp_path, ROWS)
    driver = begin(tmp_path, cluster.address)
    killed = 0
    while killed < KILLS and len(shard_files(tmp_path / "index")) < 45:
        time.sleep(chance.uniform(5, 40) * max(0.1, ROWS / 1_000_000))  # a smaller run is over sooner
        if driver.process.poll() is not None:
            driver = begin(tmp_path, cluster.address)
        elif chance.random() < 0.5:
            driver.process.send_signal(signal.SIGKILL)
            driver.process.wait()
            killed += 1
            driver = begin(tmp_path, cluster.address)
        else:
            killed += bool(kill_one(cluster, "ray::"))
    assert driver.process.wait() == 0 or begin(tmp_path, cluster.address).process.wait() == 0
    assert killed
    check(tmp_path)
