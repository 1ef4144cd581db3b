"""Sidecars as others left them: in any encoding and spelling, unreadable, of another photo. Each costs only itself."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bound import run_bound
from conftest import Gallery, later, needs_exiftool, needs_exiv2, snapshot
from hypothesis import given, settings, strategies as st
from test_xmp import FOREIGN, as_list, exiftool, exiv2, names, said, write

import cartag
from cartag.exporting.encoded import PacketError
from cartag.exporting.packet import NOTHING, merged

DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
PACKET = """<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
   xmp:Rating="4"  xmp:Label='Red &quot;x&quot;'{attribute}>{subject}
 </rdf:Description>
</rdf:RDF></x:xmpmeta>
<?xpacket end='w'?>"""
BAG = "\n  <dc:subject><rdf:Bag><rdf:li>sunset, caf\u00e9 &amp; more</rdf:li></rdf:Bag></dc:subject>"


def packet(subject: str = BAG, attribute: str = "") -> str:
    return PACKET.format(subject=subject, attribute=attribute)


def put(source: bytes | None, *cars: str) -> bytes:
    once = merged(source, said(*cars))
    assert once is not None
    assert merged(once, said(*cars)) is once, "a second merge changes something"
    return once


# --- encodings --------------------------------------------------------------------------------------------------

ENCODINGS = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with its mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 LE with its mark": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "UTF-16 BE with its mark": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16 LE": lambda text: text.encode("utf-16-le"),
    "UTF-16 BE": lambda text: text.encode("utf-16-be"),
    "UTF-32 LE with its mark": lambda text: b"\xff\xfe\0\0" + text.encode("utf-32-le"),
    "UTF-32 BE with its mark": lambda text: b"\0\0\xfe\xff" + text.encode("utf-32-be"),
    "UTF-32 LE": lambda text: text.encode("utf-32-le"),
    "UTF-32 BE": lambda text: text.encode("utf-32-be"),
}
DECLARED = ("", "UTF-8", "UTF-16", "UTF-32", "ISO-8859-1", "US-ASCII", "no-such")


def declared(name: str, text: str) -> str:
    return f'<?xml version="1.0" encoding="{name}"?>\n{text}' if name else text


@pytest.mark.parametrize("says", DECLARED)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_packet_is_merged_in_its_encoding_whatever_it_says_of_it(encoding: str, says: str) -> None:
    encode = ENCODINGS[encoding]
    text = declared(says, packet())
    once = put(encode(text), "Citro\u00ebn DS")
    lines = iter(once.split(encode("\n").removeprefix(encode(""))))
    others = text.split("\n")
    assert all(encode(line).removeprefix(encode("")) in lines for line in others[1:4]), "another's line is gone"
    assert encode("Citro\u00ebn DS</rdf:li>").removeprefix(encode("")) in once
    assert merged(once, NOTHING) == encode(text)


def test_what_is_declared_counts_where_the_bytes_tell_nothing() -> None:
    latin = declared("ISO-8859-1", packet().replace("\ufeff", "")).encode("latin-1")
    once = put(latin, "Citro\u00ebn", "\u014ckami")
    assert b"<rdf:li>Citro\xebn</rdf:li>" in once
    assert b"<rdf:li>&#332;kami</rdf:li>" in once, "what the encoding has not is a reference"
    assert merged(once, NOTHING) == latin
    plain = declared("windows-1252", packet("").replace("\ufeff", "")).encode("ascii")
    assert b"<rdf:li>Citro&#235;n</rdf:li>" in put(plain, "Citro\u00ebn"), "true for who heeds it and who does not"


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (declared("UTF-8", packet()).encode("latin-1", "ignore"), "no UTF-8 text"),
        (declared("no-such", packet()).encode("latin-1", "ignore"), "nobody knows"),
        (declared("idna", packet()).encode("latin-1", "ignore"), "IDNA"),
        (b"\xff\xfe" + packet().encode("utf-16-le") + b"x", "no UTF-16-LE text"),
        (packet().encode("utf-16-le").replace(b"<\0", b"\0\xd8", 2), "no"),
        (b"\0\0\0\0" * 4 + b"x", "no"),
    ],
)
def test_bytes_that_are_no_text_are_refused_in_one_line(damaged: bytes, why: str) -> None:
    with pytest.raises(PacketError, match=why) as raised:
        merged(damaged, said("Red Racer"))
    assert "\n" not in str(raised.value)


@needs_exiftool
@pytest.mark.parametrize(
    "encoding", [e for e in ENCODINGS if e not in ("UTF-32 LE with its mark", "UTF-32 BE with its mark")]
)
def test_exiftool_reads_what_was_merged_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    source = ENCODINGS[encoding](packet())
    before = write(tmp_path / "before.xmp", source)
    after = write(tmp_path / "after.xmp", put(source, "Citro\u00ebn DS"))
    (was,), (now,) = exiftool("-Subject", "-Rating", "-Label", before), exiftool("-Subject", "-Rating", "-Label", after)
    assert as_list(now["Subject"]) == [*as_list(was["Subject"]), "Citro\u00ebn DS"]
    assert as_list(was["Subject"]) == ["sunset, caf\u00e9 & more"]
    assert {key: value for key, value in now.items() if key not in ("Subject", "SourceFile")} == {
        key: value for key, value in was.items() if key not in ("Subject", "SourceFile")
    }


# --- spellings of a list ----------------------------------------------------------------------------------------

SPELLINGS: dict[str, tuple[str, list[str]]] = {
    "none": (packet(""), []),
    "empty": (packet("<dc:subject/>"), []),
    "empty, in two tags": (packet("<dc:subject>\n  </dc:subject>"), []),
    "one text": (packet("<dc:subject>one &amp; only</dc:subject>"), ["one & only"]),
    "an attribute": (packet("", ' dc:subject="one &amp; &quot;only&quot;"'), ['one & "only"']),
    "an attribute before others": (packet("").replace("xmp:Rating", 'dc:subject="only" xmp:Rating'), ["only"]),
    "an attribute, empty": (packet("", ' dc:subject=""'), []),
    "an attribute of a tag that is empty": (
        packet("", ' dc:subject="only"/><rdf:Description rdf:about=""'),
        ["only"],
    ),
    "an empty bag": (packet("<dc:subject><rdf:Bag/></dc:subject>"), []),
    "a sequence": (packet(BAG.replace("Bag", "Seq")), ["sunset, caf\u00e9 & more"]),
    "alternatives": (packet(BAG.replace("Bag", "Alt")), ["sunset, caf\u00e9 & more"]),
    "numbered items": (packet(BAG.replace("rdf:li", "rdf:_1")), ["sunset, caf\u00e9 & more"]),
    "NUL bytes at the end": (packet() + "\0" * 7, ["sunset, caf\u00e9 & more"]),
    "blanks before": ("\n \n" + packet(), ["sunset, caf\u00e9 & more"]),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_list_is_merged_however_it_is_spelt(spelling: str) -> None:
    source, theirs = SPELLINGS[spelling]
    once = put(source.encode(), "Red Racer").decode()
    assert once.count("<rdf:li>Red Racer</rdf:li>") == 2, "in the list, and in the note"
    left = merged(once.encode(), NOTHING)
    assert left is not None
    for text in (once, left.decode()):
        for line in ("xmp:Rating=\"4\"  xmp:Label='Red &quot;x&quot;'", "W5M0MpCehiHzreSzNTczkc9d", "xpacket end='w'"):
            assert line in text
        for word in theirs:
            assert word.replace("&", "&amp;").replace('"', "&quot;") in text
    assert b"Red Racer" not in left
    again = merged(left, NOTHING)
    assert again == left


@pytest.mark.parametrize("spelling", ["none", "a sequence", "alternatives", "NUL bytes at the end", "blanks before"])
def test_of_a_list_that_is_one_the_bytes_come_back(spelling: str) -> None:
    source = SPELLINGS[spelling][0].encode()
    assert merged(put(source, "Red Racer"), NOTHING) == source


@needs_exiftool
@needs_exiv2
@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if name not in ("blanks before", "numbered items")])
def test_exiftool_and_exiv2_read_every_spelling_after_a_merge(spelling: str, tmp_path: Path) -> None:
    source, theirs = SPELLINGS[spelling]
    path = write(tmp_path / "a.xmp", put(source.encode(), "Red Racer"))
    (found,) = exiftool("-Subject", "-Rating", "-Label", path)
    assert as_list(found["Subject"]) == [*theirs, "Red Racer"]
    assert (found["Rating"], found["Label"]) == (4, 'Red "x"')
    if spelling != "NUL bytes at the end":  # which exiv2 does not read, before or after
        assert dict(exiv2(path))["Xmp.dc.subject"] == ", ".join([*theirs, "Red Racer"])


@pytest.mark.parametrize(
    "subject",
    [
        '<dc:subject rdf:parseType="Resource"><dc:x>y</dc:x></dc:subject>',
        '<dc:subject rdf:resource="http://a/"/>',
        '<dc:subject xml:lang="en">a</dc:subject>',
        "<dc:subject><rdf:Description><rdf:value>x</rdf:value></rdf:Description></dc:subject>",
        "<dc:subject>a</dc:subject><dc:subject>b</dc:subject>",
        "<dc:subject><![CDATA[a & b]]></dc:subject>",
        "<dc:subject><!-- x -->a</dc:subject>",
    ],
)
def test_what_is_no_list_is_left_and_named(subject: str) -> None:
    with pytest.raises(PacketError, match="its subject"):
        merged(packet(subject).encode(), said("Red Racer"))


_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ue000\ufffe\uffff"), max_size=12)


@given(_texts, st.sampled_from(sorted(ENCODINGS)), st.sampled_from(["list", "text", "attribute"]), st.booleans())
@settings(deadline=None)
def test_no_keyword_of_a_person_is_lost_in_any_encoding_and_spelling(
    word: str, encoding: str, spelling: str, nul: bool
) -> None:
    escaped = word.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&#34;")
    if spelling == "attribute":
        escaped = escaped.replace(">", "&gt;")
    text = {
        "list": packet(f"<dc:subject><rdf:Bag><rdf:li>{escaped}</rdf:li></rdf:Bag></dc:subject>"),
        "text": packet(f"<dc:subject>{escaped}</dc:subject>"),
        "attribute": packet("", f' dc:subject="{escaped}"'),
    }[spelling]
    encode = ENCODINGS[encoding]
    source = encode(text + "\0" * nul)
    once = put(source, "Red Racer")
    left = merged(once, NOTHING)
    assert left is not None
    if spelling == "list":
        assert left == source
    if word.strip():
        for data in (once, left):
            assert encode(f">{escaped}</rdf:li>").removeprefix(encode("")) in data


# --- files that hold nothing, or too much -----------------------------------------------------------------------


@pytest.mark.parametrize("source", [b"", b"\0" * 4096, b" \r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe \0"])
def test_a_file_that_holds_nothing_is_filled_and_stays(source: bytes) -> None:
    assert merged(source, NOTHING) is source
    once = put(source, "Red Racer")
    assert b"<rdf:li>Red Racer</rdf:li>" in once
    left = merged(once, NOTHING)
    assert left is not None, "the file was not cartag's"
    assert b"Red Racer" not in left


def test_a_packet_that_says_nothing_is_not_removed() -> None:
    """Lightroom and exiftool leave such files; a person may have made them as well."""
    empty = packet("").replace("\n   xmp:Rating=\"4\"  xmp:Label='Red &quot;x&quot;'", "").encode()
    assert merged(put(empty, "Red Racer"), NOTHING) == empty


@pytest.mark.parametrize(
    "addition",
    [
        lambda ours: ours.replace(b"</rdf:RDF>", b"<!-- mine --></rdf:RDF>"),
        lambda ours: ours + b"<!-- mine -->",
        lambda ours: ours.replace(b"</x:xmpmeta>", b"<x:mine/></x:xmpmeta>"),
    ],
)
def test_a_sidecar_of_ours_with_a_word_of_somebody_else_stays(addition: Callable[[bytes], bytes]) -> None:
    ours = put(None, "Red Racer")
    assert merged(ours, NOTHING) is None
    left = merged(addition(ours), NOTHING)
    assert left is not None
    assert b"mine" in left


def test_a_property_of_more_than_ten_megabytes_is_kept() -> None:
    """libxml2 refuses one, unless told otherwise; masks of photo programs are as long."""
    mask = f"<xmp:Mask>{'0123456789' * 1_100_000}</xmp:Mask>"
    source = packet(mask + BAG).encode()
    once = put(source, "Red Racer")
    assert mask.encode() in once
    assert merged(once, NOTHING) == source


def test_a_sidecar_that_is_too_large_is_named(tagged: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cartag.exporting.xmp._MOST_BYTES", 2**20)
    (tagged.path / "a.jpg.xmp").write_text(packet("<xmp:Mask>" + "0" * 2**20 + "</xmp:Mask>"))
    assert "larger than 1 MiB" in the_one_failure(cartag.export(tagged.path, "xmp"), tagged)


# --- one bad sidecar costs itself -------------------------------------------------------------------------------


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for i, name in enumerate(("a.jpg", "sub/m.jpg", "z.jpg")):
        gallery.paint(name, "red", mark=i)
    gallery.tag()
    return gallery


def the_one_failure(report: cartag.ExportReport, gallery: Gallery, bad: str = "a.jpg") -> str:
    """One line about the one photo; the others have their sidecars."""
    (remark,) = report.remarks
    assert remark.is_failure
    assert "\n" not in remark.message
    assert f"{bad}.xmp" in remark.message
    rest = {"a.jpg.xmp", "m.jpg.xmp", "z.jpg.xmp"} - {f"{bad}.xmp"}
    assert names(report, "created") == rest
    assert (gallery.path / "z.jpg.xmp").is_file()
    return remark.message


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere/at-all")


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a folder": (Path.mkdir, "move it away"),
    "a pipe": (_pipe, "move it away"),
    "a device": (_device, "move it away"),
    "a link to itself": (_loop, "cannot be read"),
    "a link that leads nowhere": (_dangling, "leads nowhere"),
    "no XML": (lambda path: path.write_bytes(b"not XML"), "mend it or move it away"),
    "no XMP": (lambda path: path.write_bytes(b"<svg/>"), "mend it or move it away"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe<"), "mend it or move it away"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_sidecar_that_is_none_costs_itself(kind: str, tagged: Gallery) -> None:
    make, remedy = BAD[kind]
    make(tagged.path / "a.jpg.xmp")
    before = os.lstat(tagged.path / "a.jpg.xmp")
    report = cartag.export(tagged.path, "xmp")
    assert remedy in the_one_failure(report, tagged)
    after = os.lstat(tagged.path / "a.jpg.xmp")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert cartag.export(tagged.path, "xmp").failures == 1


@pytest.mark.parametrize("kind", BAD)
def test_what_lies_beside_a_photo_without_tags_is_no_matter(kind: str, tagged: Gallery) -> None:
    BAD[kind][0](tagged.path / "a.jpg.xmp")
    tagged.edit_photo("a.jpg", tags=[], outcome="unknown")
    assert not cartag.export(tagged.path, "xmp").remarks


def test_a_sidecar_that_may_not_be_read_costs_itself(tagged: Gallery) -> None:
    (tagged.path / "a.jpg.xmp").write_text(packet())
    (tagged.path / "a.jpg.xmp").chmod(0)
    done = run_bound(tagged, "export", str(tagged.path), "--as", "xmp")
    assert done.returncode == 1
    named, counts = done.stderr.splitlines()
    assert "a.jpg.xmp" in named
    assert "Permission denied" in named
    assert "2 created" in counts


def test_a_sidecar_whose_reading_fails_costs_itself(tagged: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a damaged disk, or where its rights forbid it."""
    bad = tagged.path / "a.jpg.xmp"
    bad.write_text(packet())
    really = os.open

    def failing(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path) == str(bad):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    assert "Permission denied" in the_one_failure(cartag.export(tagged.path, "xmp"), tagged)


def test_a_name_that_is_too_long_for_its_sidecar_is_named_with_what_to_do(gallery: Gallery) -> None:
    long = "x" * 249 + ".jpg"
    gallery.paint(long, "red")
    gallery.paint("z.jpg", "red", mark=1)
    gallery.tag()
    report = cartag.export(gallery.path, "xmp")
    (remark,) = report.remarks
    assert remark.is_failure
    assert "--naming stem" in remark.message
    assert names(report, "created") == {"z.jpg.xmp"}
    stem = cartag.export(gallery.path, "xmp", naming="stem")
    assert not stem.remarks
    assert (gallery.path / f"{'x' * 249}.xmp").is_file()
    gallery.edit_photo(long, tags=[], outcome="unknown")
    assert not cartag.export(gallery.path, "xmp").remarks


def test_a_photo_with_boxes_that_cannot_be_read_keeps_its_regions(tagged: Gallery) -> None:
    """Where its boxes lie in the file depends on how it has to be turned."""
    box = [0.1, 0.2, 0.3, 0.4]
    tagged.edit_photo("a.jpg", tags=[{"car": "red-racer", "score": 0.9, "source": "human", "box": box}])
    cartag.export(tagged.path, "xmp")
    before = snapshot(tagged.path)
    (tagged.path / "a.jpg").unlink()
    report = cartag.export(tagged.path, "xmp")
    (remark,) = report.remarks
    assert remark.is_failure
    assert "boxes" in remark.message
    after = snapshot(tagged.path)
    assert all(after[name] == before[name] for name in after)


def test_a_command_names_what_it_could_not_do_and_ends_with_1(tagged: Gallery) -> None:
    (tagged.path / "a.jpg.xmp").mkdir()
    done = subprocess.run(
        [os.sys.executable, "-m", "cartag", "export", str(tagged.path), "--as", "xmp"],
        env={**os.environ, "PYTHONPATH": str(Path(cartag.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 2
    assert "a.jpg.xmp" in done.stderr.splitlines()[0]
    assert "2 created" in done.stderr.splitlines()[1]


# --- a person's word belongs to the photo, not to its name ------------------------------------------------------


def photo(number: int) -> str:
    return f"{number:064x}"


def of(number: int, *cars: str) -> Any:
    from dataclasses import replace

    return replace(said(*cars), photo=photo(number))


def without_keyword(source: bytes, word: str) -> bytes:
    """As a person deletes it: from the list, not from the note."""
    return source.replace(f"<rdf:li>{word}</rdf:li>".encode(), b"", 1)


KNOWN = frozenset({photo(1), photo(2)})


def subjects(source: bytes) -> list[str]:
    inside = source.decode().split("<dc:subject>")[1].split("</dc:subject>")[0] if b"<dc:subject>" in source else ""
    return [part.split("</rdf:li>")[0] for part in inside.split("<rdf:li>")[1:]]


@pytest.mark.parametrize(
    ("now", "known", "is_remembered"),
    [
        pytest.param(1, KNOWN, True, id="the same photo"),
        pytest.param(2, KNOWN, False, id="another photo, the old one is elsewhere"),
        pytest.param(3, KNOWN, False, id="a new photo, the old one is elsewhere"),
        pytest.param(3, frozenset({photo(3)}), True, id="edited in place: the old content is nowhere"),
    ],
)
def test_a_deleted_keyword_is_remembered_of_the_photo(now: int, known: frozenset[str], is_remembered: bool) -> None:
    once = merged(FOREIGN.encode(), of(1, "Yellow Yeti", "Blue Bolt"), known)
    assert once is not None
    deleted = without_keyword(once, "Yellow Yeti")
    again = merged(deleted, of(now, "Yellow Yeti", "Green Ghost"), known)
    assert again is not None
    assert ("Yellow Yeti" in subjects(again)) is not is_remembered
    assert "Blue Bolt" not in subjects(again), "the tags of the photo that was here go"
    assert {"sunset", "Red Racer", "Green Ghost"} <= set(subjects(again))
    assert photo(now).encode() in again
    assert merged(again, of(now, "Yellow Yeti", "Green Ghost"), known) is again


def test_what_an_older_version_noted_counts_for_the_photo_at_hand() -> None:
    once = merged(FOREIGN.encode(), said("Yellow Yeti"))
    assert once is not None
    again = merged(without_keyword(once, "Yellow Yeti"), of(1, "Yellow Yeti"), KNOWN)
    assert again is not None
    assert "Yellow Yeti" not in subjects(again)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.sets(st.sampled_from(["A", "B", "C"])), st.sets(st.sampled_from(["A", "B", "C"]))
        ),
        max_size=6,
    )
)
@settings(deadline=None)
def test_whatever_photo_comes_to_a_name_a_word_is_forgotten_with_it(
    turns: list[tuple[int, set[str], set[str]]],
) -> None:
    """Photos 1 to 3 take turns at one name; of each its own tags are there, less what was deleted while it was there."""
    known = frozenset(photo(n) for n in (1, 2, 3))
    source: bytes | None = FOREIGN.encode()
    here, deleted = 0, set()
    for number, cars, taken in turns:
        if number != here:
            here, deleted = number, set()
        deleted &= cars  # a tag that went is forgotten
        source = merged(source, of(number, *sorted(cars)) if cars else NOTHING, known)
        assert source is not None
        assert set(subjects(source)) == {"sunset", "L&#39;Aquila &quot;&#x32;&quot; &amp; more", "Red Racer"} | (
            cars - deleted
        )
        if not cars:
            here = 0
        for word in sorted(taken & (cars - deleted)):
            source = without_keyword(source, word)
            deleted.add(word)


def test_renumbered_photos_get_their_own_keywords(gallery: Gallery) -> None:
    for i, name in enumerate(("1.jpg", "2.jpg")):
        gallery.paint(name, "red", mark=i)
    gallery.tag()
    cartag.export(gallery.path, "xmp")
    first = gallery.path / "1.jpg.xmp"
    first.write_bytes(without_keyword(first.read_bytes(), "Red Racer"))
    assert cartag.export(gallery.path, "xmp").counts["changed"] == 0
    (gallery.path / "1.jpg").rename(gallery.path / "0.jpg")
    (gallery.path / "2.jpg").rename(gallery.path / "1.jpg")
    gallery.tag()
    cartag.export(gallery.path, "xmp")
    assert subjects(first.read_bytes()) == ["Red Racer"], "what was deleted, was deleted from another photo"


def test_a_photo_that_is_edited_in_place_keeps_what_a_person_deleted(gallery: Gallery) -> None:
    gallery.paint("1.jpg", "red")
    gallery.tag()
    cartag.export(gallery.path, "xmp")
    sidecar = gallery.path / "1.jpg.xmp"
    sidecar.write_bytes(without_keyword(sidecar.read_bytes(), "Red Racer"))
    later(gallery.paint("1.jpg", "red", mark=5))
    gallery.tag()
    cartag.export(gallery.path, "xmp")
    assert subjects(sidecar.read_bytes()) == []
    assert gallery.record("1.jpg")["sha256"].encode() in sidecar.read_bytes()


def test_a_new_sidecar_has_the_rights_of_any_new_file(tagged: Gallery) -> None:
    cartag.export(tagged.path, "xmp")
    plain = tagged.path / "plain"
    plain.touch()
    mode = stat.S_IMODE((tagged.path / "a.jpg.xmp").stat().st_mode)
    assert mode == stat.S_IMODE(plain.stat().st_mode)
