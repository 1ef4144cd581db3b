"""Reviewing tags: a page on this machine to confirm and correct them, photo by photo or many at once."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from cartag import index as indexes
from cartag.errors import ReviewError
from cartag.reviewing.app import app
from cartag.reviewing.pictures import Pictures
from cartag.reviewing.session import Counts, Decision, Session
from cartag.settings import Settings, load_settings

__all__ = ["Counts", "Decision", "ReviewReport", "Session", "review"]

_HOST = "127.0.0.1"
_PATIENCE = 2
"""Seconds that requests under way have to end when the review does."""


@dataclass(frozen=True)
class ReviewReport:
    """What was done in a review."""

    index: Path
    labels: Path | None
    confirmed: int
    """Photos of which a person said what the model had said."""
    corrected: int
    """Photos of which she said something else."""
    to_do: int
    """Photos of which nobody said anything yet."""


def review(
    gallery: Path | str,
    *,
    labels: Path | str | None = None,
    port: int = 0,
    ready: Callable[[str], None] | None = None,
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
        index: where the index lies, if not in the gallery.
        settings: the rarer settings.

    Raises:
        ReviewError: the port cannot be had.
        LabelsError: ``labels`` cannot be read as hand labels.
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    settings = (settings or load_settings()).overridden({"index": index})
    gallery = Path(gallery)
    place = indexes.place_of(gallery, settings.index)
    session = Session(gallery, place, None if labels is None else Path(labels))
    secret = secrets.token_urlsafe(18)
    with _listening(port) as listener:

        def end() -> None:
            server.should_exit = True

        site = app(session, Pictures(gallery, place, settings), secret, end)
        server = _Server(
            uvicorn.Config(site, log_level="error", lifespan="off", timeout_graceful_shutdown=_PATIENCE, ws="none"),
            lambda: ready and ready(f"http://{_HOST}:{listener.getsockname()[1]}/{secret}/"),
        )
        with suppress(KeyboardInterrupt):  # how one ends it in a terminal: everything is saved already
            server.run(sockets=[listener])
    counts = session.counts()
    return ReviewReport(
        place.index, None if labels is None else Path(labels), counts.confirmed, counts.corrected, counts.to_do
    )


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to answer, and then says so."""
        await super().startup(sockets)
        self._ready()


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
