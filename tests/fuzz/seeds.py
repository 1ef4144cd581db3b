"""What fuzzing starts from: one small valid file or two of every kind, and the words its format is made of."""

from __future__ import annotations

import hashlib
import plistlib
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
from fuzz.harnesses import SAID, TENSORS

from cartag.exporting.packet import merged
from cartag.state.store import TABLES, VERSION

_CATALOG = b"""\
name: colours
title: Cars by colour
cars:
  - Red Racer
  - {name: Blue Bolt, id: blue-bolt, make: Volt, aliases: [Scuderia, "911"], years: 2001-2004, body: coupe}
  - &same {name: "Citro\xc3\xabn DS-21", prompts: [goddess]}
templates: ["a photo of a {name}.", "{year} {name}"]
other_cars: [Orange Other, 911]
no_car: [a photo of grass.]
"""
_LABELS = b'file,label,remark\na.jpg,Red Racer|blue bolt,x\n./day-1/b.jpg,unknown,\n"c, d.jpg",none,\ne.jpg,Fiat 500,\n'
_HASH = b"0" * 64
_INDEX = b"""\
{"schema_version": 1, "generator": "cartag 0.1.0", "updated": "2026-11-23T17:05:00Z",
 "model": {"name": "mini", "source": "models/mini", "revision": "r", "dtype": "bfloat16", "x-more": 1},
 "catalog": {"name": "c", "sha256": "%s", "cars": [{"id": "red-racer", "name": "Red Racer", "make": "Rossi"}]},
 "scoring": "s", "x-header": {"a": [1, 2.5, null, true]},
 "photos": [
  {"path": "day-1/a.jpg", "sha256": "%s", "size": 2458624, "mtime_ns": 1369000000000000000, "width": 4032, "height": 3024,
   "outcome": "tagged", "tags": [{"car": "red-racer", "score": 0.9412, "source": "human", "box": [0.1, 0.3, 0.8, 0.5],
   "x-by": "me"}], "candidates": [{"car": "blue-bolt", "score": 0.0401}], "path_on_disk": "%%ff", "confirmed": true},
  {"path": "b.jpg", "size": 9120, "mtime_ns": 1, "outcome": "error", "x-note": "n", "missing": true,
   "error": {"reason": "truncated", "detail": "image file is truncated"}}]}
""" % (_HASH, _HASH)
_JOURNAL = (
    b'\n[{"path":"a.jpg","size":1,"mtime_ns":2,"sha256":"%s","width":64,"height":48},{"path":"b.jpg","size":0,"mtime_ns":-5}]\n'
    b'[{"path":"c.jpg","size":7,"mtime_ns":1,"error":{"reason":"empty","detail":"no bytes"}}]\n[{"path":"d.jp' % _HASH
)
_XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" xmp:Label='Red &quot;1&quot;'>
  <!-- a comment --><xmp:CreatorTool>Another &amp; program</xmp:CreatorTool></rdf:Description>
 <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
  <dc:subject><rdf:Bag><rdf:li>sunset</rdf:li><rdf:li>Red Racer</rdf:li></rdf:Bag></dc:subject>
 </rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>
"""
_BAG = b"<dc:subject><rdf:Bag><rdf:li>sunset</rdf:li><rdf:li>Red Racer</rdf:li></rdf:Bag></dc:subject>"
_LR = b"http://ns.adobe.com/lightroom/1.0/"
_ARTICLE = "The Ferrari 458 Italia, F12 Berlinetta and 599 GTB; a Porche Carrera GT (980). Pagani\nHuayra, Lamborghini Coutach.\n"
_PAGE = f'<!doctype html><meta charset="utf-8"><title>Cars</title><script>no</script><p>{_ARTICLE}</p><td>Bugatti&nbsp;Veyron'
_MHTML = b"""From: <Saved by Blink>\r
Subject: =?utf-8?Q?Citro=C3=ABn?=\r
MIME-Version: 1.0\r
Content-Type: multipart/related;\r
\ttype="text/html"; start="<a@b>"; boundary="--B"\r
\r
----B\r
Content-Type: text/plain; charset=windows-1252\r
\r
Audi TT\r
----B\r
Content-Type: text/html; charset="utf-8"\r
Content-ID: <a@b>\r
Content-Transfer-Encoding: quoted-printable\r
\r
<html><head><meta charset=3D"utf-8"></head><p>A Citro=C3=ABn DS and a Pagani Huay=\r
ra.</p>\r
----B--\r
"""
_WEBARCHIVE = plistlib.dumps(
    {"WebMainResource": {"WebResourceData": b"<p>Pagani Huayra", "WebResourceTextEncodingName": "UTF-8"}},
    fmt=plistlib.FMT_BINARY,
)


_NOTE = b'{"version": 1, "made": {"index.html": ["%s"], "photos/a.jpg": ["%s", "%s"]}}' % (_HASH, _HASH, b"1" * 64)
_LEARNED = b"""{"version": 1, "model": "mini@1/squash192x192", "catalog": "%s", "cars": ["red-racer", "blue-bolt"],
 "adapted": ["red-racer"], "labels": {"red-racer": 5, "unknown": 1}, "precision": 0.95, "calibration": {"temperature": 1.5,
 "threshold": 0.5, "margin": 0.1, "thresholds": {"red-racer": 0.7}}, "tensors": "%s", "source": "labels.csv", "cv": 5}""" % (
    _HASH,
    hashlib.sha256(TENSORS).hexdigest().encode(),
)


@cache
def _cache() -> bytes:
    """A cache with small pages and a row in every table, one of them rotten."""
    unit, key = np.array([0.6, 0.8, 0, 0], np.float32).tobytes(), b"\1" * 32
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.sqlite"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(f"PRAGMA page_size = 512; {TABLES} PRAGMA user_version = {VERSION};")
            db.execute("INSERT INTO model VALUES (1, 'fake@1/squash32x32')")
            db.executemany("INSERT INTO photo VALUES (1, ?, ?)", [(key, unit), (b"\2" * 32, unit[:-1])])
            db.execute("INSERT INTO text VALUES (1, ?, ?, 4)", (key, unit))
            db.execute("INSERT INTO fact VALUES (1, 'logit_scale', 100.0)")
            db.commit()
        return path.read_bytes()


def seeds() -> dict[str, list[bytes]]:
    """Valid files by the name of their harness."""
    ours = merged(_XMP, SAID)
    new = merged(None, SAID)
    assert ours is not None
    assert new is not None
    return {
        "catalog": [
            _CATALOG,
            b"cars: " + b"- " * 600,
            b"cars: [Pagani Huayra]\nother_cars: sports-cars\n",
            b"cars:\n- Wiesmann GT\nno_car:\n",
        ],
        "labels": [_LABELS, b"\xef\xbb\xbflabel;file\n", b"label,file\r\nnone,a.jpg\r\n"],
        "index": [_INDEX, b'{"x": ' + b"[" * 3000, b'{"schema_version": 2, "photos": {}}'],
        "journal": [_JOURNAL, b'[{"x": ' + b"[" * 3000],
        "xmp": [
            *(_XMP, ours, new, ours.decode().encode("utf-16"), _XMP.decode().encode("utf-32-le")),
            *(_XMP.replace(_BAG, other) for other in (b"<dc:subject/>", b"<dc:subject>Red Racer</dc:subject>")),
            _XMP.replace(b'xmp:Rating="4"', b'xmp:Rating="4" lr:hierarchicalSubject="a" xmlns:lr="%s"' % _LR) + b"\0\0",
        ],
        "article": [
            _ARTICLE.encode(),
            _PAGE.encode(),
            _PAGE.encode("utf-16"),
            b'<meta charset="cp1252"><p>Citro\xebn DS',
            b"<html><head><title>x<h1 hidden>Audi TT<p>Lamborghini Coun&shy;tach<table><tr><td>Porsche<td>959",
            _MHTML,
            _MHTML.replace(b"related", b"alternative").replace(b"quoted-printable", b"base64"),
            _WEBARCHIVE,
        ],
        "note": [_NOTE, b'{"version": 1, "made": {}}'],
        "learned": [_LEARNED, _LEARNED.replace(b"labels.csv", b"../labels.csv")],
        "cache": [_cache(), b""],
    }


WORDS: dict[str, list[str]] = {
    "catalog": [
        "cars:",
        "- ",
        "name: ",
        "aliases: ",
        "other_cars: ",
        "templates: ",
        "no_car: ",
        "id: ",
        "years: ",
        "&a ",
        "*a",
        "<<: ",
        "!!python/object:",
        "!!binary ",
        "!!timestamp ",
        "? ",
        "{",
        "[",
        "|",
        ">",
        "---",
        "\t",
        "2001-13-45",
    ],
    "labels": ["file,label", "none", "unknown", "|", '"', "\r\n", "\x00", "../", "red racer", "./"],
    "index": [
        '"photos":',
        '"tags":',
        '"path":',
        '"outcome":',
        '"error":',
        "null",
        "1e999",
        "-0",
        "[[",
        '"\\ud800"',
        "{}",
        '"schema_version":',
        '"box":',
        '"score":',
        '"mtime_ns":',
        "18446744073709551616",
        '"\\u0000"',
    ],
    "journal": ['[{"path":"', '"size":', '"mtime_ns":', '"error":{', '"sha256":', "null", "1e999", "[[[[", "}]\n"],
    "xmp": [
        "<rdf:li>",
        "</rdf:li>",
        "<rdf:Bag>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<!DOCTYPE a [",
        "<!ENTITY a 'b'>",
        "&a;",
        'rdf:parseType="Resource"',
        "xmlns:dc=",
        'encoding="UTF-16"',
        "\ue000",
        "<dc:subject>",
        "<cartag:Cars>",
        "&#0;",
        "\r\n",
        "http://purl.org/dc/elements/1.1/",
        "urn:cartag:xmp:1#",
        "<mwg-rs:Regions>",
        "<rdf:Alt>",
        'xml:lang="x-default"',
    ],
    "article": [
        "Ferrari ",
        "458 Italia",
        "911",
        "Carrera GT",
        " and ",
        ", ",
        "charset=",
        "<meta ",
        "<script>",
        "</p>",
        "&#x41;",
        "&nbsp;",
        "utf-16",
        "idna",
        "punycode",
        "<?xml encoding='",
        "(",
        ")",
        "’s ",
        "\n\n",
        "rot13",
        "<![CDATA[",
        "<!--",
        "MIME-Version: 1.0\n",
        "Content-Type: multipart/related; boundary=B\n",
        "Content-Transfer-Encoding: base64\n",
        "\n\n--B\n",
        "bplist00",
        "&shy;",
        "<p hidden>",
        "\u200b",
    ],
    "note": ['"version":', '"made":', '":["', "../", "/", '"\\u0000"', "null", "[[", "1e999", ".cartag-made.json"],
    "learned": [
        '"version":',
        '"calibration":',
        '"tensors":',
        '"source":',
        "../",
        '"/',
        "null",
        "1e999",
        '"cars":',
        "[[",
    ],
    "cache": ["SQLite format 3\0", "CREATE TABLE photo ", "WITHOUT ROWID", "\0\0\0\1", "model", "fact", "vector"],
}
"""What a mutation may put in: random bytes seldom make a keyword."""
