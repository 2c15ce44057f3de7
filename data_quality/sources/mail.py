"""Mail: mboxes (mboxrd and its relatives) and single messages (RFC 5322, MIME)."""

import datetime
import re
from collections.abc import Iterator
from email.errors import HeaderParseError, MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from data_quality.config import MailSource
from data_quality.sources import charset
from data_quality.sources.base import FileRef, Reading, Record, Skip
from data_quality.sources.html import page_record
from data_quality.sources.streams import Unit, read_chunks, too_long

EXTENSIONS = (".mbox", ".eml")
MAX_MULTIPARTS = 50
"""Multipart and message containers in one message; the stdlib parser recurses, and tests each line for each of them."""
MAX_PARTS = 10_000
MAX_HEADER_CHARACTERS = 2000
_FROM = re.compile(rb"From \S{1,500} .{0,100}\d{4}")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)
_CONTAINER = re.compile(rb"^content-type:[ \t\r\n]{0,20}(?:multipart|message)/", re.I | re.M)
# What the standard library raises for headers that it did not foresee, where it should report a defect.
_PARSER_ERRORS = (MessageError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
_KEPT_HEADERS = ("from", "to", "cc", "subject", "message-id", "in-reply-to", "list-id")


def read(ref: FileRef, source: MailSource) -> Reading:
    """The messages of one file, numbered from 1. A file that begins with `From ` is an mbox, any other one mail."""
    for number, message in enumerate(_messages(read_chunks(ref), source.max_record_bytes), 1):
        if message.data is None:
            yield Skip("too_long", too_long(message.size, source.max_record_bytes), record=number)
        elif message.data.strip():
            data = _QUOTED_FROM.sub(rb"\1", message.data) if message.in_mbox else message.data
            try:
                yield _record(data, number, source)
            except _PARSER_ERRORS as error:
                yield Skip("invalid_mail", f"{type(error).__name__}: {error}", record=number)


def units(chunks: Iterator[bytes], source: MailSource) -> Iterator[Unit]:
    """Where an mbox may be cut: before the `From ` line of a message, where the reader sees one begin."""
    for number, message in enumerate(_messages(chunks, source.max_record_bytes), 1):
        yield Unit(message.end, message.data, number, None)


class _Message(NamedTuple):
    """A message as it stands in the file, without its `From ` line; None if it is too long. ``end`` is that of the
    bytes up to it in the file."""

    data: bytes | None
    size: int
    in_mbox: bool
    end: int


def _messages(chunks: Iterator[bytes], max_bytes: int) -> Iterator[_Message]:
    """A message begins at a `From ` line after a blank one, and at one that begins the file."""
    held = bytearray()
    size = end = 0
    in_mbox = False
    blank = True  # the line before
    for lines, lines_size in _lines(chunks, max_bytes):
        begin = 0
        for at in [*_from_lines(lines), len(lines)] if lines is not None else [lines_size]:
            if at > begin:
                end += at - begin
                size += at - begin
                if lines is None or size > max_bytes:
                    size = max(size, max_bytes + 1)
                    held.clear()
                else:
                    held += lines[begin:at]
                if lines is None:
                    blank = False
                else:
                    last = lines[max(begin, lines.rfind(b"\n", begin, at - 1) + 1) : at - 1]
                    blank = len(last) <= max_bytes and not last.strip()
                begin = at
            if lines is None or at == len(lines):
                break
            line = lines[at : lines.find(b"\n", at)]
            if blank and len(line) <= max_bytes and (end == 0 or (in_mbox and _FROM.match(line))):
                if end:
                    yield _Message(None if size > max_bytes else bytes(held), size, in_mbox, end)
                in_mbox, blank, size = True, False, 0
                held.clear()
                begin += len(line) + 1
                end += len(line) + 1
    if size:
        yield _Message(None if size > max_bytes else bytes(held), size, in_mbox, end)


def _lines(chunks: Iterator[bytes], max_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    """Some lines at a time, each with its line feed, or one too long to be held (None); and their size. The last line
    of a file gets a line feed."""
    carry = bytearray()
    dropped = 0  # bytes of the line under way that are thrown away
    for chunk in chunks:
        at = chunk.rfind(b"\n") + 1
        begin = 0
        if at and dropped:
            begin = chunk.find(b"\n") + 1
            yield None, dropped + begin
            dropped = 0
        if at:
            carry += chunk[begin:at]
            if carry:
                yield bytes(carry), len(carry)
            carry.clear()
        carry += chunk[at:]
        if dropped or len(carry) > max_bytes:
            dropped += len(carry)
            carry.clear()
    if dropped:
        yield None, dropped + 1
    elif carry:
        yield bytes(carry) + b"\n", len(carry) + 1


def _from_lines(lines: bytes) -> Iterator[int]:
    """Where lines begin with `From `."""
    if lines.startswith(b"From "):
        yield 0
    at = -1
    while (at := lines.find(b"\nFrom ", at + 1)) >= 0:
        yield at + 1


def _record(data: bytes, number: int, source: MailSource) -> Record | Skip:
    containers = len(_CONTAINER.findall(data))
    if containers > MAX_MULTIPARTS:
        return Skip("too_nested", f"{containers} multipart and message parts; at most {MAX_MULTIPARTS}", record=number)
    message = BytesParser(policy=compat32).parsebytes(data)
    metadata = {name.replace("-", "_"): text for name in _KEPT_HEADERS if (text := _header(message, name))}
    if date := _date(_header(message, "date")):
        metadata["date"] = date
    plain: list[str] = []
    pages: list[Record | Skip] = []
    try:
        for part in _bodies(message):
            content = _payload(part)
            declared = _parameter(part, "charset")
            if part.get_content_type() == "text/html":
                pages.append(page_record(content, source, number, {}, declared))
            elif source.encoding == "auto":
                plain.append(charset.decode(content, declared)[0])
            else:
                plain.append(content.decode(source.encoding))
    except UnicodeError as error:
        return Skip("bad_encoding", str(error), record=number)
    text = "\n\n".join(body for body in (body.replace("\r\n", "\n").strip() for body in plain) if body)
    if not text and pages:
        skips = [page for page in pages if isinstance(page, Skip)]
        if skips:
            return skips[0]
        text = "\n\n".join(page.text for page in pages if isinstance(page, Record) and page.text)
        metadata["content_type"] = "text/html"
    else:
        metadata["content_type"] = "text/plain"
    return Record(number, text, metadata=metadata)


def _bodies(message: Message) -> Iterator[Message]:
    """Parts that are text to be read, in order; attachments and forwarded messages are none."""
    waiting = [message]
    seen = 0
    while waiting and seen < MAX_PARTS:
        part = waiting.pop()
        seen += 1
        if part is not message and (
            part.get_content_disposition() == "attachment"
            or part.get_filename()
            or part.get_content_maintype() == "message"
        ):
            continue
        if part.is_multipart():
            waiting += [inner for inner in reversed(list(part.get_payload())) if isinstance(inner, Message)]
        elif part.get_content_type() in ("text/plain", "text/html"):
            yield part


def _payload(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _parameter(part: Message, name: str) -> str | None:
    value = part.get_param(name)
    if isinstance(value, tuple):  # RFC 2231
        value = value[2]
    return value if isinstance(value, str) else None


def _header(message: Message, name: str) -> str:
    """A header as text, encoded words decoded, on one line; "" if it is not there."""
    raw = message.get(name)
    if raw is None:
        return ""
    raw = str(raw)[:MAX_HEADER_CHARACTERS]
    try:
        pieces = decode_header(raw)
    except HeaderParseError:  # an encoded word that is none
        pieces = [(raw, None)]
    text = ""
    for piece, label in pieces:
        if isinstance(piece, bytes):
            try:
                text += charset.decode(piece, label)[0]
            except UnicodeError:
                text += piece.decode("ascii", "replace")
        else:
            text += piece
    return " ".join(text.encode("utf-8", "replace").decode().replace("\0", "").split())


def _date(value: str) -> str:
    """ISO 8601 if it can be read, else as it stands."""
    try:
        moment = parsedate_to_datetime(value)
        return moment.isoformat() if moment.tzinfo is None else moment.astimezone(datetime.UTC).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return value
