"""JSON Lines: one object a line."""

from pydantic_core import from_json

from data_quality.config import JsonlSource
from data_quality.sources.base import FileRef, InputError, Reading, Skip, pick_columns, record_from_columns
from data_quality.sources.streams import line_encoding, read_lines, too_long

EXTENSIONS = (".jsonl", ".ndjson")


def read(ref: FileRef, source: JsonlSource) -> Reading:
    """The records of one file, numbered by line. Blank lines are no records. A key that is absent is bad input; null in
    a key other than the text's is not."""
    encoding = line_encoding(source.encoding)
    for number, (data, size) in enumerate(read_lines(ref, source.encoding, source.max_record_bytes), 1):
        if data is None:
            yield Skip("too_long", too_long(size, source.max_record_bytes), number, number)
            continue
        if not data.strip():
            continue
        try:
            text = data if encoding == "utf-8" else data.decode(encoding)
            # pydantic's parser: as fast as it gets among our dependencies, bounded in depth, strict about surrogates.
            values = from_json(text, cache_strings="keys")
        except UnicodeDecodeError as error:
            yield Skip("bad_encoding", f"not {source.encoding}: {error.reason} at byte {error.start}", number, number)
            continue
        except ValueError as error:
            yield _invalid(data, error, number)
            continue
        if not isinstance(values, dict):
            yield Skip("invalid_json", f"a {type(values).__name__} where an object is expected", number, number)
            continue
        try:
            pick_columns(source, list(values))
        except InputError as error:
            yield Skip(error.reason, error.detail, number, number)
            continue
        yield record_from_columns(source, values, number, number)


def _invalid(data: bytes, error: ValueError, number: int) -> Skip:
    try:
        data.decode()
    except UnicodeDecodeError as broken:
        return Skip("bad_encoding", f"not utf-8: {broken.reason} at byte {broken.start}", number, number)
    return Skip("invalid_json", str(error), number, number)
