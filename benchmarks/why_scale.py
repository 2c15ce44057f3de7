"""How long `textmill why ID` takes, process start included: `python -m benchmarks.why_scale --documents 10000000`.

Writes a store with that many documents into a temporary folder: all that the question looks at, as the pipeline leaves
it, with made-up numbers and texts of about a thousand characters. Half of the documents are dropped, by a rule, for a
twin, or for a benchmark; there are scores by two models, a split, a mixture, models that were trained on it, skipped
records and requests to forget others. Ids look like those of crawled pages, in no order.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality import sql
from data_quality.config import QualityConfig
from data_quality.rules import choose_rulesets
from data_quality.signal_catalogue import signal_columns
from data_quality.skipped import SKIPPED_SCHEMA
from tasks.decide import INDEX, _write_index
from tasks.lineage.forgotten import ask
from tasks.store import Artifact, Store, artifact_key

SHARD_ROWS = 50_000
ROW_GROUP = 2_000
TEXT = 1_000  # characters, on average
SKIPPED = 100_000
MODELS = 20
SHORT = "gopher_quality.gopher_short_doc"
ITEMS = ("benchmark-a:17", "benchmark-b:4")
NOTHING = {"inputs": {}, "parts": [], "shards": [], "counts": {}, "config": {}, "version": 1, "libraries": {}}
Draw = np.random.Generator


def ids_of(shard: int, rows: int) -> list[str]:
    """Ids of a shard, sorted; hashes, so that every shard spans all of them."""
    names = (hashlib.md5(f"{shard}-{row}".encode(), usedforsecurity=False).hexdigest() for row in range(rows))
    return sorted(f"crawl:https://example.org/{name[:20]}" for name in names)


def rows_of(shard: int, documents: int) -> int:
    """How many documents a shard has."""
    return min(SHARD_ROWS, documents - shard * SHARD_ROWS)


def text_pool(draw: Draw) -> str:
    """Some megabytes of made-up words, of which texts are pieces."""
    words = ["".join(map(chr, draw.integers(97, 123, length))) for length in draw.integers(2, 11, 20_000)]
    return " ".join(words[int(at)] for at in draw.zipf(1.3, 1_000_000) % len(words))


class Builder:
    """Writes artifacts of so many documents, shard by shard."""

    def __init__(self, store: Store, documents: int) -> None:
        self.store, self.documents = store, documents
        self.parts: dict[str, list[dict[str, str]]] = {}
        self.draw = np.random.default_rng(0)
        self.pool = text_pool(self.draw)

    def publish(
        self,
        stage: str,
        material: object,
        tables: Mapping[str, pa.Table],
        row_group: int = ROW_GROUP,
        **manifest: object,
    ) -> Artifact:
        """Publish an artifact with these tables."""
        key = artifact_key(stage, 1, material, {}, {})
        directory = self.store.partial_directory(stage, key)
        for name, table in tables.items():
            pq.write_table(table, directory / name, compression="zstd", row_group_size=row_group)
        return self.store.publish(directory, {**NOTHING, "stage": stage, "key": key, **manifest})

    def part(self, stage: str, shard: int, **tables: pa.Table) -> Artifact:
        """Publish the part of a shard; its first table is what the shard is."""
        named = {f"{name}.parquet": table for name, table in tables.items()}
        entry = {"path": next(iter(named)), "digest": f"{stage} {shard}", "counts": {}}
        part = self.publish(stage, shard, named, shards=[entry])
        self.parts.setdefault(stage, []).append(named_input(part))
        return part

    def shard(self, shard: int, twins: list[str]) -> tuple[Path, list[str]]:
        """All parts of a shard, in which some are dropped for one of `twins`: its decisions, and what it keeps."""
        ids = ids_of(shard, rows_of(shard, self.documents))
        draw, count = self.draw, len(ids)
        numbers = {
            name: draw.integers(0, 100, count) if signal.integer else draw.integers(0, 100, count) / 100
            for name, signal in signal_columns().items()
        }
        self.part(
            "signals.shard",
            shard,
            signals=pa.table({"id": ids, "language": ["en"] * count, "source": ["crawl"] * count, **numbers}),
        )
        self.part(
            "classifier_scores.shard", shard, scores=pa.table({"id": ids, "classifier_score": draw.random(count)})
        )
        fate = draw.random(count)
        keep = fate < 0.5
        has_twin = (fate >= 0.75) & bool(twins)
        contaminated = fate >= 0.999
        reasons = [
            [] if kept else ["contaminated.benchmark"] if held else ["duplicate.near"] if twin else [SHORT]
            for kept, held, twin in zip(keep, contaminated, has_twin, strict=True)
        ]
        twin_of = draw.integers(0, max(1, len(twins)), count)
        decisions = {
            "id": ids,
            "kept": keep,
            "reason": [r[0] if r else None for r in reasons],
            "reasons": reasons,
            "twin": [twins[at] if r == ["duplicate.near"] else None for at, r in zip(twin_of, reasons, strict=True)],
            "jaccard": [0.9 if r == ["duplicate.near"] else None for r in reasons],
            "span_counts": pa.array([[]] * count, pa.map_(pa.string(), pa.int64())),
        }
        decided = self.part("decide.shard", shard, decisions=pa.table(decisions))
        held = [id for id, is_held in zip(ids, contaminated, strict=True) if is_held]
        spans = {"id": held, "start": [0] * len(held), "end": [90] * len(held), "other": [ITEMS[0]] * len(held)}
        self.part("contamination.shard", shard, spans=pa.table(spans))
        begins = draw.integers(0, len(self.pool) - 4 * TEXT, count)
        lengths = draw.integers(TEXT // 2, TEXT * 3 // 2, count)
        texts = [self.pool[at : at + length] for at, length in zip(begins, lengths, strict=True)]
        views = pa.table({"id": ids, "text": texts})
        self.part("filter.shard", shard, kept=views.filter(pa.array(keep)), dropped=views.filter(pa.array(~keep)))
        return decided.file("decisions.parquet"), [id for id, kept in zip(ids, keep, strict=True) if kept]


def build(store: Store, documents: int) -> None:
    """All that `textmill why` asks about a corpus of so many documents."""
    builder = Builder(store, documents)
    tables, kept, twins = [], [], []
    for shard in range(-(-documents // SHARD_ROWS)):
        table, twins = builder.shard(shard, twins)
        tables.append(table)
        kept += twins
    publish, parts = builder.publish, builder.parts
    skipped = [(f"page-{n}.html", None, None, "too_large", "") for n in range(SKIPPED)]
    columns = zip(*skipped, strict=True)
    raw = publish("ingest", documents, {"skipped.parquet": pa.table(list(map(list, columns)), schema=SKIPPED_SCHEMA)})
    normalized = publish("normalize", documents, {}, inputs={"corpus": [named_input(raw)]})
    corpus = {"corpus": [named_input(normalized)]}
    signals = publish("signals", documents, {}, parts=parts["signals.shard"], inputs=corpus)
    scores = publish("classifier_scores", documents, {}, parts=parts["classifier_scores.shard"], inputs=corpus)
    buckets = {}
    for shard in range(-(-documents // SHARD_ROWS)):
        ids = ids_of(shard, rows_of(shard, documents))
        buckets[f"{shard:05d}.parquet"] = pa.table({"id": ids, "perplexity": builder.draw.random(len(ids))})
    entries = [{"path": name, "digest": name, "counts": {}} for name in buckets]
    perplexity = publish("perplexity_buckets", documents, buckets, shards=entries, inputs=corpus)
    described = {"rulesets": [ruleset.model_dump(mode="json") for ruleset in choose_rulesets(QualityConfig())]}
    judged = {"signals": [named_input(signals)], "scores": [named_input(scores), named_input(perplexity)]}
    verdicts = publish("judge", documents, {}, config=described, inputs=judged)
    overlap = publish("contamination", documents, {}, parts=parts["contamination.shard"], inputs=corpus)
    key = artifact_key("decide", 1, documents, {}, {})
    directory = store.partial_directory("decide", key)
    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": str(store.root / "spill")}) as connection:
        _write_index(connection, tables, directory / INDEX)
    inputs = {
        "signals": [named_input(signals)],
        "verdicts": [named_input(verdicts)],
        "drops": [named_input(overlap)],
    }
    manifest = {**NOTHING, "stage": "decide", "key": key, "inputs": inputs, "parts": parts["decide.shard"]}
    decisions = store.publish(directory, manifest)
    made = {**corpus, "decisions": [named_input(decisions)]}
    view = publish("filter_corpus", documents, {}, inputs=made, parts=parts["filter.shard"])
    train_on(builder, view, sorted(kept))
    ask(store, [f"crawl:https://example.org/gone-{n}" for n in range(1_000)], [], "asked for by their authors")


def train_on(builder: Builder, corpus: Artifact, kept: list[str]) -> None:
    """A split and a mixture of what was kept, and models made of them, some of which were fine-tuned."""
    count = len(kept)
    where = np.where(builder.draw.random(count) < 0.98, "train", "test")
    nothing = {"reason": pa.nulls(count, pa.string()), "twin": pa.nulls(count, pa.string())}
    columns = {"id": kept, "split": where, **nothing, "jaccard": pa.nulls(count, pa.float64())}
    of = {"row_group": sql.ROW_GROUP, "inputs": {"corpus": [named_input(corpus)]}}
    split = builder.publish("split", builder.documents, {"split.parquet": pa.table(columns)}, **of)
    copies = pa.table({"id": kept, "copies": builder.draw.integers(0, 3, count).astype(np.int32)})
    drawn = builder.publish("mixture", builder.documents, {"copies.parquet": copies}, **of)
    for number in range(MODELS):
        inputs = {"split": [named_input(split)], "mixture": [named_input(drawn)]}
        model = builder.publish("pretrain", number, {}, inputs=inputs, digest=f"model {number}")
        if number % 2:
            builder.publish("finetune", number, {}, inputs={"model": [named_input(model)]})


def named_input(artifact: Artifact) -> dict[str, str]:
    """An artifact as a manifest names what it was made of."""
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
        seconds, kinds = [], Counter[str]()
        for _ in range(arguments.questions):
            shard = int(draw.integers(-(-arguments.documents // SHARD_ROWS)))
            rows = rows_of(shard, arguments.documents)
            id = ids_of(shard, rows)[int(draw.integers(rows))]
            started = time.perf_counter()
            answer = subprocess.run(
                [command, "why", id, "--json"], capture_output=True, check=True, text=True,
                env={**os.environ, "TEXTMILL_HOME": str(home)},
            )  # fmt: skip
            seconds.append(time.perf_counter() - started)
            said = json.loads(answer.stdout)
            if said["document"] != id or not said["text"]:
                sys.exit(f"another answer: {answer.stdout[:200]}")
            kinds["kept" if said["kept"] else said["reason"]] += 1
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"why: median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s of "
            f"{len(seconds)} processes ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}); at most "
            f"{peak:.0f} MiB resident"
        )


if __name__ == "__main__":
    main()
