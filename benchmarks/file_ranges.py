"""How fast a large file is cut into ranges, against hashing it and against reading it.

    python -m benchmarks.file_ranges [--megabytes 256] [--line-bytes 1000]

Writes a file of each format, and prints MB/s of one core: SHA-256 alone (what a file that is left whole costs), the cut
(hash and boundaries in one pass), and ingest of one range.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from data_quality.config import IngestConfig
from data_quality.hashing import sha256_stream
from data_quality.ingest import ingest_piece
from data_quality.pieces import list_pieces
from data_quality.sources.ranges import cut_file

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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--line-bytes", type=int, default=1000)
    options = parser.parse_args()
    size = options.megabytes * 1_000_000
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
