"""Regions: IPTC's in every sidecar, MWG's where they are asked for, beside those of others; what exiftool reads of them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, needs_exiftool, picture
from hypothesis import given, settings, strategies as st
from PIL import Image
from test_xmp import FOREIGN, as_list, exiftool, region, said

import cartag
from cartag.errors import UsageError
from cartag.exporting.keywords import Region
from cartag.exporting.packet import NOTHING, Statement, merged
from cartag.exporting.regions import VEHICLE

HERS = {
    "RegionBoundary": {"RbShape": "Circle", "RbUnit": "Relative", "RbX": 0.5, "RbY": 0.5, "RbRx": 0.1},
    "RId": "p1",
    "Name": "Jane Doe",
    "RRole": [{"Name": "main subject"}],
}
# As another program leaves an IPTC region, in attributes, with fields that cartag never writes.
FOREIGN_IPTC = FOREIGN.replace(
    '  <rdf:Description rdf:about=""/>',
    """  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <Iptc4xmpExt:ImageRegion>
    <rdf:Bag>
     <rdf:li>
      <rdf:Description Iptc4xmpExt:rId="p1">
       <Iptc4xmpExt:RegionBoundary Iptc4xmpExt:rbShape="circle" Iptc4xmpExt:rbUnit="relative" Iptc4xmpExt:rbX="0.5" Iptc4xmpExt:rbY="0.5" Iptc4xmpExt:rbRx="0.1"/>
       <Iptc4xmpExt:Name><rdf:Alt><rdf:li xml:lang="x-default">Jane Doe</rdf:li></rdf:Alt></Iptc4xmpExt:Name>
       <Iptc4xmpExt:rRole><rdf:Bag><rdf:li><rdf:Description><Iptc4xmpExt:Name><rdf:Alt><rdf:li xml:lang="x-default">main subject</rdf:li></rdf:Alt></Iptc4xmpExt:Name></rdf:Description></rdf:li></rdf:Bag></Iptc4xmpExt:rRole>
      </rdf:Description>
     </rdf:li>
    </rdf:Bag>
   </Iptc4xmpExt:ImageRegion>
  </rdf:Description>""",
)  # fmt: skip


def put(packet: bytes | None, statement: Statement) -> bytes:
    once = merged(packet, statement)
    assert once is not None
    assert merged(once, statement) is once, "a second merge changes something"
    return once


def corners(packet: bytes) -> list[str]:
    """Left sides of all IPTC rectangles."""
    return [text.decode() for text in re.findall(rb"<Iptc4xmpExt:rbX>([^<]*)<", packet)]


def centres(packet: bytes) -> list[str]:
    return [text.decode() for text in re.findall(rb"<stArea:x>([^<]*)<", packet)]


def without_regions(packet: bytes) -> bytes:
    return re.sub(rb"\s*<Iptc4xmpExt:ImageRegion.*</Iptc4xmpExt:ImageRegion>", b"", packet, flags=re.DOTALL)


BOTH = pytest.mark.parametrize("mwg", [False, True])


@BOTH
@pytest.mark.parametrize("packet", [FOREIGN, FOREIGN_IPTC])
def test_regions_of_others_stay_to_the_byte(packet: str, mwg: bool) -> None:
    once = put(packet.encode(), said("Red Racer", regions=(region(),), mwg=mwg))
    rest = iter(once.decode().splitlines())
    assert all(line in rest for line in packet.splitlines()), "a line of the other program is gone or has moved"
    assert once.count(b"<mwg-rs:RegionList>") == once.count(b"</Iptc4xmpExt:ImageRegion>") == 1
    assert merged(once, NOTHING) == packet.encode()


def test_mwg_is_asked_for_and_goes_when_it_is_not_any_more() -> None:
    plain = put(None, said("Red Racer", regions=(region(),)))
    assert b"mwg-rs" not in plain
    both = put(plain, said("Red Racer", regions=(region(),), mwg=True))
    assert both.count(b"<mwg-rs:Description>Red Racer<") == 1
    assert b"mwg-rs:Name" not in both, "digiKam and Immich would take the car for a face"
    assert b"mwg-rs:Type" not in both
    assert b"mwg-rs:Regions" not in put(both, said("Red Racer", regions=(region(),)))
    none = put(both, said("Red Racer"))
    assert b"ImageRegion>" not in none.replace(b"cartag:ImageRegion", b"")
    assert b"mwg-rs:Regions" not in none


def test_ours_stand_last_in_the_list_of_mwg() -> None:
    ours = said("Red Racer", regions=(region(),), mwg=True)
    once = put(FOREIGN.encode(), ours)
    assert once.index(b"Jane Doe") < once.index(b"<mwg-rs:Description>Red Racer<")
    item = b'<rdf:li rdf:parseType="Resource"><mwg-rs:Name>John</mwg-rs:Name></rdf:li>\n    </rdf:Bag>\n    </mwg-rs:RegionList>'
    later = re.sub(rb"</rdf:Bag>\s*</mwg-rs:RegionList>", item, once)
    assert later != once
    again = put(later, ours)
    assert again.index(b"John") < again.index(b"<mwg-rs:Description>Red Racer<")
    assert again.count(b"<mwg-rs:Description>Red Racer<") == 1


@BOTH
def test_a_new_box_replaces_the_old_one(mwg: bool) -> None:
    once = put(None, said("Red Racer", regions=(region(0.5),), mwg=mwg))
    twice = put(once, said("Red Racer", regions=(region(0.9),), mwg=mwg))
    assert corners(twice) == ["0.8"]
    assert centres(twice) == ["0.9"] * mwg
    assert corners(put(twice, said("Red Racer", "Blue Bolt", regions=(region(0.9), region(0.2, "Blue Bolt"))))) == ["0.8", "0.1"]  # fmt: skip
    renamed = put(once, said("Red Runner", regions=(Region("red-racer", "Red Runner", 0.5, 0.4, 0.2, 0.1),), mwg=mwg))
    assert b"Red Racer" not in renamed


def test_a_car_that_stands_there_twice_has_two_regions() -> None:
    two = said("Red Racer", regions=(region(0.2), region(0.8)), mwg=True)
    once = put(None, two)
    assert (corners(once), centres(once)) == (["0.1", "0.7"], ["0.2", "0.8"])
    turned = put(once, said("Red Racer", regions=(region(0.8), region(0.2)), mwg=True))
    assert turned == once, "which of them is larger makes no difference"
    one = put(once, said("Red Racer", regions=(region(0.8),), mwg=True))
    assert (corners(one), centres(one)) == (["0.7"], ["0.8"])


def edited(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    return lambda packet: change(packet.decode()).encode()


EDITS = {
    "moved": edited(lambda p: p.replace("<Iptc4xmpExt:rbX>0.4<", "<Iptc4xmpExt:rbX>0.3<").replace("<stArea:x>0.5<", "<stArea:x>0.4<")),
    "named otherwise": edited(lambda p: re.sub(r'(<rdf:li xml:lang="x-default">|<mwg-rs:Description>)Red Racer', r"\1Number 7", p)),
    "added to": edited(lambda p: p.replace("</Iptc4xmpExt:rId>", "</Iptc4xmpExt:rId><dc:x>hers</dc:x>").replace("</mwg-rs:Description>", "</mwg-rs:Description><mwg-rs:Name>hers</mwg-rs:Name>")),
    "made a circle": edited(lambda p: p.replace(">rectangle<", ">circle<").replace("<mwg-rs:Description>", "<mwg-rs:Type>Focus</mwg-rs:Type><mwg-rs:Description>")),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("edit", EDITS)
def test_what_a_person_edited_is_hers(edit: str, mwg: bool) -> None:
    once = put(None, said("Red Racer", regions=(region(),), mwg=mwg))
    hers = EDITS[edit](once)
    assert hers != once
    for statement in (
        said("Red Racer", regions=(region(),), mwg=mwg),
        said("Red Racer", regions=(region(0.6),), mwg=mwg),
    ):
        assert merged(hers, statement) == hers
    left = merged(hers, NOTHING)
    assert left is not None, "her region went with the tag"
    assert left.count(b"<Iptc4xmpExt:RegionBoundary") == 1
    assert left.count(b"<mwg-rs:Area") == mwg


@BOTH
def test_a_region_that_a_person_deleted_does_not_come_back(mwg: bool) -> None:
    two = said("Red Racer", regions=(region(0.2), region(0.8)), mwg=mwg)
    once = put(None, two).decode()
    begin, bag, first, second = re.search(
        r"(<Iptc4xmpExt:ImageRegion[^>]*>)(\s*<rdf:Bag>)(\s*<rdf:li.*?</rdf:li>)(?=\n {5}<rdf:li)(.*)", once, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    deleted = once.replace(begin + bag + first + second, begin + bag + second).encode()
    assert corners(deleted) == ["0.7"]
    assert merged(deleted, two) == deleted
    assert corners(put(deleted, said("Red Racer", regions=(region(0.81), region(0.21)), mwg=mwg))) == ["0.71"]
    alone = without_regions(once.encode())
    assert merged(alone, two) == alone


def test_regions_go_when_the_name_holds_another_photo() -> None:
    from dataclasses import replace

    a, b, known = "a" * 64, "b" * 64, frozenset({"a" * 64, "b" * 64})
    of_a = replace(said("Red Racer", regions=(region(0.2),), mwg=True), photo=a)
    of_b = replace(said("Red Racer", regions=(region(0.8),), mwg=True), photo=b)
    once = put(None, of_a)
    gone = without_regions(once)
    for packet in (once, gone):
        now = merged(packet, of_b, known)
        assert now is not None
        assert (corners(now), centres(now)) == (["0.7"], ["0.8"])
    moved = EDITS["moved"](put(None, replace(said("Red Racer", regions=(region(),)), photo=a)))
    now = merged(moved, of_b, known)
    assert now is not None
    assert corners(now) == ["0.3", "0.7"], "what she drew of another photo stays, and ours comes"


# As version 0.1 wrote it: a region of MWG with the car as its name, which programs take for a face.
OLDER = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:cartag="urn:cartag:xmp:1#" rdf:about="">
   <mwg-rs:Regions xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" rdf:parseType="Resource">
    <mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource">
       <mwg-rs:Name>Red Racer</mwg-rs:Name>
       <mwg-rs:Area rdf:parseType="Resource"><stArea:x>0.5</stArea:x><stArea:y>0.4</stArea:y><stArea:w>0.2</stArea:w><stArea:h>0.1</stArea:h><stArea:unit>normalized</stArea:unit></mwg-rs:Area>
       <mwg-rs:Extensions rdf:parseType="Resource"><cartag:Car>red-racer</cartag:Car><cartag:Area>0.5 0.4 0.2 0.1</cartag:Area></mwg-rs:Extensions>
    </rdf:li></rdf:Bag></mwg-rs:RegionList>
   </mwg-rs:Regions>
   <cartag:Outcome>tagged</cartag:Outcome><cartag:Model>fake</cartag:Model>
   <cartag:Cars><rdf:Bag><rdf:li rdf:parseType="Resource"><cartag:Car>red-racer</cartag:Car><cartag:Name>Red Racer</cartag:Name><cartag:Score>0.9000</cartag:Score><cartag:Source>model</cartag:Source></rdf:li></rdf:Bag></cartag:Cars>
   <cartag:Regions><rdf:Bag><rdf:li>red-racer</rdf:li></rdf:Bag></cartag:Regions>
  </rdf:Description>
</rdf:RDF></x:xmpmeta>"""  # fmt: skip


def test_a_region_of_an_older_version_becomes_one_of_today() -> None:
    now = put(OLDER.encode(), said("Red Racer", regions=(region(),)))
    assert b"mwg-rs:Regions" not in now
    assert corners(now) == ["0.4"]
    both = put(OLDER.encode(), said("Red Racer", regions=(region(),), mwg=True))
    assert b"mwg-rs:Name" not in both
    assert both.count(b"<mwg-rs:Description>Red Racer<") == 1
    moved = OLDER.replace("<stArea:x>0.5<", "<stArea:x>0.3<")
    assert b"<mwg-rs:Name>Red Racer<" in put(moved.encode(), said("Red Racer", regions=(region(),), mwg=True))


def test_a_region_of_any_depth_is_no_stumbling_block() -> None:
    once = put(None, said("Red Racer", regions=(region(),)))
    deep = once.replace(b"<Iptc4xmpExt:rId>", b"<dc:x>" * 1500 + b"hers" + b"</dc:x>" * 1500 + b"<Iptc4xmpExt:rId>", 1)
    assert merged(deep, said("Red Racer", regions=(region(0.7),))) == deep, "it is not as cartag wrote it"


_places = st.integers(10, 90).map(lambda n: n / 100)
_regions = st.lists(
    st.builds(region, _places, st.sampled_from(["Red Racer", "Blue Bolt"]), _places),
    max_size=4,
    unique_by=lambda r: (r.car, r.x, r.y),
)


@given(
    st.sampled_from([None, FOREIGN, FOREIGN_IPTC]), st.lists(st.tuples(_regions, st.booleans()), min_size=1, max_size=4)
)
@settings(deadline=None)
def test_whatever_is_said_in_turn_what_is_there_is_what_was_said_last(
    packet: str | None, turns: list[tuple[list[Region], bool]]
) -> None:
    original = None if packet is None else packet.encode()
    now = original
    for regions, mwg in turns:
        names = dict.fromkeys(region.name for region in regions)
        now = put(now, said(*names, regions=tuple(regions), mwg=mwg)) if regions else merged(now, NOTHING)
        assert sorted(map(float, corners(now or b""))) == pytest.approx(sorted(r.x - 0.1 for r in regions), abs=1e-6)
        assert sorted(map(float, centres(now or b""))) == pytest.approx(sorted(r.x for r in regions if mwg), abs=1e-6)
    assert merged(now, NOTHING) == original


# --- a gallery, and the programs themselves ---------------------------------------------------------------------

LEFT, RIGHT, SMALL = [0.1, 0.2, 0.3, 0.4], [0.5, 0.25, 0.25, 0.5], [0.8, 0.8, 0.1, 0.1]


def regions_of(*cars: tuple[list[float], str | None, str]) -> list[dict[str, Any]]:
    """Regions as a run writes them: box, car or None for another one, source."""
    return [
        {
            "box": box,
            "found": 0.9,
            "outcome": "unknown" if car is None else "tagged",
            "tags": [] if car is None else [{"car": car, "score": 0.9, "source": source}],
            "source": source,
        }
        for box, car, source in cars
    ]


@pytest.fixture
def placed(gallery: Gallery) -> Gallery:
    """A photo of three cars, two of the same, and of another; one that has to be turned; one without regions."""
    gallery.paint("three.jpg", "red", size=(200, 100))
    gallery.paint("plain.jpg", "yellow")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture("red", mark=9, size=(96, 48)).save(gallery.path / "turned.jpg", exif=exif.tobytes())
    gallery.tag()
    three = [(LEFT, "red-racer", "model"), (RIGHT, "red-racer", "model"), (SMALL, "blue-bolt", "human"), ([0, 0, 0.1, 0.1], None, "model")]  # fmt: skip
    tags = [{"car": "red-racer", "score": 0.9, "source": "model", "box": LEFT}, {"car": "blue-bolt", "score": 1.0, "source": "human", "box": SMALL}]  # fmt: skip
    gallery.edit_photo("three.jpg", regions=regions_of(*three), tags=tags)
    gallery.edit_photo(
        "turned.jpg",
        regions=regions_of((LEFT, "red-racer", "model")),
        tags=[{"car": "red-racer", "score": 0.9, "source": "model", "box": LEFT}],
    )
    return gallery


def read_regions(path: Path) -> list[dict[str, Any]]:
    (found,) = exiftool("-ImageRegion", path)
    return as_list(found.get("ImageRegion"))


def boundary(x: float, y: float, w: float, h: float) -> dict[str, Any]:
    return {"RbShape": "Rectangle", "RbUnit": "Relative", "RbX": x, "RbY": y, "RbW": w, "RbH": h}


@needs_exiftool
def test_exiftool_reads_every_region_with_a_tag(placed: Gallery) -> None:
    cartag.export(placed.path, "xmp")
    found = read_regions(placed.path / "three.jpg.xmp")
    assert [(r["Name"], r["RegionBoundary"]) for r in found] == [
        ("Red Racer", boundary(*LEFT)),
        ("Red Racer", boundary(*RIGHT)),
        ("Blue Bolt", boundary(*SMALL)),
    ]
    assert len({r["RId"] for r in found}) == 3
    assert all(r["RCtype"][0]["Identifier"] in (VEHICLE, [VEHICLE]) for r in found)
    (turned,) = read_regions(placed.path / "turned.jpg.xmp")
    assert turned["RegionBoundary"] == boundary(0.2, 0.6, 0.4, 0.3), "upright 48 x 96, stored 96 x 48"
    assert not read_regions(placed.path / "plain.jpg.xmp")
    out = subprocess.run(
        ["exiftool", "-validate", "-warning", "-a", str(placed.path / "three.jpg.xmp")], capture_output=True, check=True
    )
    assert b": OK" in out.stdout


def test_a_photo_that_is_none_any_more_is_said_in_cartags_words(placed: Gallery) -> None:
    (placed.path / "turned.jpg").write_bytes(b"no picture")
    (remark,) = cartag.export(placed.path, "xmp").remarks
    assert "turned.jpg.xmp: left as it is: the photo cannot be read (no decoder recognises the file)," in remark.message


@needs_exiftool
def test_mwg_regions_are_written_too(placed: Gallery) -> None:
    cartag.export(placed.path, "xmp", regions="mwg")
    (found,) = exiftool("-RegionInfo", "-ImageRegion", placed.path / "turned.jpg.xmp")
    assert found["RegionInfo"]["AppliedToDimensions"] == {"W": 96, "H": 48, "Unit": "pixel"}
    (only,) = found["RegionInfo"]["RegionList"]
    assert (only["Description"], "Name" in only, "Type" in only) == ("Red Racer", False, False)
    assert only["Area"] == {"X": 0.4, "Y": 0.75, "W": 0.4, "H": 0.3, "Unit": "normalized"}
    assert len(as_list(found["ImageRegion"])) == 1
    changed = cartag.export(placed.path, "xmp", regions="none")
    assert changed.counts["changed"] == 2
    (found,) = exiftool("-RegionInfo", "-ImageRegion", "-Subject", placed.path / "turned.jpg.xmp")
    assert set(found) == {"SourceFile", "Subject"}


def test_only_where_there_are_regions_they_can_be_chosen(placed: Gallery) -> None:
    for as_, regions, words in (
        ("csv", "mwg", "--as xmp or exiftool"),
        ("xmp", "faces", "must be one of iptc, mwg, none"),
    ):
        with pytest.raises(UsageError, match=words):
            cartag.export(placed.path, as_, regions=regions)  # type: ignore[arg-type]


def test_what_is_settled_for_the_photo_goes_before_its_boxes(placed: Gallery) -> None:
    tags = [{"car": "blue-bolt", "score": 1.0, "source": "human"}]
    placed.edit_photo("turned.jpg", tags=tags, confirmed=True)
    cartag.export(placed.path, "xmp")
    assert b"rbX" not in (placed.path / "turned.jpg.xmp").read_bytes()


@needs_exiftool
def test_regions_that_exiftool_wrote_survive(placed: Gallery, tmp_path: Path) -> None:
    sidecar = placed.path / "three.jpg.xmp"
    (tmp_path / "hers.json").write_text(json.dumps([{"SourceFile": str(sidecar), "ImageRegion": [HERS]}]))
    sidecar.write_text(FOREIGN)
    subprocess.run(
        ["exiftool", "-q", "-overwrite_original", f"-json={tmp_path / 'hers.json'}", str(sidecar)], check=True
    )
    before = sidecar.read_bytes()
    (hers,) = read_regions(sidecar)
    cartag.export(placed.path, "xmp", regions="mwg")
    assert read_regions(sidecar)[0] == hers
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-XMP:Rating=3", str(sidecar)], check=True)
    assert cartag.export(placed.path, "xmp", regions="mwg").counts["changed"] == 0, "exiftool has rewritten the file"
    placed.edit_photo("three.jpg", tags=[], regions=[], outcome="unknown")
    cartag.export(placed.path, "xmp")
    assert read_regions(sidecar) == [hers]
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-XMP:Rating=4", str(sidecar)], check=True)
    assert b"cartag:red-racer" not in sidecar.read_bytes()
    assert before.count(b"Jane Doe") == sidecar.read_bytes().count(b"Jane Doe")


@needs_exiftool
@pytest.mark.parametrize("regions", ["iptc", "mwg", "none"])
def test_exiftool_s_json_brings_the_regions_into_photos(placed: Gallery, tmp_path: Path, regions: Any) -> None:
    document = cartag.export(placed.path, "exiftool", regions=regions).document
    assert document is not None
    (tmp_path / "tags.json").write_bytes(document)
    photo = placed.path / "three.jpg"
    subprocess.run(["exiftool", "-q", "-overwrite_original", f"-json={tmp_path / 'tags.json'}", str(photo)], check=True)
    (found,) = exiftool("-ImageRegion", "-RegionInfo", photo)
    names = [(r["Name"], r["RegionBoundary"]) for r in as_list(found.get("ImageRegion"))]
    whole = [("Red Racer", boundary(*LEFT)), ("Red Racer", boundary(*RIGHT)), ("Blue Bolt", boundary(*SMALL))]
    assert names == ([] if regions == "none" else whole)
    listed = found.get("RegionInfo", {}).get("RegionList", [])
    assert [r["Description"] for r in listed] == (["Red Racer", "Red Racer", "Blue Bolt"] if regions == "mwg" else [])
    assert not any("Name" in r for r in listed)
