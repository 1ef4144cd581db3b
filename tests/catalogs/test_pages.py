"""Articles as a person reads them: pages without their optional tags, unseen characters, web archives, other files."""

from __future__ import annotations

import base64
import gzip
import io
import plistlib
import quopri
import re
import time
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from conftest import Gallery
from hypothesis import given, settings, strategies as st
from test_article import TEXTS, ids

import cartag
from cartag.catalogs import article, catalog
from cartag.catalogs.article.archive import is_message
from cartag.catalogs.article.page import plain
from cartag.errors import ArticleError, CatalogError

UNSEEN = (
    *("\u00ad", "\u200b", "\u200c", "\u200d", "\ufeff", "\u2060", "\u200e", "\u200f", "\u061c", "\u2066", "\u2069"),
    *("\u202a", "\u202c", "\u034f", "\ufe0f", "\u180e", "\u2063"),
)


def read(folder: Path, data: bytes, name: str = "a.txt") -> str:
    (folder / name).write_bytes(data)
    return article.read_article(folder / name)


# --- characters that nobody sees --------------------------------------------------------------------------------


@given(st.data(), st.sampled_from(sorted(TEXTS)))
@settings(max_examples=150, deadline=None)
def test_what_nobody_sees_never_matters(data: st.DataObject, text: str) -> None:
    said, wanted = TEXTS[text]
    places = data.draw(st.lists(st.integers(0, len(said)), max_size=30))
    for at in sorted(places, reverse=True):
        said = said[:at] + data.draw(st.sampled_from(UNSEEN)) + said[at:]
    assert ids(said) == wanted


@given(st.data(), st.sampled_from(sorted(TEXTS)))
@settings(max_examples=100, deadline=None)
def test_markup_within_words_never_matters(data: st.DataObject, text: str) -> None:
    """`Hua<b>yra</b>`, `Hua&shy;yra`, `Hua<wbr>yra`: a page parts words where a person sees them parted."""
    said, wanted = TEXTS[text]
    marks = ["&shy;", "<wbr>", "<b></b>", "</i>", "<!-- x -->", "&#8203;", "<x-y>", "<script>Audi TT</script>", "&zwj;"]
    letters = [c.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>") for c in said]
    for at in data.draw(st.lists(st.integers(0, len(letters) - 1), max_size=20)):
        letters[at] += data.draw(st.sampled_from(marks))
    assert ids(plain(f"<!doctype html><p>{''.join(letters)}")) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "Pagani\u00a0Huayra",
        "Pagani\u202fHua\u00adyra",
        "Rolls\u2011Royce Phantom",
        "Mercedes\u2011Benz\u00a0SLR McLaren",
        "\ufb01at 500 Topolino",
        "\uff30\uff41\uff47\uff41\uff4e\uff49 \uff28uayra",
        "Citroe\u0308n\u2009DS",
        "\u2066Pagani\u2069 \u200eHuayra",
    ],
)
def test_other_forms_of_letters_spaces_and_hyphens_are_the_same(text: str) -> None:
    plainly = {
        "R": "rolls-royce-phantom",
        "M": "mercedes-benz-slr-mclaren",
        "\ufb01": "fiat-500-topolino",
        "C": "citroen-ds",
    }
    found = ids(f"A {text}.")
    assert found
    assert found[0].startswith(plainly.get(text[0], "pagani-huayra"))


def test_a_mention_stands_as_it_is_in_the_text() -> None:
    text = "\ufeffEin Lam\u00adborghini\u200b Coun\u00adtach."
    (mention,) = article.find_mentions(text)
    assert text[mention.offset :].startswith(mention.words)
    assert mention.words == "Lam\u00adborghini\u200b Coun\u00adtach"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_name_that_was_pasted_finds_its_car(data: st.DataObject) -> None:
    cars = catalog.load_catalog("mille-miglia-2013").cars
    car = data.draw(st.sampled_from(cars))
    name = car.name
    for at in data.draw(st.lists(st.integers(0, len(car.name)), max_size=5)):
        name = name[:at] + data.draw(st.sampled_from(UNSEEN)) + name[at:]
    assert catalog.match_car(name.replace(" ", data.draw(st.sampled_from([" ", "\u00a0", "\u202f"]))), cars) == [car]


def test_pasted_names_in_a_catalog_in_labels_and_in_a_query(gallery: Gallery) -> None:
    gallery.catalog.write_text(
        gallery.catalog.read_text().replace("Red Racer", "Red\u00a0Ra\u00adcer\u200b", 1), encoding="utf-8"
    )
    gallery.paint("a.jpg", "red")
    gallery.tag()
    (car, *_) = cartag.cars(gallery.catalog).cars
    assert (car.id, car.name) == ("red-racer", "Red Racer"), "what the model is asked for"
    assert gallery.find("Red Ra\u00adcer") == ["a.jpg"]
    labels = gallery.path.parent / "labels.csv"
    labels.write_text("file,label\na.jpg,Red\u00a0Ra\u00adcer\n", encoding="utf-8")
    assert cartag.evaluate(gallery.path, labels).accuracy == 1


def test_two_names_that_look_the_same_are_one(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("cars: [Red Racer, Red Ra\u00adcer]\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="already means"):
        cartag.cars(file)
    file.write_text('cars: ["\u200b"]\n', encoding="utf-8")
    with pytest.raises(CatalogError, match="expected a text"):
        cartag.cars(file)


# --- pages ------------------------------------------------------------------------------------------------------

PAGE = (
    "<!doctype html><html><head><meta charset=utf-8><title>Report</title></head><body><h1>Sunday</h1>"
    "<ul><li>A Lamborghini Countach</li><li>rain</li></ul><table><tbody><tr><td>a Pagani</td><td>Zonda</td></tr>"
    "<tr><td>Pagani Huayra</td></tr></tbody></table><p>End.</p></body></html>"
)
OPTIONAL = (
    *("<html>", "<head>", "</head>", "<body>", "</body>", "</html>", "</li>", "</td>", "</tr>", "<tbody>"),
    *("</tbody>", "</p>"),
)


@given(st.sets(st.sampled_from(OPTIONAL)))
@settings(deadline=None)
def test_optional_tags_never_matter(left_out: set[str]) -> None:
    page = PAGE
    for tag in left_out:
        page = page.replace(tag, "")
    assert ids(plain(page)) == ["lamborghini-countach", "pagani-zonda-f", "pagani-huayra"]
    assert plain(page).split() == plain(PAGE).split()


@pytest.mark.parametrize(
    "page",
    [
        "<head><title>x</title>A {}",
        "<head><meta charset=utf-8><link rel=x href=y><style>x</style>\n<script>Audi TT</script><p>A {}",
        "<head></head>A {}",
        "<title>x</title><header>A {}",
        "<head><custom-tag>A {}",
        "<meta charset=utf-8><h1>A {}",
        "<p>A {}</body></html>",
        "</p>A {}<p>",
        "<p>A <em>{}</em>",
        "<div hidden>Audi TT</div>A {}",
        "<p hidden>Audi TT<p>A {}",
        "<li hidden>Audi TT<li>A {}",
        "<p style='color:red; display: none'>Audi TT<p>A {}",
        "<ul><li hidden>Audi TT<ul><li>Audi TT</ul>Audi TT<li>A {}</ul>",
        "<table><tr hidden><td>Audi TT<tr><td>A {}</table>",
        "<template><p>Audi TT</template>A {}",
        "<noscript><p>Audi TT</noscript>A {}",
        "<svg><title>Audi TT</title></svg>A {}",
        "<svg><path d=x>Audi TT<p>A {}",
        "<dialog>Audi TT</dialog>A {}",
        "<body style='visibility:hidden'>A {}",
        "<p hidden='until-found'>A {}",
        "<br/>A {}",
        "<p/>A {}",
        "<br hidden>A {}",
    ],
)
def test_what_is_seen_is_read_and_nothing_else(page: str) -> None:
    assert ids(plain(page.format("Pagani Huayra"))) == ["pagani-huayra"]


@pytest.mark.parametrize(
    ("markup", "read_as"),
    [
        ("Pagani<br>Huayra", ["pagani-huayra"]),
        ("Hua<b>y</b>ra", ["pagani-huayra"]),
        ("Pagani Hua<b>yra</b>", ["pagani-huayra"]),
        ("Pagani <x-tag>Hua</x-tag>yra", ["pagani-huayra"]),
        ("Audi <p>TT", []),
        ("Porsche 959<sup>1</sup>", ["porsche-959"]),
        ("Porsche<img src=x>959", ["porsche-959"]),
        ("<p>BMW<p>M1 is a motorway", []),
    ],
)
def test_words_are_parted_where_a_browser_parts_them(markup: str, read_as: list[str]) -> None:
    assert ids(plain(f"<!doctype html>{markup}")) == read_as


def test_a_fragment_is_known_by_its_tags_or_its_name(tmp_path: Path) -> None:
    assert ids(read(tmp_path, b"Pagani Hua<b>yra</b>")) == ["pagani-huayra"]
    assert ids(read(tmp_path, b"Pagani Hua&shy;yra", "a.html")) == ["pagani-huayra"]
    assert ids(read(tmp_path, b"x < 3, y > 4: Pagani Huayra")) == ["pagani-huayra"]


# --- web archives -----------------------------------------------------------------------------------------------

HTML = (
    "<html><head><meta charset=utf-8><title>x</title></head><p>A Citro\u00ebn DS and a Pagani Hua\u00adyra; " + "x" * 80
)
IN_IT = ["citroen-ds", "pagani-huayra"]


def part(kind: str, encoding: str, body: bytes, *more: str) -> bytes:
    coded = {"quoted-printable": quopri.encodestring, "base64": base64.encodebytes}.get(encoding, bytes)(body)
    head = [f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + coded


def archive(*parts: bytes, more: str = 'type="text/html"', kind: str = "related") -> bytes:
    head = f'From: <Saved by Blink>\r\nSnapshot-Content-Location: http://a/\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/{kind};\r\n\t{more};\r\n\tboundary="--B=_1"\r\n\r\n'
    return head.encode() + b"".join(b"\r\n----B=_1\r\n" + p for p in parts) + b"\r\n----B=_1--\r\n"


OTHER = part("text/html", "8bit", b"<p>Audi TT", "Content-ID: <frame@b>")
PICTURE = part("image/jpeg", "base64", b"\xff\xd8\xffAudi TT")


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit", "binary"])
@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("", "utf-8"),
        ('; charset="utf-8"', "utf-8"),
        ("; charset=windows-1252", "cp1252"),
        ("; charset=UTF-16", "utf-16"),
    ],
)
def test_a_saved_page_is_read(tmp_path: Path, encoding: str, charset: str, codec: str) -> None:
    page = part(f"text/html{charset}", encoding, HTML.encode(codec))
    assert ids(read(tmp_path, archive(page, PICTURE, OTHER), "page.mhtml")) == IN_IT


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_saved_page_is_known_by_its_content(tmp_path: Path, line_end: bytes) -> None:
    data = archive(part("text/html", "quoted-printable", HTML.encode())).replace(b"\r\n", line_end)
    for name in ("a.txt", "a.html", "a.mht"):
        assert ids(read(tmp_path, data, name)) == IN_IT
    assert ids(read(tmp_path, b"\n\n" + data)) == IN_IT
    assert ids(read(tmp_path, b"From - Mon Jan 1\n" + data)) == IN_IT


@pytest.mark.parametrize("lost", range(1, 9))
def test_of_an_archive_that_ends_too_early_what_is_there_is_read(tmp_path: Path, lost: int) -> None:
    whole = b"MIME-Version: 1.0\n" + part("text/html", "base64", HTML.encode() + b"<p>" + b"x" * 97).rstrip(b"=\n")
    assert ids(read(tmp_path, whole[:-lost], "page.mhtml")) == IN_IT


def test_the_page_is_the_root_of_the_archive(tmp_path: Path) -> None:
    page = part("text/html", "base64", HTML.encode(), "Content-ID: <root@b>")
    assert ids(read(tmp_path, archive(OTHER, page, more='start="<root@b>"'))) == IN_IT
    assert ids(read(tmp_path, archive(page, OTHER))) == IN_IT
    assert ids(read(tmp_path, archive(OTHER, page, more='start="<gone@b>"'))) == ["audi-tt"]
    assert ids(read(tmp_path, archive(PICTURE, page))) == IN_IT, "a root that is no page"


def test_a_mail_is_read(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"] = "Cars", "a@b.c"
    mail.set_content("A Pagani Zonda F, as plain text.")
    mail.add_alternative(HTML, subtype="html")
    mail.add_attachment(b"Audi TT", maintype="text", subtype="plain", filename="x.txt")
    assert ids(read(tmp_path, mail.as_bytes(), "a.eml")) == IN_IT


def test_a_text_that_begins_like_a_header_is_a_text(tmp_path: Path) -> None:
    text = b"Title: a report\nDate: Sunday\n\nMIME-Version: none. A Pagani Huayra.\n"
    assert not is_message(text)
    assert ids(read(tmp_path, text)) == ["pagani-huayra"]


def test_a_page_of_safari_is_read(tmp_path: Path) -> None:
    main = {
        "WebResourceData": HTML.encode(),
        "WebResourceMIMEType": "text/html",
        "WebResourceTextEncodingName": "UTF-8",
    }
    data = plistlib.dumps({"WebMainResource": main, "WebSubresources": []}, fmt=plistlib.FMT_BINARY)
    assert ids(read(tmp_path, data, "a.webarchive")) == IN_IT


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as f:
        f.writestr("word/document.xml", "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7\n", "is a PDF, no text; copy its words"),
        (_zip(), "DOCX"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "DOC"),
        (b"{\\rtf1 Pagani}", "RTF"),
        (gzip.compress(b"<p>x", mtime=0), "gunzip"),
        (b"\xff\xd8\xff\xe0", "picture"),
        (archive(PICTURE), "a message without a text or a page"),
        (b"MIME-Version: 1.0\nContent-Type: image/png\n\nx", "a message without a text or a page"),
        (b"bplist00" + b"x" * 40, "no web archive"),
        (plistlib.dumps({"WebMainResource": {}}, fmt=plistlib.FMT_BINARY), "no web archive"),
        (archive(part("text/html; charset=no-such", "8bit", b"<p>x")), "'no-such'"),
        (archive(part("text/html; charset=utf-8", "8bit", b"<p>\xff")), "its header"),
    ],
    ids=["pdf", "docx", "doc", "rtf", "gzip", "jpeg", "no-page", "png", "bplist", "no-page-bplist", "charset", "bytes"],
)
def test_what_is_no_article_is_named_with_what_to_do(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ArticleError, match=re.escape(words)) as raised:
        read(tmp_path, data)
    assert "\n" not in str(raised.value)
    assert ";" in str(raised.value), "what to do"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (HTML.encode("utf-16-le"), IN_IT),
        (HTML.encode("utf-16-be"), IN_IT),
        (HTML.replace("utf-8", "utf-16le").encode(), IN_IT),
        (b"\xef\xbb\xbf" + HTML.replace("utf-8", "iso-8859-1").encode(), IN_IT),
        (HTML.replace("utf-8", "iso-8859-1").encode("cp1252"), IN_IT),
        (HTML.replace("utf-8", "gb2312").encode("gb18030"), IN_IT),
    ],
)
def test_the_bytes_say_more_than_a_meta_tag(tmp_path: Path, data: bytes, found: list[str]) -> None:
    assert ids(read(tmp_path, data)) == found


@pytest.mark.parametrize("tag", ["div", "p><b", "li><ul", "noscript", "td", "font"])
def test_a_page_that_leaves_thousands_of_elements_open_is_read_as_fast_as_any(tag: str) -> None:
    begin = time.perf_counter()
    words = plain(f"<{tag}>" * 30_000 + "</noscript>" * 30_000 + "Pagani <b>Huayra</b>" + "</div>" * 30_000)
    assert words.split() == ["Pagani", "Huayra"]
    assert time.perf_counter() - begin < 10
