"""Runs Python in a process of its own, with settings of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(cwd: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's client reads its settings when it is imported."""
    ours = ("HF_", "CARTAG_", "TRANSFORMERS_", "HUGGINGFACE_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours) and not k.lower().endswith("_proxy")}
    modules = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])  # ours, and where others lie
    environment |= {"PYTHONPATH": modules, "XDG_CONFIG_HOME": str(cwd), "HF_HOME": str(cwd / "no-hub")}
    environment |= {"CARTAG_TEXT_CACHE": "off", **variables}
    environment |= {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
