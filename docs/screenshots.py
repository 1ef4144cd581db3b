"""Writes docs/pictures/gallery.jpg, regions.jpg and review.jpg: pages over the sample gallery, in a browser.

python docs/screenshots.py    needs chromium and the test tools (playwright)
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import cartag

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
WIDTH = 1200
ROWS = 2
TWO_CARS = "mille-miglia-2013-30.jpg"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) / "mille-miglia-2013"
        shutil.copytree(ROOT / "data" / "gallery", gallery, ignore=shutil.ignore_patterns("cartag.json", ".cartag"))
        cartag.tag(gallery, model="mini")
        cartag.export(gallery, "html", to=Path(folder) / "page")
        shoot_gallery(Path(folder) / "page" / "index.html")
        shoot_regions(Path(folder) / "page" / "index.html")
        cartag.review(gallery, ready=lambda address: threading.Thread(target=shoot_review, args=(address,)).start())


def shoot_gallery(index: Path) -> None:
    """The gallery page from its head to the end of the second row of photos."""
    with browser_page() as page:
        page.goto(index.as_uri())
        page.wait_for_selector("#grid li")
        page.wait_for_load_state("networkidle")
        width, height = page.evaluate(
            """rows => {
              const tiles = [...document.querySelectorAll("#grid li")];
              const ends = tiles.map(tile => tile.getBoundingClientRect().bottom);
              const rowEnds = [...new Set(ends)].sort((a, b) => a - b);
              return [document.documentElement.clientWidth, rowEnds[rows - 1] + 12];
            }""",
            ROWS,
        )
        shot = page.screenshot(clip={"x": 0, "y": 0, "width": width, "height": height})
    Image.open(BytesIO(shot)).convert("RGB").save(PICTURES / "gallery.jpg", "JPEG", quality=80, optimize=True)


def shoot_regions(index: Path) -> None:
    """A drawing of two cars in the large view of the gallery page, its boxes with their names."""
    with browser_page(height=680) as page:
        page.goto(index.as_uri())
        page.wait_for_selector("#grid li")
        page.fill("#search", TWO_CARS)  # only the rows in view are in the page
        page.click(f"[title='{TWO_CARS}']")
        page.wait_for_selector("#frame .box")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(500)
        shot = page.screenshot()
    Image.open(BytesIO(shot)).convert("RGB").save(PICTURES / "regions.jpg", "JPEG", quality=80, optimize=True)


def shoot_review(address: str) -> None:
    """Takes the pictures, and ends the review in any case."""
    try:
        _shoot_review(address)
    finally:
        urllib.request.urlopen(address + "end", b"")


def _shoot_review(address: str) -> None:
    with browser_page(height=680) as page:
        page.goto(address)
        page.wait_for_selector("#grid li")
        page.wait_for_load_state("networkidle")
        grid = page.screenshot()
        page.click("[title='mille-miglia-2013-12.jpg']")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(500)
        viewer = page.screenshot()
    one, two = (Image.open(BytesIO(shot)).convert("RGB") for shot in (grid, viewer))
    both = Image.new("RGB", (WIDTH, 2 * 680 + 16), "white")
    both.paste(one, (0, 0))
    both.paste(two, (0, 680 + 16))
    both.save(PICTURES / "review.jpg", "JPEG", quality=72, optimize=True)


@contextmanager
def browser_page(height: int = 900) -> Iterator[Page]:
    """A page of a browser of its own, which is closed afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            yield browser.new_page(viewport={"width": WIDTH, "height": height})
        finally:
            browser.close()


if __name__ == "__main__":
    main()
