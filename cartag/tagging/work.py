"""Doing what is left to do: photos are read, embedded, stored, journaled, scored. Its state is what it has learnt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from types import TracebackType

from msgspec import UNSET

from cartag import encoder as encoders
from cartag.encoder import Encoder
from cartag.photos import Reader, ReadPhoto, batch_size
from cartag.progress import Progress
from cartag.scoring import Verdict
from cartag.state import Facts, Journal, Store, latest
from cartag.tagging.judging import Judge, pixels_of
from cartag.tagging.looking import Eyes, Looked, Wholes, eyes_of
from cartag.tagging.merging import Learnt
from cartag.tagging.run import Run, judge_of, reading_spec
from cartag.values import PhotoFile, PhotoRecord


class Work:
    """The work of one run. Store, encoder and classes are opened and loaded only when something asks for them."""

    def __init__(self, run: Run, retag: bool, progress: Progress) -> None:
        self._run, self._retag, self._progress = run, retag, progress
        self._stack = ExitStack()
        self.journal = Journal(run.place.journal)
        self._facts: dict[str, Facts | PhotoRecord] = {}
        self._verdicts: dict[str, Verdict] = {}
        """By content hash: equal files are equal photos."""
        self._fresh: set[str] = set()
        """Hashes of the photos embedded in this run: of equal files only the first goes through the model."""
        self._began_loading = False
        self._loading: Future[Encoder] | None = None
        self.embedded = 0

    def __enter__(self) -> Work:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def journaled(self) -> dict[str, Facts]:
        """What a killed run has learnt after the old index, by path."""
        return latest(self.journal.read())

    def facts(self, path: str) -> Facts | PhotoRecord | None:
        """What is known of a photo that is not as it was."""
        return self._facts.get(path)

    @property
    def dtype(self) -> str | None:
        """What the model computes in, where it was loaded."""
        return self._encoder.dtype if "_encoder" in self.__dict__ else None

    def learnt(self, photos: Sequence[PhotoFile]) -> dict[str, Learnt]:
        """What the run knows of photos that are not as they were.

        An interrupt can fall between reading a photo and scoring it: then nothing is known of it.
        """
        learnt: dict[str, Learnt] = {}
        for photo in photos:
            facts = self._facts.get(photo.path)
            verdict = self._verdict(facts) if facts is not None else None
            if facts is not None and (facts.error is not UNSET or verdict is not None):
                learnt[photo.path] = Learnt(facts, verdict)
        return learnt

    @cached_property
    def _store(self) -> Store:
        """Opened, and checked, only when something must be looked up in it."""
        store = self._stack.enter_context(Store(self._run.place.state, self._run.identity))
        if store.was_set_aside:
            self._progress.note(f"cache: {store.path} was damaged; set aside, photos are embedded again as needed")
        return store

    @cached_property
    def _eyes(self) -> Eyes | Wholes:
        """What looks for cars in photos, or at them as wholes."""
        settings = self._run.settings
        eyes = eyes_of(
            self._run.sight,
            encoders.image_spec(self._run.files, fit=settings.fit),
            self._store,
            lambda: self._encoder,
            device=settings.device,
            runtime=settings.runtime,
            presence=self._run.presence,
            anew=self._retag,
        )
        self._stack.callback(eyes.close)
        for record in self._old.values():
            eyes.heed(record, record)
        return eyes

    @property
    def _old(self) -> Mapping[str, PhotoRecord]:
        return self._run.old.photos if self._run.old else {}

    def _heed(self, facts: Sequence[Facts | PhotoRecord]) -> None:
        """A photo that was edited in place keeps its name, and what a person said of its boxes."""
        for one in facts:
            self._eyes.heed(one, self._old.get(one.path))

    @cached_property
    def _cached(self) -> set[str]:
        """Hashes of the photos of which nothing need be computed."""
        return set() if self._retag else self._eyes.complete()

    # --- scoring from the cache

    def score_cached(self, known: Sequence[Facts | PhotoRecord]) -> set[str]:
        """Scores what the cache has embeddings of; the paths of the others, which have to be read."""
        self._facts.update((facts.path, facts) for facts in known)
        readable = [facts for facts in known if facts.error is UNSET]
        self._heed(readable)
        if hashes := list(dict.fromkeys(facts.sha256 for facts in readable if facts.sha256)):
            self._progress.start("scoring", len(hashes))
            for some in self._eyes.cached(hashes):
                self._verdicts.update(self._judge.verdicts(some))
                self._progress.advance(len(some))
            self._progress.finish()
        return {facts.path for facts in readable if self._verdict(facts) is None}

    def _verdict(self, facts: Facts | PhotoRecord) -> Verdict | None:
        """What was scored in this run of a photo with this content."""
        return self._verdicts.get(facts.sha256) if facts.sha256 and facts.error is UNSET else None

    @cached_property
    def _loader(self) -> ThreadPoolExecutor:
        """One thread: libraries that are imported by two at once find each other half made."""
        pool = ThreadPoolExecutor(1, "cartag-load")
        self._stack.callback(pool.shutdown, wait=False, cancel_futures=True)  # a run that is stopped says so at once
        return pool

    def _load(self) -> Encoder:
        settings = self._run.settings
        return encoders.load(
            self._run.files,
            device=settings.device,
            dtype=settings.dtype,
            fit=settings.fit,
            runtime=settings.runtime,
        )

    @cached_property
    def _encoder(self) -> Encoder:
        """Loaded only when something must be embedded."""
        encoder = self._load() if self._loading is None else self._loading.result()
        self._store.put_facts({"logit_scale": encoder.logit_scale, "logit_bias": encoder.logit_bias})
        return encoder

    @cached_property
    def _judge(self) -> Judge:
        return judge_of(self._run, self._store, lambda: self._encoder)

    # --- reading and embedding

    def read_and_embed(self, photos: Sequence[PhotoFile]) -> None:
        if not photos:
            return
        self._progress.start("tagging", len(photos))
        self._read(photos, self._cached)
        # Its content is in the cache, but not all that its shape and a person's boxes ask for.
        left = [p for p in photos if (f := self._facts[p.path]).error is UNSET and self._verdict(f) is None]
        self._read(left, set())
        self._progress.finish()

    def _read(self, photos: Sequence[PhotoFile], embedded: set[str]) -> None:
        settings, sight = self._run.settings, self._run.sight
        spec = reading_spec(self._run)
        with Reader(
            self._run.gallery,
            photos,
            spec,
            embedded=embedded,
            settings=settings,
            glance=sight.image_spec if sight else None,
        ) as reader:
            reading = self._heralded(reader)
            while batch := list(islice(reading, batch_size(settings, spec))):
                self._take(batch)
                self._progress.advance(len(batch))

    def _heralded(self, photos: Iterable[ReadPhoto]) -> Iterator[ReadPhoto]:
        """At the first photo that is new, model and detector begin to be loaded while the next ones are decoded."""
        for photo in photos:
            if photo.pixels is not None and not self._began_loading:
                self._began_loading = True
                self._eyes.load_ahead(self._loader)
                if "_encoder" not in self.__dict__:  # scoring loads it where there are new texts
                    self._loading = self._loader.submit(self._load)
            yield photo

    def _take(self, batch: Sequence[ReadPhoto]) -> None:
        """Embeds, stores, journals and scores one batch, in this order: a journal line has its embeddings stored."""
        self._heed([photo.facts for photo in batch])
        new = {h: pixels for h, pixels in pixels_of(batch).items() if h not in self._fresh}
        fresh = self._eyes.look(new) if new else {}
        self._fresh.update(fresh)
        self.embedded += sum(photo.pixels is not None and photo.facts.sha256 in fresh for photo in batch)
        facts = [photo.facts for photo in batch]
        self.journal.append(facts)
        self._facts.update((fact.path, fact) for fact in facts)
        hashes = {fact.sha256 for fact in facts if fact.error is UNSET and fact.sha256}
        looked: dict[str, Looked] = dict(fresh)
        for some in self._eyes.cached([h for h in hashes if h not in fresh and h not in self._verdicts]):
            looked |= some
        if looked:
            self._verdicts.update(self._judge.verdicts(looked))
