"""Archives read range by range (web archives, mailboxes, dumps, files of several compressed parts) give what they give
as a whole, damaged ones and hostile ones too."""

import bz2
import gzip
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_quality.sources import gzip_members, ranges
from tests.data_quality.ingesting import write, zstd
from tests.data_quality.test_ranges import assert_equal_to_the_whole, pieces_of
from tests.data_quality.test_sources_mediawiki import HEAD, TAIL, article


def record(name, body=b"<p>page</p>", kind=b"response", length=None, ids=True):
    if kind == b"response":
        body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    head = b"WARC/1.0\r\nWARC-Type: " + kind + b"\r\n"
    if ids:
        head += b"WARC-Record-ID: <urn:" + name + b">\r\n"
    head += b"Content-Type: " + (b"application/http" if kind == b"response" else b"text/plain") + b"\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body + b"\r\n\r\n"


ONE = record(b"inner", b"<p>a record in a page</p>")
WARC_PARTS = [
    record(b"a"),
    record(b"b", b"<p>" + b"long " * 60 + b"</p>"),
    record(b"info", b"software: x", b"warcinfo"),
    record(b"q", b"GET / HTTP/1.1", b"request"),
    record(b"c", b"text", b"conversion"),
    record(b"d", ids=False),
    record(b"archived", b"<p>" + ONE + b"</p>" + ONE),  # a page that holds records
    record(b"info2", ONE, b"metadata"),
    record(b"short", length=12),
    record(b"longer", length=150),
    record(b"much longer", length=100_000),
    record(b"ends badly")[:-4],
    record(b"ends in line feeds")[:-4] + b"\n\n",
    record(b"no length", b"x").replace(b"Content-Length", b"Contents"),
    record(b"cut off", b"<p>" + b"text " * 30)[:-40],
    record(b"head")[:60],
    b"stray bytes",
    b"\r\n",
    b"WARC/1.0 in a line of its own\r\n",
    b"WARC/",
]
WARCS = st.lists(st.sampled_from(WARC_PARTS), max_size=25)
LIMITS = st.sampled_from([60, 1 << 20])


@settings(max_examples=50, deadline=None)
@given(WARCS, st.integers(1, 2000), LIMITS)
@example(WARC_PARTS, 1, 1 << 20)
def test_warc(parts, piece_bytes, limit):
    assert_equal_to_the_whole(b"".join(parts), piece_bytes, "a.warc", format="warc", max_record_bytes=limit)


def test_records_within_a_page_are_no_cut():
    data = b"".join(record(b"%d" % n, b"<p>" + ONE * 3 + b"</p>") for n in range(40))
    assert assert_equal_to_the_whole(data, 100, "a.warc", format="warc") == 40


def test_a_header_line_beyond_all_limits_leaves_a_file_whole():
    data = b"".join(
        record(b"%d" % n).replace(b"WARC-Type", b"X: " + b"y" * (70_000 * (n == 20)) + b"\r\nWARC-Type")
        for n in range(40)
    )
    assert assert_equal_to_the_whole(data, 500, "a.warc", format="warc") == 1


def flipped(data, at):
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def members(parts, together):
    """The parts in gzip members of so many; each second member is stored, not packed, and may hold a member."""
    groups = [b"".join(parts[at : at + together]) for at in range(0, len(parts), together)]
    return [gzip.compress(group, 0 if n % 2 else 6, mtime=0) for n, group in enumerate(groups)]


MEMBERS = st.lists(
    st.one_of(
        st.sampled_from(WARC_PARTS).map(lambda part: gzip.compress(part, mtime=0)),
        st.lists(st.sampled_from(WARC_PARTS[:8]), max_size=4).map(lambda parts: gzip.compress(b"".join(parts), 0)),
        st.sampled_from([record(b"packed", gzip.compress(ONE)), record(b"noise", random.Random(1).randbytes(300))]).map(
            lambda part: gzip.compress(part, 0)
        ),
        st.integers(1, 200).map(lambda at: flipped(gzip.compress(record(b"broken"), mtime=0), at)),
        st.integers(1, 200).map(lambda at: gzip.compress(record(b"cut off"), mtime=0)[:at]),
        st.integers(1, 150).map(lambda at: gzip.compress(ONE[:at], mtime=0) + gzip.compress(ONE[at:], mtime=0)),
        st.sampled_from([b"\0" * 7, b"no member", gzip_members.MAGIC, gzip.compress(b"")]),
    ),
    max_size=25,
).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(MEMBERS, st.integers(1, 1000), LIMITS)
def test_warc_in_gzip_members(data, piece_bytes, limit):
    assert_equal_to_the_whole(data, piece_bytes, "a.warc.gz", format="warc", max_record_bytes=limit)


@pytest.mark.parametrize("together", [1, 2, 5])
def test_gzip_members_are_cut_where_records_end(together):
    parts = [record(b"%d" % n, b"<p>%d</p>" % n + gzip.compress(ONE)) for n in range(60)]
    cut = assert_equal_to_the_whole(b"".join(members(parts, together)), 50, "a.warc.gz", format="warc")
    assert cut == 60 // together


def test_more_breaks_than_are_borne_end_a_file_as_they_do_without_cuts(monkeypatch):
    monkeypatch.setattr(gzip_members, "MAX_BREAKS", 3)
    good = gzip.compress(record(b"a"), mtime=0)
    assert assert_equal_to_the_whole((good * 5 + b"stray") * 3, 100, "a.warc.gz", format="warc") > 5
    assert assert_equal_to_the_whole((good * 5 + flipped(good, 40)) * 9, 100, "a.warc.gz", format="warc") == 1


FROM = b"From jo@a.org Mon May  6 09:08:09 2024\n"
MAIL_LINES = [
    FROM,
    FROM.replace(b"\n", b"\r\n"),
    b"\n" + FROM,
    b"\n" + FROM + b"Subject: one\n\nbody\n",
    b" \n" + FROM + b"Subject: two\n\nFrom the start of a line in 1999, a sentence.\n",
    b"\nFrom the sea to the hills in 1999, a sentence.\n",
    b"\n>From jo@a.org Mon May  6 09:08:09 2024\n",
    b">>From jo\n",
    b"\nFrom \n",
    b"From\n",
    b"\n",
    b"\r\n",
    b"text\n",
    b"no end of line",
    b"x" * 100 + b"\n",
    b"\nFrom jo@a.org " + b"y" * 30 + b" 2024 " + b"z" * 200 + b"\n",
    b"Content-Type: text/html\n\n<p>page</p>\n",
    b"\xff\xfe\0",
    b"\xef\xbb\xbf",
]
MAILS = st.lists(st.sampled_from(MAIL_LINES), max_size=40).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), MAILS, st.integers(1, 300), st.sampled_from([90, 1 << 20]))
def test_mail(mbox, data, piece_bytes, limit):
    assert_equal_to_the_whole(FROM * mbox + data, piece_bytes, "a.mbox", format="mail", max_record_bytes=limit)


def test_from_lines_in_bodies_are_no_cut():
    body = b"Subject: s\n\nFrom here\n>From jo@a.org Mon May  6 09:08:09 2024\nFrom jo@a.org x 2024\n\nFrom now on\n\n"
    assert assert_equal_to_the_whole((FROM + body) * 30, 10, "a.mbox", format="mail") == 30
    # One that stands after a blank line and looks whole is a beginning for the reader, and so it is for the cut.
    assert assert_equal_to_the_whole((FROM + body + FROM + body) * 15, 10, "a.mbox", format="mail") == 30
    assert assert_equal_to_the_whole(b"Subject: one mail\n\n" + FROM * 50, 10, "a.mbox", format="mail") == 1


def test_mail_in_gzip_members():
    parts = [FROM + b"Subject: %d\n\nbody\n\n" % n for n in range(40)]
    data = b"".join(gzip.compress(b"".join(parts[at : at + 4])) for at in range(0, 40, 4))
    assert assert_equal_to_the_whole(data, 100, "a.mbox.gz", format="mail") > 5


PAGES = [
    article(1, "A", "Text of [[文件:a.png]] one."),
    article(2, "B", "x" * 90),
    article(3, "C", "", extra='    <redirect title="A" />\n'),
    article(4, "D", "talk", ns=1),
    article(5, "E", "json", model="json"),
    article(6, "F", "no id").replace("<id>6</id>", ""),
    article(7, "G", "a </page> & <page> in text"),
    article(8, "H", "x").replace(">x</text>", "><![CDATA[</page>\n<page><title>no page</title></page>\n]]></text>"),
    article(9, "I", "twice").replace("<text", "<text>first</text><text"),
    article(10, "J", "windows").replace("\n", "\r\n"),
    article(11, "K", "one line").replace("\n", ""),
    article(12, "L", "spaces").replace("</page>", "</page  >"),
    "<!-- <page><title>in a comment</title></page>\n -->\n",
    "<?note </page>\n?>",
    "<page/>",
    "<page><page><title>inner</title></page>\n<title>outer</title><text>t</text></page>\n",
    '<siteinfo><dbname>other</dbname><namespaces><namespace key="6">Datei</namespace></namespaces></siteinfo>',
    article(13, "M", "[[Datei:b.png]] [[kategorie:c]]").replace(
        "<ns>", '<namespace key="14">Kategorie</namespace><ns>'
    ),
    "<log><page><title>deeper</title></page>\n</log>\n",
    "stray text",
    "﻿",
]
BREAKS = ["<", "</page>", "&x;", "<page>", "\0", "<!DOCTYPE a>", TAIL]
DUMPS = st.lists(st.sampled_from([*PAGES, *PAGES, *BREAKS]), max_size=20).map("".join)
SOUND = st.lists(st.sampled_from(PAGES), max_size=20)
ENDS = st.sampled_from([TAIL, "", "</media"])
MEDIAWIKI = {"format": "mediawiki", "namespaces": [0, 1]}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([HEAD, "<mediawiki>", "﻿" + HEAD, ""]), SOUND, st.integers(1, 5000), LIMITS)
@example(HEAD, PAGES, 1, 1 << 20)
def test_mediawiki(head, pages, piece_bytes, limit):
    data = (head + "".join(pages) + TAIL).encode()
    assert_equal_to_the_whole(data, piece_bytes, "a.xml", max_record_bytes=limit, **MEDIAWIKI)


@settings(max_examples=40, deadline=None)
@given(DUMPS, ENDS, st.integers(1, 5000))
def test_damaged_mediawiki(pages, end, piece_bytes):
    assert_equal_to_the_whole((HEAD + pages + end).encode(), piece_bytes, "a.xml", **MEDIAWIKI)


DAMAGES = {
    "none": lambda data: data,
    "cut off": lambda data: data[:-9],
    "more": lambda data: data + b"more",
    "flipped": lambda data: flipped(data, len(data) // 2),
}


@settings(max_examples=60, deadline=None)
@given(
    SOUND,
    st.lists(st.integers(0, 20), max_size=4),
    st.booleans(),
    ENDS,
    st.integers(1, 2000),
    st.randoms(),
    st.sampled_from(["none", *DAMAGES]),
)
def test_mediawiki_in_bzip2_streams(pages, ends, anywhere, end, piece_bytes, draw, damage):
    """Streams end where pages do, or anywhere."""
    data = (HEAD + "".join(pages) + end).encode()
    lengths = [len((HEAD + "".join(pages[:number])).encode()) for number in ends]
    places = sorted(draw.randrange(len(data)) if anywhere else at for at in lengths)
    parts = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    packed = b"".join(map(bz2.compress, parts))
    assert_equal_to_the_whole(DAMAGES[damage](packed), piece_bytes, "a.xml.bz2", **MEDIAWIKI)


def dump(pages):
    return HEAD + "".join(article(n, f"T{n}", f"Text {n} [[文件:a{n}.png|thumb]]") for n in range(pages)) + TAIL


def test_every_range_of_a_dump_knows_its_head(tmp_path):
    data = dump(200).encode()
    assert assert_equal_to_the_whole(data, 1000, "a.xml", **MEDIAWIKI) > 20
    path = write(tmp_path / "a.xml", data)
    other = write(tmp_path / "b.xml", data.replace("文件</name".encode(), "档案</name".encode()))
    keys = [
        {json.dumps(p.key_material["files"][0][3:]) for p in pieces_of(f, 1000, **MEDIAWIKI)} for f in (path, other)
    ]
    assert len(keys[0] & keys[1]) == 1  # the first, whose content differs: what the head says is in the key


def test_the_streams_of_a_dump_are_cut():
    text = dump(300)
    parts = text.split("  <page>")
    groups = ["".join("  <page>" + page for page in parts[at : at + 10]) for at in range(1, len(parts), 10)]
    data = b"".join(bz2.compress(part.encode()) for part in [parts[0], *groups])
    assert assert_equal_to_the_whole(data, 300, "a.xml.bz2", **MEDIAWIKI) > 20
    assert assert_equal_to_the_whole(bz2.compress(text.encode()), 300, "a.xml.bz2", **MEDIAWIKI) == 1


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_pages_at_every_place_of_a_chunk(monkeypatch, chunk):
    monkeypatch.setattr(ranges, "CHUNK_BYTES", chunk)
    assert assert_equal_to_the_whole(dump(12).encode(), 100, "a.xml", **MEDIAWIKI) == 13  # the end of the root is one
    warcs = b"".join(record(b"%d" % n) for n in range(12))
    assert assert_equal_to_the_whole(warcs, 100, "a.warc", format="warc") == 12


def test_a_head_that_is_a_bomb_is_in_no_range():
    names = "".join(f'<namespace key="6">{n}{"x" * 1000}</namespace>' for n in range(70))
    data = dump(50).replace("<namespaces>", "<namespaces>" + names).encode()
    assert assert_equal_to_the_whole(data, 1000, "a.xml", **MEDIAWIKI) == 1


LINES = st.lists(
    st.sampled_from(
        [b'{"text":"a","id":1}\n', b'{"text":"b"', b"}\n", b"\n", b"{\n", b"\xef\xbb\xbf", b'{"text":"c"}']
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(LINES, max_size=12), st.sampled_from(["gz", "bz2"]), st.booleans(), st.integers(1, 200), st.integers())
def test_jsonl_in_parts(parts, extension, damaged, piece_bytes, at):
    pack = gzip.compress if extension == "gz" else bz2.compress
    data = b"".join(map(pack, parts))
    if damaged and data:
        data = flipped(data, at)
    assert_equal_to_the_whole(data, piece_bytes, f"a.jsonl.{extension}", format="jsonl")


@pytest.mark.parametrize("between", [b"\0", b"\0" * 600, b"x", gzip.compress(b"", mtime=0)])
def test_what_stands_between_parts_is_read_as_without_cuts(between):
    parts = [gzip.compress(b'{"text":"a%d"}\n' % n, mtime=0) for n in range(20)]
    data = b"".join(parts[:10]) + between + b"".join(parts[10:])
    assert_equal_to_the_whole(data, 60, "a.jsonl.gz", format="jsonl")
    assert_equal_to_the_whole(b"".join(parts) + between, 60, "a.jsonl.gz", format="jsonl")


def test_a_table_in_gzip_members_and_a_byte_order_mark():
    parts = [b"\xef", b"\xbb\xbfid,text\n", *(b"%d,text\n" % n for n in range(40))]
    data = b"".join(map(gzip.compress, parts))
    assert assert_equal_to_the_whole(data, 100, "a.csv.gz", format="csv", id_column="id") > 5


@pytest.mark.parametrize(
    ("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstd), ("a.xml.bz2", bz2.compress)]
)
def test_one_stream_is_left_whole(name, pack):
    made = b"".join(b'{"text":"%d"}\n' % n for n in range(200))
    source = MEDIAWIKI if "xml" in name else {"format": "jsonl"}
    assert assert_equal_to_the_whole(pack(dump(50).encode() if "xml" in name else made), 10, name, **source) == 1


def test_a_single_stream_is_given_up_early(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "GIVE_UP_BYTES", 1 << 16)
    lines = b"".join(b'{"text":"%s"}\n' % random.Random(n).randbytes(500).hex().encode() for n in range(4000))
    path = write(tmp_path / "a.jsonl.gz", lines)
    seen = []
    unpacked = ranges._gzip
    monkeypatch.setattr(ranges, "_gzip", lambda *args: (seen.append(len(c)) or c for c in unpacked(*args)))
    assert len(pieces_of(path, 100_000, format="jsonl")) == 1
    assert sum(seen) < len(lines) / 4


def test_a_cut_may_fall_no_further_back_than_is_held(tmp_path, monkeypatch):
    """Zero bytes behind a member are looked through for the next one; by then its end is out of reach, or is not."""
    monkeypatch.setattr(ranges, "LOOK_BACK_BYTES", 1 << 17)
    good = gzip.compress(record(b"a"), mtime=0)
    for gap in (0, 1 << 16, 1 << 18):
        assert assert_equal_to_the_whole((good + b"\0" * gap) * 6, 50, "a.warc.gz", format="warc") > 4
