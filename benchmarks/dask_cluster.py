"""Threads, processes and a local Dask cluster on the same text: `python -m benchmarks.dask_cluster FOLDER`.

FOLDER holds documents of --format; without it, the English corpus below TEXTMILL_DATA. Ingests, normalises, measures
signals, signs and writes what the rules keep, once with each runner and a store of its own, under a Prefect flow and a
server of its own.

Prints for each runner the digests, the seconds of each stage, and the largest resident size of each worker; for Dask
also what a task costs beyond the work in it: the time between a worker's first and last batch of a stage that no batch
accounts for, divided by its batches but one. With --shared s3://bucket/prefix the Dask workers publish there
(credentials from the environment). Exits with 1 if digests differ.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tasks.machine.beside import beside


def main() -> None:
    """Run every runner in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--format", default="jsonl", help="as in the config of a source")
    parser.add_argument("--shard-megabytes", type=int, default=64, help="smaller: more shards, so more tasks")
    parser.add_argument("--runners", nargs="+", default=["processes", "threads", "dask"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--files", type=int, default=None, help="at most so many files")
    parser.add_argument("--address", default=None, help="the scheduler of a running cluster; else a local one")
    parser.add_argument("--shared", default=None, help="a store that the machines share")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(os.environ["TEXTMILL_DATA"]) / "corpus_en"
    with tempfile.TemporaryDirectory(prefix="textmill-dask-") as home:
        os.environ["TEXTMILL_HOME"] = home
        from flows.servers import services
        from tasks.machine import home as homes

        homes.configure_environment()
        try:
            services.ensure("prefect")
            homes.configure_environment()
            results = {name: measure(name, folder.absolute(), arguments) for name in arguments.runners}
        finally:
            services.down()
    first = next(iter(results.values()))["digests"]
    equal = all(result["digests"] == first for result in results.values())
    print(json.dumps(results, indent=1))
    print("digests are equal" if equal else "DIGESTS DIFFER")
    sys.exit(0 if equal else 1)


def measure(runner: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One runner, in a store of its own."""
    from prefect import flow, runtime

    from tasks.machine.home import home
    from tasks.running import pool
    from tasks.running.progress import Display
    from tasks.running.run import Resources, Run, pipeline_run
    from tasks.stage import sidecar
    from tasks.storage.shared import store_at

    Run.announce = lambda self, stage, key: None  # type: ignore[method-assign]  # MLflow has no part in this

    @flow(name=f"dask-cluster-{runner}")
    def measured() -> dict[str, Any]:
        resources = Resources.model_validate(
            {"workers": arguments.workers, "runner": runner, "dask_address": arguments.address}
        )
        shared = f"{arguments.shared}/{time.time_ns()}" if arguments.shared and runner == "dask" else None
        store = store_at(home() / runner, shared)
        flow_run_id = str(runtime.flow_run.id)
        with pipeline_run(
            "dask-cluster", {"r": runner}, resources, store=store, display=Display(), flow_run_id=flow_run_id
        ) as run:
            artifacts = corpus(folder, arguments)
        workers = {artifact.stage: sidecar(artifact)["workers"] for artifact in artifacts}
        return {
            "digests": {artifact.stage: artifact.digest for artifact in artifacts},
            "seconds": {record.stage: round(record.seconds, 2) for record in run.records},
            "dask": {stage: summary(of_stage) for stage, of_stage in workers.items() if of_stage},
        }

    with children_watched() as peaks:
        result = measured()
        pool.shut_down()
    result["peak_megabytes_of_each_child"] = sorted((round(peak / 1e6) for peak in peaks.values()), reverse=True)
    return result


def summary(workers: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What the workers of one stage did, and what a task cost them beyond its work."""
    costs = [
        (w["last_ended"] - w["first_started"] - w["seconds"]) / (w["batches"] - 1)
        for w in workers.values()
        if w["batches"] > 1
    ]
    tasks = sum(worker["batches"] for worker in workers.values())
    return {
        "tasks": tasks,
        "work_seconds_a_task": round(sum(worker["seconds"] for worker in workers.values()) / tasks, 2),
        "other_seconds_a_task": [round(cost, 3) for cost in costs],
        "peak_megabytes": {name: round(worker["peak_bytes"] / 1e6) for name, worker in workers.items()},
    }


def corpus(folder: Path, arguments: argparse.Namespace) -> list[Any]:
    """The stages whose work is by shard or by band, with what decides between them."""
    from data_quality.config import IngestConfig, NormalizeConfig, QualityConfig, SignalsConfig, SignatureConfig
    from data_quality.rules import choose_rulesets
    from tasks.bands import bands
    from tasks.decide import DecideConfig, decide
    from tasks.filter import JudgeRequest, filter_corpus, judge
    from tasks.ingest import fingerprinted, ingest
    from tasks.normalize import normalize
    from tasks.signals import signals, signatures
    from tasks.stage import NoConfig

    source = {"format": arguments.format, "name": "files", "paths": [str(folder)]}
    shards = {"max_bytes": arguments.shard_megabytes << 20}
    config = IngestConfig.model_validate({"sources": [source], "shards": shards})
    raw = ingest(fingerprinted(config, arguments.files))
    normalized = normalize(NormalizeConfig(), corpus=raw)
    measured = signals(SignalsConfig(), corpus=normalized)
    signed = signatures(SignatureConfig(), corpus=normalized)
    shared = bands(NoConfig(), signatures=signed)
    verdicts = judge(JudgeRequest(rulesets=tuple(choose_rulesets(QualityConfig()))), signals=measured, scores=[])
    nothing: dict[str, list[Any]] = {"duplicates": [], "spans": [], "drops": []}
    config_of_texts = DecideConfig(edits=("c4",))
    decisions = decide(config_of_texts, corpus=normalized, signals=measured, verdicts=verdicts, **nothing)
    return [
        raw,
        normalized,
        measured,
        signed,
        shared,
        filter_corpus(NoConfig(), corpus=normalized, decisions=decisions, measured=[measured]),
    ]


@contextmanager
def children_watched() -> Iterator[dict[int, int]]:
    """The largest resident size seen of every process below this one (the Prefect server is none), by its id."""
    peaks: dict[int, int] = {}

    def watch(ended: threading.Event) -> None:
        while not ended.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                try:
                    peaks[process.pid] = max(peaks.get(process.pid, 0), process.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue  # it ended between the listing and the look

    with beside(watch, "watched", join_seconds=None):
        yield peaks


if __name__ == "__main__":
    main()
