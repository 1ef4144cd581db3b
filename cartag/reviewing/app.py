"""The web side of a review: a page, its data, its pictures, and what it says back. Knows HTTP and nothing of indexes.

Everything lies below a secret part of the address, so that neither other users of the machine nor pages from elsewhere
that know the port can read or decide anything. The only importer of starlette.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from cartag import pages
from cartag.errors import CartagError, PhotoError
from cartag.paths import printable
from cartag.reviewing.asks import Asks, Question
from cartag.reviewing.decisions import Answer, Decision, Reviewed
from cartag.reviewing.pictures import SIDES, Pictures
from cartag.reviewing.session import Session
from cartag.reviewing.words import live_regions
from cartag.values import ERROR_REASONS, ModelAnswer, PhotoRecord, Region, as_model_has_it

_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
"""A page from elsewhere whose name was made to lead here (DNS rebinding) asks for another host."""
_MOST_BYTES = 32 * 2**20
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_USED = (
    "This address leads to the page once, and only soon after cartag has started.\n"
    "Open the one that cartag printed. If somebody else was here before you, end the review and start it again.\n"
)
_FOR_A_DAY = {"Cache-Control": "private, max-age=86400, immutable"}
_SCRIPTS = (
    *("grid", "keys", "talk", "picking", "list", "ticks", "boxes", "zoom", "alike", "viewer", "groups", "members"),
    *("teach", "review"),
)
"""In this order the page loads them: plain scripts, each of which sees what those before it have."""
_STATIC = {
    "": ("review.html", "text/html; charset=utf-8"),
    **{f"{name}.css": (f"{name}.css", "text/css; charset=utf-8") for name in ("base", "review", "views")},
    **{f"{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
}


@dataclass
class Once:
    """A part of the address that leads to the page once, and soon.

    A browser is started with the address as an argument, and arguments of programs can be read by every user of a
    machine: who comes second, or late, gets nothing.
    """

    token: str
    until: float
    """By the clock `time.monotonic`."""

    def used(self, token: str) -> bool:
        """Whether that was it; from then on it is used up."""
        is_it = bool(self.token) and secrets.compare_digest(token.encode(), self.token.encode())
        if is_it:
            self.token = ""
        return is_it and time.monotonic() < self.until


def app(
    session: Session, pictures: Pictures, asks: Asks, secret: str, once: Once, end: Callable[[], None]
) -> Starlette:
    """The application of one review; ``end`` is called when the person says that she is done."""

    async def start(request: Request) -> Response:
        if not once.used(request.path_params["token"]):
            return PlainTextResponse(_USED, 404, headers=_HEADERS)
        return RedirectResponse(f"/{secret}/", 303, _HEADERS)

    site = _Site(session, pictures, asks, end)
    routes = [Route(f"/{name}", site.static, name=name) for name in _STATIC]
    routes += [
        Route("/data", site.data),
        Route("/picture/{size}/{number:int}/{content}", site.picture),
        Route("/decide", site.decide, methods=["POST"]),
        Route("/undo", site.undo, methods=["POST"]),
        *(Route(f"/{name}", site.asked(question), methods=["POST"]) for name, question in asks.questions().items()),
        Route("/end", site.end, methods=["POST"]),
    ]
    return Starlette(
        routes=[Route("/start/{token}", start), Mount(f"/{secret}", routes=routes)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)],
        exception_handlers={404: _not_found, CartagError: _failed, Exception: _broken},
    )


class _Undo(msgspec.Struct):
    step: int | None = None


class _Site:
    def __init__(self, session: Session, pictures: Pictures, asks: Asks, end: Callable[[], None]) -> None:
        self._session, self._pictures, self._asks, self._end = session, pictures, asks, end
        self._paths: list[str] = []
        """The path of every number that a picture was ever asked for by: numbers stay when the index changes."""
        self._numbers: dict[str, int] = {}
        self._numbering = Lock()

    async def static(self, request: Request) -> Response:
        name, kind = _STATIC[request.url.path.rsplit("/", 1)[-1]]
        return Response(pages.text(name), media_type=kind, headers=_HEADERS)

    async def data(self, request: Request) -> Response:
        return _answer(await run_in_threadpool(self._everything))

    async def picture(self, request: Request) -> Response:
        size, number = request.path_params["size"], request.path_params["number"]
        if size not in SIDES or number >= len(self._paths):
            return await _not_found(request, None)
        return await run_in_threadpool(self._picture, self._paths[number], size)

    async def decide(self, request: Request) -> Response:
        try:
            decisions = msgspec.json.decode(await _body(request), type=list[Decision])
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            return _answer({"error": f"not a list of decisions: {e}"}, 400)
        return _answer(await run_in_threadpool(lambda: self._changed(self._session.decide(decisions))))

    async def undo(self, request: Request) -> Response:
        try:
            step = msgspec.json.decode(await _body(request) or b"{}", type=_Undo).step
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            return _answer({"error": f"not a step: {e}"}, 400)
        return _answer(await run_in_threadpool(lambda: self._changed(self._session.undo(step))))

    def asked(self, question: Question) -> Callable[[Request], Awaitable[Response]]:
        """What answers one of the questions of `asks`."""

        async def answered(request: Request) -> Response:
            try:
                data = await _body(request)
                return _answer(await run_in_threadpool(lambda: question(data)))
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                return _answer({"error": f"not such a question: {e}"}, 400)

        return answered

    async def end(self, request: Request) -> Response:
        self._end()
        return _answer({})

    # --- what the page is told

    def _everything(self) -> dict[str, Any]:
        now = self._session.snapshot()
        with self._numbering:
            for photo in now.photos:
                if photo.record.path not in self._numbers:
                    self._numbers[photo.record.path] = len(self._paths)
                    self._paths.append(photo.record.path)
        header = now.index.header
        return {
            "title": printable(self._session.gallery.resolve().name) or "Photos",
            "model": header.model.name,
            "catalog": header.catalog.name,
            "cars": [
                {"id": car.id, "name": car.name, "make": car.make, "aliases": car.aliases}
                for car in header.catalog.named
            ],
            "photos": [self._photo(photo) for photo in now.photos],
            "keys": self._asks.keys(),
            **msgspec.to_builtins(now.state),
        }

    def _changed(self, answer: Answer) -> dict[str, Any]:
        return {
            "photos": [self._photo(photo) for photo in (*answer.changed, *answer.refused)],
            "refused": [photo.record.path for photo in answer.refused],
            **msgspec.to_builtins(answer.state),
        }

    def _photo(self, photo: Reviewed) -> dict[str, Any]:
        r, label, model = photo.record, photo.label, as_model_has_it(photo.record)
        fields = {
            "path": r.path,
            "state": photo.state,
            "number": self._numbers.get(r.path),
            "content": None if r.sha256 is UNSET else r.sha256[:16],
            "outcome": r.outcome,
            "width": None if r.width is UNSET else r.width,
            "height": None if r.height is UNSET else r.height,
            "error": None if r.error is UNSET else ERROR_REASONS.get(r.error.reason, r.error.reason),
            "settled": r.confirmed is True,
            "tags": [_tag(tag) for tag in r.tags],
            "model": None if model is None else _model(model),
            "regions": None if r.regions is UNSET else [_region(region) for region in live_regions(r)],
            "label": None if label is None else {"truth": label.truth, "cars": sorted(label.cars)},
        }
        return {key: value for key, value in fields.items() if value is not None}

    def _picture(self, path: str, size: str) -> Response:
        record = self._session.record(path)
        if record is None:
            return _answer({"error": "not in the index any more"}, 404)
        try:
            made = self._pictures.picture(record, size)
        except PhotoError as e:
            return _answer({"error": f"{e.reason}: {e.detail}"}, 404)
        headers = _HEADERS | (_FOR_A_DAY if made.is_current else {})
        return Response(made.data, media_type="image/jpeg", headers=headers)


def _tag(tag: Any) -> dict[str, Any]:
    box = {} if tag.box is UNSET else {"box": tag.box}
    return {"car": tag.car, "score": tag.score, **({"human": True} if tag.source == "human" else {}), **box}


def _region(region: Region) -> dict[str, Any]:
    model = region if region.source == "model" else None if region.by_model is UNSET else region.by_model
    fields = {
        "box": region.box,
        "outcome": region.outcome,
        "tags": [_tag(tag) for tag in region.tags],
        "human": region.source == "human" or None,
        "other": None if region.other is UNSET else {"name": region.other.name, "score": region.other.score},
        "model": None if model is None else _model(model),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _model(said: PhotoRecord | Region | ModelAnswer) -> dict[str, Any]:
    """What the model says of a photo or a box: its outcome, and the cars it thought of, likeliest first."""
    scores = {tag.car: tag.score for tag in said.tags} | {c.car: c.score for c in said.candidates}
    return {
        "outcome": said.outcome,
        "tags": [tag.car for tag in said.tags],
        "scores": [{"car": car, "score": score} for car, score in sorted(scores.items(), key=lambda item: -item[1])],
    }


async def _body(request: Request) -> bytes:
    """The body, unless it is larger than any list of decisions may be."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BYTES:
            raise msgspec.DecodeError(f"more than {_MOST_BYTES >> 20} MiB")
    return bytes(data)


def _answer(value: Mapping[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers=_HEADERS)


async def _not_found(request: Request, error: Any) -> Response:
    return PlainTextResponse("Nothing here. Open the address that cartag printed.\n", 404, headers=_HEADERS)


async def _failed(request: Request, error: Any) -> Response:
    return _answer({"error": printable(str(error))}, 409)


async def _broken(request: Request, error: Any) -> Response:
    return _answer({"error": f"a fault of cartag, please report it: {error!r}"}, 500)
