"""Our rules against datatrove's filters: agreement of verdict and first reason, and throughput, one process each.

    python -m benchmarks.datatrove_rules --peer /path/to/venv/bin/python $TEXTMILL_DATA/corpus_en/part-000.jsonl.zst

The peer's interpreter needs datatrove==0.10.1, spacy and xxhash<4. Both run FineWeb's four filters in its order on
the same documents, in turn; a document that a filter drops does not reach the next. Times are of the process's CPU,
after a warm-up document, so that another program on the machine disturbs them little.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa

from data_quality.config import QualityConfig, SignalsConfig
from data_quality.rules import choose_rulesets, judge

PEER = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline import filters

stages = [
    ("gopher_repetition", filters.GopherRepetitionFilter()),
    ("gopher_quality", filters.GopherQualityFilter()),
    ("c4", filters.C4QualityFilter(filter_no_terminal_punct=False)),
    ("fineweb", filters.FineWebQualityFilter()),
]

def first_reason(text, id):
    document = Document(text=text, id=id)
    for name, stage in stages:
        result = stage.filter(document)
        if result is not True:
            return f"{name}.{result[1]}"
    return None

documents = json.load(open(sys.argv[1]))
for stage in stages:
    first_reason("It is a word. " * 100, "warm-up")
start = time.process_time()
reasons = {}
for id, text in documents:
    try:
        reasons[id] = first_reason(text, id)
    except ZeroDivisionError:
        reasons[id] = "error"
seconds = time.process_time() - start
json.dump({"seconds": seconds, "reasons": reasons}, open(sys.argv[2], "w"))
"""


def read_documents(path: Path, every: int) -> list[tuple[str, str]]:
    """Id and text of every n-th document of a .jsonl(.zst, .gz) file."""
    with pa.input_stream(str(path), compression="detect") as stream:
        lines = stream.read().split(b"\n")
    records = [json.loads(line) for line in lines[::every] if line]
    return [(record["id"], record["text"]) for record in records]


def run_peer(interpreter: Path, documents: Path, folder: Path) -> tuple[float, dict[str, str | None]]:
    """CPU seconds and first reasons of datatrove."""
    out = folder / "peer.json"
    subprocess.run([interpreter, "-c", PEER, str(documents), str(out)], check=True)
    result = json.loads(out.read_text())
    return result["seconds"], result["reasons"]


def run_ours(documents: Path, folder: Path) -> tuple[float, dict[str, str | None]]:
    """CPU seconds (reading and writing Parquet and the query included) and first reasons of Textmill."""
    import pyarrow.parquet as pq

    from data_quality import signals

    rows = json.loads(documents.read_text())
    table = pa.table({"id": [row[0] for row in rows], "text": [row[1] for row in rows]})
    pq.write_table(table, folder / "documents.parquet", row_group_size=2_000)
    pq.write_table(table.slice(0, 1), folder / "warm.parquet")
    signals._process_vocabulary.cache_clear()
    signals.compute_signals(folder / "warm.parquet", folder / "warm_signals.parquet", SignalsConfig())
    start = time.process_time()
    signals.compute_signals(folder / "documents.parquet", folder / "signals.parquet", SignalsConfig())
    judge([folder / "signals.parquet"], choose_rulesets(QualityConfig()), folder / "verdicts.parquet")
    seconds = time.process_time() - start
    verdicts = pq.read_table(folder / "verdicts.parquet", columns=["id", "first_reason"]).to_pylist()
    return seconds, {row["id"]: row["first_reason"] for row in verdicts}


def main() -> None:
    """Print agreement, the disagreements and the median throughput of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="python of an environment with datatrove")
    parser.add_argument("--every", type=int, default=4, help="take every n-th document")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn; the median counts")
    parser.add_argument("corpus", type=Path, help="a .jsonl or .jsonl.zst file with id and text")
    arguments = parser.parse_args()
    documents = read_documents(arguments.corpus, arguments.every)
    megabytes = sum(len(text.encode()) for _, text in documents) / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "documents.json"
        path.write_text(json.dumps(documents))
        ours, peers = [], []
        for _ in range(arguments.rounds):
            seconds, mine = run_ours(path, folder)
            ours.append(megabytes / seconds)
            seconds, theirs = run_peer(arguments.peer, path, folder)
            peers.append(megabytes / seconds)
    different = [id for id, _ in documents if mine[id] != theirs[id]]
    print(f"{len(documents)} documents, {megabytes:.1f} MB, {os.cpu_count()} cores, one used")
    print(f"agreement {1 - len(different) / len(documents):.4%}")
    for (a, b), count in Counter((mine[id], theirs[id]) for id in different).most_common():
        print(
            f"  {count} x ours {a}, datatrove {b}, e.g. {next(i for i in different if (mine[i], theirs[i]) == (a, b))}"
        )
    print(f"Textmill {statistics.median(ours):.2f} MB/s (all signals), datatrove {statistics.median(peers):.2f} MB/s")
    print(f"ratio {statistics.median(ours) / statistics.median(peers):.1f}")


if __name__ == "__main__":
    main()
