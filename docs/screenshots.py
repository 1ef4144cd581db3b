"""Writes docs/pictures/review.jpg: the review page over the sample gallery, as a browser shows it.

python docs/screenshots.py    needs chromium and the test tools (playwright)
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import urllib.request
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import cartag

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "pictures" / "review.jpg"
WIDTH = 1200


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) / "mille-miglia-2013"
        shutil.copytree(ROOT / "data" / "gallery", gallery, ignore=shutil.ignore_patterns("cartag.json", ".cartag"))
        cartag.tag(gallery, model="mini")
        cartag.review(gallery, ready=lambda address: threading.Thread(target=shoot, args=(address,)).start())


def shoot(address: str) -> None:
    """Takes the pictures, and ends the review in any case."""
    try:
        _shoot(address)
    finally:
        urllib.request.urlopen(address + "end", b"")


def _shoot(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 680})
        page.goto(address)
        page.wait_for_selector("#grid li")
        page.wait_for_load_state("networkidle")
        grid = page.screenshot()
        page.click("[title='mille-miglia-2013-12.jpg']")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(500)
        viewer = page.screenshot()
        browser.close()
    one, two = (Image.open(BytesIO(shot)).convert("RGB") for shot in (grid, viewer))
    both = Image.new("RGB", (WIDTH, 2 * 680 + 16), "white")
    both.paste(one, (0, 0))
    both.paste(two, (0, 680 + 16))
    both.save(TARGET, "JPEG", quality=72, optimize=True)


if __name__ == "__main__":
    main()
