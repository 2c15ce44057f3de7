import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time

import fsspec
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from data_quality.config import IngestConfig
from data_quality.documents import documents_digest
from data_quality.hashing import combine_digests
from data_quality.ingest import ingest_piece, require_documents
from data_quality.pieces import Piece, list_pieces
from data_quality.sources.base import NAME_THE_COLUMN, BadInput, SourceChanged, SourceNotFound
from tests.data_quality.ingesting import ingest, write


def jsonl(*texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


@pytest.fixture
def folder(tmp_path):
    for number in range(40):
        texts = [f"document {number} {n} " + "word " * (number * 7 % 11) for n in range(10)]
        write(tmp_path / f"in/{number % 4}/{number:02d}.jsonl{['', '.gz', '.zst'][number % 3]}", jsonl(*texts))
    return tmp_path / "in"


def config(*paths, **options):
    source = {"format": "jsonl", "paths": [str(path) for path in paths]}
    return IngestConfig.model_validate({"sources": [source], "piece_bytes": 40_000, **options})


def keys(pieces):
    return [json.dumps(piece.key_material, sort_keys=True) for piece in pieces]


def digest_of(pieces, directory):
    return combine_digests(
        ingest_piece(piece, directory / str(number))["digest"] for number, piece in enumerate(pieces)
    )


def test_the_digest_does_not_depend_on_shards_pieces_or_order(tmp_path, folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    random.Random(0).shuffle(files)
    expected = digest_of(list_pieces(config(folder)), tmp_path / "a")
    for number, changed in enumerate(
        [
            config(folder, shards={"max_rows": 7}),
            config(folder, shards={"max_bytes": 300}),
            config(folder, piece_bytes=1),
            config(folder, piece_bytes=1 << 40),
            config(*reversed(sorted(folder.glob("*"))), folder),
            config(str(folder) + "/**/*.jsonl*"),
            config(*files, folder),
        ]
    ):
        assert digest_of(list_pieces(changed), tmp_path / f"b{number}") == expected, changed


@pytest.mark.parametrize(
    ("name", "options", "library"),
    [
        ("a.epub", {"format": "epub"}, "lxml"),
        ("a.html", {"format": "html"}, "resiliparse"),
        ("a.warc", {"format": "warc"}, "resiliparse"),
        ("a.eml", {"format": "mail"}, "resiliparse"),
        ("a.pdf", {"format": "pdf"}, "pypdfium2"),
        ("a.txt", {"format": "text", "encoding": "auto"}, "resiliparse"),
        ("a.csv", {"format": "csv", "encoding": "auto"}, "resiliparse"),
        ("b.txt", {"format": "text"}, None),
    ],
)
def test_a_new_version_of_what_reads_a_file_reads_it_anew(tmp_path, monkeypatch, name, options, library):
    source = {"paths": [str(write(tmp_path / name, b"text"))], **options}
    [piece] = list_pieces(IngestConfig.model_validate({"sources": [source]}))
    before = piece.key_material
    monkeypatch.setattr("data_quality.pieces.version", lambda name: f"newer {name}")
    assert (piece.key_material == before) == (library is None)
    assert piece.key_material.get(library) == (library and f"newer {library}")


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_a_new_version_of_our_reader_reads_a_file_anew(tmp_path, monkeypatch, name):
    source = {"format": "csv" if name == "a.csv" else "text", "paths": [str(write(tmp_path / name, b"text"))]}
    [piece] = list_pieces(IngestConfig.model_validate({"sources": [source]}))
    before = piece.key_material
    monkeypatch.setattr("data_quality.pieces.READERS", {"csv": 99})
    assert (piece.key_material == before) == (name == "a.txt")


def test_the_order_of_sources_does_not_matter(tmp_path, folder):
    write(tmp_path / "t/a.txt", b"text")
    one = {"format": "jsonl", "paths": [str(folder)]}
    two = {"format": "text", "paths": [str(tmp_path / "t")]}
    pieces = [list_pieces(IngestConfig.model_validate({"sources": s})) for s in ([one, two], [two, one])]
    assert pieces[0] == pieces[1]


def test_a_new_file_changes_only_its_own_piece(tmp_path, folder):
    before = list_pieces(config(folder))
    assert len(before) > 3
    for name in ("0/000.jsonl", "1/zz.jsonl", "9/9.jsonl"):
        write(folder / name, jsonl("new"))
        after = list_pieces(config(folder))
        assert len(set(keys(before)) - set(keys(after))) <= 1
        assert 1 <= len(set(keys(after)) - set(keys(before))) <= 2
        (folder / name).unlink()
    assert keys(list_pieces(config(folder))) == keys(before)


def test_a_changed_file_changes_its_piece_and_no_other(folder):
    before = list_pieces(config(folder))
    path = folder / "2/02.jsonl.zst"
    write(path, jsonl("other"))
    assert len(set(keys(list_pieces(config(folder)))) - set(keys(before))) == 1


def test_the_key_knows_no_place_and_no_time(tmp_path, folder):
    before = list_pieces(config(folder))
    moved = folder.rename(tmp_path / "moved")
    for path in moved.rglob("*.*"):
        os.utime(path, (1, 1))
    after = list_pieces(config(moved))
    assert keys(after) == keys(before)
    assert str(tmp_path) not in "".join(keys(before))


@pytest.mark.parametrize(
    "change",
    [
        {"text_column": "body"},
        {"name": "other"},
        {"max_record_bytes": 10},
        {"language": "en"},
        {"on_bad_input": "error"},
    ],
)
def test_the_key_knows_what_the_reader_is_told(folder, change):
    source = {"format": "jsonl", "paths": [str(folder)]}
    variants = [IngestConfig.model_validate({"sources": [{**source, **options}]}) for options in ({}, change)]
    assert not set(keys(list_pieces(variants[0]))) & set(keys(list_pieces(variants[1])))


def test_a_piece_survives_json_and_pickle(folder):
    for piece in list_pieces(config(folder)):
        assert Piece.model_validate_json(piece.model_dump_json()) == piece
        assert pickle.loads(pickle.dumps(piece)) == piece  # noqa: S301  what a process pool does


def test_two_sources_need_two_names(tmp_path):
    write(tmp_path / "a/x.txt", b"one")
    write(tmp_path / "b/x.txt", b"two")
    sources = [{"format": "text", "paths": [str(tmp_path / name)]} for name in "ab"]
    with pytest.raises(ValidationError, match="two sources are named text: give each a `name` of its own"):
        IngestConfig.model_validate({"sources": sources})
    out = ingest(tmp_path, {**sources[0], "name": "a"}, {**sources[1], "name": "b"})
    assert list(out.documents) == ["a:x.txt", "b:x.txt"]


def test_two_files_of_one_name_in_one_source(tmp_path):
    write(tmp_path / "a/x.txt", b"one")
    write(tmp_path / "b/x.txt", b"two")
    source = {"format": "text", "paths": [str(tmp_path / "a"), str(tmp_path / "b")]}
    with pytest.raises(SourceNotFound, match=r"a/x\.txt and .*b/x\.txt would both be called 'x\.txt'"):
        ingest(tmp_path, source)


def test_nothing_matches(tmp_path, folder):
    for paths, message in [
        (["nowhere"], r"nowhere does not exist; correct `paths`"),
        (["*.nope"], r"\*\.nope has no files; correct"),
    ]:
        with pytest.raises(SourceNotFound, match=message):
            list_pieces(config(*(folder / path for path in paths)))
    with pytest.raises(
        SourceNotFound, match=r"has no \.txt, \.md files \(or \.gz, \.zst, \.bz2\); correct `paths` or `format`"
    ):
        ingest(tmp_path, {"format": "text", "paths": [str(folder)]})
    with pytest.raises(SourceNotFound, match=r"after `include` and `exclude` \(40 before\)"):
        ingest(tmp_path, {"format": "jsonl", "paths": [str(folder)], "exclude": ["*"]})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("/nowhere"), r"odd\.jsonl leads nowhere: remove it, or name it under"),
        (os.mkfifo, r"odd\.jsonl is a pipe or a device: remove it, or name it under `exclude`"),
        (
            lambda path: open(os.fsencode(path.with_name("odd")) + b"\xe9.jsonl", "w").close(),
            r"the name of .*odd\\xe9\.jsonl is not in UTF-8, as ids must be: rename it, or leave it out by `exclude`",
        ),
    ],
)
def test_what_looks_like_a_file_and_is_none_is_named_and_not_waited_for(folder, make, message):
    make(folder / "odd.jsonl")
    for path in (folder, folder / "*.jsonl"):
        with pytest.raises(SourceNotFound, match=message):
            list_pieces(config(path))
    excluded = {"format": "jsonl", "paths": [str(folder)], "exclude": ["odd*"]}
    assert list_pieces(IngestConfig.model_validate({"sources": [excluded]}))


def test_include_and_exclude(tmp_path, folder):
    options = {"format": "jsonl", "paths": [str(folder)], "include": ["0/*", "1/*"], "exclude": ["*.gz"]}
    files = {row["file"] for row in ingest(tmp_path, options).files}
    assert files
    assert all(name[0] in "01" and not name.endswith(".gz") for name in files)


def test_a_fsspec_uri_gives_what_the_local_folder_gives(tmp_path, folder):
    memory = fsspec.filesystem("memory")
    root = f"/textmill-{tmp_path.name}-{os.getpid()}"
    memory.put(str(folder), root, recursive=True)
    try:
        local = list_pieces(config(folder))
        remote = list_pieces(config(f"memory:/{root}"))
        assert keys(remote) == keys(local)
        assert digest_of(remote, tmp_path / "remote") == digest_of(local, tmp_path / "local")
        assert digest_of(list_pieces(config(f"memory:/{root}/*/*.jsonl*")), tmp_path / "glob") == digest_of(
            local, tmp_path / "local"
        )
        assert keys(list_pieces(config(folder.as_uri()))) == keys(local)
    finally:
        memory.rm(root, recursive=True)


def test_counts_and_progress(tmp_path):
    write(tmp_path / "in/a.jsonl", jsonl("one", "", "three") + b"{\n")
    write(tmp_path / "in/b.jsonl", b"")
    (piece,) = list_pieces(config(tmp_path / "in", piece_bytes=1 << 40))
    seen = []
    result = ingest_piece(piece, tmp_path / "out", seen.append)
    size = (tmp_path / "in/a.jsonl").stat().st_size
    assert seen == [size, 0]
    shards = result.pop("shards")
    assert result == {
        "files": 2,
        "records": 4,
        "documents": 2,
        "skipped": 3,
        "bytes": size,
        "text_bytes": 8,
        "skipped_by_reason": {"empty_document": 1, "empty_file": 1, "invalid_json": 1},
        "skip_examples": [
            "a.jsonl, line 4: invalid_json: EOF while parsing an object at line 1 column 1",
            "b.jsonl: empty_file: no record in it",
        ],
        "digest": documents_digest(tmp_path / "out/00000.parquet"),
    }
    assert [shard["name"] for shard in shards] == ["00000.parquet"]


def test_nothing_read_at_all_is_an_error(tmp_path):
    write(tmp_path / "in/a.jsonl", b'{"body": "x"}\n' * 3)
    write(tmp_path / "in/b.jsonl", b"")
    results = ingest(tmp_path, {"format": "jsonl", "paths": [str(tmp_path / "in")]}).results
    with pytest.raises(BadInput) as error:
        require_documents(results)
    assert str(error.value) == (
        "2 files: no_documents: nothing could be read (1 empty_file, 3 missing_column); the first: a.jsonl, line 1: "
        f"missing_column: no column 'text'; there are: 'body'. {NAME_THE_COLUMN}"
    )
    write(tmp_path / "in/b.jsonl", jsonl("one"))
    require_documents(ingest(tmp_path, {"format": "jsonl", "paths": [str(tmp_path / "in")]}).results)


def test_bad_input_travels_between_processes():
    error = pickle.loads(pickle.dumps(BadInput("f", 3, "r", "d")))  # noqa: S301
    assert str(error) == "f, line 3: r: d"


def test_the_cache_is_believed_only_where_it_may_be(tmp_path):
    path = write(tmp_path / "a.jsonl", jsonl("one"))
    cache = tmp_path / "cache/fingerprints.sqlite"
    long_ago = time.time() - 3600

    def key(**options):
        return keys(list_pieces(config(path, **options), cache))

    os.utime(path, (long_ago, long_ago))
    first = key()
    write(path, jsonl("two"))
    os.utime(path, (long_ago, long_ago))
    assert key() == first  # same size, same time: the shortcut
    changed = key(trust_mtime=False)
    assert changed != first
    os.utime(path, (long_ago + 1, long_ago + 1))
    assert key() == changed


def test_a_file_just_written_is_not_cached(tmp_path):
    path = write(tmp_path / "a.jsonl", jsonl("one"))
    status = path.stat()
    cache = tmp_path / "fingerprints.sqlite"
    first = keys(list_pieces(config(path), cache))
    write(path, jsonl("two"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert keys(list_pieces(config(path), cache)) != first


def test_a_file_that_changes_between_listing_and_reading_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", jsonl("one"))
    (piece,) = list_pieces(config(path))
    write(path, jsonl("one", "two"))
    with pytest.raises(SourceChanged, match=r"a\.jsonl changed while it was being ingested; run again"):
        ingest_piece(piece, tmp_path / "out")


KILLED = """
import os, signal, sys
from pathlib import Path
from data_quality.ingest import ingest_piece
from data_quality.pieces import Piece
from data_quality import documents
finished = documents.ShardWriter._finish_shard
def finish(self):
    if len(self.shards) == int(sys.argv[3]):
        self._flush_row_group()
        os.kill(os.getpid(), signal.SIGKILL)
    finished(self)
documents.ShardWriter._finish_shard = finish
ingest_piece(Piece.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("after", [0, 2])
def test_killed_in_the_middle_and_run_again_gives_the_same_digest(tmp_path, folder, after):
    (piece,) = list_pieces(config(folder, piece_bytes=1 << 40, shards={"max_rows": 60}))
    expected = ingest_piece(piece, tmp_path / "undisturbed")
    arguments = [sys.executable, "-c", KILLED, piece.model_dump_json(), str(tmp_path / "out"), str(after)]
    assert subprocess.run(arguments).returncode == -signal.SIGKILL
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert f"{after:05d}.tmp" in left
    assert not any(name.startswith(f"{after:05d}.parquet") for name in left)
    assert ingest_piece(piece, tmp_path / "out") == expected
    for path in (tmp_path / "undisturbed").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "out").iterdir())) == len(list((tmp_path / "undisturbed").iterdir()))


def test_config_and_listing_import_nothing_heavy(tmp_path):
    code = """
import sys
heavy = {"torch", "numba", "spacy", "datasets", "ftfy", "duckdb"}
import data_quality.config
print(sorted((heavy | {"pyarrow", "fsspec"}) & set(sys.modules)))
import data_quality.ingest
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]


@pytest.mark.skipif("TEXTMILL_DATA" not in os.environ, reason="needs the development data")
def test_a_development_file_is_read_without_a_skip(tmp_path):
    folder = os.path.join(os.environ["TEXTMILL_DATA"], "labelled", "blimp")
    source = {"format": "jsonl", "paths": [folder], "text_column": "sentence_good", "source_column": "UID"}
    out = ingest(tmp_path, source)
    assert out.reasons == []
    assert len(out.texts) == 12_000


def test_what_is_said_of_a_skipped_record_holds_no_address(tmp_path):
    """A file without a header has its first record for column names, and the message about them quotes it."""
    path = tmp_path / "people.csv"
    path.write_text("canary@aviary.example,(212) 555-0187\nsecond@aviary.example,1\n")
    config = IngestConfig.model_validate({"sources": [{"format": "csv", "paths": [str(path)]}]})
    [piece] = list_pieces(config, None)
    (tmp_path / "out").mkdir()
    ingest_piece(piece, tmp_path / "out")
    [row] = pq.read_table(tmp_path / "out" / "skipped.parquet").to_pylist()
    assert row["reason"] == "missing_column"
    assert "<email>" in row["detail"]
    assert "aviary" not in row["detail"]
    assert "555" not in row["detail"]
