"""A review that is being served, as a browser would talk to it."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cartag
from cartag.encoder import FakeEncoder
from cartag.state import Store, index as indexes, place_of, read_index

if TYPE_CHECKING:  # it is conftest that imports this
    from conftest import Gallery

_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A review that runs in a thread of its own."""

    def __init__(self, gallery: Path, **options: Any) -> None:
        self.address = ""
        self.report: cartag.ReviewReport | None = None
        answers = threading.Event()

        def ready(address: str) -> None:
            self.address = address
            answers.set()

        def run() -> None:
            self.report = cartag.review(gallery, ready=ready, **options)

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert answers.wait(30), "the review does not answer"

    def ask(self, what: str = "", body: bytes | None = None, **headers: str) -> Answer:
        """``what`` is relative to the review's address, or a whole address."""
        address = what if what.startswith("http") else self.address + what
        request = urllib.request.Request(address, body, headers)
        try:
            with _LOCAL.open(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as e:
            return Answer(e.code, e.headers, e.read())

    def data(self) -> Any:
        return self.ask("data").json()

    def photo(self, path: str) -> Any:
        return next(photo for photo in self.data()["photos"] if photo["path"] == path)

    def decide(self, *decisions: tuple[str, str | None, *tuple[str, ...]]) -> Answer:
        """Each of them: the path, the truth, the cars."""
        said = [{"path": path, "truth": truth, "cars": cars} for path, truth, *cars in decisions]
        return self.ask("decide", json.dumps(said).encode())

    def undo(self) -> Answer:
        return self.ask("undo", b"")

    def end(self) -> cartag.ReviewReport:
        with suppress(OSError, HTTPException):  # it may be ending already, and cut the answer off
            self.ask("end", b"")
        self._thread.join(30)
        assert not self._thread.is_alive(), "the review does not end"
        assert self.report is not None
        return self.report


def in_doubt(gallery: Any, score: float = 0.05) -> None:
    """Every photo may show every car of the catalog: the fake's own scores are too low for the page to offer them."""

    def doubt(raw: dict[str, Any]) -> None:
        cars = [car["id"] for car in raw["catalog"]["cars"]]
        for photo in raw["photos"]:
            tagged = {tag["car"] for tag in photo["tags"]}
            photo["candidates"] = [{"car": car, "score": score} for car in cars if car not in tagged]

    gallery.edit(doubt)


_replace_file = indexes.replace_file


def without_csv(path: Path, data: bytes) -> None:
    """`cartag.state.index.replace_file` on a disk that has room for everything but labels."""
    if path.suffix == ".csv":
        raise OSError(28, "No space left on device")
    _replace_file(path, data)


@contextmanager
def served(gallery: Path, **options: Any) -> Iterator[Served]:
    review = Served(gallery, **options)
    try:
        yield review
    finally:
        review.end()


def give_two_cars(gallery: Gallery, *names: str) -> None:
    """Makes the model have found two cars of one kind in each of these photos, which look like the whole."""
    boxes = [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)]
    region = {"outcome": "tagged", "tags": [{"car": "red-racer", "score": 0.9, "source": "model"}], "found": 0.9}
    for name in names:
        gallery.edit_photo(name, regions=[{"box": list(box), **region} for box in boxes])
    index = read_index(gallery.path)
    with Store(place_of(gallery.path).state, FakeEncoder.identity) as store:
        whole = store.get([str(index.photos[name].sha256) for name in names])
        store.put_regions({(key, box): vector for key, vector in whole.items() for box in boxes})
