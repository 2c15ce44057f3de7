import gzip
import io
import subprocess
import sys
import zlib

import pytest
from fastwarc.stream_io import BrotliWriter, GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from data_quality.config import WarcSource
from data_quality.sources import gzip_members, warc
from data_quality.sources.base import BadInput, InputError, Record, Skip
from tests.data_quality.ingesting import ingest, write, zstd
from tests.data_quality.test_sources_streams import ref

URN = "urn:uuid:00000000-0000-4000-8000-{:012d}"
GBK_PAGE = "<html><head><title>标题</title></head><body><p>自然语言处理是人工智能的一个重要方向。</p></body></html>"


def source(path, **options):
    return {"format": "warc", "paths": [str(path)], **options}


def by_warcio(records, compress=True):
    """A WARC written by warcio: warcinfo, then a request and a response for each (number, body, content type, status,
    further HTTP headers)."""
    sink = io.BytesIO()
    writer = WARCWriter(sink, gzip=compress)
    writer.write_record(writer.create_warcinfo_record("a.warc.gz", {"software": "test"}))
    for number, body, content_type, status, further in records:
        headers = [("Content-Type", content_type), *further]
        for kind, http in (
            ("request", StatusAndHeaders("GET / HTTP/1.1", [("Host", "a.org")], is_http_request=True)),
            ("response", StatusAndHeaders(status, headers, protocol="HTTP/1.1")),
        ):
            fields = {"WARC-Record-ID": f"<{URN.format(number)}>", "WARC-Date": "2024-05-06T07:08:09Z"}
            record = writer.create_warc_record(
                f"http://a.org/{number}",
                kind,
                payload=io.BytesIO(body if kind == "response" else b""),
                http_headers=http,
                warc_headers_dict=fields if kind == "response" else {},
            )
            writer.write_record(record)
    return sink.getvalue()


def page(number, body=None, content_type="text/html; charset=utf-8", status="200 OK", further=()):
    return number, body or b"<p>page %d</p>" % number, content_type, status, further


def member(number, body=b"", http=b"Content-Type: text/html\r\n"):
    """One response record written by fastwarc, uncompressed."""
    record = WarcRecord()
    record.init_headers(WarcRecordType.response, record_urn=f"uuid:00000000-0000-4000-8000-{number:012d}".encode())
    record.headers["WARC-Target-URI"] = f"http://a.org/{number}"
    record.is_http = True
    record.set_bytes_content(b"HTTP/1.1 200 OK\r\n" + http + b"\r\n" + (body or b"<p>page %d</p>" % number))
    sink = io.BytesIO()
    record.write(sink)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "a.warc.zst"])
def test_pages_with_record_id_url_date_title_and_encoding(tmp_path, name):
    records = [page(1), page(2, GBK_PAGE.encode("gbk"), "text/html; charset=gb2312"), page(3, b"plain", "text/plain")]
    data = by_warcio(records, compress=name.endswith(".gz"))
    (tmp_path / name).write_bytes(zstd(data) if name.endswith(".zst") else data)
    out = ingest(tmp_path, source(tmp_path / name))
    assert {id: d.text for id, d in out.documents.items()} == {
        URN.format(1): "page 1",
        URN.format(2): "自然语言处理是人工智能的一个重要方向。",
        URN.format(3): "plain",
    }
    assert out.documents[URN.format(2)].metadata == {
        "url": "http://a.org/2",
        "date": "2024-05-06T07:08:09Z",
        "content_type": "text/html",
        "title": "标题",
        "encoding": "gb18030",
    }
    assert out.skipped == []
    assert out.files[0]["records"] == 3


def test_fastwarcs_files_and_whole_file_gzip(tmp_path):
    sink = io.BytesIO()
    with GzipWriter(sink) as writer:
        for number in range(5):
            writer.write(member(number))
    write(tmp_path / "in/a.warc.gz", b"".join(member(number) for number in range(5, 9)))  # one member for all
    (tmp_path / "in/b.warc.gz").write_bytes(sink.getvalue())
    out = ingest(tmp_path, source(tmp_path / "in"))
    assert sorted(out.texts) == [f"page {number}" for number in range(9)]


def test_wet(tmp_path):
    record = WarcRecord()
    record.init_headers(WarcRecordType.conversion, record_urn=b"uuid:00000000-0000-4000-8000-000000000001")
    record.headers["WARC-Target-URI"] = "http://a.org/"
    record.headers["WARC-Date"] = "2024-05-06T07:08:09Z"
    record.headers["Content-Type"] = "text/plain"
    record.set_bytes_content("标题\n正文 <b>".encode())
    sink = io.BytesIO()
    record.write(sink)
    write(tmp_path / "a.warc.wet.gz", sink.getvalue())
    (document,) = ingest(tmp_path, source(tmp_path)).documents.values()
    assert (document.id, document.text, document.metadata["url"]) == (URN.format(1), "标题\n正文 <b>", "http://a.org/")


def test_what_is_no_page_is_counted_and_no_error(tmp_path):
    records = [page(1, status="404 Not Found"), page(2, b"%PDF", "application/pdf"), page(3)]
    (tmp_path / "a.warc.gz").write_bytes(by_warcio(records))
    out = ingest(tmp_path, source(tmp_path / "a.warc.gz", on_bad_input="error"))
    assert out.texts == ["page 3"]
    assert {row["reason"]: row["detail"] for row in out.skipped} == {
        "http_status": "status 404",
        "other_content_type": "application/pdf",
    }


def brotli(data):
    sink = io.BytesIO()
    with BrotliWriter(sink) as writer:
        writer.write(data)
    return sink.getvalue()


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


ENCODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate ": raw_deflate,
    "br": brotli,
    "zstd": zstd,
    "identity": bytes,
    "gzip, br": lambda data: brotli(gzip.compress(data)),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("chunked", [False, True])
def test_content_and_transfer_encodings(tmp_path, encoding, chunked):
    body = b"<p>" + b"some text " * 50 + b"</p>"
    headers = b"Content-Type: text/html\r\nContent-Encoding: " + encoding.encode() + b"\r\n"
    packed = ENCODINGS[encoding](body)
    if chunked:
        pieces = [packed[at : at + 50] for at in range(0, len(packed), 50)]
        packed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        headers += b"Transfer-Encoding: chunked\r\n"
    # Common Crawl stores pages decoded, under the headers that were sent: those are left as they are.
    write(tmp_path / "a.warc", member(1, packed, headers) + member(2, body, headers))
    out = ingest(tmp_path, source(tmp_path / "a.warc"))
    assert out.texts == [("some text " * 50).strip()] * 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_bomb_is_a_counted_skip(tmp_path, encoding):
    bomb = ENCODINGS[encoding](b"<p>" + b"0" * 50_000_000)
    headers = b"Content-Type: text/html\r\nContent-Encoding: " + encoding.encode() + b"\r\n"
    write(tmp_path / "a.warc.gz", member(1, bomb, headers) + member(2))
    out = ingest(tmp_path, source(tmp_path / "a.warc.gz", max_record_bytes=1_000_000))
    assert out.texts == ["page 2"]
    assert [(row["record"], row["reason"]) for row in out.skipped] == [(1, "too_long")]
    assert "max_record_bytes is 1000000" in out.skipped[0]["detail"]


def test_a_record_beyond_the_limit_is_read_past(tmp_path):
    write(tmp_path / "a.warc.gz", member(1) + member(2, b"x" * 500_000) + member(3))
    out = ingest(tmp_path, source(tmp_path / "a.warc.gz", max_record_bytes=1000))
    assert out.texts == ["page 1", "page 3"]
    assert out.reasons == ["too_long"]


A, B, C = (gzip.compress(member(number)) for number in (1, 2, 3))
FLIPPED = B[:100] + bytes([B[100] ^ 255]) + B[101:]


@pytest.mark.parametrize(
    ("data", "kept", "reasons"),
    [
        (A + B[:-40], [1], ["truncated"]),
        (A + B[:60] + C, [1, 3], ["corrupt"]),
        (A + b"garbage" * 9 + B + C, [1, 2, 3], ["corrupt"]),
        (b"garbage" + A + B + b"\x1f\x8b\x08 and more", [1, 2], ["corrupt", "corrupt"]),
        (A + b"\0" * 512 + B + b"\0" * 10_000, [1, 2], []),  # padding is no damage
        (b"\x1f\x8b\x08\x04" * 5, [], ["truncated"]),
        (A + gzip.compress(b"no record") + C, [1, 3], ["corrupt"]),
        (A + gzip.compress(member(2)[:-10]) + C, [1, 3], ["truncated"]),
    ],
)
def test_damage_in_the_gzip_costs_what_it_hits(tmp_path, data, kept, reasons):
    (tmp_path / "a.warc.gz").write_bytes(data)
    out = ingest(tmp_path, source(tmp_path / "a.warc.gz"))
    assert out.texts == [f"page {number}" for number in kept]
    assert out.reasons == reasons
    if reasons:
        with pytest.raises(BadInput, match=rf"^a\.warc\.gz: {reasons[0]}: "):
            ingest(tmp_path / "strict", source(tmp_path / "a.warc.gz", on_bad_input="error"))


def test_a_flipped_bit_in_a_member_costs_that_member(tmp_path):
    (tmp_path / "a.warc.gz").write_bytes(A + FLIPPED + C)
    out = ingest(tmp_path, source(tmp_path / "a.warc.gz"))
    assert out.texts == ["page 1", "page 3"]
    assert set(out.reasons) == {"corrupt"}


@pytest.mark.parametrize(
    ("data", "kept", "detail"),
    [
        (member(1) + b"garbage\r\n" + member(2), [1, 2], "7 bytes between records that belong to none"),
        (member(1) + member(2)[:60], [1], "the file ends within the header of a record"),
        (
            member(1) + member(2).replace(b"Content-Length: ", b"Content-Length: 9") + member(3),
            [1, 3],
            "bytes of the record",
        ),
        (
            member(1) + member(2).replace(b"Content-Length: ", b"Content-Length: -") + member(3),
            [1, 3],
            "Content-Length",
        ),
        (member(1) + member(2).replace(b"HTTP/1.1", b"FTPX/1.1") + member(3), [1, 3], "http://a.org/2: no HTTP header"),
        (member(1) + b"WARC/1.0\r\n" + b"x" * 200_000 + b"\r\n\r\n" + member(3), [1, 3], "complete header"),
    ],
)
def test_damage_between_and_in_plain_records(tmp_path, data, kept, detail):
    write(tmp_path / "a.warc", data)
    out = ingest(tmp_path, source(tmp_path / "a.warc"))
    assert out.texts == [f"page {number}" for number in kept]
    assert any(detail in row["detail"] for row in out.skipped)


def test_endless_breaks_end_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip_members, "MAX_BREAKS", 3)
    (tmp_path / "a.warc.gz").write_bytes(A + (A[:60]) * 9)
    out = ingest(tmp_path, source(tmp_path / "a.warc.gz"))
    assert out.texts == ["page 1"]
    assert "more than 3 breaks" in out.skipped[-1]["detail"]


def test_memory_does_not_grow_with_the_file(tmp_path):
    code = """
import hashlib, sys
from data_quality.config import WarcSource
from data_quality.sources import warc
from data_quality.sources.base import FileRef
from tests.peak import forget_peak, peak
path = sys.argv[1]
ref = FileRef(path="a", uri=path, sha256=hashlib.sha256(open(path, "rb").read()).hexdigest(), bytes=1)
source = WarcSource(format="warc", paths=("a",), max_record_bytes=100_000)
reading = warc.read(ref, source)
next(reading)  # imports and compiled code
before = forget_peak()
count = sum(1 for _ in reading)
print(count, (peak() - before) // 1024)
"""
    small = gzip.compress(member(1, b"<p>" + b"text and more " * 500))
    huge = gzip.compress(member(2, b"x" * 60_000_000), 1)  # one record of 60 MB, six of them
    with (tmp_path / "a.warc.gz").open("wb") as file:
        for _ in range(6):
            file.write(small * 50 + huge)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.warc.gz")], capture_output=True, text=True)
    count, grown = map(int, done.stdout.split())
    assert count == 6 * 51 - 1
    assert grown < 30


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200, deadline=None
)
@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from(
            [A, B, A[:70], B[9:], member(1), member(2)[:90], member(3)[90:], b"WARC/1.0\r\n", b"\r\n\r\n"]
        )
        | st.sampled_from([b"Content-Length: 5\r\n", b"WARC-Type: response\r\n", b"\x1f\x8b\x08", b"HTTP/1.1 200\r\n"]),
        max_size=12,
    ).map(b"".join),
    st.sampled_from(["a.warc", "a.warc.gz", "a.wet.zst"]),
    st.booleans(),
)
def test_any_bytes_are_read_or_refused(tmp_path, data, name, compress):
    if compress and name != "a.warc":
        write(tmp_path / name, data)
    else:
        (tmp_path / name).write_bytes(data)
    config = WarcSource(format="warc", paths=("a",), max_record_bytes=5000)
    try:
        for item in warc.read(ref(tmp_path / name), config):
            assert isinstance(item, Record | Skip)
    except InputError as error:
        if error.reason not in ("truncated", "corrupt"):
            raise


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=100), st.sampled_from([*ENCODINGS, "gzip, deflate, br, zstd"]), st.booleans())
def test_any_body_is_decoded_or_refused(tmp_path, body, encoding, pack):
    headers = b"Content-Encoding: " + encoding.encode() + b"\r\nTransfer-Encoding: chunked\r\n"
    packed = ENCODINGS[encoding](body)[: -3 or None] if pack and encoding in ENCODINGS else body
    (tmp_path / "a.warc").write_bytes(member(1, packed, headers))
    (item,) = warc.read(ref(tmp_path / "a.warc"), WarcSource(format="warc", paths=("a",), max_record_bytes=5000))
    assert isinstance(item, Record | Skip)
