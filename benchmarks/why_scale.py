"""How long `textmill why ID` takes, process start included: `python -m benchmarks.why_scale --documents 10000000`.

Writes a store with that many documents into a temporary folder: the artifacts of a filtered corpus as the pipeline
leaves them, with made-up numbers and short texts. Ids look like those of crawled pages, in no order.
"""

import argparse
import hashlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import QualityConfig
from data_quality.rules import choose_rulesets
from data_quality.signal_catalogue import signal_columns
from tasks.decide import INDEX, _write_index
from tasks.filter import DROPPED, KEPT
from tasks.store import Artifact, Store, artifact_key

SHARD_ROWS = 50_000
NOTHING = {"inputs": {}, "parts": [], "shards": [], "counts": {}, "config": {}, "version": 1, "libraries": {}}


def ids_of(shard: int, rows: int) -> list[str]:
    """Ids of a shard, sorted; hashes, so that every shard spans all of them."""
    names = (hashlib.md5(f"{shard}-{row}".encode(), usedforsecurity=False).hexdigest() for row in range(rows))
    return sorted(f"crawl:https://example.org/{name[:20]}" for name in names)


def publish(store: Store, stage: str, material: object, **manifest: object) -> Artifact:
    """Publish what was written into the partial directory of this stage and material."""
    key = artifact_key(stage, 1, material, {}, {})
    return store.publish(store.partial_directory(stage, key), {**NOTHING, "stage": stage, "key": key, **manifest})


def build(store: Store, documents: int) -> None:
    """Signals, verdicts and a filtered corpus of so many documents."""
    rulesets = choose_rulesets(QualityConfig())
    draw = np.random.default_rng(0)
    shards = range(-(-documents // SHARD_ROWS))
    parts = []
    decided, tables, views = [], [], []
    for shard in shards:
        ids = ids_of(shard, min(SHARD_ROWS, documents - shard * SHARD_ROWS))
        directory = store.partial_directory("signals.shard", artifact_key("signals.shard", 1, shard, {}, {}))
        numbers = {
            name: draw.integers(0, 100, len(ids)) if signal.integer else draw.integers(0, 100, len(ids)) / 100
            for name, signal in signal_columns().items()
        }
        table = pa.table({"id": ids, "language": ["en"] * len(ids), "source": ["crawl"] * len(ids), **numbers})
        pq.write_table(table, directory / "signals.parquet", compression="zstd", row_group_size=2000)
        entry = {"path": "signals.parquet", "digest": str(shard), "counts": {}}
        part = publish(store, "signals.shard", shard, shards=[entry])
        parts.append({"stage": part.stage, "key": part.key, "digest": part.digest})
        keep = draw.random(len(ids)) < 0.5
        reasons = [[] if kept_one else ["gopher_quality.gopher_short_doc"] for kept_one in keep]
        decisions = {
            "id": ids, "kept": keep, "reason": [r[0] if r else None for r in reasons], "reasons": reasons,
            "twin": pa.nulls(len(ids), pa.string()), "jaccard": pa.nulls(len(ids), pa.float64()),
            "span_counts": pa.array([[]] * len(ids), pa.map_(pa.string(), pa.int64())),
        }  # fmt: skip
        directory = store.partial_directory("decide.shard", artifact_key("decide.shard", 1, shard, {}, {}))
        pq.write_table(pa.table(decisions), directory / "decisions.parquet", compression="zstd")
        entry = {"path": "decisions.parquet", "digest": str(shard), "counts": {}}
        made = publish(store, "decide.shard", shard, shards=[entry])
        decided.append({"stage": made.stage, "key": made.key, "digest": made.digest})
        tables.append(made.file("decisions.parquet"))
        texts = pa.table({"id": ids, "text": [f"The text of {id}." for id in ids]})
        directory = store.partial_directory("filter.shard", artifact_key("filter.shard", 1, shard, {}, {}))
        for chosen, name in ((keep, KEPT), (~keep, DROPPED)):
            pq.write_table(texts.filter(pa.array(chosen)), directory / name, compression="zstd", row_group_size=2000)
        view = publish(store, "filter.shard", shard, shards=[{"path": KEPT, "digest": str(shard), "counts": {}}])
        views.append({"stage": view.stage, "key": view.key, "digest": view.digest})
    index = store.partial_directory("decide", artifact_key("decide", 1, documents, {}, {})) / INDEX
    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": str(store.root / "spill")}) as connection:
        _write_index(connection, tables, index)
    signals = publish(store, "signals", documents, parts=parts)
    store.partial_directory("judge", artifact_key("judge", 1, documents, {}, {}))
    described = {"rulesets": [ruleset.model_dump(mode="json") for ruleset in rulesets]}
    verdicts = publish(store, "judge", documents, config=described)
    judged = {"signals": [_input(signals)], "verdicts": [_input(verdicts)]}
    decisions = publish(store, "decide", documents, inputs=judged, parts=decided)
    publish(store, "filter_corpus", documents, inputs={"decisions": [_input(decisions)]}, parts=views)


def _input(artifact: Artifact) -> dict[str, str]:
    return {"stage": artifact.stage, "key": artifact.key, "digest": artifact.digest}


def main() -> None:
    """Build, then ask for documents of random shards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--questions", type=int, default=11)
    parser.add_argument("--keep", type=Path, default=None, help="build the store there, or ask the one that is there")
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        home = arguments.keep or Path(temporary)
        if not (home / "store" / "artifacts").exists():
            started = time.perf_counter()
            build(Store(home / "store"), arguments.documents)
            shutil.rmtree(home / "store" / "spill", ignore_errors=True)
            print(f"{arguments.documents:,} documents built in {time.perf_counter() - started:.0f} s", flush=True)
        command = Path(sys.executable).with_name("textmill")
        draw = np.random.default_rng(1)
        seconds = []
        for _ in range(arguments.questions):
            shard = int(draw.integers(-(-arguments.documents // SHARD_ROWS)))
            rows = min(SHARD_ROWS, arguments.documents - shard * SHARD_ROWS)
            id = ids_of(shard, rows)[int(draw.integers(rows))]
            started = time.perf_counter()
            answer = subprocess.run(
                [command, "why", id, "--json"], capture_output=True, check=True, text=True,
                env={**os.environ, "TEXTMILL_HOME": str(home)},
            )  # fmt: skip
            seconds.append(time.perf_counter() - started)
            if f'"document": "{id}"' not in answer.stdout:
                sys.exit(f"another answer: {answer.stdout[:200]}")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"why: median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s of "
            f"{len(seconds)} processes; at most {peak:.0f} MiB resident"
        )


if __name__ == "__main__":
    main()
