"""Plain text and Markdown: one document per file, line, paragraph, or piece between separators."""

from collections.abc import Iterator

from data_quality.config import TextSource
from data_quality.sources.base import FileRef, Reading, Record, Skip
from data_quality.sources.streams import (
    Part,
    Unit,
    line_encoding,
    line_units,
    read_lines,
    read_utf8,
    split_parts,
    too_long,
)

EXTENSIONS = (".txt", ".md")


def read(ref: FileRef, source: TextSource) -> Reading:
    """The documents of one file. Blank lines and empty paragraphs are no records, but count in line numbers."""
    if source.document == "file":
        yield from _read_file(ref, source)
        return
    parts: Iterator[tuple[int | None, Part]]
    if source.document == "paragraph":
        parts = _paragraphs(read_lines(ref, source.encoding, source.max_record_bytes), source.max_record_bytes)
    elif source.document == "line":
        lines = read_lines(ref, source.encoding, source.max_record_bytes)
        parts = ((number, part) for number, part in enumerate(lines, 1))
    else:
        separator = source.separator.encode(line_encoding(source.encoding))
        chunks = read_utf8(ref, source.encoding)
        parts = _with_line_numbers(split_parts(chunks, separator, source.max_record_bytes), separator)
    number = 0
    for line, part in parts:
        if part.data is not None and not part.data.strip():
            continue
        # A line's record number is its line number, so that repairing one line leaves the ids of the others alone.
        number = line if source.document == "line" and line is not None else number + 1
        yield _record(part, number, line, source)


def _read_file(ref: FileRef, source: TextSource) -> Reading:
    data = bytearray()
    size = 0
    for chunk in read_utf8(ref, source.encoding):
        size += len(chunk)
        if size <= source.max_record_bytes:
            data += chunk
    if size == 0:
        return
    yield _record(Part(bytes(data) if size <= source.max_record_bytes else None, size), 1, None, source)


def _record(part: Part, number: int, line: int | None, source: TextSource) -> Record | Skip:
    if part.data is None:
        return Skip("too_long", too_long(part.size, source.max_record_bytes), line, number)
    try:
        text = part.data.decode(line_encoding(source.encoding))
    except UnicodeDecodeError as error:
        return Skip("bad_encoding", f"not {source.encoding}: {error.reason} at byte {error.start}", line, number)
    return Record(number, text.removesuffix("\r") if line is not None else text, line)


def _paragraphs(lines: Iterator[Part], max_bytes: int) -> Iterator[tuple[int | None, Part]]:
    """Blocks of lines between blank lines, with the number of their first line."""
    block: list[bytes] = []
    size = start = 0
    for number, line in enumerate(lines, 1):
        blank = line.data is not None and not line.data.strip()
        if blank:
            if size:
                yield start, Part(b"\n".join(block) if size <= max_bytes else None, size)
            block, size = [], 0
            continue
        if not size:
            start = number
        size += line.size + (size > 0)
        if line.data is None or size > max_bytes:
            size = max(size, max_bytes + 1)
            block = []
        else:
            block.append(line.data.removesuffix(b"\r"))
    if size:
        yield start, Part(b"\n".join(block) if size <= max_bytes else None, size)


def _with_line_numbers(parts: Iterator[Part], separator: bytes) -> Iterator[tuple[int | None, Part]]:
    """Parts with the number of the line they begin on; unknown (None) after one that was too long to be held."""
    line: int | None = 1
    for part in parts:
        yield line, part
        if part.data is None or line is None:
            line = None
        else:
            line += part.data.count(b"\n") + separator.count(b"\n")


def units(chunks: Iterator[bytes], source: TextSource) -> Iterator[Unit]:
    """Where the decoded content of a file may be cut: after a line, a blank line that ends a paragraph, a separator."""
    limit = source.max_record_bytes
    if source.document == "line":
        return line_units(chunks, limit)
    if source.document == "paragraph":
        return _paragraph_units(split_parts(chunks, b"\n", limit))
    return _separated_units(chunks, source.separator.encode(line_encoding(source.encoding)), limit)


def _paragraph_units(lines: Iterator[Part]) -> Iterator[Unit]:
    end = records = 0
    last: bytes | None = None  # line of the paragraph
    inside = False
    for number, (data, size) in enumerate(lines, 1):
        end += size + 1
        if data is None or data.strip():
            records += not inside
            last, inside = data, True
        elif inside:
            yield Unit(end, last, records, number)
            inside = False
    if inside:
        yield Unit(end, last, records, number)


def _separated_units(chunks: Iterator[bytes], separator: bytes, max_bytes: int) -> Iterator[Unit]:
    end = records = 0
    lines: int | None = 0
    for data, size in split_parts(chunks, separator, max_bytes):
        end += size + len(separator)
        records += data is None or bool(data.strip())
        lines = None if data is None or lines is None else lines + data.count(b"\n") + separator.count(b"\n")
        yield Unit(end, data, records, lines)
