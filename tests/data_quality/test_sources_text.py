import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import TextSource
from data_quality.sources import text as text_reader
from data_quality.sources.base import BadInput, InputError, Record
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.test_sources_streams import ref


def source(path, **options):
    return {"format": "text", "paths": [str(path)], **options}


def test_one_document_per_file(tmp_path):
    write(tmp_path / "in/a.txt", b"first\n\nfile\n")
    write(tmp_path / "in/sub/b.md.gz", "第二".encode())
    write(tmp_path / "in/c.txt.zst", b"third")
    write(tmp_path / "in/ignored.pdf", b"no")
    write(tmp_path / "in/.hidden/d.txt", b"no")
    out = ingest(tmp_path, source(tmp_path / "in", name="docs"))
    assert {id: document.text for id, document in out.documents.items()} == {
        "docs:a.txt": "first\n\nfile\n",
        "docs:c.txt.zst": "third",
        "docs:sub/b.md.gz": "第二",
    }
    assert {document.source for document in out.documents.values()} == {"docs"}
    assert out.reasons == []


def test_one_document_per_line_numbered_by_line(tmp_path):
    write(tmp_path / "a.txt", b"one\r\n\n  \nfour\nfive")
    out = ingest(tmp_path, source(tmp_path / "a.txt", document="line", language="en"))
    assert {id: d.text for id, d in out.documents.items()} == {
        "text:a.txt#1": "one",
        "text:a.txt#4": "four",
        "text:a.txt#5": "five",
    }
    assert {d.language for d in out.documents.values()} == {"en"}


def test_one_document_per_paragraph(tmp_path):
    write(tmp_path / "a.txt", b"\n\none\r\nmore\n \n\ntwo\n\nthree")
    out = ingest(tmp_path, source(tmp_path / "a.txt", document="paragraph"))
    assert {id: d.text for id, d in out.documents.items()} == {
        "text:a.txt#1": "one\nmore",
        "text:a.txt#2": "two",
        "text:a.txt#3": "three",
    }


def test_one_document_between_separators(tmp_path):
    write(tmp_path / "a.txt", b"one\n\nmore\n<|endoftext|>\ntwo\n<|endoftext|>\n")
    out = ingest(tmp_path, source(tmp_path / "a.txt", document="separator"))
    assert out.texts == ["one\n\nmore", "two"]


@pytest.mark.parametrize(
    ("document", "data", "kept"),
    [
        ("line", b"ok\n" + b"x" * 21 + b"\nlast\n" + b"y" * 20, ["ok", "last", "y" * 20]),
        ("paragraph", b"ok\n\n" + b"x" * 10 + b"\n" + b"x" * 10 + b"\n\nlast", ["ok", "last"]),
        ("paragraph", b"x" * 30 + b"\n\nlast", ["last"]),
        ("separator", b"ok--" + b"x" * 21 + b"--last", ["ok", "last"]),
        ("file", b"x" * 21, []),
    ],
)
def test_a_record_beyond_the_limit_is_skipped_and_the_rest_kept(tmp_path, document, data, kept):
    write(tmp_path / "a.txt", data)
    out = ingest(tmp_path, source(tmp_path / "a.txt", document=document, separator="--", max_record_bytes=20))
    assert out.texts == kept
    assert out.reasons == ["too_long"]
    assert "max_record_bytes is 20" in out.skipped[0]["detail"]


def test_broken_utf8_costs_its_line_only(tmp_path):
    write(tmp_path / "a.txt", b"one\nb\xffd\nthree")
    out = ingest(tmp_path, source(tmp_path / "a.txt", document="line"))
    assert out.texts == ["one", "three"]
    assert out.skipped == [
        {
            "file": "a.txt",
            "line": 2,
            "record": 2,
            "reason": "bad_encoding",
            "detail": "not utf-8: invalid start byte at byte 1",
        }
    ]
    with pytest.raises(BadInput, match=r"^a\.txt, line 2: bad_encoding: not utf-8"):
        ingest(tmp_path, source(tmp_path / "a.txt", document="line", on_bad_input="error"))


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8-sig", "latin-1"])
def test_other_encodings(tmp_path, encoding):
    text = "é\n" if encoding == "latin-1" else "中文，全角\n第二行"
    write(tmp_path / "a.txt", text.encode(encoding))
    out = ingest(tmp_path, source(tmp_path / "a.txt", document="line", encoding=encoding))
    assert out.texts == text.split()


def test_wrong_wide_encoding_is_recorded(tmp_path):
    write(tmp_path / "a.txt", b"\xff\xfea\x00\n\x00\x00")
    out = ingest(tmp_path, source(tmp_path / "a.txt", document="line", encoding="utf-16"))
    assert out.reasons == ["bad_encoding"]


def test_unknown_encoding_is_a_config_error():
    with pytest.raises(ValueError, match="unknown encoding 'utf-9'"):
        TextSource(format="text", paths=("a",), encoding="utf-9")


def test_null_bytes_and_empty_files(tmp_path):
    write(tmp_path / "in/a.txt", b"binary\0file")
    write(tmp_path / "in/b.txt", b"")
    write(tmp_path / "in/c.txt", b"fine")
    out = ingest(tmp_path, source(tmp_path / "in"))
    assert out.texts == ["fine"]
    assert sorted((row["file"], row["reason"]) for row in out.skipped) == [
        ("a.txt", "null_bytes"),
        ("b.txt", "empty_file"),
    ]
    with pytest.raises(BadInput, match=r"^b\.txt: empty_file"):
        ingest(tmp_path, source(tmp_path / "in/b.txt", on_bad_input="error"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    data=st.binary(max_size=300) | st.text().map(str.encode),
    document=st.sampled_from(["file", "line", "paragraph", "separator"]),
    name=st.sampled_from(["a.txt", "a.txt.gz", "a.txt.zst", "a.txt.bz2"]),
    packed=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-16", "gb18030", "shift_jis", "utf-7", "auto"]),
)
def test_any_bytes_are_read_or_refused(tmp_path, data, document, name, packed, encoding):
    path = tmp_path / name
    write(path, data) if packed else path.write_bytes(data)
    config = TextSource(
        format="text",
        paths=(str(path),),
        document=document,
        separator="a",
        encoding=encoding,
        max_record_bytes=50,
    )
    try:
        items = list(text_reader.read(ref(path), config))
    except InputError:
        return
    if (name == "a.txt" or packed) and document == "line" and encoding == "utf-8" and data.isascii():
        lines = [line.removesuffix(b"\r").decode() for line in data.split(b"\n") if line.strip() and len(line) <= 50]
        assert [item.text for item in items if isinstance(item, Record)] == lines
