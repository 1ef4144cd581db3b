"""Commands as somebody whom permission bits bind, also where the tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Gallery

ROOT = Path(__file__).resolve().parents[2]


def run_bound(gallery: Gallery, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as somebody whom permission bits bind: root is made to lay its privileges down."""
    command = [sys.executable, "-m", "cartag", *arguments]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root can only be bound by permission bits with setpriv (util-linux)")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CARTAG_MODEL": "fake", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=gallery.path.parent, env=environment, capture_output=True, text=True, check=False
    )
