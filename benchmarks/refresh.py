"""What a nightly refresh costs: `python -m benchmarks.refresh [--share 0.01] [--copies 1] [--config FILE]`.

`textmill clean` on the English corpus below TEXTMILL_DATA without a share of its documents, then once more with these
as a file of their own, in the same store; and on both in an empty one, which is what the refresh is compared with.
Each is a process of its own. The manifests must name equal digests. --copies makes the corpus larger: in every further
copy words of more than five letters are written with another alphabet, so that texts, lines and shingles are new while
lengths, stop words and who resembles whom stay as they are (`benchmarks._other_words`).
"""

import argparse
import json
import resource
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._other_words import in_other_words
from benchmarks.documents import read_documents
from benchmarks.growth import clean
from data_quality.sources.fingerprint import RACY_SECONDS


def write_corpus(directory: Path, share: float, copies: int) -> tuple[Path, Path, float]:
    """The documents that are there and those that are new, as JSONL, and the megabytes of both."""
    old, new = directory / "old.jsonl", directory / "new.jsonl"
    written = 0
    with old.open("w", encoding="utf-8") as earlier, new.open("w", encoding="utf-8") as later:
        for row in _rows(copies):
            late = zlib.crc32(row["id"].encode()) < share * 2**32
            (later if late else earlier).write(json.dumps(row, ensure_ascii=False) + "\n")
            written += len(row["text"].encode())
    return old, new, written / 1e6


def _rows(copies: int) -> Iterator[dict[str, str]]:
    documents = list(read_documents("corpus_en"))
    for copy in range(copies):
        for document in documents:
            text = in_other_words(document.text, copy)
            yield {"id": f"{copy}/{document.id}", "source": document.source, "text": text}


def cost_of(inputs: list[Path], home: Path, config: Path, workers: int) -> tuple[float, float, dict[str, Any]]:
    """Wall and processor seconds of a cleaning, and what each stage noted of its own."""
    before = _processor_seconds()
    seconds, stages = clean(inputs, home, config, workers)
    return seconds, _processor_seconds() - before, stages


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def digests(out: Path) -> dict[str, Any]:
    """Stage and digest of everything that the cleaning lists."""
    artifacts = json.loads((out / "manifest.json").read_text())["artifacts"]
    return {a["stage"]: a["digest"] for a in artifacts if a["stage"] not in ("report", "ingest")}


def main() -> None:
    """Print seconds by stage of the full run and of the refresh."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/clean-en.yaml"))
    parser.add_argument("--share", type=float, default=0.01, help="of the documents, that are new")
    parser.add_argument("--copies", type=int, default=1, help="of the corpus, each with other words")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    config = arguments.config.absolute()
    with tempfile.TemporaryDirectory(prefix="textmill-refresh-") as name:
        work = Path(name)
        old, new, megabytes = write_corpus(work, arguments.share, arguments.copies)
        time.sleep(RACY_SECONDS + 1)  # of a file of this moment no hash is kept, and no nightly run has only such files
        whole, whole_cpu, stages = cost_of([old, new], work / "whole", config, arguments.workers)
        clean([old], work / "nightly", config, arguments.workers)
        refresh, refresh_cpu, again = cost_of([old, new], work / "nightly", config, arguments.workers)
        same = digests(work / "whole" / "out") == digests(work / "nightly" / "out")
    print(f"{megabytes:.1f} MB; {arguments.share:.1%} of the documents new; equal digests: {same}")
    print(f"{'':<20}{'whole':>10}{'refresh':>10}")
    for stage, cost in sorted(stages.items(), key=lambda item: item[1]["created"]):
        print(f"{stage:<20}{cost['seconds']:>8.2f} s{again[stage]['seconds']:>8.2f} s")
    print(f"{'the whole command':<20}{whole:>8.2f} s{refresh:>8.2f} s = {refresh / whole:.1%}")
    print(f"{'processor seconds':<20}{whole_cpu:>8.2f} s{refresh_cpu:>8.2f} s = {refresh_cpu / whole_cpu:.1%}")


if __name__ == "__main__":
    main()
