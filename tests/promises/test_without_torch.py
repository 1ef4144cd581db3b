"""The bundled model starts without torch: a child interpreter says what it has imported after every verb."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "data" / "gallery"

VERBS = """
import contextlib, json, os, signal, sys, threading, urllib.request
from pathlib import Path
import cartag

def opened_and_ended(address):
    urllib.request.urlopen(address).read()
    os.kill(os.getpid(), signal.SIGINT)

gallery = Path(sys.argv[1])
heavy = ("torch", "torchvision", "transformers", "timm")
loaded = {}

def after(verb):
    loaded[verb] = [name for name in heavy if name in sys.modules]

report = cartag.tag(gallery, model="mini", device="cpu")
after("tag")
cartag.find(gallery, text="a red car")
after("find --text")
cartag.find(gallery, like=gallery.parent / "other.jpg")
after("find --like")
cartag.learn(gallery, gallery / "labels.csv")
after("learn")
cartag.tag(gallery)
after("tag again")
with contextlib.suppress(KeyboardInterrupt):
    cartag.review(gallery, ready=lambda address: threading.Thread(target=opened_and_ended, args=[address]).start())
after("review")
print(json.dumps({"loaded": loaded, "embedded": report.embedded, "onnx": "onnxruntime" in sys.modules}))
"""


def test_no_verb_imports_torch_with_the_bundled_model(tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    names = [f"mille-miglia-2013-{i:02d}.jpg" for i in range(1, 9)]
    for name in names:
        shutil.copy(GALLERY / name, gallery)
    shutil.copy(GALLERY / "mille-miglia-2013-30.jpg", tmp_path / "other.jpg")
    head, *rows = (GALLERY / "labels.csv").read_text(encoding="utf-8").splitlines()
    ours = [row for row in rows if row.startswith(tuple(names))]
    (gallery / "labels.csv").write_text("\n".join([head, *ours, ""]), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CARTAG_TEXT_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("CARTAG_RUNTIME", None)
    done = subprocess.run(
        [sys.executable, "-c", VERBS, str(gallery)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["embedded"] == len(names)
    assert said["onnx"]
    assert said["loaded"] == {
        verb: [] for verb in ("tag", "find --text", "find --like", "learn", "tag again", "review")
    }
