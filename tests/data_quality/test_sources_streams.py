import gzip
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.sources.base import FileRef, InputError, SourceChanged
from data_quality.sources.streams import Part, as_utf8, open_seekable, read_chunks, split_parts
from tests.data_quality.ingesting import write, zstd


def ref(path):
    data = path.read_bytes()
    return FileRef(path=path.name, uri=str(path), sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


@given(st.lists(st.binary(max_size=20)), st.sampled_from([b"\n", b"ab", b"aa", b"\n--\n"]), st.integers(0, 30))
def test_split_equals_bytes_split(chunks, separator, limit):
    whole = b"".join(chunks)
    expected = whole.split(separator)
    if expected[-1] == b"":
        expected.pop()
    assert list(split_parts(iter(chunks), separator, limit)) == [
        Part(part if len(part) <= limit else None, len(part)) for part in expected
    ]


def test_a_long_part_is_not_held():

    def chunks():
        for _ in range(2000):
            yield b"x" * 1000
        yield b"\nshort"

    parts = list(split_parts(chunks(), b"\n", 5000))
    assert parts == [Part(None, 2_000_000), Part(b"short", 5)]


@pytest.mark.parametrize("extension", ["", ".gz", ".zst"])
def test_content_comes_back(tmp_path, extension):
    data = bytes(range(256)) * 5000
    assert b"".join(read_chunks(ref(write(tmp_path / f"a.txt{extension}", data)))) == data


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_several_members_are_one_file(tmp_path, compress):
    path = tmp_path / ("a.gz" if compress is gzip.compress else "a.zst")
    path.write_bytes(compress(b"one") + compress(b"two"))
    assert b"".join(read_chunks(ref(path))) == b"onetwo"


def test_every_byte_before_a_truncation_is_given(tmp_path):
    # Stored blocks: what is in the file's first half is known to the byte.
    packed = gzip.compress(bytes(range(256)) * 100, compresslevel=0)
    path = tmp_path / "a.gz"
    path.write_bytes(packed[:-1000])
    given_bytes = bytearray()

    def read():
        for chunk in read_chunks(ref(path)):
            given_bytes.extend(chunk)

    with pytest.raises(InputError) as error:
        read()
    assert error.value.reason == "truncated"
    assert len(given_bytes) == 256 * 100 - 1000 + 8  # 8 bytes of trailer


def test_garbage_after_a_member_is_corrupt_and_loses_nothing(tmp_path):
    path = tmp_path / "a.zst"
    path.write_bytes(zstd(b"all of this") + b"garbage!")
    chunks = read_chunks(ref(path))
    assert next(chunks) == b"all of this"
    with pytest.raises(InputError) as error:
        next(chunks)
    assert error.value.reason == "corrupt"


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_file_that_changed_since_it_was_fingerprinted_is_refused(tmp_path, name):
    reference = ref(write(tmp_path / name, b"before"))
    write(tmp_path / name, b"after!")
    with pytest.raises(SourceChanged, match="changed while it was being ingested"):
        list(read_chunks(reference))
    with pytest.raises(SourceChanged):
        open_seekable(reference)


@given(st.text(), st.integers(1, 7), st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-16-le"]))
def test_wide_encodings_become_utf8(text, size, encoding):
    data = text.encode(encoding, "replace")
    expected = data.decode(encoding)
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    if encoding == "utf-8-sig":
        chunks = [data]
    assert b"".join(as_utf8(iter(chunks), encoding)) == expected.encode()
