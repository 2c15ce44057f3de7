"""How fast a large file is cut into ranges, against hashing it and against reading it.

    python -m benchmarks.file_ranges [--megabytes 256] [--line-bytes 1000]
    python -m benchmarks.file_ranges --of a.jsonl a.csv a.parquet a.warc.gz a.mbox a.xml a.xml.bz2 [--megabytes 256]

Writes a file of each format, and prints MB/s of one core: SHA-256 alone (what a file that is left whole costs), the cut
(hash and boundaries in one pass), and ingest of one range.

With --of: one table, web archive, mailbox or dump, made of the English corpus below TEXTMILL_DATA, repeated until the
file is that large. Prints the wall seconds of the cut, and those of the stage `ingest` in an empty store (cut or hash,
read, write): cut, with one worker and with two, and with two of the file left whole; the shortest of several rounds in
turn. Stops if the documents differ.
"""

import argparse
import bz2
import gzip
import html
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.documents import read_documents
from data_quality.config import IngestConfig
from data_quality.hashing import sha256_stream
from data_quality.ingest import ingest_piece
from data_quality.pieces import list_pieces
from data_quality.sources.ranges import cut_file
from tasks.ingest import fingerprinted, ingest
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store

FORMATS = {
    "jsonl": ("a.jsonl", {"format": "jsonl"}),
    "lines": ("a.txt", {"format": "text", "document": "line"}),
    "paragraphs": ("b.txt", {"format": "text", "document": "paragraph"}),
    "csv without quotes": ("a.csv", {"format": "csv", "columns": ["id", "text"]}),
    "csv, all quoted": ("b.csv", {"format": "csv", "columns": ["id", "text"]}),
}


def write(path: Path, kind: str, size: int, line_bytes: int) -> None:
    """A file of ``size`` bytes of made-up words in documents of about ``line_bytes``."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(5000)]
    with path.open("w") as file:
        number = 0
        while file.tell() < size:
            text = " ".join(draw.choices(words, k=max(1, line_bytes // 6)))
            number += 1
            file.write(record(kind, number, text))


def record(kind: str, number: int, text: str) -> str:
    """One document as it stands in a file."""
    match kind:
        case "jsonl":
            return json.dumps({"text": text}) + "\n"
        case "paragraphs":
            return f"{text[: len(text) // 2]}\n{text[len(text) // 2 :]}\n\n"
        case "csv without quotes":
            return f"{number},{text}\n"
        case "csv, all quoted":
            return f'"{number}","{text}"\n'
    return f"{text}\n"


ONE_FILE = {
    "a.jsonl": "jsonl",
    "a.csv": "csv",
    "a.parquet": "parquet",
    "a.warc.gz": "warc",
    "a.mbox": "mail",
    "a.xml": "mediawiki",
    "a.xml.bz2": "mediawiki",
}
WHOLE = 1 << 50


def write_one_file(path: Path, size: int, texts: list[str]) -> None:
    """A file of ``size`` bytes as stored, written as Arrow, crawlers, mail programs and MediaWiki write theirs."""
    if path.suffix == ".parquet":
        schema = pa.schema([("id", pa.string()), ("text", pa.string())])
        with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            number = 0
            while file.tell() < size:
                rows = [{"id": str(n), "text": texts[n % len(texts)]} for n in range(number, number + 1_000)]
                writer.write_table(pa.Table.from_pylist(rows, schema))
                number += len(rows)
        return
    with path.open("wb") as file:
        for part in stored(path.name, texts):
            file.write(part)
            if file.tell() >= size:
                break
        if "xml" in path.name:
            file.write(bz2.compress(b"</mediawiki>\n") if path.suffix == ".bz2" else b"</mediawiki>\n")


def stored(name: str, texts: list[str]) -> Iterator[bytes]:
    """What stands in such a file, without end."""
    numbered = ((number, texts[number % len(texts)]) for number in range(sys.maxsize))
    match name:
        case "a.jsonl":
            for number, text in numbered:
                yield json.dumps({"id": str(number), "text": text}, ensure_ascii=False).encode() + b"\n"
        case "a.csv":
            yield b"id,text\n"
            for number, text in numbered:
                quoted = text.replace('"', '""')
                yield f'{number},"{quoted}"\n'.encode()
        case "a.warc.gz":
            for number, text in numbered:
                paragraphs = "".join(f"<p>{html.escape(part)}</p>\n" for part in text.split("\n\n"))
                page = f"<html><head><title>{number}</title></head><body>{paragraphs}</body></html>".encode()
                body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
                head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:{number}>\r\nContent-Type: "
                head += f"application/http; msgtype=response\r\nContent-Length: {len(body)}\r\n\r\n"
                yield gzip.compress(head.encode() + body + b"\r\n\r\n")
        case "a.mbox":
            for number, text in numbered:
                body = text.replace("\nFrom ", "\n>From ")
                head = "From jo@example.org Mon May  6 09:08:09 2024\nContent-Type: text/plain; charset=utf-8\n"
                yield f"{head}Content-Transfer-Encoding: 8bit\nSubject: {number}\n\n{body}\n\n".encode()
        case "a.xml":
            yield b"<mediawiki><siteinfo><dbname>enwiki</dbname></siteinfo>\n"
            for number, text in numbered:
                yield (
                    f"  <page>\n<title>Page {number}</title><ns>0</ns><id>{number}</id>\n<revision><model>wikitext"
                    f"</model><text>{html.escape(text)}</text></revision>\n  </page>\n"
                ).encode()
        case _:
            pages = stored("a.xml", texts)
            yield bz2.compress(next(pages))
            while True:
                yield bz2.compress(b"".join(next(pages) for _ in range(100)))


def seconds_of_ingest(config: IngestConfig, workers: int, home: Path) -> tuple[float, str]:
    """Wall seconds of reading in an empty store, the start of workers included, and the digest of the documents."""
    os.environ["TEXTMILL_HOME"] = str(home)
    start = time.perf_counter()
    with use_run(Run(Store(home / "store"), Resources(workers=workers, threads=1), Display(quiet=True))):
        corpus = ingest(fingerprinted(config))
    return time.perf_counter() - start, corpus.digest


def one_file(names: list[str], size: int, rounds: int) -> None:
    """Print the second table."""
    texts = ["".join(c for c in d.text if c >= " " or c in "\n\t") for d in read_documents("corpus_en")]
    random.Random(0).shuffle(texts)
    print(f"{'':12}{'MB':>8}{'ranges':>8}{'cut':>8}{'cut, 1':>10}{'cut, 2':>10}{'whole, 2':>10}  s")
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            path = Path(directory) / name
            write_one_file(path, size, texts)
            source = {"format": ONE_FILE[name], "paths": [str(path)]}
            cut, whole = (
                IngestConfig.model_validate({"sources": [source], **more}) for more in ({}, {"piece_bytes": WHOLE})
            )
            start = time.perf_counter()
            ranges = cut_file(str(path), name, cut.sources[0], cut.piece_bytes)
            print(f"{name:12}{path.stat().st_size / 1e6:8.0f}{len(ranges):8}", end="", flush=True)
            print(f"{time.perf_counter() - start:8.1f}", end="", flush=True)
            digests = set()
            shortest: dict[tuple[bool, int], float] = {}
            for turn in range(rounds):
                for config, workers in ((cut, 1), (cut, 2), (whole, 2)):
                    home = Path(directory) / f"{name}-{turn}-{workers}-{config is cut}"
                    seconds, digest = seconds_of_ingest(config, workers, home)
                    digests.add(digest)
                    case = (config is cut, workers)
                    shortest[case] = min(seconds, shortest.get(case, seconds))
            print("".join(f"{seconds:10.1f}" for seconds in shortest.values()), end="")
            print()
            if len(digests) > 1:
                sys.exit(f"{name}: the documents of the ranges are not those of the file")
            path.unlink()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--line-bytes", type=int, default=1000)
    parser.add_argument("--of", nargs="+", choices=list(ONE_FILE))
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    size = options.megabytes * 1_000_000
    if options.of:
        one_file(options.of, size, options.rounds)
        return
    print(f"{'':20}{'sha256':>10}{'cut':>10}{'ingest':>10}  MB/s; ranges")
    with tempfile.TemporaryDirectory() as directory:
        for kind, (name, source) in FORMATS.items():
            path = Path(directory) / name
            write(path, kind, size, options.line_bytes)
            config = IngestConfig.model_validate({"sources": [{**source, "paths": [str(path)]}]})
            seconds = [time.perf_counter()]
            with path.open("rb") as file:
                sha256_stream(file)
            seconds.append(time.perf_counter())
            ranges = cut_file(str(path), name, config.sources[0], config.piece_bytes)
            seconds.append(time.perf_counter())
            pieces = list_pieces(config)
            started = time.perf_counter()
            ingest_piece(pieces[0], Path(directory) / "out")
            ingested = time.perf_counter() - started
            whole = path.stat().st_size / 1e6
            rates = [
                whole / (seconds[1] - seconds[0]),
                whole / (seconds[2] - seconds[1]),
                sum(file.bytes for file in pieces[0].files) / 1e6 / ingested,
            ]
            print(f"{kind:20}" + "".join(f"{rate:10.0f}" for rate in rates) + f"  {len(ranges)}")
            path.unlink()


if __name__ == "__main__":
    main()
