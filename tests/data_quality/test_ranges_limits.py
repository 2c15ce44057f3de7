"""Cutting archives costs what it may: memory stays flat, an interrupt is heeded, what is damaged or beyond a limit is
told apart, and files that change between cutting and reading are seen."""

import bz2
import contextlib
import gzip
import json
import random
import re
import threading
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_quality.config import IngestConfig
from data_quality.sources import bzip2_streams, gzip_members, ranges
from data_quality.sources.ranges import cut_file
from tests.data_quality.ingesting import write
from tests.data_quality.test_ranges import assert_equal_to_the_whole, pieces_of, read
from tests.data_quality.test_ranges_archives import FROM, MEDIAWIKI, flipped, record
from tests.data_quality.test_sources_mediawiki import HEAD, TAIL, article


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "a.mbox", "a.xml", "a.xml.bz2"])
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, name):
    monkeypatch.setattr(bzip2_streams, "AHEAD_BYTES", 1 << 19)
    monkeypatch.setattr(bzip2_streams, "LOOK_BACK_BYTES", 2 << 20)
    path = tmp_path / name
    words = [random.Random(n).randbytes(3000).hex() for n in range(100)]
    format = {"a.mbox": "mail"}.get(name, "mediawiki" if "xml" in name else "warc")
    source = IngestConfig.model_validate({"sources": [{"format": format, "paths": [str(path)]}]}).sources[0]
    peaks = []
    for copies in (4, 24):
        with path.open("wb") as file:
            if "xml" in name:
                file.write(bz2.compress(HEAD.encode()) if name.endswith("bz2") else HEAD.encode())
            for _ in range(copies):
                if name.endswith(".warc"):
                    file.write(b"".join(record(b"%d" % n, word.encode()) for n, word in enumerate(words)))
                elif name.endswith(".gz"):
                    file.writelines(gzip.compress(record(b"%d" % n, w.encode()), 1) for n, w in enumerate(words))
                elif name.endswith(".mbox"):
                    file.writelines(FROM + b"Subject: s\n\n" + word.encode() + b"\n\n" for word in words)
                else:
                    pages = "".join(article(n, "t", word) for n, word in enumerate(words)).encode()
                    file.write(bz2.compress(pages, 1) if name.endswith("bz2") else pages)
            if "xml" in name:
                file.write(bz2.compress(TAIL.encode()) if name.endswith("bz2") else TAIL.encode())
        tracemalloc.start()
        assert len(cut_file(str(path), name, source, 1 << 17)) > 2
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 20) + ranges.LOOK_BACK_BYTES


def test_ranges_of_a_damaged_archive_are_read_in_parts(tmp_path, monkeypatch):
    """A broken member is in one range; those around it are as they were."""
    monkeypatch.setattr(gzip_members, "INPUT_BYTES", 256)
    parts = [gzip.compress(record(b"%d" % n, b"<p>%d</p>" % n), mtime=0) for n in range(80)]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(parts))
    before = pieces_of(path, 1000, format="warc")
    parts[40] = flipped(parts[40], 60)
    path.write_bytes(b"".join(parts))
    after = pieces_of(path, 1000, format="warc")
    assert len(after) > 5
    assert len({p.files[0].sha256 for p in before} - {p.files[0].sha256 for p in after}) <= 3
    _, skipped, _, _ = read(after, tmp_path / "out")
    assert {row["reason"] for row in skipped} <= {"corrupt", "truncated"}


def test_equal_keys_of_damaged_ranges_mean_equal_documents(tmp_path, monkeypatch):
    """What is saved of a broken member depends on where it lies in a block: another place there is another key."""
    monkeypatch.setattr(gzip_members, "INPUT_BYTES", 300)
    monkeypatch.setattr(gzip_members, "CHUNK_BYTES", 2000)
    draw = random.Random(5)
    packed = gzip.compress(b"".join(record(b"%d" % n, draw.randbytes(60).hex().encode()) for n in range(8)), mtime=0)
    rest = packed[:583] + b"\xff" * 30 + packed[613:] + gzip.compress(record(b"after"), mtime=0)
    found: dict[str, set[str]] = {}
    without: dict[str, set[str]] = {}
    for size in range(0, 60, 3):
        path = tmp_path / f"{size}" / "a.warc.gz"
        path.parent.mkdir()
        path.write_bytes(gzip.compress(record(b"page", draw.randbytes(size).hex().encode()), mtime=0) + rest)
        for number, piece in enumerate(pieces_of(path, 10, format="warc")):
            key = json.dumps(piece.key_material)
            result = repr(read([piece], path.parent / str(number))[1:3])
            found.setdefault(key, set()).add(result)
            without.setdefault(re.sub(r', "block": \d+', "", key), set()).add(result)
    assert any(len(results) > 1 for results in without.values())
    assert all(len(results) == 1 for results in found.values())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["good", "flipped", "stored", "cut off", "stray", "long"]), max_size=30), st.randoms())
@example(["good"] * 20 + ["long"] * 5 + ["flipped"] * 2 + ["good"] * 20, random.Random(1))
def test_damage_in_members_of_several_blocks(kinds, draw):
    """What is saved of a broken member depends on the blocks it is read in; they are the same in a range."""
    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(gzip_members, "INPUT_BYTES", 128)
        patch.setattr(gzip_members, "CHUNK_BYTES", 100)
        parts = []
        for n, kind in enumerate(kinds):
            part = record(b"%d" % n, b"".join(b"%d " % draw.randrange(10**6) for _ in range(draw.randrange(40))))
            if kind == "long":
                part += record(b"%da" % n, draw.randbytes(400).hex().encode()) + record(b"%db" % n)
            packed = gzip.compress(part, 0 if kind == "stored" else 6, mtime=0)
            if kind in ("flipped", "long"):
                packed = flipped(packed, draw.randrange(len(packed)))
            parts.append(packed[: draw.randrange(len(packed))] if kind == "cut off" else packed)
            if kind == "stray":
                parts.append(
                    draw.choice([b"\0" * 300, gzip_members.MAGIC * 3, draw.randbytes(90), b"\x1f\x8b\x08\x1f"])
                )
        assert_equal_to_the_whole(b"".join(parts), draw.choice([1, 500]), "a.warc.gz", format="warc")


def test_what_looks_like_the_head_of_a_bzip2_stream_is_found_out(tmp_path):
    inner = bz2.compress(b"inner")
    for data in (inner + inner[:12], inner[:-4] + inner, b"x" + inner, inner * 3 + b"BZh91AY&SY"):
        path = tmp_path / "a.xml.bz2"
        path.write_bytes(data)
        source = IngestConfig.model_validate({"sources": [{**MEDIAWIKI, "paths": [str(path)]}]}).sources[0]
        assert cut_file(str(path), path.name, source, 1) == []


@pytest.mark.parametrize("limit", ["MAX_STREAM_BYTES", "MAX_CONTENT_BYTES"])
def test_a_bzip2_stream_beyond_the_limits_leaves_a_file_whole(monkeypatch, limit):
    pages = [HEAD, *(article(n, f"T{n}", "text") for n in range(40)), TAIL]
    data = b"".join(bz2.compress(page.encode()) for page in pages)
    assert assert_equal_to_the_whole(data, 500, "a.xml.bz2", **MEDIAWIKI) > 5
    monkeypatch.setattr(bzip2_streams, limit, 300)
    monkeypatch.setattr(bzip2_streams, "CHUNK_BYTES", 200)
    assert assert_equal_to_the_whole(data, 500, "a.xml.bz2", **MEDIAWIKI) == 1


def test_how_many_streams_are_read_ahead_changes_no_cut(monkeypatch, tmp_path):
    path = tmp_path / "a.xml.bz2"
    pages = [HEAD, *(article(n, f"T{n}", random.Random(n).randbytes(300).hex()) for n in range(200)), TAIL]
    path.write_bytes(b"".join(bz2.compress(page.encode()) for page in pages))
    before = pieces_of(path, 3000, **MEDIAWIKI)
    assert len(before) > 10
    for threads, ahead in ((1, 1), (7, 10_000)):
        monkeypatch.setattr("os.cpu_count", lambda threads=threads: threads)
        monkeypatch.setattr(bzip2_streams, "AHEAD_BYTES", ahead)
        monkeypatch.setattr(bzip2_streams, "CHUNK_BYTES", 1000)
        assert pieces_of(path, 3000, **MEDIAWIKI) == before


def test_an_interrupt_ends_the_cutting_of_all_files(tmp_path, monkeypatch):
    """The threads come to their end at the next block, not at that of files that never end here."""
    for n in range(3):
        (tmp_path / f"{n}.jsonl").write_bytes(b'{"text":"a"}\n' * 100)

    class Endless:
        def read(self, size):
            return b'{"text":"a"}\n'

        def seek(self, place):
            pass

    @contextlib.contextmanager
    def opened(uri):
        if uri.endswith("0.jsonl"):
            raise KeyboardInterrupt
        yield Endless()

    monkeypatch.setattr(ranges, "open_binary", opened)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    with pytest.raises(KeyboardInterrupt):
        pieces_of(tmp_path, 1000, format="jsonl")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cut")]


def test_files_of_members_without_a_record_fill_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "LOOK_BACK_BYTES", 1 << 16)
    monkeypatch.setattr(gzip_members, "INPUT_BYTES", 1 << 10)
    good = gzip.compress(record(b"a"), mtime=0)
    path = tmp_path / "a.warc.gz"
    source = IngestConfig.model_validate({"sources": [{"format": "warc", "paths": [str(path)]}]}).sources[0]
    peaks = []
    for empty in (10_000, 40_000):
        path.write_bytes(good * 3 + gzip.compress(b"", mtime=0) * empty + good * 3)
        tracemalloc.start()
        cut_file(str(path), path.name, source, 1 << 20)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 20)


def test_several_files_are_cut_at_once_and_a_change_between_is_seen(tmp_path, monkeypatch):
    for n in range(5):
        lines = b"".join(b'{"text":"%d %d"}\n' % (n, line) for line in range(300))
        write(tmp_path / f"{n}.jsonl", lines)
    source = {"format": "jsonl", "name": "n"}
    together = pieces_of(tmp_path, 1000, **source)
    alone = [piece for n in range(5) for piece in pieces_of(tmp_path / f"{n}.jsonl", 1000, **source)]
    assert [piece.files for piece in together] == [piece.files for piece in alone]
    once = cut_file
    cuts = []

    def changed(uri, *args):
        found = once(uri, *args)
        cuts.append(uri)
        if len(cuts) == 5:  # after the last of the first round
            (tmp_path / "3.jsonl").write_bytes(b'{"text":"another"}\n' * 500)
        return found

    monkeypatch.setattr("data_quality.sources.fingerprint.cut_file", changed)
    again = pieces_of(tmp_path, 1000, tmp_path / "cache.sqlite", **source)
    assert len(cuts) == 6
    documents, *_ = read(again, tmp_path / "out")
    assert sum(document.text == "another" for document in documents) == 500
