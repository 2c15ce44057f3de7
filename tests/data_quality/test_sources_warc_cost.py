"""A hostile web archive costs no more than a small multiple of its size: bytes looked at or copied are counted, not
seconds. What is read of any other is what the plainest reader gives, which looks at the same bytes again and again."""

import gzip
import hashlib
import io
import random
import re
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_quality.config import JsonlSource, WarcSource
from data_quality.sources import gzip_members, http_body, ranges, warc
from data_quality.sources.base import InputError, Record, Skip
from data_quality.sources.streams import HashingFile
from tests.data_quality import plain_warc
from tests.data_quality.test_ranges_archives import MEMBERS, WARC_PARTS, record
from tests.data_quality.test_sources_streams import ref


class Counted(bytearray):
    """A buffer that counts the bytes that are looked at or moved in all of its kind."""

    looked = 0

    def _count(self, size):
        Counted.looked += size

    def find(self, wanted, start=0, end=None):
        end = len(self) if end is None else min(end, len(self))
        found = super().find(wanted, start, end)
        self._count(max(0, (end if found < 0 else found) - start) + len(wanted))
        return found

    def count(self, wanted, start=0, end=None):
        self._count((len(self) if end is None else end) - start)
        return super().count(wanted, start, len(self) if end is None else end)

    def __getitem__(self, key):
        out = super().__getitem__(key)
        self._count(len(out) if isinstance(key, slice) else 1)
        return out

    def __setitem__(self, key, value):
        self._count(len(self) + len(value))  # what lies behind is moved
        super().__setitem__(key, value)

    def __delitem__(self, key):
        self._count(0 if not key.start else len(self))  # at the front nothing is moved
        super().__delitem__(key)

    def __iadd__(self, other):
        self._count(len(other))
        return super().__iadd__(other)


class CountedPattern:
    """A pattern of header lines: where it does not match, it is counted as having looked at the most that it could."""

    def __init__(self, pattern):
        self._pattern = pattern

    def match(self, data, start, end):
        found = self._pattern.match(data, start, end)
        lines = re.compile(rb"(?:[^\n]{0,2100}\n?){0,21}").match(data, start, end).end()
        Counted.looked += (found.end() if found else lines) - start
        return found

    def search(self, data):
        found = self._pattern.search(data)
        Counted.looked += found.end() if found else len(data)
        return found


class CountedZlib:
    """The module, counting what is unpacked, what comes of it, and what is copied because it was too much."""

    error, crc32 = zlib.error, staticmethod(zlib.crc32)
    unpacked = 0

    def decompressobj(self, window):
        return CountedStream(zlib.decompressobj(window))


class CountedStream:
    def __init__(self, stream):
        self._stream = stream

    def decompress(self, data, most):
        Counted.looked += len(data)
        out = self._stream.decompress(data, most)
        CountedZlib.unpacked += len(out)
        Counted.looked += len(out) + len(self.unused_data) + len(self.unconsumed_tail)
        return out

    eof = property(lambda self: self._stream.eof)
    unused_data = property(lambda self: self._stream.unused_data)
    unconsumed_tail = property(lambda self: self._stream.unconsumed_tail)


@pytest.fixture
def counted(monkeypatch):
    """Counts from here on."""
    for module in (gzip_members, warc, plain_warc):
        monkeypatch.setattr(module, "bytearray", Counted, raising=False)
    for module in (gzip_members, http_body, ranges, plain_warc):
        monkeypatch.setattr(module, "zlib", CountedZlib())
    monkeypatch.setattr(warc, "_RECORD", CountedPattern(warc._RECORD))
    monkeypatch.setattr(plain_warc, "RECORD", CountedPattern(plain_warc.RECORD))
    Counted.looked = CountedZlib.unpacked = 0


def short(length, name=b"WARC-Type"):
    return b"WARC/1.0\r\n" + name + b": response\r\nContent-Length: %d\r\n\r\n" % length


LIES = short(50_000_000) * 4000
HOSTILE = {
    "short records that say to be long": LIES,
    "the same, with a page between": (short(50_000_000) * 20 + record(b"a")) * 150,
    "of other names than are looked for": short(0, b"warc-type") * 4000,
    "of lengths that end within the next": short(30) * 4000,
    "beginnings in the lines of one": short(400_000) + b"a:WARC/1.0\r\n" * 30_000,
    "a name and no line": b"WARC/" * 60_000,
    "names that begin lines": b"WARC/1.0\r\n" * 30_000,
    "a line that goes on": (b"WARC/1.0\r\na: b\r\n" + b" c\r\n" * 12_000 + b"\r\n") * 4,
    "nothing": b"x" * 300_000,
    "line ends": b"\r\n" * 150_000,
}


def items_of(data, directory, name, limit=64 << 20):
    (directory / name).write_bytes(data)
    return list(warc.read(ref(directory / name), WarcSource(format="warc", paths=("a",), max_record_bytes=limit)))


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("packed", ["", "in one member", "in a member each"])
def test_bytes_looked_at_are_a_small_multiple_of_the_archive(tmp_path, counted, kind, packed):
    data = HOSTILE[kind]
    stored = data
    if packed == "in one member":
        stored = gzip.compress(data)
    elif packed:
        stored = b"".join(gzip.compress(data[at : at + 60], 1) for at in range(0, len(data), 60))
    items = items_of(stored, tmp_path, "a.warc.gz" if packed else "a.warc")
    assert CountedZlib.unpacked in (0, len(data))
    assert Counted.looked < 30 * (len(data) + len(stored))
    if kind == "short records that say to be long":
        # All but the last, in which no other record begins, end where the next one does.
        assert [item.detail for item in items[:-1]] == ["0 of 50000000 bytes of the record are there"] * 3999


def test_the_plainest_reader_looks_at_much_more(counted):
    """What the count is worth: of the same lies, a tenth of them, as much again for each."""
    list(plain_warc.frames(plain_warc.Pieces(iter([LIES[: len(LIES) // 10]])), 64 << 20))
    assert Counted.looked > 200 * len(LIES) / 10


def nested_members(count):
    """Gzip members that lie in each other: a stored block of each holds the head of the next, and all go on into the
    same block (after D. Fifield, "A better zip bomb", WOOT 2019). None ends as a member does."""
    head = b"\x1f\x8b\x08" + bytes(7)
    quote = b"\x00" + len(head).to_bytes(2, "little") + (65535 - len(head)).to_bytes(2, "little")
    packer = zlib.compressobj(9, wbits=-15)
    kernel = packer.compress(bytes(8 << 20)) + packer.flush()
    return head + (quote + head) * (count - 1) + kernel + b"no checksum"


def test_members_within_members_are_not_unpacked_again_and_again(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(gzip_members, "MAX_REPEATED_BYTES", 20 << 20)
    data = nested_members(100)
    (tmp_path / "a.warc.gz").write_bytes(data)
    pieces = gzip_members.read_members(ref(tmp_path / "a.warc.gz"))
    seen = []
    with pytest.raises(InputError, match="broken gzip members within each other"):
        seen.extend(piece for piece in pieces if isinstance(piece, Skip))
    assert len(seen) == 4
    assert CountedZlib.unpacked < 5 * (8 << 20)
    assert items_of(nested_members(3), tmp_path, "b.warc.gz")  # few are read as before


@pytest.mark.parametrize("size", [0, 1, 300, 3000])
def test_small_members_are_not_copied_whole_blocks_at_a_time(tmp_path, counted, size):
    member = gzip.compress(random.Random(1).randbytes(size), 1, mtime=0)
    file = HashingFile(io.BytesIO(member * (300_000 // len(member))))
    total = sum(len(piece) for piece in gzip_members.members(file))
    assert Counted.looked < 30 * (file.offset + total)
    lines = gzip.compress(b'{"text":"%s"}\n' % random.Random(1).randbytes(size).hex().encode(), 1, mtime=0)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(lines * (300_000 // len(lines)))
    Counted.looked = CountedZlib.unpacked = 0
    assert len(ranges.cut_file(str(path), "a.jsonl.gz", JsonlSource(format="jsonl", paths=("a",)), 20_000)) > 2
    assert Counted.looked < 30 * (path.stat().st_size + CountedZlib.unpacked)


def page(encodings, body):
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: " + encodings + b"\r\n\r\n"
    block = http + body
    return b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\n" + (
        b"Content-Length: %d\r\n\r\n" % len(block) + block + b"\r\n\r\n"
    )


def test_a_body_is_decoded_a_few_times_and_not_as_often_as_its_header_says(tmp_path, counted):
    broken = zlib.compress(bytes(1_000_000))[:-4] + b"none"  # a checksum that fails, after which the body stays
    (item,) = items_of(page(b"deflate," * 5000, broken), tmp_path, "a.warc", 2_000_000)
    assert item.detail.endswith("more than 5 content encodings")
    assert Counted.looked < 100_000  # zlib counts nothing where it fails
    text = b"<p>some text</p>"
    five = text
    for _ in range(5):
        five = gzip.compress(five)
    for encodings in (b"gzip, " * 5, b"gzip, " * 5000 + b"identity", b", " * 5000):
        body = five if encodings.count(b"gzip") == 5 else text  # a crawler decoded the second
        (item,) = items_of(page(encodings, body), tmp_path, "b.warc")
        assert isinstance(item, Record)
        assert "some text" in item.text


def test_a_first_line_without_an_end_is_no_endless_loop(tmp_path):
    items = items_of(b"WARC/" + b"x" * 300_000 + b"\n" + record(b"a"), tmp_path, "a.warc")
    assert [item.reason for item in items[:-1]] == ["corrupt"] * 2
    assert [item.detail for item in items[:-1]] == [
        "a record without a complete header and Content-Length",
        "300000 bytes between records that belong to none",
    ]
    assert items[-1].id == "urn:a"


def framed(module, stream, frames, limit):
    out = []
    for item in frames(stream, limit):
        out.append((tuple(item) if isinstance(item, tuple) else item, stream.position))
        out.append(stream.is_clean(stream.position + 4))
    return out, stream.long_line


LYING = [short(10), short(60), short(10**7), short(70, b"warc-type"), b"WARC/1.0\r\na: b\r\n c\r\n\td\r\n\r\n"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([*WARC_PARTS, *LYING]) | st.binary(max_size=30), max_size=25).map(b"".join),
    st.integers(1, 400),
    st.sampled_from([60, 1 << 20]),
    st.lists(st.integers(0, 30), max_size=3),
)
@example(b"".join(WARC_PARTS + LYING), 50, 1 << 20, [3])
def test_the_records_of_any_bytes_are_those_of_the_plainest_reader(data, chunk, limit, breaks):
    chunks = [data[at : at + chunk] for at in range(0, len(data), chunk)]
    for at in breaks:
        chunks.insert(at, Skip("corrupt", "a broken member"))
    ours = framed(warc, warc._Pieces(iter(chunks)), warc._frames, limit)
    assert ours == framed(plain_warc, plain_warc.Pieces(iter(chunks)), plain_warc.frames, limit)


def unpacked(members, data):
    file = HashingFile(io.BytesIO(data))
    told, given = [], []
    try:
        for piece in members(file, lambda *ends: told.append((len(given), *ends))):
            given.append(piece)
    except InputError as error:
        given.append(error.detail)
    return given, told, file.offset, hashlib.sha256(data).hexdigest()


@settings(max_examples=150, deadline=None)
@given(
    MEMBERS | st.binary(max_size=400),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4),
    st.sampled_from([(1 << 16, 1 << 18, 128), (128, 1 << 12, 8), (300, 1 << 12, 256), (128, 100, 1000)]),
)
def test_what_members_give_is_what_the_plainest_reader_gives(data, damage, sizes):
    data = bytearray(data)
    for at, value in damage:
        if data:
            data[at % len(data)] = value
    with pytest.MonkeyPatch.context() as patch:
        for name, size in zip(("INPUT_BYTES", "CHUNK_BYTES", "FIRST_BYTES"), sizes, strict=True):
            patch.setattr(gzip_members, name, size)
        assert unpacked(gzip_members.members, bytes(data)) == unpacked(plain_warc.members, bytes(data))
