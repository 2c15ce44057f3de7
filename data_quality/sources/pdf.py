"""PDF files through PDFium: one document a file, layout undone (:mod:`data_quality.sources.pdf_layout`).

PDFium (BSD licence, the engine of Chromium) was chosen over pypdf and pdfminer.six: six to thirty times as fast on the
manuals it was tried on, lines in reading order, and a mark of its own where a word was broken at a line's end.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from data_quality.config import PdfSource
from data_quality.sources.base import FileRef, InputError, Reading, Record, Skip
from data_quality.sources.pdf_layout import text_of
from data_quality.sources.pdf_lines import Line
from data_quality.sources.streams import open_seekable, too_long

EXTENSIONS = (".pdf",)
EXTRACT = Path(__file__).with_name("pdf_extract.py")
MEMORY_BYTES = 1 << 30
"""Address space of the process that reads one file; a manual of 300 pages needs a fifth of it."""
CPU_SECONDS = 600
"""Of that process; a page takes about 0.01."""


def read(ref: FileRef, source: PdfSource) -> Reading:
    """The one document of a PDF file, or why there is none. Memory: the text of the file, and a process of its own."""
    if ref.bytes == 0:
        return
    lines: list[list[Line]] = []
    with open_seekable(ref) as opened, _descriptor(opened) as file, _extracted(file, source) as values:
        start = next(values)
        for page in values:
            lines.append([Line(*line) for line in page])
    text, removed = text_of(lines)
    size = len(text.encode(errors="replace"))
    if not text:
        yield Skip("no_text_layer", f"{len(lines)} pages without text: a scan needs OCR first", None, 1)
    elif size > source.max_record_bytes:
        yield Skip("too_long", too_long(size, source.max_record_bytes), None, 1)
    else:
        found = {name: start["metadata"].get(name, "").replace("\0", "").strip() for name in ("Title", "Author")}
        metadata = {name.lower(): value for name, value in found.items() if value}
        yield Record(1, text, metadata={**metadata, "pages": len(lines), "running_lines_removed": removed})


@contextmanager
def _descriptor(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file, or where it is on no local disk a copy, as one that another process can be given."""
    try:
        file.fileno()
    except OSError:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.seek(0)
            yield copy
    else:
        yield file


@contextmanager
def _extracted(file: BinaryIO, source: PdfSource) -> Iterator[Iterator[Any]]:
    """What pdf_extract.py gives of a file; it is ended with the block."""
    limits = (source.max_pages, source.max_record_bytes, MEMORY_BYTES, CPU_SECONDS)
    command = [sys.executable, "-I", str(EXTRACT), *map(str, limits)]
    with subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield _values(process)
        finally:
            process.kill()


def _values(process: subprocess.Popen[bytes]) -> Iterator[Any]:
    assert process.stdout is not None
    assert process.stderr is not None
    given = 0
    for line in process.stdout:
        value = json.loads(line) if line.endswith(b"\n") else {"cut off": True}
        if isinstance(value, dict) and "reason" in value:
            raise InputError(value["reason"], value["detail"])
        if value == {"end": True}:
            return
        if value != {"cut off": True}:
            given += 1
            yield value
    message = process.stderr.read().decode(errors="replace").strip().splitlines()
    code = process.wait()
    how = f"signal {-code}" if code < 0 else f"{message[-1] if message else f'exit status {code}'}"
    raise InputError(
        "pdf_failed",
        f"PDFium failed on page {max(1, given)} ({how}): the file is broken, or asks for more than "
        f"{MEMORY_BYTES >> 20} MiB or {CPU_SECONDS} s",
    )
