"""A cage for decoders: worker processes that a photo may take down with it, and nothing else.

Pillow, libheif and LibRaw are C, fed with files of strangers. In a thread, one that crashes or hangs takes the run with
it; here it takes the process that holds it, and the photo becomes a record. What comes back from a worker is a short
message, checked, and bare pixels: nothing is unpickled. A cage bounds time and memory; it is no sandbox.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import msgspec
import numpy as np

from cartag.errors import PhotoError, SettingsError
from cartag.photos import images
from cartag.values import Decoded, ImageSpec, ReadError

_PHOTOS_A_WORKER = 1000  # what a decoder leaks must not become the fault of a later photo
_SECONDS_TO_START, _SECONDS_TO_DIE = 120, 5
_READY = b"ready"
# What talking to a worker raises when it is gone, or no longer in its senses.
_LOST = (EOFError, OSError, ValueError, multiprocessing.BufferTooShort, msgspec.DecodeError)
# Starting and reaping: multiprocessing looks after all its children whenever one is started, in any thread.
_PROCESSES = threading.Lock()

Decode = Callable[..., Decoded]
"""`images.decode`, or a function of its signature that a new process can import."""


class Limits(msgspec.Struct, frozen=True):
    """What a worker may take for one photo. Memory is bounded where the system has `resource` (not on Windows)."""

    seconds: float
    megabytes: int


class Cages:
    """`images.decode` in worker processes, one for every thread that calls `decode`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decode = images.decode
        self._of_thread = threading.local()
        self._workers: list[_Worker] = []
        self._is_closed = False
        self._lock = threading.Lock()

    def decode(self, data: bytes, spec: ImageSpec | None, max_pixels: int, *, raw: bool = False) -> Decoded:
        """As `images.decode`. A photo is blamed only for the death of a worker that has seen no other.

        Raises:
            PhotoError: also with reason `crashed` or `too-slow`, for a decoder that died or hung.
            SettingsError: no worker can be started.
        """
        fate = ""
        for _ in range(2):
            worker = self._worker()
            try:
                return worker.decode(data, spec, max_pixels, raw)
            except _DiedError as e:
                fate = str(e)
                if worker.photos == 1:
                    break
        raise PhotoError("crashed", f"its decoder died ({fate})")

    def close(self) -> None:
        """Ends all workers, in the middle of a photo if need be."""
        with self._lock:
            self._is_closed = True
            for worker in self._workers:
                worker.kill()

    def _worker(self) -> _Worker:
        """The calling thread's own; a new one where there is none, or it is dead or worn."""
        old: _Worker | None = getattr(self._of_thread, "worker", None)
        if old is not None and old.is_alive and old.photos < _PHOTOS_A_WORKER:
            return old
        if old is not None:
            old.end()
        with self._lock:
            if self._is_closed:
                raise PhotoError("crashed", "the run has ended")
            self._workers = [worker for worker in self._workers if worker.is_alive]
            worker = self._of_thread.worker = _Worker(self._limits, self._decode)
            self._workers.append(worker)
        worker.wait_until_ready()
        return worker


class _DiedError(Exception):
    """A worker is gone; the message says how."""


class _Answer(msgspec.Struct, frozen=True):
    """What a worker says of a photo; where it has a ``shape``, the pixels follow."""

    width: int = 0
    height: int = 0
    shape: tuple[int, int, int] | None = None
    error: ReadError | None = None


class _Worker:
    """One process. Spawned, not forked: its parent has threads, and perhaps CUDA."""

    def __init__(self, limits: Limits, decode: Decode) -> None:
        context = multiprocessing.get_context("spawn")
        self._limits = limits
        self.photos = 0
        self.is_alive = True
        self._connection, theirs = context.Pipe()
        arguments = (theirs, decode, limits)
        self._process = context.Process(target=_work, args=arguments, name="cartag-decode", daemon=True)
        with _PROCESSES:
            self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        """Returns when the worker has imported what it needs: that is not to be counted as the time of a photo."""
        with suppress(*_LOST):
            if self._connection.poll(_SECONDS_TO_START) and self._connection.recv_bytes() == _READY:
                return
        self.end()
        raise SettingsError(
            f"isolate: a worker process that decodes photos does not start ({self._fate()}); in a script, call "
            "cartag below 'if __name__ == \"__main__\":'; or do without isolate"
        )

    def decode(self, data: bytes, spec: ImageSpec | None, max_pixels: int, raw: bool) -> Decoded:
        """As `images.decode`, within the limits; after a `_DiedError` or `too-slow` the worker is gone."""
        self.photos += 1
        try:
            self._connection.send((spec, max_pixels, raw))
            self._connection.send_bytes(data)
            if not self._connection.poll(self._limits.seconds):
                self.end()
                limit = f"{self._limits.seconds:g} s (settings: isolate_seconds)"
                raise PhotoError("too-slow", f"decoding took longer than {limit}")
            return self._answer()
        except _LOST as e:
            self.end()
            raise _DiedError(self._fate()) from e

    def _answer(self) -> Decoded:
        answer = msgspec.msgpack.decode(self._connection.recv_bytes(), type=_Answer)
        if answer.error is not None:
            raise PhotoError(answer.error.reason, answer.error.detail)
        pixels = None
        if answer.shape is not None:
            pixels = np.empty(answer.shape, np.uint8)
            if self._connection.recv_bytes_into(pixels.reshape(-1).data) != pixels.nbytes:
                raise EOFError("fewer pixels than announced")
        return Decoded(pixels, answer.width, answer.height)

    def end(self) -> None:
        """Kills the process and hangs up; only for the thread that talks to it."""
        self.kill()
        self._connection.close()

    def kill(self) -> None:
        """Kills the process, if it is not dead already, and waits for it; the thread that talks to it hears of that.

        It does not hang up: closed under that thread, the file's number could be another file's the next moment.
        """
        self.is_alive = False
        with _PROCESSES:
            self._process.join(0)  # one that died by itself keeps its own cause of death
            self._process.kill()
            self._process.join(_SECONDS_TO_DIE)

    def _fate(self) -> str:
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        return signal.Signals(-code).name


# --- in the worker ----------------------------------------------------------------------------------------------------


def _work(connection: Connection, decode: Decode, limits: Limits) -> None:
    """Decodes photo after photo until its parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process of a terminal: the parent handles it
    _keep_quiet()
    _bound(limits.megabytes)
    connection.send_bytes(_READY)
    while True:
        try:
            spec, max_pixels, raw = connection.recv()
            data = connection.recv_bytes()
        except (EOFError, OSError):
            return
        _die_in(limits.seconds + _SECONDS_TO_DIE)  # if its parent was killed, nobody else ends a decoder that hangs
        answer, pixels = _Answer(), None
        try:
            decoded = decode(data, spec, max_pixels, raw=raw)
            pixels = decoded.pixels
            answer = _Answer(decoded.width, decoded.height, None if pixels is None else pixels.shape)
        except PhotoError as e:
            answer = _Answer(error=ReadError(reason=e.reason, detail=e.detail))
        _die_in(0)
        connection.send_bytes(msgspec.msgpack.encode(answer))
        if pixels is not None:
            connection.send_bytes(np.ascontiguousarray(pixels).reshape(-1).data)


def _keep_quiet() -> None:
    """Last words of C libraries are not for the terminal of the run."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _die_in(seconds: float) -> None:
    """Sets the alarm of the system, which ends a process also in the middle of C code; 0 switches it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _bound(megabytes: int) -> None:
    """Lets the process take so much memory more than it has now, dump no core beside the photos, and write no file."""
    try:
        import resource
    except ImportError:  # Windows
        return
    sys.dont_write_bytecode = True
    limit = _data_bytes() + megabytes * 2**20
    # Data, not address space: decoders map libraries and reserve room for threads that they never use.
    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_DATA, limit)):
        with suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(what, (most, most))


def _data_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as f:
            return int(f.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # not Linux: little is in use yet
        return 0
