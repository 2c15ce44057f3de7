"""A large file read range by range gives what the whole file gives, and keeps the ranges that did not change."""

import hashlib
import json
import os
import random
import tempfile
import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_quality.config import IngestConfig
from data_quality.documents import iter_documents
from data_quality.hashing import combine_digests
from data_quality.ingest import ingest_piece
from data_quality.pieces import list_pieces
from data_quality.skipped import read_skipped
from data_quality.sources.base import BadInput, SourceChanged
from data_quality.sources.fingerprint import Fingerprints
from data_quality.sources.ranges import cut_file
from tests.data_quality.ingesting import write

WHOLE = 1 << 40


def pieces_of(path, piece_bytes, cache=None, **source):
    source = {"paths": [str(path)], "name": "n", **source}
    return list_pieces(IngestConfig.model_validate({"sources": [source], "piece_bytes": piece_bytes}), cache)


def read(pieces, directory):
    """(documents, what was skipped and where, digest, counted files) of pieces read one by one."""
    documents, skipped, digests, files = [], [], [], 0
    for number, piece in enumerate(pieces):
        out = Path(directory) / str(number)
        result = ingest_piece(piece, out)
        documents += list(iter_documents(sorted(out.glob("0*.parquet"))))
        skipped += read_skipped(out / "skipped.parquet", piece.files[0].range).to_pylist()
        digests.append(result["digest"])
        files += result["files"]
    return documents, skipped, combine_digests(digests), files


def assert_equal_to_the_whole(data, piece_bytes, name="a.txt", **source):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(data)
        pieces = pieces_of(path, piece_bytes, **source)
        whole = pieces_of(path, WHOLE, **source)
        assert len(whole) == 1
        ranged = read(pieces, Path(directory) / "ranges")
        assert ranged == read(whole, Path(directory) / "whole")
        if len(pieces) > 1:
            spans = [(piece.files[0].range.start, piece.files[0].bytes) for piece in pieces]
            assert sum(size for _, size in spans) == len(data)
            for piece, (start, size) in zip(pieces, spans, strict=True):
                assert piece.files[0].sha256 == hashlib.sha256(data[start : start + size]).hexdigest()
    return len(pieces)


ALPHABET = ["a", "b c", "é", "中", "𝒳", "\n", "\n\n", "\r\n", "\r", "\r\n\r\n", " ", "--", "-", "\n--\n", "﻿", "\x00"]
TEXTS = st.lists(st.sampled_from(ALPHABET), max_size=60).map("".join)
DOCUMENT = st.sampled_from(["line", "paragraph", "separator"])


@settings(max_examples=100, deadline=None)
@given(TEXTS, DOCUMENT, st.sampled_from(["--", "\n--\n", "aa"]), st.integers(1, 40), st.sampled_from([4, 1 << 20]))
@example("中" * 30 + "\n" + "中" * 30, "line", "--", 1, 1 << 20)
@example("a\r\n\r\nb\r\n", "paragraph", "--", 1, 1 << 20)
def test_text(text, document, separator, piece_bytes, limit):
    options = {"document": document, "separator": separator, "max_record_bytes": limit}
    assert_equal_to_the_whole(text.encode(), piece_bytes, format="text", **options)


@pytest.mark.parametrize("document", ["line", "paragraph", "separator"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8])
def test_separators_at_every_place_of_a_chunk(monkeypatch, document, chunk):
    monkeypatch.setattr("data_quality.sources.ranges.CHUNK_BYTES", chunk)
    text = "".join(f"{'x中' * (n % 5)}\n--\n{n}\n\n" for n in range(30))
    pieces = assert_equal_to_the_whole(text.encode(), 10, format="text", document=document, separator="\n--\n")
    assert pieces > 5


@pytest.mark.parametrize("encoding", ["gb18030", "latin-1", "shift_jis"])
def test_other_encodings_are_cut_too(encoding):
    text = "".join(f"{number} {'é' if encoding == 'latin-1' else '日本'}\n" for number in range(100))
    pieces = assert_equal_to_the_whole(text.encode(encoding), 50, format="text", document="line", encoding=encoding)
    assert pieces > 5


RECORDS = st.lists(
    st.sampled_from(
        [
            b'{"text":"a","id":1}\n',
            b'{"text":"\xe4\xb8\xad"}\r\n',
            b"\n",
            b"  \n",
            b"{\n",
            b'{"text":"\xff"}\n',
            b"\xef\xbb\xbf",
            b'{"text":""}\n',
            b'{"text":"' + b"x" * 90 + b'"}\n',
        ]
    ),
    max_size=40,
).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(1, 200), st.sampled_from([50, 1 << 20]))
def test_jsonl(data, piece_bytes, limit):
    assert_equal_to_the_whole(data, piece_bytes, format="jsonl", max_record_bytes=limit)


CELLS = ["text", "id", ",", '"', '""', '"a\nb"', "\n", "\r\n", "\n\n", "x", "中", "\r", '"x, y"', "\n1,", ';"', "\xff"]
ROWS = st.lists(st.sampled_from(CELLS), max_size=60).map(lambda cells: "".join(cells).encode("latin-1", "replace"))


@settings(max_examples=150, deadline=None)
@given(ROWS, st.integers(1, 40), st.sampled_from(['"', None, "'"]), st.booleans(), st.sampled_from([9, 1 << 20]))
def test_csv(data, piece_bytes, quote, header, limit):
    data = b"text,id\n" + data if header else data
    options = {"quote": quote, "columns": None if header else ["text", "id"], "max_record_bytes": limit}
    assert_equal_to_the_whole(data, piece_bytes, "a.csv", format="csv", **options)


def test_line_feeds_in_quotes_are_no_cut():
    rows = "".join(f'{n},"one\ntwo ""{n}""\n\nthree"\n{n}a,plain\n' for n in range(60))
    data = f"id,text\n{rows}".encode()
    assert assert_equal_to_the_whole(data, 100, "a.csv", format="csv", id_column="id") > 10
    assert assert_equal_to_the_whole(data.replace(b",", b"\t"), 100, "a.tsv", format="csv") > 10


def test_a_missing_column_is_said_once(tmp_path):
    path = write(tmp_path / "a.csv", b"a,b\n" + b"1,2\n" * 100)
    assert len(pieces_of(path, 10, format="csv")) == 1
    assert len(pieces_of(path, 10, format="csv", text_column="a")) > 10


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 3000), st.booleans())
def test_parquet(rows, group, piece_bytes, with_ids):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.parquet"
        texts = [None if n % 7 == 3 else f"text {n} " * (n % 5) for n in range(rows)]
        table = pa.table({"text": pa.array(texts, pa.string()), "id": [str(n) for n in range(rows)]})
        pq.write_table(table, path, row_group_size=group)
        options = {"format": "parquet", "id_column": "id" if with_ids else None}
        ranged = read(pieces_of(path, piece_bytes, **options), Path(directory) / "a")
        assert ranged == read(pieces_of(path, WHOLE, **options), Path(directory) / "b")


def test_a_broken_parquet_file_is_read_whole(tmp_path):
    for data in (b"PAR1 no parquet " * 100, b"x" * 1000 + b"\xff" * 20 + b"\x14\0\0\0PAR1"):
        _, skipped, _, _ = read(pieces_of(write(tmp_path / "a.parquet", data), 10, format="parquet"), tmp_path / "out")
        assert [row["reason"] for row in skipped] == ["corrupt"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jsonl.gz", {"format": "jsonl"}),
        ("a.jsonl.zst", {"format": "jsonl"}),
        ("a.jsonl", {"format": "jsonl", "encoding": "utf-16"}),
        ("a.txt", {"format": "text"}),
    ],
)
def test_left_whole(tmp_path, name, options):
    text = "".join(json.dumps({"text": f"{n}"}) + "\n" for n in range(200))
    path = write(tmp_path / name, text.encode(options.get("encoding", "utf-8")))
    (piece,) = pieces_of(path, 10, **options)
    assert piece.files[0].range is None


def records(numbers):
    return [json.dumps({"text": f"text of {n}", "key": f"k{n}"}).encode() + b"\n" for n in numbers]


def keys(pieces):
    return [json.dumps(piece.key_material, sort_keys=True) for piece in pieces]


@pytest.mark.parametrize("id_column", [None, "key"])
def test_appending_changes_only_the_last_range(tmp_path, id_column):
    lines = records(range(3000))
    options = {"format": "jsonl", "id_column": id_column}
    before = keys(pieces_of(write(tmp_path / "a.jsonl", b"".join(lines)), 2000, **options))
    after = keys(pieces_of(write(tmp_path / "a.jsonl", b"".join(lines + records([5000]))), 2000, **options))
    assert len(before) > 40
    assert before[:-1] == after[: len(before) - 1]
    assert len(after) - len(before) in (0, 1)


@pytest.mark.parametrize("at", [0, 1500, 2999])
def test_inserting_changes_the_ranges_around_it(tmp_path, at):
    lines = records(range(3000))
    inserted = b"".join([*lines[:at], *records([7777]), *lines[at:]])
    own_ids = {"format": "jsonl", "id_column": "key"}
    before = keys(pieces_of(write(tmp_path / "a.jsonl", b"".join(lines)), 2000, **own_ids))
    after = keys(pieces_of(write(tmp_path / "a.jsonl", inserted), 2000, **own_ids))
    assert len(set(after) - set(before)) <= 3
    # Ids made of record numbers do change behind the insertion, and the keys with them.
    numbered = {"format": "jsonl"}
    before = keys(pieces_of(write(tmp_path / "a.jsonl", b"".join(lines)), 2000, **numbered))
    after = keys(pieces_of(write(tmp_path / "a.jsonl", inserted), 2000, **numbered))
    assert abs(len(set(after) - set(before)) - len(before) * (1 - at / 3000)) <= 4


@pytest.mark.parametrize("id_column", [None, "key"])
def test_equal_keys_mean_equal_results(tmp_path, id_column):
    """What the key leaves out is in no file of the result: ranges of equal key are read from two versions of a file."""
    lines = [line if n % 9 else b"broken\n" for n, line in enumerate(records(range(600)))]
    options = {"format": "jsonl", "id_column": id_column}
    seen = {}
    for version, at in enumerate((None, 0, 300)):
        changed = lines if at is None else [*lines[:at], b"\n", *records([7777]), *lines[at:]]
        path = write(tmp_path / "a.jsonl", b"".join(changed))
        for number, piece in enumerate(pieces_of(path, 1000, **options)):
            out = tmp_path / f"{version}-{number}"
            ingest_piece(piece, out)
            content = {file.name: file.read_bytes() for file in out.iterdir()}
            assert seen.setdefault(keys([piece])[0], content) == content


def test_sizes_of_ranges(tmp_path):
    path = write(tmp_path / "a.jsonl", b"".join(records(range(20000))))
    sizes = [piece.files[0].bytes for piece in pieces_of(path, 4000, format="jsonl")]
    assert all(2000 <= size < 16000 + 100 for size in sizes[:-1])
    assert 3000 < sum(sizes) / len(sizes) < 5000
    same = write(tmp_path / "b.jsonl", records([1])[0] * 20000)  # content says always or never
    assert 40 < len(pieces_of(same, 4000, format="jsonl")) < 500


def test_a_fault_names_the_line_of_the_file(tmp_path):
    lines = records(range(300))
    lines[250] = b"{\n"
    path = write(tmp_path / "a.jsonl", b"".join(lines))
    pieces = pieces_of(path, 500, format="jsonl", id_column="key", on_bad_input="error")
    with pytest.raises(BadInput, match=r"a\.jsonl, line 251: invalid_json"):
        read(pieces, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_range_that_changed_is_refused(tmp_path, name):
    def put(first):
        texts = [first, *(f"text {n}" for n in range(200))]
        if name == "a.jsonl":
            write(tmp_path / name, b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts))
        else:
            pq.write_table(pa.table({"text": texts}), tmp_path / name, row_group_size=10)

    put("one")
    pieces = pieces_of(tmp_path / name, 100, format=name[2:])
    put("two")
    with pytest.raises(SourceChanged, match=r"changed while it was being ingested; run again"):
        ingest_piece(pieces[0], tmp_path / "first")
    ingest_piece(pieces[-1], tmp_path / "last")  # what did not change is what was fingerprinted


def test_a_file_without_records_is_said_to_be_empty_once(tmp_path):
    path = write(tmp_path / "a.txt", b"\n" * 1000)
    _, skipped, _, files = read(pieces_of(path, 10, format="text", document="line"), tmp_path / "out")
    assert ([row["reason"] for row in skipped], files) == (["empty_file"], 1)


def test_the_cache_answers_for_ranges(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", b"".join(records(range(300))))
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    cache = tmp_path / "fingerprints.sqlite"
    first = pieces_of(path, 500, cache, format="jsonl")
    cuts = []
    monkeypatch.setattr("data_quality.sources.fingerprint.cut_file", lambda *args: cuts.append(args) or cut_file(*args))
    assert pieces_of(path, 500, cache, format="jsonl") == first
    assert not cuts
    pieces_of(path, 600, cache, format="jsonl")
    pieces_of(path, 500, cache, format="text", document="paragraph")
    assert len(cuts) == 2
    os.utime(path, (hour_ago + 1, hour_ago + 1))
    assert pieces_of(path, 500, cache, format="jsonl") == first
    assert len(cuts) == 3


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    block = b"".join(json.dumps({"text": random.Random(n).randbytes(400).hex()}).encode() + b"\n" for n in range(1000))
    peaks = []
    for megabytes in (4, 24):
        path.write_bytes(block * megabytes)
        tracemalloc.start()
        with Fingerprints(None, True) as fingerprints:
            source = pieces_of(path, WHOLE, format="jsonl")[0].source
            assert len(fingerprints.ranges_of(str(path), "a.jsonl", source, 1 << 20)) > 2
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 20)
