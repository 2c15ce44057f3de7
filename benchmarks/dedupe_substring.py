"""Exact substring dedupe, one worker: `python benchmarks/dedupe_substring.py [--megabytes N] [--scales 1 4] [--peer]`.

Documents of the English corpus below TEXTMILL_DATA in, spans out: MB of UTF-8 text a second of processor time and peak
resident memory, at 1x, 4x, 16x of the data; each scale in a process of its own. The copies beyond the corpus are made
by renaming a third of the words, so that the share of repeated text stays about the same. With --peer the suffix array
of Lee et al. runs over the same bytes: pydivsufsort's divsufsort and Kasai's common prefixes, without the tokenising,
the evidence and the writing that the other figure includes. The Rust original is in no package registry.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_quality.config import SubstringConfig
from data_quality.dedupe.substring import substring_spans
from data_quality.dedupe.windows import window_hashes, window_shard
from data_quality.documents import Document, ShardWriter, iter_documents

RENAMED = 3  # one word in so many
SHARD_BYTES = 16 << 20


def corpus() -> Iterator[Document]:
    """The English corpus, documents in an order of their hashes, so that a part of it is a sample."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit("set TEXTMILL_DATA to the folder that holds corpus_en")
    found = []
    for source in sorted((Path(os.environ["TEXTMILL_DATA"]) / "corpus_en").glob("*.jsonl.zst")):
        with pa.input_stream(str(source), compression="zstd") as stream:
            records = (json.loads(line) for line in stream.read().split(b"\n") if line)
            found += [Document(record["id"], record["text"], record["source"]) for record in records]
    yield from sorted(found, key=lambda document: zlib.crc32(document.id.encode()))


def renamed(text: str, copy: int) -> str:
    """The text with a third of its words renamed, the same ones wherever they stand."""
    return " ".join(f"{word}{copy}" if zlib.crc32(word.encode()) % RENAMED == 0 else word for word in text.split(" "))


def write(directory: Path, megabytes: float, scale: int) -> None:
    """About scale * megabytes of documents as shards."""
    size = 0
    with ShardWriter(directory, max_bytes=SHARD_BYTES) as writer:
        for document in corpus():
            if size >= megabytes * 1e6:
                break
            size += len(document.text.encode())
            for copy in range(scale):
                text = renamed(document.text, copy) if copy else document.text
                writer.add(Document(f"{copy}/{document.id}", text, document.source))


def peak_resident_mib() -> float:
    """Of this program alone: what getrusage says is inherited from the program that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(paths: list[Path], size: int, work: Path, group_bytes: int) -> dict[str, Any]:
    """Ours over shards of documents."""
    window_hashes("compiled kernels are loaded before the clock starts " * 20, 50)
    before = peak_resident_mib()
    config = SubstringConfig(group_bytes=group_bytes)
    tables = [work / f"windows-{path.name}" for path in paths]
    start, wall = time.process_time(), time.perf_counter()
    for path, table in zip(paths, tables, strict=True):
        window_shard(path, table, config.window)
    hashed = time.process_time()
    counts = substring_spans(
        paths, tables, work / "spans.parquet", work / "left.parquet", config, temp_directory=work, memory_limit="512MiB"
    )
    done = time.process_time()
    return {
        "megabytes": size / 1e6,
        "window_mb_per_second": size / 1e6 / (hashed - start),
        "span_mb_per_second": size / 1e6 / (done - hashed),
        "mb_per_second": size / 1e6 / (done - start),
        "wall_seconds": time.perf_counter() - wall,
        "peak_resident_mib": peak_resident_mib(),
        "resident_before_mib": before,
        "group_bytes_per_character_at_worst": 36 * counts["windows"] / counts["characters"],
        "disk_bytes_per_character": 24 * counts["windows"] / counts["characters"],
        **counts,
    }


def measure_peer(paths: list[Path], size: int) -> dict[str, Any]:
    """One suffix array over all bytes, and the lengths of common prefixes."""
    from pydivsufsort import divsufsort, kasai

    data = np.frombuffer("\0".join(d.text for d in iter_documents(paths)).encode(), dtype=np.uint8).copy()
    start = time.process_time()
    suffixes = divsufsort(data)
    common = kasai(data, suffixes)
    seconds = time.process_time() - start
    return {
        "megabytes": size / 1e6,
        "mb_per_second": size / 1e6 / seconds,
        "peak_resident_mib": peak_resident_mib(),
        "array_bytes_per_byte": (data.nbytes + suffixes.nbytes + common.nbytes) / len(data),
        "repeated_bytes": int((common >= 200).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=40, help="of the corpus at scale 1")
    parser.add_argument("--scales", nargs="*", type=int, default=[1, 4, 16])
    parser.add_argument("--group-bytes", type=int, default=256 << 20)
    parser.add_argument("--peer", action="store_true", help="also a suffix array over the same bytes")
    parser.add_argument("--one", choices=["textmill", "suffix_array"], help=argparse.SUPPRESS)
    parser.add_argument("--documents", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        paths = sorted(options.documents.glob("*.parquet"))
        size = sum(len(document.text.encode()) for document in iter_documents(paths))
        with tempfile.TemporaryDirectory() as name:
            ours = options.one == "textmill"
            result = measure(paths, size, Path(name), options.group_bytes) if ours else measure_peer(paths, size)
        print(json.dumps(result))
        return
    results = {}
    for scale in options.scales:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), options.megabytes, scale)
            for kind in ["textmill", *(["suffix_array"] if options.peer else [])]:
                command = [sys.executable, __file__, "--one", kind, "--documents", name]
                command += ["--group-bytes", str(options.group_bytes)]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                results[f"{kind} {scale}x"] = json.loads(output.splitlines()[-1])
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
