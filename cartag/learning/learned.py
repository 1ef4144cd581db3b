"""What `learn` fitted to hand labels, as two files beside the index: `cartag.learned.json` and `.safetensors`.

They are not state that can be thrown away: fitting again needs the labels.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from cartag.errors import IndexFileError
from cartag.paths import is_below
from cartag.scoring import Calibration, ClassSet
from cartag.state import Footprint, Place, digest_of, make_folder, replace_file

_VERSION = 1


class LearnedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The readable half: for which model and catalog, and with what calibration."""

    version: int = _VERSION
    model: str
    """Identity of the model whose embeddings were learned from (`cartag.encoder.identity`)."""
    catalog: str
    """Digest of the catalog."""
    cars: tuple[str, ...]
    adapted: tuple[str, ...]
    """Cars whose zero-shot answer is changed."""
    labels: dict[str, int]
    """Labelled photos by car, and of ``unknown`` and ``none``."""
    precision: float
    """That the thresholds were chosen for."""
    calibration: Calibration
    tensors: str
    """SHA-256 of the safetensors file that belongs to it."""
    source: str = ""
    """Where the labels came from, relative to the index where they lie beside or below it; "" is not known."""
    truth: str = ""
    """Digest of what the labels said: another one means that they changed (`cartag.measuring.truth.Truth.digest`)."""
    file: str = ""
    """SHA-256 of the CSV that the labels came from: while it is the same, nobody has edited it since."""
    cv: int = 5
    """Folds asked for."""
    seen: str = ""
    """How the photos were looked at, detector and choice of regions, and whether it was weighed that these hold cars;
    "" as wholes."""


@dataclass(frozen=True, eq=False)
class Learned:
    """Classes and calibration as they are after learning."""

    facts: LearnedFacts
    embeddings: np.ndarray
    """Float32 (classes, d), in place of the text prototypes."""
    biases: np.ndarray
    """Float32 (classes,)."""

    def fits(self, *, model: str, catalog: str) -> bool:
        """Whether it was learned with this model for this catalog."""
        return (self.facts.model, self.facts.catalog) == (model, catalog)

    def applied(self, classes: ClassSet) -> ClassSet:
        """The classes of this model and catalog, as learned."""
        return replace(classes, embeddings=self.embeddings, biases=self.biases)

    def digest(self) -> str:
        """Equal digests give equal scores for equal embeddings."""
        return hashlib.sha256(msgspec.json.encode(self.facts, order="deterministic")).hexdigest()[:12]


def learned_files(place: Place) -> tuple[Path, Path]:
    """Where the two files of an index lie: JSON, safetensors."""
    stem = place.name
    return place.index.with_name(f"{stem}.learned.json"), place.index.with_name(f"{stem}.learned.safetensors")


def kept_tensors(place: Place) -> Path:
    """Where the tensors lie that the JSON still names, while new ones take their place: two files, two steps."""
    return place.state / f"{place.name}.learned.before.safetensors"


def claim_learned(place: Place) -> Footprint:
    """What is ours of the two files; the note lies in the state folder.

    Raises:
        ForeignFileError: one of them is not as `save` wrote it: somebody else's, or changed since.
    """
    readable, tensors = learned_files(place)
    elsewhere = "move it away, and run the same command again"
    made = Footprint(readable.parent, elsewhere, note=place.state / f"{place.name}.made.json")
    made.claim(readable.name, is_own=_are_facts)
    made.claim(tensors.name, is_own=_are_tensors)
    return made


def _are_facts(data: bytes) -> bool:
    facts = msgspec.json.decode(data, type=LearnedFacts)
    return facts.version == _VERSION and msgspec.json.format(data, indent=2).rstrip() + b"\n" == data


def _are_tensors(data: bytes) -> bool:
    from safetensors.numpy import load as decode

    return set(decode(data)) == {"embeddings", "biases"}


def save_learned(place: Place, facts: LearnedFacts, embeddings: np.ndarray, biases: np.ndarray) -> Learned:
    """Writes both files, the JSON last: it names the other by digest, so that half a pair is never taken for a whole.

    Raises:
        ForeignFileError: as `claim`.
        IndexFileError: they cannot be written.
    """
    from safetensors.numpy import save as encode

    made = claim_learned(place)
    readable, tensors = learned_files(place)
    embeddings, biases = embeddings.astype(np.float32), biases.astype(np.float32)
    data = encode({"embeddings": np.ascontiguousarray(embeddings), "biases": np.ascontiguousarray(biases)})
    facts = msgspec.structs.replace(facts, tensors=digest_of(data))
    try:
        text = msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n"
        made.expect({tensors.name: facts.tensors, readable.name: digest_of(text)})
        _keep_tensors(place)
        made.write(tensors.name, data)
        made.sync()
        made.write(readable.name, text)
        made.settle()
        with suppress(OSError):  # one that stays is no reason to say that nothing was learned
            kept_tensors(place).unlink(missing_ok=True)
    except OSError as e:
        raise IndexFileError(f"{readable}: cannot be written ({e.strerror}); use --index FILE") from e
    return Learned(facts, embeddings, biases)


def _keep_tensors(place: Place) -> None:
    """Keeps the tensors of the pair that stands, so that a kill before the new JSON leaves the old pair whole."""
    readable, tensors = learned_files(place)
    with suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        facts = msgspec.json.decode(readable.read_bytes(), type=LearnedFacts)
        data = tensors.read_bytes()
        if digest_of(data) == facts.tensors:
            make_folder(place.state)
            replace_file(kept_tensors(place), data)


def restore_tensors(place: Place) -> bool:
    """Puts the kept tensors back where the JSON names them and the file beside it is another; whether it did.

    Raises:
        OSError: they cannot be read or written.
    """
    readable, tensors = learned_files(place)
    kept = kept_tensors(place).read_bytes()
    with suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        facts = msgspec.json.decode(readable.read_bytes(), type=LearnedFacts)
        if digest_of(kept) == facts.tensors:
            if not tensors.exists() or digest_of(tensors.read_bytes()) != facts.tensors:
                replace_file(tensors, kept, through_links=False)
            return True
    return False


def load_learned(place: Place) -> Learned | None:
    """What was learned for this index; None if nothing was.

    Raises:
        IndexFileError: the files are damaged, of a newer version, or do not belong together.
    """
    readable, tensors = learned_files(place)
    remedy = f"delete {readable.name} to do without, and run 'cartag learn' again to have it anew"
    try:
        facts = msgspec.json.decode(readable.read_bytes(), type=LearnedFacts)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise IndexFileError(f"{readable}: cannot be read ({e.strerror}); {remedy}") from e
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise IndexFileError(f"{readable}: damaged ({e}); {remedy}") from e
    if facts.version != _VERSION:
        raise IndexFileError(f"{readable}: version {facts.version}, this cartag knows {_VERSION}; {remedy}")
    if facts.source and not _may_be_source(facts.source):
        raise IndexFileError(f"{readable}: source: {facts.source!r} leads out of the folder it is beside; {remedy}")
    from safetensors import SafetensorError
    from safetensors.numpy import load as decode

    try:
        data = _tensors_of(place, facts)
        if data is None:
            raise IndexFileError(f"{tensors}: does not belong to {readable.name}; {remedy}")
        arrays = decode(data)
        return Learned(facts, arrays["embeddings"], arrays["biases"])
    except (OSError, KeyError, SafetensorError) as e:
        raise IndexFileError(f"{tensors}: missing or damaged ({e}); {remedy}") from e


def _tensors_of(place: Place, facts: LearnedFacts) -> bytes | None:
    """The bytes that the JSON names by their digest; those that were kept where new ones were left without their JSON.

    Raises:
        OSError: the file is not there, or cannot be read, and none was kept.
    """
    with suppress(OSError):
        kept = kept_tensors(place).read_bytes()
        if digest_of(kept) == facts.tensors:
            return kept
    data = learned_files(place)[1].read_bytes()
    return data if digest_of(data) == facts.tensors else None


def _may_be_source(source: str) -> bool:
    """As `learn` writes it: below the index's folder, that folder itself, or whole where the labels lie elsewhere."""
    if os.path.isabs(source):
        return "\0" not in source and os.path.normpath(source) == source
    return source == "." or is_below(source)


def remove_learned(place: Place) -> None:
    """Forgets what was learned.

    Raises:
        ForeignFileError: as `claim`.
        IndexFileError: the files cannot be removed.
    """
    made = claim_learned(place)
    readable, tensors = learned_files(place)
    try:
        for path, is_own in ((readable, _are_facts), (tensors, _are_tensors)):
            made.remove(path.name, is_own)
            made.sync()
        made.settle()
        kept_tensors(place).unlink(missing_ok=True)
    except OSError as e:
        raise IndexFileError(f"{readable}: cannot be removed ({e.strerror}); remove it by hand") from e
