"""PDF files through PDFium: one document a file, layout undone (:mod:`data_quality.sources.pdf_layout`).

PDFium (BSD licence, the engine of Chromium) was chosen over pypdf and pdfminer.six: ten to thirty times as fast on the
manuals it was tried on, lines in reading order, and a mark of its own where a word was broken at a line's end.
"""

import ctypes
from typing import Any

from data_quality.config import PdfSource
from data_quality.sources.base import FileRef, InputError, Reading, Record, Skip, SourceNotFound
from data_quality.sources.pdf_layout import text_of
from data_quality.sources.pdf_lines import Line
from data_quality.sources.streams import open_seekable, too_long

EXTENSIONS = (".pdf",)
HYPHEN = "\ufffe"
"""What PDFium gives for a hyphen at the end of a line, and the line break after it."""
NOT_TEXT = {ord(character): None for character in "\0\x02\x03\ufeff"}


def require_pdfium() -> Any:
    """The library; raises :class:`SourceNotFound` saying how to install it."""
    try:
        import pypdfium2
    except ImportError:
        raise SourceNotFound(
            "format pdf: pypdfium2, which reads PDF files, is not installed: pip install 'textmill[office]'"
        ) from None
    return pypdfium2


def read(ref: FileRef, source: PdfSource) -> Reading:
    """The one document of a PDF file, or why there is none. Memory: the text of the file, and one page."""
    pdfium = require_pdfium()
    with open_seekable(ref) as raw:
        if raw.read(1) == b"":
            return
        try:
            document = pdfium.PdfDocument(raw)
        except pdfium.PdfiumError as error:
            raise _unreadable(pdfium, error) from None
        try:
            yield _read(pdfium, document, source)
        except pdfium.PdfiumError as error:
            raise InputError("corrupt", str(error)) from None
        finally:
            document.close()


def _unreadable(pdfium: Any, error: Exception) -> InputError:
    if getattr(error, "err_code", None) in (pdfium.raw.FPDF_ERR_PASSWORD, pdfium.raw.FPDF_ERR_SECURITY):
        return InputError("encrypted", "opens only with a password")
    return InputError("corrupt", f"not a PDF file that can be read: {error}")


def _read(pdfium: Any, document: Any, source: PdfSource) -> Record | Skip:
    pages = len(document)
    if pages > source.max_pages:
        return Skip("too_many_pages", f"{pages} pages; max_pages is {source.max_pages}", None, 1)
    lines: list[list[Line]] = []
    size = 0
    for number in range(pages):
        try:
            page = document[number]
        except pdfium.PdfiumError as error:
            raise InputError("corrupt", f"page {number + 1} of {pages}: {error}") from None
        try:
            lines.append(_lines(pdfium.raw, page, source.max_record_bytes))
        finally:
            page.close()
        size += sum(len(line.text) for line in lines[-1])
        if size > source.max_record_bytes:
            return Skip("too_long", too_long(size, source.max_record_bytes), None, 1)
    text, removed = text_of(lines)
    if not text:
        return Skip("no_text_layer", f"{pages} pages without text: a scan needs OCR first", None, 1)
    if len(text.encode(errors="replace")) > source.max_record_bytes:
        return Skip("too_long", too_long(len(text.encode(errors="replace")), source.max_record_bytes), None, 1)
    found = document.get_metadata_dict(skip_empty=True)
    metadata = {name.lower(): found[name].replace("\0", "") for name in ("Title", "Author") if name in found}
    return Record(1, text, metadata={**metadata, "pages": pages, "running_lines_removed": removed})


def _lines(raw: Any, page: Any, max_bytes: int) -> list[Line]:
    """The lines of a page in the order in which it draws them, with their places as one sees the page."""
    textpage = page.get_textpage()
    try:
        characters = textpage.count_chars()
        if characters > max_bytes:
            raise InputError("too_long", too_long(characters, max_bytes))
        buffer = ctypes.create_string_buffer(2 * characters + 2)
        units = raw.FPDFText_GetText(textpage, 0, characters, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)))
        text = buffer.raw[: 2 * max(0, units - 1)].decode("utf-16-le", "replace")
        width, height, rotation = page.get_width(), page.get_height(), page.get_rotation()
        lines = []
        at = 0  # index in UTF-16 units, which PDFium counts
        for visual in text.replace("\r\n", "\n\n").replace(HYPHEN, f"{HYPHEN}\n").split("\n"):
            content = visual.removesuffix(HYPHEN)
            stripped = content.strip()
            if stripped:
                start = at + len(content) - len(content.lstrip())
                end = at + len(content.rstrip().encode("utf-16-le", "replace")) // 2 - 1
                boxes = [_box(raw, textpage, index) for index in (start, end)]
                placed = [_turned(box, rotation, width, height) for box in boxes if box is not None]
                if placed:
                    left, _, _, _ = placed[0]
                    _, bottom, right, top = placed[-1]
                    bottom, top = min(bottom, placed[0][1]), max(top, placed[0][3])
                    lines.append(Line(stripped.translate(NOT_TEXT), left, bottom, right, top, visual.endswith(HYPHEN)))
            # The two line feeds stand for two characters, the one after a hyphen for none.
            at += len(visual.encode("utf-16-le", "replace")) // 2 + (not visual.endswith(HYPHEN))
        return lines
    finally:
        textpage.close()


Box = tuple[float, float, float, float]


def _box(raw: Any, textpage: Any, index: int) -> Box | None:
    """(left, bottom, right, top) of a character: its font's height, its own width. Points."""
    character = raw.FPDFText_GetCharIndexFromTextIndex(textpage, index)
    box = raw.FS_RECTF()
    if character < 0 or not raw.FPDFText_GetLooseCharBox(textpage, character, box):
        return None
    return box.left, box.bottom, box.right, box.top


def _turned(box: Box, rotation: int, width: float, height: float) -> Box:
    """A box on the page as it is shown, ``width`` by ``height`` points after turning by ``rotation`` degrees."""
    left, bottom, right, top = box
    if rotation == 90:
        return bottom, height - right, top, height - left
    if rotation == 180:
        return width - right, height - top, width - left, height - bottom
    if rotation == 270:
        return width - top, left, width - bottom, right
    return box
