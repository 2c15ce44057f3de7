"""A part of a development corpus as JSONL: `python -m benchmarks.corpus_sample corpus_en 14 sample.jsonl`.

Every document whose id has a CRC-32 divisible by the number: the same ones on every machine.
"""

import argparse
import json
import zlib
from pathlib import Path

from benchmarks.documents import read_documents


def main() -> None:
    """Write the file and say how much it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", choices=["corpus_en", "corpus_zh"])
    parser.add_argument("part", type=int, help="one document in so many")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    documents = written = 0
    with options.out.open("w", encoding="utf-8") as file:
        for document in read_documents(options.corpus):
            if zlib.crc32(document.id.encode()) % options.part == 0:
                row = {"id": document.id, "source": document.source, "text": document.text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                documents, written = documents + 1, written + len(document.text.encode())
    print(f"{documents:,} documents, {written / 1e6:.1f} MB of text")


if __name__ == "__main__":
    main()
