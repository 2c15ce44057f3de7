import contextlib
import os
import sys
from io import BytesIO

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from data_quality.config import IngestConfig, PdfSource
from data_quality.pieces import list_pieces
from data_quality.sources import pdf as reader
from data_quality.sources.base import BadInput, InputError, Record, Skip, SourceNotFound
from data_quality.sources.pdf_layout import text_of
from data_quality.sources.pdf_lines import Line
from data_quality.sources.pdf_running import without_running_lines
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.office import pdf
from tests.data_quality.test_sources_streams import ref

SOURCE = PdfSource(format="pdf", paths=("x",))
WIDE = "a line that is as wide as the column in which all of the words of this stand"


def source(path, **options):
    return {"format": "pdf", "paths": [str(path)], **options}


def read(tmp_path, data, **options):
    """The only thing that a reading gives."""
    (item,) = reader.read(ref(write(tmp_path / "a.pdf", data)), SOURCE.model_copy(update=options))
    return item


def down(*lines, x=72, top=700, step=12):
    """Lines under each other; None is an empty one."""
    return [(x, top - step * n, line) for n, line in enumerate(lines) if line is not None]


def test_a_file_is_a_document_with_its_title(tmp_path):
    write(tmp_path / "in/b/a.pdf", pdf([down("Hello.")]))
    out = ingest(tmp_path, source(tmp_path / "in", language="en"))
    assert list(out.documents) == ["pdf:b/a.pdf"]
    document = out.documents["pdf:b/a.pdf"]
    assert (document.text, document.language) == ("Hello.", "en")
    assert document.metadata == {"title": "Title", "author": "Author", "pages": 1, "running_lines_removed": 0}


def test_a_compressed_file_is_read_too(tmp_path):
    write(tmp_path / "a.pdf.zst", pdf([down("Hello.")]))
    assert ingest(tmp_path, source(tmp_path)).texts == ["Hello."]


def test_lines_become_paragraphs(tmp_path):
    lines = [WIDE, WIDE, "and its end.", None, WIDE, "and the end of the second."]
    assert read(tmp_path, pdf([down(*lines)])).text == (
        f"{WIDE} {WIDE} and its end.\n\n{WIDE} and the end of the second."
    )


def test_an_indent_begins_a_paragraph_and_a_short_line_ends_one(tmp_path):
    page = [(72, 700, WIDE), (72, 688, WIDE), (90, 676, "Indented, " + WIDE[:60]), (72, 664, WIDE)]
    assert read(tmp_path, pdf([page])).text == f"{WIDE} {WIDE}\n\nIndented, {WIDE[:60].strip()} {WIDE}"
    assert read(tmp_path, pdf([down(WIDE, "x = 1", "y = 2", WIDE)])).text == f"{WIDE} x = 1\ny = 2\n{WIDE}"


def test_items_of_a_list_stay_apart(tmp_path):
    assert read(tmp_path, pdf([down(f"1. {WIDE}", f"2. {WIDE}", WIDE)])).text == f"1. {WIDE}\n2. {WIDE} {WIDE}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["the communi-", "cation"], "the communication"),  # plainly hyphenated
        (["a state-of-the-", "art thing"], "a state-of-the-art thing"),
        (["with UTF-", "8 text"], "with UTF-8 text"),
        (["COMMUNI-", "CATION"], "COMMUNICATION"),
        (["the well-", "known, but also well-known"], "the well-known, but also well-known"),  # occurs elsewhere
        (["the re-", "enter and reenter"], "the reenter and reenter"),
    ],
)
def test_hyphens_at_line_ends(tmp_path, lines, expected):
    assert read(tmp_path, pdf([down(*lines)])).text == expected


NAMES = "alpha beta gamma delta epsilon zeta eta theta".split()  # noqa: SIM905


def book(pages, top=lambda n: "Running Title", bottom=lambda n: f"- {n} -"):
    return [
        [
            (72, 800, top(n)),
            *down(*(f"{WIDE} {NAMES[n - 1]} {k}" for k in range(20)), f"word{n} of the page"),
            (280, 30, bottom(n)),
        ]
        for n in range(1, pages + 1)
    ]


def test_running_lines_are_removed_and_counted(tmp_path):
    item = read(tmp_path, pdf(book(8)))
    assert item.metadata["running_lines_removed"] == 16
    assert "Running" not in item.text
    assert "- 3 -" not in item.text
    assert all(f"word{n} of the page" in item.text for n in range(1, 9))


def test_left_and_right_pages_may_differ(tmp_path):
    item = read(tmp_path, pdf(book(8, lambda n: "The Book" if n % 2 else "The Author")))
    assert item.metadata["running_lines_removed"] == 16


def test_titles_of_chapters_beside_the_page_number(tmp_path):
    item = read(tmp_path, pdf(book(8, lambda n: f"Chapter of {'abcdefgh'[n - 1]} {n + 20}", lambda n: "Foot")))
    assert "Chapter of" not in item.text
    item = read(tmp_path, pdf(book(8, lambda n: f"Chapter of {'abcdefgh'[n - 1]} {n * n + 20}", lambda n: "Foot")))
    assert "Chapter of" in item.text  # a number, but not the page's


def test_what_does_not_recur_stays(tmp_path):
    item = read(tmp_path, pdf(book(8, lambda n: "Only here" if n in (2, 5) else f"{'abcdefgh'[n - 1]} begins")))
    assert item.text.count("Only here") == 2
    assert item.metadata["running_lines_removed"] == 8  # the page numbers
    assert read(tmp_path, pdf(book(2))).metadata["running_lines_removed"] == 0  # too few to tell


def line(text, y, height=10.0, x=72.0):
    return Line(text, x, y, x + 5 * len(text), y + height, False)


def test_titles_of_slides_stay():
    slides = [[line(f"Results {name}", 500, 24), line(name, 300), line("text", 200)] for name in ["so far"] * 3 + NAMES]
    assert without_running_lines(slides) == [page[:2] for page in slides]
    titles = ["so far"] * 3 + NAMES[:5]
    small = [
        [line(f"Results {title}", 500), line(f"what {name} says", 300), line(f"and {name} does", 200)]
        for title, name in zip(titles, NAMES, strict=True)
    ]
    assert without_running_lines(small) == [page[1:] for page in small[:3]] + small[3:]


def test_a_form_with_other_numbers_on_each_page_stays():
    forms = [[line(f"Total: {n * 37}.50", 700), line(f"{n * 11} {n * 13}", 690), line("paid", 400)] for n in range(9)]
    assert without_running_lines(forms) == [page[:2] for page in forms]


@pytest.mark.parametrize("number", ["{}", "- {} -", "Page {} of 9", "{} / 9", "3-{}", "The Book {} of 9 by the Author"])
def test_page_numbers(number):
    pages = [[line(name, 700), line(number.format(n + 3), 50)] for n, name in enumerate(NAMES)]
    assert without_running_lines(pages) == [page[:1] for page in pages]
    roman = [
        [line(name, 700), line(numeral, 50)] for name, numeral in zip(NAMES, ["iii", "iv", "v", "vi"], strict=False)
    ]
    assert without_running_lines(roman) == [page[:1] for page in roman]


def test_pages_that_are_all_alike_keep_their_text():
    assert text_of([[line("Certificate.", 500)]] * 4) == ("\n\n".join(["Certificate."] * 4), 0)


def test_columns_are_read_one_after_the_other(tmp_path):
    left = down(*["left words that fill the column"] * 5, "left end.")
    right = down(*["right words that fill the column"] * 5, "right end.", x=320)
    text = read(tmp_path, pdf([left + right])).text
    assert text.index("left end.") < text.index("right words")


def test_a_paragraph_goes_on_over_the_page(tmp_path):
    pages = [down(*[WIDE] * 30), down("and goes on here.", "Then more.")]
    assert f"{WIDE} and goes on here." in read(tmp_path, pdf(pages)).text


def test_chinese_lines_are_joined_without_a_space(tmp_path):
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    lines = ["中文文本的第一行写到行末就换行了", "第二行接着第一行，然后在这里结束。"]
    assert read(tmp_path, pdf([down(*lines)], font="STSong-Light")).text == "".join(lines)


def test_rotated_pages(tmp_path):
    texts = []
    for rotation in (0, 90, 180, 270):
        buffer = BytesIO()
        canvas = Canvas(buffer, pagesize=(600, 800), invariant=True)
        canvas.setPageRotation(rotation)
        # Drawn so that it reads upright when the page is turned.
        if rotation == 90:
            canvas.translate(600, 0)
        elif rotation == 180:
            canvas.translate(600, 800)
        elif rotation == 270:
            canvas.translate(0, 800)
        canvas.rotate(rotation)
        for x, y, text in down(WIDE, WIDE, "end.", None, WIDE, top=500):
            canvas.drawString(x, y, text)
        canvas.save()
        texts.append(read(tmp_path, buffer.getvalue()).text)
    assert texts == [f"{WIDE} {WIDE} end.\n\n{WIDE}"] * 4


def test_letters_with_accents_of_their_own():
    assert (
        text_of([[line("P´eter Juh´asz, Mikul´ık, Br¨oker; ˜/.rc", 100)]])[0] == "Péter Juhász, Mikulík, Bröker; ˜/.rc"
    )


def test_a_table_of_contents_keeps_its_lines():
    page = [line(f"{n} Chapter . . . . . . . . . . . {n * 9}", 700 - 12 * n) for n in range(3)]
    assert text_of([page])[0] == "0 Chapter\t0\n1 Chapter\t9\n2 Chapter\t18"


def faults():
    yield "no_text_layer", pdf([[], []]), {}, "2 pages without text: a scan needs OCR first"
    yield "encrypted", pdf([down("x")], encrypt=StandardEncryption("secret")), {}, "opens only with a password"
    yield "too_many_pages", pdf([down("x")] * 3), {"max_pages": 2}, "3 pages; max_pages is 2"
    yield "too_long", pdf([down("x" * 60, "y" * 50)]), {"max_record_bytes": 100}, "max_record_bytes is 100"
    yield "corrupt", b"%PDF-1.7 and nothing", {}, "not a PDF file that can be read"
    yield "empty_file", b"", {}, "no record in it"


@pytest.mark.parametrize(("reason", "data", "options", "detail"), list(faults()), ids=lambda value: str(value)[:20])
def test_a_bad_file_is_recorded(tmp_path, reason, data, options, detail):
    write(tmp_path / "in/a.pdf", data)
    write(tmp_path / "in/good.pdf", pdf([down("Good.")]))
    out = ingest(tmp_path, source(tmp_path / "in", **options))
    assert out.texts == ["Good."]
    (row,) = out.skipped
    assert (row["file"], row["reason"]) == ("a.pdf", reason)
    assert detail in row["detail"]
    with pytest.raises(BadInput, match=rf"^a\.pdf: {reason}: "):
        ingest(tmp_path, source(tmp_path / "in", on_bad_input="error", **options))


def bomb(letters):
    """A page of many letters in few bytes; PDFium needs about 250 bytes for each."""
    buffer = BytesIO()
    canvas = Canvas(buffer, pageCompression=1)
    canvas.setFont("Times-Roman", 10)
    canvas.addLiteral(f"BT /F1 10 Tf {'(xxxxxxxxxxxxxxxxxxxx) Tj ' * (letters // 20)} ET")
    canvas.save()
    return buffer.getvalue()


def test_a_page_that_asks_for_too_much_memory_is_a_skip(tmp_path, monkeypatch):
    assert len(read(tmp_path, bomb(20_000)).text) == 20_000
    monkeypatch.setattr(reader, "MEMORY_BYTES", 300 << 20)
    path = write(tmp_path / "a.pdf", bomb(1_500_000))
    assert path.stat().st_size < 10_000
    out = ingest(tmp_path, source(path))
    assert out.reasons == ["pdf_failed"]
    assert out.skipped[0]["detail"].startswith("PDFium failed on page 1 (")
    assert "asks for more than 300 MiB or 600 s" in out.skipped[0]["detail"]


def test_a_file_that_keeps_pdfium_busy_is_a_skip(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "CPU_SECONDS", 0)
    out = ingest(tmp_path, source(write(tmp_path / "a.pdf", bomb(20_000))))
    assert out.reasons == ["pdf_failed"]


def test_a_remote_file(tmp_path):
    memory = fsspec.filesystem("memory")
    name = f"/{tmp_path.name}-{os.getpid()}.pdf"
    memory.pipe(name, pdf([down("Hello.")]))
    try:
        assert ingest(tmp_path, source(f"memory:/{name}")).texts == ["Hello."]
    finally:
        memory.rm(name)


def test_limits_do_not_fire_just_below(tmp_path):
    assert isinstance(read(tmp_path, pdf([down("x")] * 3), max_pages=3), Record)
    assert isinstance(read(tmp_path, pdf([down("x" * 100)]), max_record_bytes=100), Record)
    with pytest.raises(InputError, match="more than 99 characters; max_record_bytes is 99"):
        read(tmp_path, pdf([down("x" * 100)]), max_record_bytes=99)


def test_without_the_library_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    config = IngestConfig.model_validate({"sources": [source(write(tmp_path / "a.pdf", b"x"))]})
    with pytest.raises(
        SourceNotFound, match=r"format pdf: pypdfium2, which reads such files, is not installed: pip install"
    ):
        list_pieces(config)


VALID = pdf(book(3))
PATCHES = st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=8)), max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.binary(max_size=300).map(lambda tail: b"%PDF-1.4\n" + tail), PATCHES, st.integers(0, len(VALID))))
def test_any_bytes(tmp_path_factory, change):
    data = change
    if isinstance(change, int):
        data = VALID[:change]
    elif isinstance(change, list):
        data = bytearray(VALID)
        for at, patch in change:
            data[at : at + len(patch)] = patch
    path = tmp_path_factory.getbasetemp() / "fuzz.pdf"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        assert all(isinstance(item, Record | Skip) for item in reader.read(ref(path), SOURCE))


NUMBER = st.floats(-1e4, 1e4)
LINES = st.builds(
    Line, st.text("ab-1. 中´", min_size=1).filter(str.strip), NUMBER, NUMBER, NUMBER, NUMBER, st.booleans()
)


@settings(max_examples=80)
@given(st.lists(st.lists(LINES, max_size=6), max_size=5))
def test_layout_loses_nothing_but_running_lines(pages):
    text, removed = text_of(pages)
    assert 0 <= removed <= sum(map(len, pages))
    if not removed and not any("." in line.text or "´" in line.text for page in pages for line in page):
        letters = "".join(line.text for page in pages for line in page).replace("-", "")
        assert "".join(text.replace("-", "").split()) == "".join(letters.split())
