"""Web pages: one document a file, and what a page of any other source needs to become a record."""

from typing import Any

from data_quality.config import HtmlExtraction, HtmlSource
from data_quality.extract import TooComplex, extract_html
from data_quality.sources import charset
from data_quality.sources.base import FileRef, Reading, Record, Skip
from data_quality.sources.streams import read_chunks, too_long

EXTENSIONS = (".html", ".htm", ".xhtml")


def read(ref: FileRef, source: HtmlSource) -> Reading:
    """The page of one file; its title and encoding are metadata. A page beyond the limit is read past, not held."""
    data = bytearray()
    size = 0
    for chunk in read_chunks(ref):
        size += len(chunk)
        if size <= source.max_record_bytes:
            data += chunk
    if size > source.max_record_bytes:
        yield Skip("too_long", too_long(size, source.max_record_bytes), record=1)
    elif size:
        yield page_record(bytes(data), source, 1, {})


def page_record(
    data: bytes,
    source: HtmlExtraction,
    number: int,
    metadata: dict[str, Any],
    http_charset: str | None = None,
    id: str | None = None,
    language: str | None = None,
) -> Record | Skip:
    """A page's bytes as a record, with ``title`` and ``encoding`` added to its metadata."""
    try:
        if source.encoding == "auto":
            html, encoding = charset.decode(data, http_charset, html=True)
        else:
            html, encoding = data.decode(source.encoding), source.encoding
        page = extract_html(html, source.main_content, source.max_nesting)
    except UnicodeError as error:
        return Skip("bad_encoding", str(error), record=number)
    except TooComplex as error:
        return Skip("too_nested", str(error), record=number)
    return Record(
        number, page.text, id=id, language=language, metadata={**metadata, "title": page.title, "encoding": encoding}
    )
