"""The lines of a PDF file with their places; run as a program of its own, so that no file can harm who reads it.

    python pdf_extract.py MAX_PAGES MAX_BYTES MEMORY_BYTES CPU_SECONDS < file.pdf

PDFium is native code that a file may crash, keep busy, or fill with hundreds of bytes a character out of a few packed
ones. Here it does so within limits of memory and time, after which the kernel ends this process and no other.

Written to standard output, a JSON value a line: `{"pages", "metadata"}`, then of each page its lines as
`[text, left, bottom, right, top, hyphen]` in points as one sees the page, y upwards, and `{"end": true}`; or
`{"reason", "detail"}` in place of what cannot be given. Nothing of this package is imported, to begin fast.
"""

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

HYPHEN = "\ufffe"
"""What PDFium gives for a hyphen at the end of a line and for the line break after it."""
NOT_TEXT = {ord(character): None for character in "\0\x02\x03\ufeff"}
Box = tuple[float, float, float, float]


def main(max_pages: int, max_bytes: int, memory: int, cpu_seconds: int) -> None:
    """Read standard input, write standard output; see the module."""
    with contextlib.suppress(ImportError):  # where there is no such module there are no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for value in _values(max_pages, max_bytes):
        sys.stdout.write(f"{json.dumps(value)}\n")
        sys.stdout.flush()


def _values(max_pages: int, max_bytes: int) -> Iterator[Any]:
    with os.fdopen(0, "rb") as file:
        try:
            document = pdfium.PdfDocument(file)
        except pdfium.PdfiumError as error:
            encrypted = error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
            if encrypted:
                yield {"reason": "encrypted", "detail": "opens only with a password"}
            else:
                yield {"reason": "corrupt", "detail": f"not a PDF file that can be read: {error}"}
            return
        pages = len(document)
        if pages > max_pages:
            yield {"reason": "too_many_pages", "detail": f"{pages} pages; max_pages is {max_pages}"}
            return
        yield {"pages": pages, "metadata": document.get_metadata_dict(skip_empty=True)}
        left = max_bytes
        for number in range(pages):
            try:
                page = document[number]
                textpage = page.get_textpage()
                characters = textpage.count_chars()
                left -= characters
                if left < 0:
                    detail = f"more than {max_bytes} characters; max_record_bytes is {max_bytes}"
                    yield {"reason": "too_long", "detail": detail}
                    return
                yield _lines(page, textpage, characters)
                textpage.close()
                page.close()
            except pdfium.PdfiumError as error:
                yield {"reason": "corrupt", "detail": f"page {number + 1} of {pages}: {error}"}
                return
        yield {"end": True}


def _lines(page: Any, textpage: Any, characters: int) -> list[tuple[str, float, float, float, float, bool]]:
    """The lines of a page in the order in which it draws them."""
    buffer = ctypes.create_string_buffer(2 * characters + 2)
    units = raw.FPDFText_GetText(textpage, 0, characters, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)))
    text = buffer.raw[: 2 * max(0, units - 1)].decode("utf-16-le", "replace")
    turn = page.get_rotation(), page.get_width(), page.get_height()
    lines = []
    at = 0  # index in UTF-16 units, which PDFium counts
    for visual in text.replace("\r\n", "\n\n").replace(HYPHEN, f"{HYPHEN}\n").split("\n"):
        hyphen = visual.endswith(HYPHEN)
        content = visual.removesuffix(HYPHEN)
        if content.strip():
            start = at + len(content) - len(content.lstrip())
            end = at + _units(content.rstrip()) - 1
            boxes = [_turned(box, *turn) for box in (_box(textpage, start), _box(textpage, end)) if box is not None]
            if boxes:
                first, last = boxes[0], boxes[-1]
                bottom, top = min(first[1], last[1]), max(first[3], last[3])
                lines.append((content.strip().translate(NOT_TEXT), first[0], bottom, last[2], top, hyphen))
        # "\r\n" became two line feeds, so that each stands for one character; the one after a hyphen for none.
        at += _units(visual) + (not hyphen)
    return [line for line in lines if line[0]]


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "replace")) // 2


def _box(textpage: Any, index: int) -> Box | None:
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


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
