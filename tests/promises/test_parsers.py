"""Our own parsers raise what they promise and nothing else: the quick half of fuzzing (`tests/fuzz`), and what it found."""

from __future__ import annotations

import random

import pytest
from conftest import Gallery
from fuzz.corpus import FOLDER, kept
from fuzz.harnesses import HARNESSES, remembering_shipped_files
from fuzz.reach import MODULES, reached, share
from fuzz.seeds import WORDS, seeds

from cartag.catalogs import catalog
from cartag.catalogs.article.page import plain
from cartag.errors import CartagError, IndexFileError
from cartag.exporting.rdf import PacketError
from cartag.state import index

MUTATIONS = 60  # a parser, besides all prefixes of a few lengths


@pytest.fixture(autouse=True)
def _shipped_catalogs_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_parse", remembering_shipped_files(catalog._parse))


def mutations(name: str, count: int, seed: int) -> list[bytes]:
    """Valid files cut, with bits flipped, bytes taken out or doubled, and words of their format put in."""
    rng, files, words = random.Random(f"{name} {seed}"), seeds()[name], WORDS[name]
    made = []
    for number in range(count):
        data = bytearray(files[number % len(files)])
        for _ in range(rng.choice((1, 1, 2, 4, 8))):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(5):
                case 0:
                    data[at:at] = rng.choice(words).encode("utf-8")
                case 1:
                    del data[at : at + rng.randrange(1, 30)]
                case 2:
                    data[at:at] = data[at : at + rng.randrange(1, 60)]
                case 3 if at < len(data):
                    data[at] ^= 1 << rng.randrange(8)
                case _:
                    del data[max(at, 1) :]
        made.append(bytes(data))
    return made


@pytest.mark.parametrize("name", HARNESSES)
def test_a_parser_takes_whatever_it_is_given(name: str) -> None:
    for data in (
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        *seeds()[name],
        *kept(name),
        *mutations(name, MUTATIONS, seed=1),
    ):
        HARNESSES[name](data)


def test_the_corpus_is_small_and_of_parsers_that_there_are() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= HARNESSES.keys() == MODULES.keys()
    assert sum(path.stat().st_size for path in files) < 400_000
    assert len(files) < 600


def test_what_is_reached_is_counted_by_lines() -> None:
    harness = HARNESSES["journal"]
    nothing, whole = share("journal", harness, [])
    some, _ = share("journal", harness, seeds()["journal"])
    assert (nothing, some > 20, some < whole) == (0, True, True)
    assert reached(harness, b"[{]") - reached(harness, b"[]"), "a damaged line is counted elsewhere"


@pytest.mark.stress
@pytest.mark.parametrize("name", HARNESSES)
def test_a_parser_takes_a_thousand_mutations(name: str) -> None:
    for data in mutations(name, 1000, seed=2):
        HARNESSES[name](data)


def test_a_harness_lets_nothing_else_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fuzzer that cannot fail finds nothing."""

    def broken(*args: object, **kwargs: object) -> None:
        raise KeyError("no error of cartag")

    monkeypatch.setattr(catalog, "load_catalog", broken)
    with pytest.raises(KeyError):
        HARNESSES["catalog"](b"cars: [x]")


def test_every_error_of_a_parser_is_one_of_cartag_s() -> None:
    assert issubclass(PacketError, CartagError)


# --- what was found, each by its smallest file ------------------------------------------------------------------

FOUND: dict[str, tuple[str, bytes]] = {
    "an impossible tag: no timestamp": ("catalog", b"cars: [!!timestamp x]"),
    "an impossible tag: no bool": ("catalog", b"cars: [!!bool x]"),
    "a number too long to be written": ("catalog", b"cars: [0x" + b"f" * 5000 + b"]"),
    "half a character": ("catalog", b'cars: ["\\ud800x"]'),
    "a name that no file can have": ("catalog", b"cars: [x]\nother_cars: " + b"a" * 5000),
    "a message of two lines, from YAML": ("catalog", b"2-\x1a?\n"),
    "a message of two lines, from a file's name": ("labels", b'file,label\n"\r\nc, d",none\n"\r\nc, d",unknown\n'),
    "bytes that are no text in an unknown field": (
        "index",
        seeds()["index"][0].replace(b'"x-header"', b'"x-h\xa4"'),
    ),
    "a number out of range in an unknown field": (
        "index",
        seeds()["index"][0].replace(b'"x-more": 1', b'"x-more": 1e9991'),
    ),
    "an index nested without end": ("index", b'{"x": ' + b"[" * 100_000),
    "a journal nested without end": ("journal", b'[{"x": ' + b"[" * 100_000),
    "a schema that is no text": ("cache", seeds()["cache"][0].replace(b"CREATE TABLE photo", b"CREATE TABL\xe0 photo")),
    "a schema that is quoted over two lines": (
        "cache",
        seeds()["cache"][0].replace(b"digest BLOB NOT NULL, vectors", b'digest BLOB "OT NULL, vectors'),
    ),
    "an unknown section of HTML": ("article", b"<!doctype html><title>Cars</title><![CEATA[GTB; a Porsche<p>"),
}


@pytest.mark.parametrize("found", FOUND)
def test_what_fuzzing_found_stays_mended(found: str) -> None:
    name, data = FOUND[found]
    HARNESSES[name](data)


def test_damaged_fields_of_another_version_end_a_run_with_one_line(gallery: Gallery) -> None:
    """They are met when the index is rewritten, after all the work: the next run goes on from there."""
    gallery.paint("a.jpg")
    gallery.tag()
    whole = gallery.index_file.read_bytes()
    gallery.index_file.write_bytes(whole.replace(b'"generator"', b'"x": 1e9991, "generator"', 1))
    gallery.paint("b.jpg", "blue")
    with pytest.raises(IndexFileError, match="damaged index: Number out of range"):
        gallery.tag()
    gallery.index_file.write_bytes(whole)
    gallery.tag()
    assert len(index.read_index(gallery.path)) == 2


def test_the_words_around_an_unknown_section_are_read() -> None:
    assert plain("<p>a Ferrari<![if !IE]>458<![endif]><![NOSUCH[x]]>Italia").split() == ["a", "Ferrari458Italia"]
