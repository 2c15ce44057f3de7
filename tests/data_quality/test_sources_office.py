"""EPUB and DOCX, and the limits of the archives they are."""

import contextlib
import sys
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.config import DocxSource, EpubSource
from data_quality.sources import docx as docx_reader
from data_quality.sources import epub as epub_reader
from data_quality.sources import zipped
from data_quality.sources.base import BadInput, InputError, Record, Skip, SourceNotFound
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.office import CONTAINER, archive, docx, epub, paragraph
from tests.data_quality.test_sources_streams import ref

READERS = {
    "epub": (epub_reader.read, EpubSource(format="epub", paths=("x",))),
    "docx": (docx_reader.read, DocxSource(format="docx", paths=("x",))),
}
DOCTYPE = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">'
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>no</title></head><body>{}</body></html>'
)


def text_of(tmp_path, format, data, **options):
    (document,) = ingest_one(tmp_path, format, data, **options).documents.values()
    return document.text


def ingest_one(tmp_path, format, data, **options):
    path = write(tmp_path / f"a.{format}", data)
    return ingest(tmp_path, {"format": format, "paths": [str(path)], **options})


def test_a_book_is_a_document_in_the_order_of_its_spine(tmp_path):
    data = epub({"a b.xhtml": "<p>One</p>", "c.xhtml": "<p>Two</p>"}, ["c.xhtml", "a b.xhtml"], "zh-Hant")
    (document,) = ingest_one(tmp_path, "epub", data).documents.values()
    assert (document.id, document.text, document.language) == ("epub:a.epub", "Two\n\nOne", "zh")
    assert document.metadata == {"title": "A Book", "author": "One; Two", "language": "zh-Hant"}
    given_language = ingest_one(tmp_path / "b", "epub", data, language="yue").documents.values()
    assert [document.language for document in given_language] == ["yue"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<h1>Head</h1><p>one\n two <i>three</i>four</p>", "Head\n\none two threefour"),
        ("<p>one<br/>two</p>", "one\ntwo"),
        ("<ul><li>a</li><li><p>b</p></li></ul><p>c</p>", "- a\n- b\n\nc"),
        ("<ul><li><p>a</p><p>more</p></li></ul>", "- a\n\nmore"),
        ("<table><tr><th>a</th><td>b</td></tr><tr><td><p>1</p><p>2</p></td><td/></tr></table>", "a\tb\n1 2"),
        ("<table><tr><td>x<table><tr><td>in</td><td>ner</td></tr></table></td><td>y</td></tr></table>", "x in ner\ty"),
        ("<pre>  if x:\n    y</pre>", "  if x:\n    y"),
        ("<p><ruby>漢<rt>かん</rt></ruby>字</p>", "漢字"),
        ("<script>no</script><nav><p>no</p></nav><p>yes</p><style>no</style>", "yes"),
        (DOCTYPE.format("<p>&ldquo;a&nbsp;b&rdquo; &amp; &eacute;</p>"), "“a\xa0b” & é"),
        ("<p>soup<br>and <b>bold<p>next &nbsp;x & y", "soup\nand bold\n\nnext \xa0x & y"),
        ("<div>a<div>b</div>c</div>", "a\n\nb\n\nc"),
    ],
)
def test_a_chapter(tmp_path, body, expected):
    assert text_of(tmp_path, "epub", epub({"a.xhtml": body})) == expected


def test_a_chapter_that_is_missing_is_a_skip_beside_the_book(tmp_path):
    data = epub({"a.xhtml": "<p>One</p>", "b.xhtml": "<p>Two</p>"})
    path = write(tmp_path / "whole.epub", data)
    with zipfile.ZipFile(path) as whole:
        entries = {name: whole.read(name) for name in whole.namelist() if not name.endswith("b.xhtml")}
    out = ingest_one(tmp_path, "epub", archive(entries))
    assert out.texts == ["One"]
    assert [(row["reason"], row["detail"]) for row in out.skipped] == [
        ("missing_chapter", "the book names OEBPS/b.xhtml, which is not in it")
    ]


def test_fonts_may_be_encrypted_and_chapters_not(tmp_path):
    encryption = '<encryption><CipherReference URI="OEBPS/{}"/></encryption>'
    more = {"META-INF/encryption.xml": encryption.format("font.otf")}
    assert text_of(tmp_path, "epub", epub({"a.xhtml": "<p>One</p>"}, **more)) == "One"
    more = {"META-INF/encryption.xml": encryption.format("a.xhtml")}
    assert ingest_one(tmp_path / "b", "epub", epub({"a.xhtml": "<p>One</p>"}, **more)).reasons == ["encrypted"]


DELETED_END = "<w:rPr><w:del/></w:rPr>"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (paragraph("One ") + paragraph("") + paragraph("Two"), "One\n\nTwo"),
        (paragraph("a", "<w:numPr/>") + paragraph("b", "<w:numPr/>") + paragraph("c"), "- a\n- b\n\nc"),
        ("<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:noBreakHyphen/></w:r></w:p>", "a\tb\n-"),
        ("<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>a</w:t></w:r></w:p>", "a"),
        (
            "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>",
            "new",
        ),
        (f"<w:moveFrom>{paragraph('from')}</w:moveFrom><w:moveTo>{paragraph('to')}</w:moveTo>", "to"),
        (paragraph("joined ", DELETED_END) + paragraph("on"), "joined on"),
        (paragraph("last", DELETED_END), "last"),
        (
            f"<w:tbl><w:tr><w:tc>{paragraph('a')}</w:tc><w:tc>{paragraph('b')}{paragraph('c')}</w:tc></w:tr>"
            f"<w:tr><w:trPr><w:del/></w:trPr><w:tc>{paragraph('gone')}</w:tc></w:tr>"
            f"<w:tr><w:tc>{paragraph('d')}</w:tc></w:tr></w:tbl>",
            "a\tb c\nd",
        ),
        (
            "<w:p><w:r><mc:AlternateContent><mc:Choice><w:txbxContent>"
            f"{paragraph('box')}</w:txbxContent></mc:Choice><mc:Fallback>{paragraph('box')}</mc:Fallback>"
            "</mc:AlternateContent><w:t>around</w:t></w:r></w:p>",
            "box\n\naround",
        ),
    ],
)
def test_the_body_of_a_word_document(tmp_path, body, expected):
    assert text_of(tmp_path, "docx", docx(body)) == expected


def test_a_document_written_by_python_docx(tmp_path):
    library = pytest.importorskip("docx")
    document = library.Document()
    document.add_heading("Heading", 1)
    document.add_paragraph("中文 text")
    document.add_paragraph("item", style="List Bullet")
    table = document.add_table(2, 2)
    for n, cell in enumerate(table._cells):
        cell.text = f"cell {n}"
    document.core_properties.title = "T"
    document.save(tmp_path / "a.docx")
    (made,) = ingest(tmp_path, {"format": "docx", "paths": [str(tmp_path / "a.docx")]}).documents.values()
    assert made.text == "Heading\n\n中文 text\n\nitem\n\ncell 0\tcell 1\ncell 2\tcell 3"
    assert made.metadata["title"] == "T"


def test_footnotes_when_asked_for(tmp_path):
    notes = f'<w:footnotes xmlns:w="w"><w:footnote>{paragraph("A note.")}</w:footnote></w:footnotes>'
    data = docx(paragraph("Text."), **{"word/footnotes.xml": notes})
    assert text_of(tmp_path, "docx", data) == "Text."
    assert text_of(tmp_path / "b", "docx", data, footnotes=True) == "Text.\n\nA note."


@pytest.mark.parametrize("piece", ["<!--", "<![CDATA[", "<a b='", "</", "<?x ", "&", "<p>", "<b>", "<title>"])
def test_endless_markup_takes_no_endless_time(tmp_path, piece):
    data = epub({"a.xhtml": "<p>start</p>" + piece * 200_000 + "<p"}, more="")
    assert len(ingest_one(tmp_path, "epub", data).documents) == 1


def test_without_the_library_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lxml", None)
    with pytest.raises(SourceNotFound, match=r"format epub: lxml, which reads such files, is not installed: pip"):
        ingest_one(tmp_path, "epub", b"x")


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><x>&b;</x>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><x>&a;</x>'
BOMB = f"<p>{'x' * (8 << 20)}</p>"
TAG = "".join(f"{n:x}" for n in range(1 << 20))
WORDS = "".join(f"<p>{n:x}</p>" for n in range(30_000))
OLE = zipped.OLE_MAGIC + b"\0" * 600


def encrypted_zip():
    data = bytearray(docx(paragraph("x")))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(magic, place + 1)) >= 0:
            data[place + at] |= 1
    return bytes(data)


FAULTS = [
    ("docx", "empty_file", b"", {}, "no record"),
    ("docx", "corrupt", b"not a zip", {}, "not a ZIP archive"),
    ("docx", "corrupt", archive({"a.txt": "x"}), {}, "no Word document: the archive has no word/document.xml"),
    ("docx", "corrupt", OLE, {}, "old binary Office format: save it as .docx"),
    ("docx", "encrypted", OLE + "EncryptedPackage".encode("utf-16-le"), {}, "opens only with a password"),
    ("docx", "encrypted", encrypted_zip(), {}, "opens only with a password"),
    ("docx", "invalid_xml", archive({"word/document.xml": "<a><b></a>"}), {}, "word/document.xml: mismatched tag"),
    ("docx", "xml_entities", archive({"word/document.xml": ENTITIES}), {}, "declares XML entities"),
    ("docx", "xml_entities", archive({"word/document.xml": EXTERNAL}), {}, "declares XML entities"),
    ("docx", "archive_bomb", docx(paragraph("x" * (8 << 20))), {}, "word/document.xml unpacks"),
    ("docx", "archive_bomb", docx(paragraph("x" * 2000)), {"max_unpacked_bytes": 1000}, "max_unpacked_bytes is 1000"),
    ("docx", "too_long", docx(paragraph("x" * 101)), {"max_record_bytes": 100}, "101 bytes; max_record_bytes is 100"),
    ("docx", "too_long", docx(f'<w:p a="{TAG}">'), {}, "word/document.xml has a tag of more than 4194304 bytes"),
    ("docx", "empty_document", docx(""), {}, "no text"),
    ("epub", "archive_bomb", epub({"a.xhtml": BOMB}), {}, "a.xhtml unpacks"),
    ("epub", "archive_bomb", epub({"a.xhtml": WORDS}), {"max_unpacked_bytes": 100_000}, "a.xhtml is beyond"),
    ("epub", "too_long", epub({"a.xhtml": WORDS}), {"max_record_bytes": 1000}, "max_record_bytes is 1000"),
    ("epub", "corrupt", archive({"mimetype": "x"}), {}, "no META-INF/container.xml in the archive"),
    ("epub", "corrupt", archive({"META-INF/container.xml": "<a/>"}), {}, "names no package"),
    ("epub", "corrupt", archive({"META-INF/container.xml": CONTAINER}), {}, "no OEBPS/content.opf in the archive"),
    ("epub", "xml_entities", epub({"a.xhtml": ENTITIES}), {}, "OEBPS/a.xhtml declares XML entities"),
    ("epub", "bad_encoding", epub({"a.xhtml": "?"}, **{"OEBPS/a.xhtml": b"<p>\xff"}), {}, "a.xhtml: not utf-8"),
    ("epub", "empty_document", epub({"a.xhtml": "<p/>"}), {}, "no text"),
]


@pytest.mark.parametrize(("format", "reason", "data", "options", "detail"), FAULTS, ids=lambda value: str(value)[:16])
def test_a_bad_file_is_recorded(tmp_path, format, reason, data, options, detail):
    out = ingest_one(tmp_path, format, data, **options)
    assert not out.documents
    (row,) = out.skipped
    assert (row["file"], row["reason"]) == (f"a.{format}", reason)
    assert detail in row["detail"]
    if reason != "empty_document":
        with pytest.raises(BadInput, match=rf"^a\.{format}: {reason}: "):
            ingest_one(tmp_path, format, data, on_bad_input="error", **options)


def test_limits_do_not_fire_just_below(tmp_path):
    assert text_of(tmp_path / "a", "docx", docx(paragraph("x" * 100)), max_record_bytes=100) == "x" * 100
    honest = "".join(f"{n % 5000:x} " for n in range(1_500_000))
    assert len(text_of(tmp_path / "b", "docx", docx(paragraph(honest)))) == len(honest) - 1


def test_entries_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(zipped, "MAX_ENTRIES", 2)
    data = docx(paragraph("x"))
    assert text_of(tmp_path / "a", "docx", data) == "x"
    out = ingest_one(tmp_path / "b", "docx", docx(paragraph("x"), more="y"))
    assert (out.reasons, out.skipped[0]["detail"]) == (["archive_bomb"], "3 entries; at most 2 are read")


def test_an_archive_inside_is_not_opened(tmp_path):
    assert text_of(tmp_path, "docx", docx(paragraph("x"), **{"word/inner.docx": docx(paragraph("y"))})) == "x"


VALID = {
    "epub": epub({"a.xhtml": "<h1>One</h1><table><tr><td>a</td></tr></table>", "b.xhtml": "<p>soup<p>&nbsp;"}),
    "docx": docx(paragraph("One", "<w:numPr/>") + f"<w:tbl><w:tr><w:tc>{paragraph('a')}</w:tc></w:tr></w:tbl>"),
}


def readings(format, path):
    read, source = READERS[format]
    with contextlib.suppress(InputError):
        assert all(isinstance(item, Record | Skip) for item in read(ref(path), source))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(["epub", "docx"]))
def test_any_bytes(tmp_path_factory, data, format):
    valid = VALID[format]
    kind = data.draw(st.sampled_from(["any", "cut", "changed"]))
    if kind == "any":
        content = data.draw(st.binary(max_size=200))
    elif kind == "cut":
        content = valid[: data.draw(st.integers(0, len(valid)))]
    else:
        changed = bytearray(valid)
        for at, byte in data.draw(
            st.lists(st.tuples(st.integers(0, len(valid) - 1), st.integers(0, 255)), max_size=10)
        ):
            changed[at] = byte
        content = bytes(changed)
    path = tmp_path_factory.getbasetemp() / f"fuzz.{format}"
    path.write_bytes(content)
    readings(format, path)


TAGS = [
    "p",
    "t",
    "r",
    "tbl",
    "tr",
    "tc",
    "del",
    "pPr",
    "rPr",
    "li",
    "ul",
    "table",
    "td",
    "pre",
    "head",
    "body",
    "br",
    "rt",
]
SOUP = st.lists(
    st.one_of(
        st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS]),
        st.sampled_from(["text", "&nbsp;", "&", "<", "<!--", "]]>", "\n", "中", "<![CDATA[", "<?x", "\x0b"]),
    ),
    max_size=30,
).map("".join)


def nest(children):
    return st.builds(lambda tag, inside: f"<{tag}>{''.join(inside)}</{tag}>", st.sampled_from(TAGS), st.lists(children))


@settings(max_examples=150, deadline=None)
@given(st.one_of(SOUP, st.recursive(st.just("<t>x</t>"), nest, max_leaves=20)), st.sampled_from(["epub", "docx"]))
def test_any_markup(tmp_path_factory, markup, format):
    path = tmp_path_factory.getbasetemp() / f"markup.{format}"
    path.write_bytes(epub({"a.xhtml": markup}) if format == "epub" else docx(markup))
    readings(format, path)
