"""A Google Cloud Storage of memory on loopback: the part of its JSON API that gcsfs asks for. gcsfs itself is the real one.

After Google's reference (cloud.google.com/storage/docs/json_api/v1): buckets insert and get; objects list, get (its data
too, a range of it, a generation of it), insert (multipart and resumable) and delete, with ``ifGenerationMatch``; errors
as Google words them. What is not here is answered with 501, never with a guess. Of a key there is one generation.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_STEP = 256 * 1024
"""Bytes: a chunk of a resumable upload that is not the last is a multiple of that."""


@dataclass
class Kept:
    """An object as it stands."""

    data: bytes
    generation: int
    created: str
    md5: str


@dataclass
class Google:
    """What is stored, and what was asked for."""

    buckets: dict[str, dict[str, Kept]] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    """Buckets that nobody may look into, by the status that says so: 401 to whom is nobody, 403 to anybody else."""
    uploads: dict[str, tuple[str, str, dict[str, str], bytearray]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Every request: its method and path."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    generation: int = 0

    def put(self, bucket: str, key: str, data: bytes, asked: dict[str, str]) -> dict[str, Any]:
        """Stores an object whole; its resource."""
        if not 1 <= len(key.encode()) <= 1024 or key in (".", "..") or re.search(r"[\r\n]", key):
            raise RefusedError(400, f"The specified object name '{key}' is not valid.")
        self.check_match(bucket, key, asked)
        when = datetime.now(UTC)
        self.generation = max(self.generation + 1, int(when.timestamp() * 1e6))
        created = f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        self.buckets[bucket][key] = Kept(data, self.generation, created, md5)
        return self.resource(bucket, key)

    def check_match(self, bucket: str, key: str, asked: dict[str, str]) -> None:
        """Whether the object is of the generation that it has to be; 0: there is none."""
        if (wanted := asked.get("ifGenerationMatch")) is not None:
            kept = self.buckets[bucket].get(key)
            if int(wanted) != (kept.generation if kept else 0):
                raise RefusedError(412, "At least one of the pre-conditions you specified did not hold.")

    def find(self, bucket: str, key: str, asked: dict[str, str]) -> Kept:
        kept = self.buckets[bucket].get(key)
        if kept is None or asked.get("generation", str(kept.generation)) != str(kept.generation):
            raise RefusedError(404, f"No such object: {bucket}/{key}")
        return kept

    def resource(self, bucket: str, key: str) -> dict[str, Any]:
        kept = self.buckets[bucket][key]
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{key}/{kept.generation}",
            "name": key,
            "bucket": bucket,
            "generation": str(kept.generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "storageClass": "STANDARD",
            "size": str(len(kept.data)),
            "md5Hash": kept.md5,
            "etag": base64.b64encode(str(kept.generation).encode()).decode(),
            "timeCreated": kept.created,
            "updated": kept.created,
        }

    def page(self, bucket: str, asked: dict[str, str]) -> dict[str, Any]:
        """Objects, and with a delimiter prefixes, in the order of their UTF-8; of both `maxResults` at most."""
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        at_most = min(int(asked.get("maxResults", "1000")), 1000)
        after = base64.b64decode(asked["pageToken"]) if "pageToken" in asked else None
        names: dict[str, bool] = {}
        for key in self.buckets[bucket]:
            if key.startswith(prefix):
                head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                names[f"{prefix}{head}{found}" if found else key] = bool(found)
        left = sorted(name for name in names if after is None or name.encode() > after)
        page = left[:at_most]
        said: dict[str, Any] = {"kind": "storage#objects"}
        if prefixes := [name for name in page if names[name]]:
            said["prefixes"] = prefixes
        if items := [self.resource(bucket, name) for name in page if not names[name]]:
            said["items"] = items
        if len(left) > len(page):
            said["nextPageToken"] = base64.b64encode(page[-1].encode()).decode()
        return said


class RefusedError(Exception):
    """What becomes an error of the API: {"error": {"code", "message", "errors"}}."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


Answer = tuple[int, dict[str, str], bytes]


def _json(said: dict[str, Any], status: int = 200, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json; charset=UTF-8", **headers}, json.dumps(said).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    google: Google

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        with self.google.lock:
            self.google.asked.append(f"{self.command} {parts.path}")
            try:
                status, headers, said = self._route(parts.path, asked, body)
            except RefusedError as e:
                error = {"code": e.status, "message": e.message, "errors": [{"message": e.message, "domain": "global"}]}
                status, headers, said = _json({"error": error}, e.status)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(said))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def _route(self, path: str, asked: dict[str, str], body: bytes) -> Answer:
        """A key's slashes are quoted in a path, so that these part it."""
        way = re.fullmatch(r"/(upload/|download/)?storage/v1/b(?:/([^/]+)(?:/o(?:/([^/]+))?|()))?", path)
        if way is None:
            raise RefusedError(501, f"not part of this server: {self.command} {path}")
        kind, bucket, key = (unquote(part or "") for part in way.group(1, 2, 3))
        if not bucket and self.command == "POST":
            return self._new_bucket(json.loads(body)["name"])
        if bucket not in self.google.buckets:
            raise RefusedError(404, "The specified bucket does not exist.")
        if bucket in self.google.closed:
            raise RefusedError(self.google.closed[bucket], _no_access(self.google.closed[bucket]))
        match self.command, kind, bool(key), way.group(4) is not None:
            case "GET", "", False, True:
                return _json({"kind": "storage#bucket", "id": bucket, "name": bucket})
            case "GET", "", False, False:
                return _json(self.google.page(bucket, asked))
            case "GET", ("" | "download/"), True, _:
                kept = self.google.find(bucket, key, asked)
                return self._data(kept) if asked.get("alt") == "media" else _json(self.google.resource(bucket, key))
            case "DELETE", "", True, _:
                self.google.find(bucket, key, asked)
                self.google.check_match(bucket, key, asked)
                del self.google.buckets[bucket][key]
                return 204, {}, b""
            case (("POST" | "PUT"), "upload/", False, False):
                return self._upload(bucket, asked, body)
            case "DELETE", "upload/", False, False if self.google.uploads.pop(asked.get("upload_id", ""), None):
                return 499, {}, b""
        raise RefusedError(501, f"not part of this server: {self.command} {path}")

    def _new_bucket(self, name: str) -> Answer:
        if name in self.google.buckets:
            raise RefusedError(
                409, "Your previous request to create the named bucket succeeded and you already own it."
            )
        self.google.buckets[name] = {}
        return _json({"kind": "storage#bucket", "id": name, "name": name})

    def _data(self, kept: Kept) -> Answer:
        headers = {"Content-Type": "application/octet-stream", "X-Goog-Generation": str(kept.generation)}
        asked, size = self.headers.get("Range"), len(kept.data)
        if asked is None:
            return 200, headers, kept.data
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", asked).groups()  # type: ignore[union-attr]
        begin = int(first) if first else max(0, size - int(last))
        end = min(int(last), size - 1) if first and last else size - 1
        if begin > end:
            raise RefusedError(416, f"The requested range cannot be satisfied: InvalidRange {asked}")
        return 206, {**headers, "Content-Range": f"bytes {begin}-{end}/{size}"}, kept.data[begin : end + 1]

    def _upload(self, bucket: str, asked: dict[str, str], body: bytes) -> Answer:
        if "upload_id" in asked:
            return self._chunk(asked["upload_id"], body)
        if asked.get("uploadType") == "multipart":
            said, data = _parts(self.headers["Content-Type"], body)
            return _json(self.google.put(bucket, said["name"], data, asked))
        if asked.get("uploadType") == "resumable":
            key = asked.get("name") or json.loads(body)["name"]
            name = f"upload-{len(self.google.uploads)}-{self.google.generation}"
            self.google.uploads[name] = (bucket, key, asked, bytearray())
            base = f"http://{self.headers['Host']}{urlsplit(self.path).path}"
            return 200, {"Location": f"{base}?uploadType=resumable&upload_id={name}"}, b""
        raise RefusedError(501, f"not part of this server: an upload of the kind {asked.get('uploadType')}")

    def _chunk(self, name: str, body: bytes) -> Answer:
        """Bytes that follow those that are there; the last ones make an object of them all."""
        if name not in self.google.uploads:
            raise RefusedError(404, "No such upload.")
        bucket, key, asked, so_far = self.google.uploads[name]
        first, whole = re.fullmatch(  # type: ignore[union-attr]
            r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers["Content-Range"]
        ).groups()
        if body and int(first) != len(so_far):
            raise RefusedError(503, f"a chunk from {first} on, but {len(so_far)} bytes are here")
        so_far += body
        if whole == str(len(so_far)):
            del self.google.uploads[name]
            return _json(self.google.put(bucket, key, bytes(so_far), asked))
        if len(body) % _STEP:
            raise RefusedError(400, f"A chunk that is not the last has to be a multiple of {_STEP} bytes.")
        return 308, {"Range": f"bytes=0-{len(so_far) - 1}"} if so_far else {}, b""


def _parts(kind: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Metadata and bytes of a multipart upload (RFC 2387); the line break before a boundary belongs to it."""
    boundary = re.search(r'boundary="?([^";]+)"?', kind).group(1).encode()  # type: ignore[union-attr]
    head, _, rest = body.partition(b"--" + boundary + b"\n")
    assert not head.strip()
    about, _, rest = rest.partition(b"\n--" + boundary + b"\n")
    data = rest.partition(b"\n\n")[2].removesuffix(b"\n").removesuffix(b"\n--" + boundary + b"--")
    return json.loads(about.partition(b"\n\n")[2]), data


def _no_access(status: int) -> str:
    who = "Anonymous caller" if status == 401 else "someone@example.iam.gserviceaccount.com"
    return (
        f"{who} does not have storage.objects.list access to the Google Cloud Storage bucket. "
        "Permission 'storage.objects.list' denied on resource (or it may not exist)."
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(
            sys.exception(), ConnectionError
        ):  # gcsfs lets go of a request when another has told it enough
            super().handle_error(request, client_address)


@contextmanager
def google_server() -> Iterator[tuple[str, Google]]:
    """Serves an empty one on a free port; its address, and what is in it."""
    google = Google()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"google": google}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", google
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
