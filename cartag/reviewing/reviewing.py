"""The review as a verb: serves the page to this machine until a person is done, and says what was done."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from cartag.errors import ReviewError
from cartag.reviewing.app import Once, app
from cartag.reviewing.asks import Asks
from cartag.reviewing.keys import keys_of
from cartag.reviewing.pictures import Pictures
from cartag.reviewing.session import Session
from cartag.settings import Settings, load_settings
from cartag.state import place_of

_HOST = "127.0.0.1"
_SOON = 120
"""Seconds that a browser has to start."""
_PATIENCE = 2
"""Seconds that requests under way have to end when the review does."""


@dataclass(frozen=True)
class ReviewReport:
    """What was done in a review."""

    index: Path | str
    """Its file; a URI, where it lies on object storage."""
    labels: Path | None
    confirmed: int
    """Photos of which a person said what the model had said."""
    corrected: int
    """Photos of which she said something else."""
    to_do: int
    """Photos of which nobody said anything yet."""
    not_in_labels: int
    """Photos of which the index has what was said, and ``labels`` does not: it could not be written."""


def review(
    gallery: Path | str,
    *,
    labels: Path | str | None = None,
    port: int = 0,
    ready: Callable[[str], object] | None = None,
    browser: Callable[[str], object] | None = None,
    index: Path | str | None = None,
    settings: Settings | None = None,
) -> ReviewReport:
    """Serves a page on which a person confirms and corrects tags, until she is done or interrupts it.

    What she says of a photo stands in the index at once: tags of source `human`, and the photo as a whole is
    `confirmed`, so that no run of `tag` changes it. A `tag` that runs meanwhile takes it up at its end. Photos are only
    read.

    The page is for this machine alone, below an address that cannot be guessed.

    Args:
        gallery: the folder of photos, tagged before.
        labels: a CSV of hand labels ``file,label`` to be kept in step with what she says; made where it is not there.
            Labels that stand in it are shown beside the model's tags.
        port: of 127.0.0.1; 0: any that is free.
        ready: is called with the page's address as soon as it answers.
        browser: is called then too, with an address that leads there once: a browser's arguments are no secret.
        index: where the index lies, if not in the gallery.
        settings: the rarer settings.

    Raises:
        ReviewError: the port cannot be had.
        LabelsError: ``labels`` cannot be read as hand labels.
        SettingsError: ``review_keys`` names no action, or one key twice.
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    settings = (settings or load_settings()).overridden({"index": index})
    gallery = Path(gallery)
    place = place_of(gallery, settings.index)
    keys = keys_of(settings)
    session = Session(gallery, place, None if labels is None else Path(labels))
    pictures = Pictures(gallery, place, settings)
    pictures.forget_others(session.index)
    secret, token = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    with _listening(port) as listener:
        root = f"http://{_HOST}:{listener.getsockname()[1]}"

        def answers() -> None:
            if ready is not None:
                ready(f"{root}/{secret}/")
            if browser is not None:
                browser(f"{root}/start/{token}")

        once = Once(token, time.monotonic() + _SOON)
        site = app(session, pictures, Asks(session, settings, keys), secret, once, lambda: server.end())
        config = uvicorn.Config(
            site, log_level="critical", lifespan="off", timeout_graceful_shutdown=_PATIENCE, ws="none"
        )
        server = _Server(config, session, answers)
        with suppress(KeyboardInterrupt):  # how one ends it in a terminal: everything is saved already
            _serve(server, listener)
    session.finish()
    counts = session.counts()
    return ReviewReport(
        index=place.uri or place.index,
        labels=None if labels is None else Path(labels),
        confirmed=counts.confirmed,
        corrected=counts.corrected,
        to_do=counts.to_do,
        not_in_labels=session.owed(),
    )


class _Server(uvicorn.Server):
    """Says when it answers, and lets nobody wait when it ends."""

    def __init__(self, config: uvicorn.Config, session: Session, answers: Callable[[], None]) -> None:
        super().__init__(config)
        self._session, self._answers = session, answers

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to answer, and then says so."""
        await super().startup(sockets)
        self._answers()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        self._session.ending.set()
        super().handle_exit(sig, frame)

    def end(self) -> None:
        """The person is done."""
        self._session.ending.set()
        self.should_exit = True


def _serve(server: _Server, listener: socket.socket) -> None:
    """Runs the server to its end; beside an event loop that runs already, as in a notebook, in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        server.run(sockets=[listener])
        return
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        server.end()
        thread.join()
        raise


def _listening(port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ReviewError(f"port {port}: a port is a number up to 65535; without --port any free one is taken")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
    except OSError as e:
        listener.close()
        raise ReviewError(f"port {port}: cannot be had ({e.strerror}); without --port any free one is taken") from e
    return listener
