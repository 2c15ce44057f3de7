"""What forgetting one document costs, and how long a trace takes: a corpus of records with ids of their own.

    python -m benchmarks.forget [--documents 100000] [--files 20]

The first refresh reads everything; the one after `forget` looks at all ids and reads the one file again that holds the
document. Times are wall clock, in this process after its imports; traces are the median of five.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PIECE_BYTES = 500_000
COMMON = "the of and to that with have be it is in for a as on by this from or which are at when will"


def write(folder: Path, documents: int, files: int) -> None:
    """JSON lines of prose that the rules see nothing wrong in."""
    draw, words = random.Random(1), COMMON.split()
    folder.mkdir()
    for file in range(files):
        with (folder / f"{file:03d}.jsonl").open("w") as out:
            for number in range(file, documents, files):
                text = " ".join(draw.choice(words) for _ in range(60)).capitalize() + "."
                out.write(json.dumps({"id": f"record-{number:07d}", "text": text}) + "\n")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--documents", type=int, default=100_000)
    arguments.add_argument("--files", type=int, default=20)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given.documents, given.files)


def measure(root: Path, documents: int, files: int) -> None:
    os.environ["TEXTMILL_HOME"] = str(root / "home")
    from flows.commands.clean import clean_config
    from flows.commands.forget import forget
    from flows.commands.trace import trace
    from flows.corpus import curate
    from tasks.running.progress import Display
    from tasks.running.run import Resources, Run, use_run
    from tasks.storage.shared import open_store

    write(root / "records", documents, files)
    source = {"format": "jsonl", "name": "records", "paths": [str(root / "records")], "id_column": "id"}
    ingest = {"sources": [source], "piece_bytes": PIECE_BYTES}  # as large as a file, as those of a large corpus are
    overrides = {"ingest": json.dumps(ingest), "rules.rulesets": "[]", "pii.enabled": "false"}
    config = clean_config([], None, overrides, None)

    def refresh() -> dict[str, float]:
        run = Run(open_store(), Resources().resolved(), Display(quiet=True))
        with use_run(run):
            curate(config)
        return {record.label: record.seconds for record in run.records}

    first, stages = timed(refresh)
    again, _ = timed(refresh)
    asked = f"record-{documents // 2:07d}"
    traces = [timed(lambda: trace(asked))[0] for _ in range(5)]
    marked, answer = timed(lambda: forget([asked], [], "benchmark", with_twins=False, unseen=False))
    after, later = timed(refresh)
    assert answer["documents"] == 1
    print(f"{documents:,} documents in {files} files, {os.cpu_count()} cores")
    print(f"  first refresh          {first:7.1f} s, of it ingest {stages['ingest']:.1f} s")
    print(f"  again, nothing changed {again:7.2f} s")
    print(f"  trace                  {statistics.median(traces):7.2f} s")
    print(f"  forget one document    {marked:7.2f} s")
    print(f"  refresh without it     {after:7.1f} s, of it ingest {later['ingest']:.1f} s")


if __name__ == "__main__":
    main()
