"""XMP sidecars: what is written, what is left alone, and what exiftool and exiv2 read of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, later, needs_exiftool, needs_exiv2, paint, picture, snapshot
from hypothesis import given, strategies as st
from PIL import Image

import cartag
from cartag.exporting.encoded import PacketError
from cartag.exporting.keywords import Keywords, Region
from cartag.exporting.packet import NOTHING, ScoredCar, Statement, merged

# As Lightroom and digiKam leave them: attributes, several descriptions, another's regions, comments, a closing padding.
FOREIGN = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmp:Rating="4"
    xmp:Label='Red &quot;1&quot;'>
   <!-- a comment inside -->
   <xmp:CreatorTool>Another program</xmp:CreatorTool>
  </rdf:Description>
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:unheard="urn:unheard:of:">
   <dc:subject>
    <rdf:Bag>
     <rdf:li>sunset</rdf:li>
     <rdf:li>L&#39;Aquila &quot;&#x32;&quot; &amp; more</rdf:li>
     <rdf:li>Red Racer</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <unheard:Thing rdf:parseType="Resource">
    <unheard:Of>a &amp; b</unheard:Of>
   </unheard:Thing>
   <mwg-rs:Regions xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" rdf:parseType="Resource">
    <mwg-rs:RegionList>
     <rdf:Bag>
      <rdf:li>
       <rdf:Description mwg-rs:Name="Jane Doe" mwg-rs:Type="Face">
        <mwg-rs:Area xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" stArea:x="0.5" stArea:y="0.25" stArea:w="0.1" stArea:h="0.2" stArea:unit="normalized"/>
       </rdf:Description>
      </rdf:li>
     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>
  <rdf:Description rdf:about=""/>
 </rdf:RDF>
</x:xmpmeta>
<!-- the end -->

"""


def said(*names: str, regions: tuple[Region, ...] = (), score: str = "0.9000", mwg: bool = False) -> Statement:
    """What cartag says of a photo that shows these cars, all made by Rossi."""
    keywords = Keywords(
        subjects=names,
        hierarchical=tuple(f"Cars|Rossi|{name}" for name in names),
        tree=tuple(f"Cars/Rossi/{name}" for name in names),
        regions=regions,
        stored_size=(640, 480),
        mwg=mwg,
    )
    cars = tuple(ScoredCar(name.lower().replace(" ", "-"), name, score, "model") for name in names)
    return Statement(cars, "tagged", "fake", keywords)


def region(x: float = 0.5, car: str = "Red Racer", y: float = 0.4) -> Region:
    return Region(car.lower().replace(" ", "-"), car, x, y, 0.2, 0.1)


def write(path: Path, packet: bytes | None) -> Path:
    assert packet is not None
    path.write_bytes(packet)
    return path


def exiftool(*arguments: str | bytes | Path) -> list[dict[str, Any]]:
    out = subprocess.run(
        ["exiftool", "-json", "-struct", *map(os.fsencode, arguments)], capture_output=True, check=True
    )  # type: ignore[list-item]
    return json.loads(out.stdout)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def exiv2(path: Path) -> list[tuple[str, str]]:
    """Key and value of every line; a list's items are joined by a comma."""
    out = subprocess.run(["exiv2", "-PXkt", str(path)], capture_output=True, check=False, text=True)
    assert not out.stderr
    return [(words[0], " ".join(words[1:])) for line in out.stdout.splitlines() if (words := line.split())]


# --- merging ----------------------------------------------------------------------------------------------------


def test_taking_out_what_was_put_in_gives_the_same_bytes() -> None:
    packet = FOREIGN.encode()
    with_ours = merged(packet, said("Red Racer", "Yellow Yeti"))
    assert with_ours is not None
    assert with_ours != packet
    assert merged(with_ours, NOTHING) == packet


def test_only_lines_are_added_to_an_existing_sidecar() -> None:
    before = FOREIGN.splitlines()
    after = merged(FOREIGN.encode(), said("Yellow Yeti"))
    assert after is not None
    rest = iter(after.decode().splitlines())
    assert all(line in rest for line in before), "a line of the other program is gone or has moved"


def test_a_second_merge_changes_nothing() -> None:
    for packet in (None, FOREIGN.encode()):
        statement = said("Red Racer", regions=(region(), region(0.7)), mwg=True)
        once = merged(packet, statement)
        assert once is not None
        assert merged(once, statement) is once


def test_a_keyword_that_was_there_before_stays_when_the_tag_goes() -> None:
    """FOREIGN holds "Red Racer" by a person's hand."""
    once = merged(FOREIGN.encode(), said("Red Racer", "Yellow Yeti"))
    assert once is not None
    assert once.count(b">Yellow Yeti<") == 3  # dc:subject, its note, the name in our namespace
    twice = merged(once, said("Blue Bolt"))
    assert twice is not None
    assert b">Yellow Yeti<" not in twice
    assert b"<rdf:li>Red Racer</rdf:li>" in twice
    assert b"<rdf:li>Blue Bolt</rdf:li>" in twice


def test_a_keyword_that_was_typed_with_other_accents_is_the_same_word() -> None:
    theirs = FOREIGN.replace("sunset", "Citroe\u0308n DS").encode()
    once = merged(theirs, said("Citro\u00ebn DS"))
    assert once is not None
    subject = once[once.index(b"<dc:subject>") : once.index(b"</dc:subject>")].decode()
    assert "Citro\u00ebn" not in subject
    assert merged(once, NOTHING) == theirs


def test_a_keyword_that_is_written_with_references_is_the_same_word() -> None:
    once = merged(FOREIGN.encode(), said('L\'Aquila "2" & more'))
    assert once is not None
    subject = once[once.index(b"<dc:subject>") : once.index(b"</dc:subject>")]
    assert subject.count(b"Aquila") == 1
    ours = merged(None, said("A & <B>"))
    assert ours is not None
    assert merged(ours, said("A & <B>")) is ours
    assert b"<rdf:li>A &amp; &lt;B&gt;</rdf:li>" in ours


def test_a_keyword_that_a_person_deleted_does_not_come_back() -> None:
    once = merged(FOREIGN.encode(), said("Yellow Yeti"))
    assert once is not None
    deleted = once.replace(b"     <rdf:li>Yellow Yeti</rdf:li>\n", b"", 1)
    assert merged(deleted, said("Yellow Yeti")) == deleted
    again = merged(deleted, said("Yellow Yeti", "Blue Bolt"))
    assert again is not None
    subject = again[again.index(b"<dc:subject>") : again.index(b"</dc:subject>")]
    assert b"Blue Bolt" in subject
    assert b"Yellow Yeti" not in subject


def test_a_sidecar_that_was_ours_alone_goes_with_its_last_tag() -> None:
    once = merged(None, said("Red Racer"))
    assert once is not None
    assert merged(once, NOTHING) is None
    with_rating = once.replace(
        b'rdf:about="">', b'rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5">'
    )
    left = merged(with_rating, NOTHING)
    assert left is not None
    assert b'xmp:Rating="5"' in left
    assert b"urn:cartag:xmp" not in left.replace(b'xmlns:cartag="urn:cartag:xmp:1#"', b"")


def test_nothing_to_say_leaves_a_foreign_sidecar_alone() -> None:
    packet = FOREIGN.encode()
    assert merged(packet, NOTHING) is packet
    assert merged(None, NOTHING) is None


@pytest.mark.parametrize("score", ["0.9000", "0.9100"])
def test_a_new_score_is_a_change(score: str) -> None:
    once = merged(None, said("Red Racer", score="0.9000"))
    assert once is not None
    again = merged(once, said("Red Racer", score=score))
    assert (again == once) is (score == "0.9000")


def test_line_ends_and_other_encodings_are_kept() -> None:
    windows = FOREIGN.replace("\n", "\r\n").encode()
    once = merged(windows, said("Yellow Yeti"))
    assert once is not None
    assert once.count(b"\n") == once.count(b"\r\n")
    assert merged(once, NOTHING) == windows
    wide = FOREIGN.replace("UTF-8", "UTF-16").encode("utf-16")
    again = merged(wide, said("Yellow Yeti"))
    assert again is not None
    assert "Yellow Yeti" in again.decode("utf-16")
    assert merged(again, said("Yellow Yeti")) is again
    latin = merged(
        FOREIGN.replace("UTF-8", "ISO-8859-1").replace("sunset", "caf\u00e9").encode("latin-1"), said("\u00e9")
    )
    assert latin is not None
    assert latin.decode("latin-1").count("\u00e9</rdf:li>") == 7
    assert b"cartag-was" not in latin
    one_line = "".join(
        line.strip() if line.strip().startswith("<") else f" {line.strip()}" for line in FOREIGN.splitlines()
    )
    again = merged(one_line.encode(), said("Yellow Yeti"))
    assert again is not None
    assert b"\r" not in again
    assert merged(again, NOTHING) == one_line.encode()


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"<a/>", "no XMP"),
        (FOREIGN.replace("sunset", "\ue000").encode(), "private character"),
        (FOREIGN.encode()[:600], "no well-formed XML"),
        (FOREIGN.replace("<x:xmpmeta", "<!DOCTYPE x [<!ENTITY e 'e'>]>\n<x:xmpmeta", 1).encode(), "document type"),
        (FOREIGN.replace("<rdf:Bag>", "<rdf:Heap>").replace("</rdf:Bag>", "</rdf:Heap>").encode(), "neither a list nor a text"),
        (FOREIGN.replace('xmp:Rating="4"', 'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:subject="x"').encode(), "there twice"),
    ],
)  # fmt: skip
def test_a_packet_that_cannot_be_edited_safely_is_refused(packet: bytes, why: str) -> None:
    with pytest.raises(PacketError, match=why):
        merged(packet, said("Red Racer"))


_names = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip), max_size=4, unique=True
)


@given(st.booleans(), st.lists(_names, min_size=1, max_size=4))
def test_whatever_is_said_in_turn_nothing_foreign_is_lost(foreign: bool, turns: list[list[str]]) -> None:
    packet = original = FOREIGN.encode() if foreign else None
    for names in turns:
        statement = said(*names) if names else NOTHING
        packet = merged(packet, statement)
        assert merged(packet, statement) == packet
    assert merged(packet, NOTHING) == original


# --- a gallery --------------------------------------------------------------------------------------------------


def names(report: cartag.ExportReport, action: str) -> set[str]:
    return {Path(file.path).name for file in report.files if file.action == action}


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for i, (name, colour) in enumerate({"a b.jpg": "red", "é/ñ.jpg": "yellow", "none.jpg": "green"}.items()):
        gallery.paint(name, colour, mark=i)
    gallery.tag()
    return gallery


def test_sidecars_lie_beside_the_photos_and_a_second_export_touches_nothing(tagged: Gallery) -> None:
    before = snapshot(tagged.path)
    report = cartag.export(tagged.path, "xmp")
    assert names(report, "created") == {"a b.jpg.xmp", "ñ.jpg.xmp"}
    after = snapshot(tagged.path)
    assert {name: after[name] for name in before} == before, "a photo was touched"
    again = cartag.export(tagged.path, "xmp")
    assert again.counts == {"created": 0, "changed": 0, "removed": 0, "unchanged": 2}
    assert snapshot(tagged.path) == after


def test_the_words_of_a_sidecar(tagged: Gallery) -> None:
    cartag.export(tagged.path, "xmp")
    packet = (tagged.path / "a b.jpg.xmp").read_text()
    for words in ("Red Racer", "Cars|Rossi|Red Racer", "Cars/Rossi/Red Racer"):
        assert f"<rdf:li>{words}</rdf:li>" in packet
    score = next(tag["score"] for tag in tagged.record("a b.jpg")["tags"])
    assert f"<cartag:Score>{score:.4f}</cartag:Score>" in packet
    assert "<cartag:Model>fake</cartag:Model>" in packet


def test_a_dry_run_shows_a_diff_and_writes_nothing(tagged: Gallery) -> None:
    (tagged.path / "a b.jpg.xmp").write_text(FOREIGN)
    before = snapshot(tagged.path)
    report = cartag.export(tagged.path, "xmp", dry_run=True)
    assert snapshot(tagged.path) == before
    (changed,) = [file for file in report.files if file.action == "changed"]
    lines = changed.diff.splitlines()
    assert lines[0].startswith("--- ")
    assert any(line.startswith("+") and "Cars/Rossi/Red Racer" in line for line in lines)
    assert not [line for line in lines[2:] if line.startswith("-")]


def test_tags_that_went_go_from_the_sidecars_too(tagged: Gallery) -> None:
    (tagged.path / "a b.jpg.xmp").write_text(FOREIGN)
    cartag.export(tagged.path, "xmp")
    for name in ("a b.jpg", "é/ñ.jpg"):
        tagged.edit_photo(name, tags=[], outcome="unknown")
    report = cartag.export(tagged.path, "xmp")
    assert names(report, "removed") == {"ñ.jpg.xmp"}
    assert (tagged.path / "a b.jpg.xmp").read_text() == FOREIGN


def test_a_mirror_of_the_folders_elsewhere(tagged: Gallery, tmp_path: Path) -> None:
    before = snapshot(tagged.path)
    cartag.export(tagged.path, "xmp", to=tmp_path / "sidecars")
    assert snapshot(tagged.path) == before
    found = {str(p.relative_to(tmp_path / "sidecars")) for p in (tmp_path / "sidecars").rglob("*.xmp")}
    assert found == {"a b.jpg.xmp", "é/ñ.jpg.xmp"}


def test_stem_names_and_what_shares_a_stem(gallery: Gallery) -> None:
    gallery.paint("IMG_1.jpg", "red")
    (gallery.path / "IMG_1.CR2").write_bytes(b"raw")
    gallery.paint("IMG_2.jpg", "red", mark=1)
    gallery.tag()
    cartag.export(gallery.path, "xmp", naming="stem")
    assert {p.name for p in gallery.path.glob("*.xmp")} == {"IMG_1.xmp", "IMG_2.xmp"}
    gallery.paint("img_2.png", "yellow", mark=2)
    gallery.tag()
    report = cartag.export(gallery.path, "xmp", naming="stem")
    assert {p.name for p in gallery.path.glob("*.xmp")} == {"IMG_1.xmp", "IMG_2.jpg.xmp", "img_2.png.xmp"}
    (remark,) = report.remarks
    assert "IMG_2.jpg and img_2.png" in remark.message
    assert not report.failures


def test_a_damaged_sidecar_is_left_alone_and_said(tagged: Gallery) -> None:
    (tagged.path / "a b.jpg.xmp").write_text("not XML")
    report = cartag.export(tagged.path, "xmp")
    assert (tagged.path / "a b.jpg.xmp").read_text() == "not XML"
    (remark,) = report.remarks
    assert remark.is_failure
    assert "a b.jpg.xmp" in remark.message
    assert names(report, "created") == {"ñ.jpg.xmp"}


def test_a_photo_that_became_unreadable_keeps_its_sidecar(tagged: Gallery) -> None:
    cartag.export(tagged.path, "xmp")
    sidecar = (tagged.path / "a b.jpg.xmp").read_bytes()
    (tagged.path / "a b.jpg").write_bytes(b"")
    later(tagged.path / "a b.jpg")
    tagged.tag()
    assert tagged.record("a b.jpg")["outcome"] == "error"
    cartag.export(tagged.path, "xmp")
    assert (tagged.path / "a b.jpg.xmp").read_bytes() == sidecar


def test_a_tag_by_hand_with_a_car_of_another_catalog_is_exported_by_its_id(tagged: Gallery) -> None:
    tagged.tag_by_hand("none.jpg", "gone-gt")
    cartag.export(tagged.path, "xmp")
    packet = (tagged.path / "none.jpg.xmp").read_text()
    assert "<rdf:li>Cars|gone-gt</rdf:li>" in packet
    assert "<cartag:Source>human</cartag:Source>" in packet


# --- the programs themselves ------------------------------------------------------------------------------------

ODD_NAMES = (b"a b.jpg", "Citro\u00ebn e\u0301.jpg".encode(), b"two\nlines.jpg", b"latin-\xe9.jpg", b"-dash &<'\">.jpg")


@pytest.fixture
def odd(gallery: Gallery) -> Gallery:
    """Photos with odd names, one of them with a box on a photo that has to be turned."""
    for i, name in enumerate(ODD_NAMES):
        paint(os.path.join(os.fsencode(gallery.path), name), "red", mark=i)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture("red", mark=9, size=(96, 48)).save(gallery.path / "turned.jpg", exif=exif.tobytes())
    gallery.tag()
    box = [0.1, 0.2, 0.3, 0.4]
    gallery.edit_photo("turned.jpg", tags=[{"car": "red-racer", "score": 0.9, "source": "human", "box": box}])
    cartag.export(gallery.path, "xmp")
    return gallery


def sidecars(gallery: Gallery) -> list[bytes]:
    return [os.path.join(os.fsencode(gallery.path), name + b".xmp") for name in (*ODD_NAMES, b"turned.jpg")]


@needs_exiftool
def test_exiftool_reads_every_field_back(odd: Gallery) -> None:
    for sidecar in sidecars(odd):
        (found,) = exiftool("-a", "-G1", sidecar)
        assert as_list(found["XMP-dc:Subject"]) == ["Red Racer"]
        assert as_list(found["XMP-lr:HierarchicalSubject"]) == ["Cars|Rossi|Red Racer"]
        assert as_list(found["XMP-digiKam:TagsList"]) == ["Cars/Rossi/Red Racer"]
        assert found["XMP-cartag:Model"] == "fake"
        (car,) = as_list(found["XMP-cartag:Cars"])
        assert car["Car"] == "red-racer"
        assert 0 < float(car["Score"]) <= 1
    out = subprocess.run(
        ["exiftool", "-validate", "-warning", "-error", "-a", *sidecars(odd)], capture_output=True, check=True
    )
    assert out.stdout.count(b": OK") == len(sidecars(odd))
    assert b"Warning" not in out.stdout


@needs_exiv2
def test_exiv2_reads_every_field_back(odd: Gallery) -> None:
    for i, sidecar in enumerate(sidecars(odd)):
        plain = odd.path / f"copy-{i}.xmp"  # exiv2 takes no such name on its command line
        shutil.copy(sidecar, plain)
        found = dict(exiv2(plain))
        assert found["Xmp.dc.subject"] == "Red Racer"
        assert found["Xmp.lr.hierarchicalSubject"] == "Cars|Rossi|Red Racer"
        assert found["Xmp.digiKam.TagsList"] == "Cars/Rossi/Red Racer"
        assert found["Xmp.cartag.Model"] == "fake"
        assert found["Xmp.cartag.Cars[1]/cartag:Car"] == "red-racer"
    regions = {
        key.rsplit("/", 1)[-1]: value for key, value in found.items() if "ImageRegion[1]" in key and "Ctype" not in key
    }
    assert regions["Iptc4xmpExt:Name"] == 'lang="x-default" Red Racer'
    assert (regions["Iptc4xmpExt:rbX"], regions["Iptc4xmpExt:rbY"]) == ("0.2", "0.6")
    assert (regions["Iptc4xmpExt:rbW"], regions["Iptc4xmpExt:rbH"]) == ("0.4", "0.3")


def rewrite_with_exiftool(path: Path) -> None:
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-XMP:Rating=3", "-Subject+=mine", str(path)], check=True)


def rewrite_with_exiv2(path: Path) -> None:
    command = "set Xmp.xmp.Rating 3"
    subprocess.run(["exiv2", "-M", command, "-M", "set Xmp.dc.subject mine", str(path)], check=True)


@pytest.mark.parametrize(
    "rewrite",
    [
        pytest.param(rewrite_with_exiftool, marks=needs_exiftool),
        pytest.param(rewrite_with_exiv2, marks=needs_exiv2),
    ],
)
@pytest.mark.parametrize("packet", [None, FOREIGN.encode()])
def test_after_another_program_has_written_the_file_ours_is_still_known(
    rewrite: Any, packet: bytes | None, tmp_path: Path
) -> None:
    statement = said("Yellow Yeti", regions=(region(car="Yellow Yeti"), region(0.8, "Yellow Yeti")), mwg=True)
    path = write(tmp_path / "a.jpg.xmp", merged(packet, statement))
    rewrite(path)
    rewritten = path.read_bytes()
    assert merged(rewritten, statement) == rewritten
    left = merged(rewritten, NOTHING)
    assert left is not None, "another's keyword went with ours"
    assert b"Yellow Yeti" not in left
    assert b"mine" in left
    assert b"Rating" in left
    assert (b"Jane Doe" in left) is (packet is not None)
    assert b"yellow-yeti" not in left


@pytest.mark.parametrize(
    "rewrite",
    [
        pytest.param(rewrite_with_exiftool, marks=needs_exiftool),
        pytest.param(rewrite_with_exiv2, marks=needs_exiv2),
    ],
)
def test_a_sidecar_as_another_program_lays_it_out_comes_back_to_the_byte(rewrite: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg.xmp", FOREIGN.encode())
    rewrite(path)
    theirs = path.read_bytes()
    statement = said("Yellow Yeti", regions=(region(car="Yellow Yeti"),), mwg=True)
    ours = merged(theirs, statement)
    assert ours is not None
    rest = iter(ours.decode().splitlines())
    assert all(line in rest for line in theirs.decode().splitlines()), (
        "a line of the other program is gone or has moved"
    )
    assert merged(ours, NOTHING) == theirs


@needs_exiftool
@needs_exiv2
def test_any_name_of_a_car_arrives_as_it_is(gallery: Gallery) -> None:
    name = "M\u00f6rgan 4/4 & <B> \"q\" 'p' a|b \u65e5\u672c"
    gallery.paint("a.jpg", "red")
    gallery.tag()

    def rename(raw: dict[str, Any]) -> None:
        raw["catalog"]["cars"][0] |= {"name": name, "make": "M\u00f6rgan"}

    gallery.edit(rename)
    cartag.export(gallery.path, "xmp")
    (found,) = exiftool(gallery.path / "a.jpg.xmp")
    assert as_list(found["Subject"]) == [name]
    (tree,), (levels,) = as_list(found["TagsList"]), as_list(found["HierarchicalSubject"])
    assert tree == f"Cars/M\u00f6rgan/{name.split(maxsplit=1)[1]}".replace("4/4", "4\u22154")
    assert levels == f"Cars|M\u00f6rgan|{name.split(maxsplit=1)[1]}".replace("a|b", "a\u00a6b")
    assert dict(exiv2(gallery.path / "a.jpg.xmp"))["Xmp.dc.subject"] == name


def test_a_line_break_in_a_name_does_not_break_the_header_of_a_diff(gallery: Gallery) -> None:
    gallery.paint("two\nlines.jpg", "red")
    gallery.tag()
    (made,) = cartag.export(gallery.path, "xmp", dry_run=True).files
    assert made.diff.splitlines()[1].endswith("/two\\nlines.jpg.xmp")
