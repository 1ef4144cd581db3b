"""A hub on 127.0.0.1 that speaks the hub's API as its real client uses it, with a second host for the large files.

Small files come from the hub itself, by way of one redirect, with git's SHA-1 as ETag; large ones are redirected to the
second host, which knows no user and answers ranges. Every request is kept, with the bytes that went out. Faults are
asked for by a part of the path: a status, a cut connection, a wait, other bytes.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from checkpoints import COMMIT

LARGE = 8192
"""Bytes from which on a file lies on the second host."""
CARD = b"---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n# A model\n"
# What published repositories hold besides: the same weights for other tools, in folders of their own too.
NOT_NEEDED = {
    "README.md": CARD,
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "pytorch_model.bin": b"pickle" * 3000,
    "tf_model.h5": b"h5" * 9000,
    "flax_model.msgpack": b"flax" * 5000,
    "open_clip_model.safetensors": b"open" * 5000,
    "open_clip_config.json": b"{}",
    "onnx/model.onnx": b"onnx" * 9000,
    "onnx/spiece.model": b"sp" * 9000,
    "onnx/tokenizer.json": b"{}",
}


@dataclass
class Repository:
    """Files by name, and who may have them."""

    files: dict[str, bytes]
    kind: str = "model"
    commit: str = COMMIT
    revisions: tuple[str, ...] = ("main",)
    gated: bool = False
    private: bool = False
    xet: bool = False
    """Whether large files say that Xet storage has them, which this hub has not."""


@dataclass
class Fault:
    """What goes wrong with requests whose path holds ``part``, the first ``times`` times."""

    part: str
    times: int
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    seconds: float = 0.0
    method: str | None = None


@dataclass(frozen=True)
class Request:
    """One request that came."""

    host: str
    method: str
    path: str
    headers: Mapping[str, str]
    sent: int = 0


class Hub:
    """The hub and its second host, each a server in a thread."""

    token = "hf_loopback"

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.spoiled: set[str] = set()
        """Names of files that are sent with other bytes than are listed."""
        self._requests: list[Request] = []
        self._under_way = 0
        self._answered = threading.Condition()
        self.members: set[str] = {self.token}
        """Tokens that a gated repository lets in."""
        self.speed: float | None = None
        """Bytes a second of the second host."""
        self._servers = [self._serve(_HubHandler), self._serve(_StoreHandler)]
        self.endpoint, self.store = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def _serve(self, handler: type[_Handler]) -> http.server.ThreadingHTTPServer:
        bound = type(handler.__name__, (handler,), {"hub": self})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def publish(self, hub_id: str, folder: Path | None = None, *, extra: bool = True, **facts: Any) -> Repository:
        """A checkpoint as its authors would publish it, with all that other tools want beside it."""
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder else {}
        repository = Repository({**(NOT_NEEDED if extra else {}), **files}, **facts)
        self.repositories[hub_id] = repository
        return repository

    def fail(self, part: str, *, times: int = 1, **what: Any) -> None:
        self.faults.append(Fault(part, times, **what))

    def fault_of(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.part in path and fault.method in (None, method):
                fault.times -= 1
                return fault
        return None

    @property
    def requests(self) -> list[Request]:
        """Those that were answered. One under way is waited for, a moment: its client may know the answer already."""
        with self._answered:
            self._answered.wait_for(lambda: not self._under_way, 5)
        return self._requests

    def begin(self) -> None:
        with self._answered:
            self._under_way += 1

    def end(self, request: Request) -> None:
        with self._answered:
            self._requests.append(request)
            self._under_way -= 1
            self._answered.notify_all()

    def fetched(self) -> list[str]:
        """Names of the files whose bytes were asked for, in order."""
        asked = ("/api/models", "/api/agent-harnesses")  # the second by the client itself, once a day
        return [Path(r.path).name for r in self.requests if r.method == "GET" and not any(a in r.path for a in asked)]

    def bytes_of_files(self) -> int:
        return sum(r.sent for r in self.requests if r.method == "GET" and "/api/models/" not in r.path)

    def variables(self, home: Path) -> dict[str, str]:
        """For a process that is to use it, with a cache of its own."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home)}


@pytest.fixture(name="loopback")
def loopback_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that this process uses too; its client reads its place when it is imported, hence the attributes."""
    from huggingface_hub import constants

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    hub = Hub()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield hub
    hub.close()


# --- what both hosts do -----------------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    host = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._take()

    def do_HEAD(self) -> None:
        self._take()

    def log_message(self, *_: object) -> None:
        pass

    def _take(self) -> None:
        self.url = urlsplit(self.path)  # of a proxy's request the path is a whole address
        self.place = unquote(self.url.path)
        self.sent = 0
        self.hub.begin()
        fault = self.hub.fault_of(self.command, self.place)
        try:
            if fault is not None and fault.seconds:
                time.sleep(fault.seconds)
            if fault is not None and fault.status:
                self.answer(fault.status, headers=fault.headers)
            else:
                self.cut_after = fault.cut_after if fault is not None else None
                self.respond()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            heard = {key.lower(): value for key, value in self.headers.items()}
            self.hub.end(Request(self.host, self.command, self.place, heard, self.sent))

    def respond(self) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut_after is not None and len(body) > self.cut_after:
            self._write(body[: self.cut_after])
            self.wfile.flush()
            self.connection.shutdown(2)
            self.close_connection = True
            return
        self._write(body)

    cut_after: int | None = None

    def _write(self, body: bytes) -> None:
        speed = self.hub.speed if self.host == "store" else None
        step = len(body) if speed is None else max(1, int(speed / 20))
        for start in range(0, len(body), max(1, step)):
            self.wfile.write(body[start : start + step])
            self.sent += len(body[start : start + step])
            if speed is not None:
                time.sleep(step / speed)

    def sends(self, name: str, data: bytes) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:] if name in self.hub.spoiled else data


class _StoreHandler(_Handler):
    """The second host: content by its digest, in ranges, for whoever knows the address."""

    host = "store"

    def respond(self) -> None:
        _, digest, name = self.place.split("/", 2)
        data = next((d for r in self.hub.repositories.values() for d in r.files.values() if sha256(d) == digest), None)
        if data is None:
            self.answer(404)
            return
        data = self.sends(name, data)
        asked = self.headers.get("Range")
        if asked is None:
            self.answer(200, data, {"Accept-Ranges": "bytes"})
            return
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        self.answer(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})


class _HubHandler(_Handler):
    host = "hub"

    def respond(self) -> None:
        parts = self.place.strip("/").split("/")
        if parts[0] == "api" and parts[1] in ("models", "datasets", "spaces"):
            self._api(parts[1].removesuffix("s"), "/".join(parts[2:4]), parts[4:])
        elif parts[0] == "api" and parts[1] == "resolve-cache":
            self._cached("/".join(parts[3:5]), "/".join(parts[6:]))
        elif parts[2:3] == ["resolve"]:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self.answer(404)

    def _repository(self, hub_id: str, kind: str = "model") -> Repository | None:
        """The repository, where there is one and this user may know of it; otherwise that was answered."""
        token = self._token()
        if token is not None and token not in {self.hub.token, *self.hub.members, "hf_stranger"}:
            self.answer(401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
            return None
        found = self.hub.repositories.get(hub_id)
        if found is None or found.kind != kind or (found.private and token not in self.hub.members):
            self.answer(404 if token else 401, headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "Not found"})
            return None
        return found

    def _token(self) -> str | None:
        said = self.headers.get("Authorization")
        return said.removeprefix("Bearer ") if said else None

    def _api(self, kind: str, hub_id: str, rest: list[str]) -> None:
        repository = self._repository(hub_id, kind)
        if repository is None:
            return
        if rest and rest[1] not in (*repository.revisions, repository.commit):
            self.answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        elif rest and rest[0] == "tree":
            self._tree(repository)
        else:
            self._put(
                {
                    "id": hub_id,
                    "modelId": hub_id,
                    "sha": repository.commit,
                    "private": repository.private,
                    "gated": "manual" if repository.gated else False,
                    "cardData": {"license": "apache-2.0"} if repository.files.get("README.md") == CARD else None,
                    "tags": [],
                    "siblings": [_sibling(name, data) for name, data in repository.files.items()],
                }
            )

    def _tree(self, repository: Repository) -> None:
        """In pages, as of a large repository: the second one is found by the first one's header."""
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": sha1(data), **_large(data, "oid")}
            for name, data in repository.files.items()
        ]
        half = len(entries) // 2
        if "cursor" in self.url.query:
            self._put(entries[half:])
        else:
            following = f"{self.hub.endpoint}{self.url.path}?recursive=true&cursor=half"
            self._put(entries[:half], {"Link": f'<{following}>; rel="next"'})

    def _put(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _resolve(self, hub_id: str, revision: str, name: str) -> None:
        repository = self._repository(hub_id)
        if repository is None:
            return
        if repository.gated and self._token() not in self.hub.members:
            self.answer(403 if self._token() else 401, headers={"X-Error-Code": "GatedRepo"})
            return
        if revision not in (*repository.revisions, repository.commit):
            self.answer(404, headers={"X-Error-Code": "RevisionNotFound"})
            return
        data = repository.files.get(name)
        commit = {"X-Repo-Commit": repository.commit}
        if data is None:
            self.answer(404, headers={"X-Error-Code": "EntryNotFound", **commit})
        elif len(data) < LARGE:
            place = f"/api/resolve-cache/models/{hub_id}/{repository.commit}/{name}"
            self.answer(307, headers={"Location": place, "ETag": f'"{sha1(data)}"', **commit})
        else:
            linked = {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{sha256(data)}"'}
            xet = {"X-Xet-Hash": sha256(data), "X-Xet-Refresh-Route": f"{self.hub.endpoint}/api/no-xet"}
            where = {"Location": f"{self.hub.store}/{sha256(data)}/{name}"}
            self.answer(302, headers={**where, **linked, **commit, **(xet if repository.xet else {})})

    def _cached(self, hub_id: str, name: str) -> None:
        repository = self.hub.repositories[hub_id]
        data = repository.files[name]
        self.answer(200, self.sends(name, data), {"ETag": f'"{sha1(data)}"', "X-Repo-Commit": repository.commit})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha1(data: bytes) -> str:
    """As git names a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _large(data: bytes, key: str) -> dict[str, Any]:
    return {"lfs": {key: sha256(data), "size": len(data), "pointerSize": 134}} if len(data) >= LARGE else {}


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    return {"rfilename": name, "size": len(data), "blobId": sha1(data), **_large(data, "sha256")}
