"""Many nights: `python -m benchmarks.soak FOLDER [--nights 200] [--leg one-process|commands]`.

A nightly refresh of a small real corpus in which a little changes every day (`benchmarks._soak_documents`), in one
store, with Prefect's and MLflow's servers, and after each what a deployment does against growth: `textmill gc` with the
default five runs, its grace period of a day as long as it takes, for here a night follows at once. Two legs, each in a
home of its own:

    one-process  one process runs the flow `corpus_refresh` night after night, as a worker's would that never ends
    commands     `textmill refresh` and `textmill gc` are processes of their own

Prints a row every --every nights and, at the end, how much each measure grows a night, with its interval, and which of
them surely grow: of the process of the flows, of the pool's workers and of each server by itself (of the servers alone
where all is done by commands). A second call goes on behind the last night, in a new process with new servers; what
belongs to processes is then judged within each, behind a tenth of all nights. With --days 3 three days go by after each
night, for Prefect's server: what is in its database is made so much older, and the server, which then looks every few
seconds, removes what its retention says (events after a week, flow runs after 30 days): its final size shows early.
Last, everything is made from the last night's documents in an empty store (with the pinned tokenizer): exits with 1 if
a digest differs or a night failed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tasks.machine.termination import exit_on_sigterm

LEGS = ("one-process", "commands")
SHOWN = ("seconds", "resident_mb", "children_mb", "open_files", "threads", "partial", "store_mb", "not_live_mb")
SHOWN += ("run_files", "locks", "temporary", "prefect_mb", "mlflow_mb", "memory_workers", "memory_prefect")
SHOWN += ("memory_mlflow", "memory_mlflow_child", "files_prefect", "files_mlflow_child")
KEEP_RUNS = 5
NOT_COMPARED = {"corpus_change", "pretrain", "evaluate", "report", "train_tokenizer"}
"""What follows from earlier nights (when a model was due, what the pinned tokenizer learned from), or tells of time."""


def main() -> None:
    """Run each leg as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--each", type=int, default=50, help="documents in a file")
    parser.add_argument("--change", type=float, default=0.01, help="share of documents that come, go, and are revised")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--leg", choices=LEGS, help="only this one")
    parser.add_argument("--days", type=float, default=0.0, help="that go by in Prefect's database after each night")
    parser.add_argument("--no-servers", action="store_true", help="without Prefect and MLflow: the stages alone")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    exit_on_sigterm()
    if arguments.inside:
        sys.exit(0 if leg(arguments) else 1)
    status = 0
    for name in LEGS if arguments.leg is None else (arguments.leg,):
        folder = arguments.folder.absolute() / name
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "TEXTMILL_HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        command = [sys.executable, "-m", "benchmarks.soak", *sys.argv[1:], "--leg", name, "--inside"]
        with subprocess.Popen(command, env=environment) as process:
            try:
                status |= process.wait()
            except BaseException:
                process.terminate()  # it stops its servers, and is waited for
                raise
    sys.exit(1 if status else 0)


def leg(arguments: argparse.Namespace) -> bool:
    """The nights of one leg, in the process that is measured. Returns whether all went well."""
    from benchmarks._prefect_database import QUICK, make_older
    from benchmarks._soak_documents import Company
    from tasks.machine import home

    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    folder = arguments.folder.absolute() / arguments.leg
    record = folder / "nights.jsonl"
    nights = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    company = Company(folder / "documents", arguments.files, arguments.each, arguments.change)
    for _ in nights[:-1]:
        company.pass_night()
    config = folder / "refresh.json"
    config.write_text(json.dumps(settings(folder, arguments.workers)))
    night = nightly(arguments, config)
    home.configure_environment()
    print(f"{arguments.leg}: {arguments.nights} nights, {arguments.files * arguments.each} documents at first")
    if not arguments.no_servers:
        from flows.servers import services

        os.environ |= QUICK if arguments.days else {}
        services.ensure("prefect", "mlflow")
        home.configure_environment()
    try:
        while len(nights) <= arguments.nights:
            if nights:
                company.pass_night()
            company.write()
            nights.append({"night": company.night, "process": os.getpid(), **one_night(night, folder, arguments.leg)})
            with record.open("a") as file:
                file.write(json.dumps(nights[-1]) + "\n")
            if company.night % arguments.every == 0:
                show(nights[-1])
            if arguments.days:
                make_older(folder / "home", arguments.days)
    finally:
        if not arguments.no_servers:
            services.down()
    summary(nights, {"mlflow_mb"} if arguments.days else None)
    return compared(company, folder, config, nights[-1]["digests"])


def settings(folder: Path, workers: int) -> dict[str, Any]:
    """The pipeline that is refreshed: that of benchmarks/large_corpus.yaml, looser and smaller."""
    import yaml

    raw: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("large_corpus.yaml").read_text())
    raw["name"] = "soak"
    raw["ingest"] = {
        "sources": [{"format": "jsonl", "name": "days", "paths": [str(folder / "documents")], "id_column": "id"}],
        "piece_bytes": 200_000,
    }
    raw["rules"] = {
        "rulesets": ["gopher_quality", "fineweb2_zh"],
        "ruleset_languages": {"gopher_quality": "en", "fineweb2_zh": "zh"},
    }
    raw["split"] = {"test_fraction": 0.15, "valid_fraction": 0.15}
    raw["tokenizer"] = {"pin": "soak", "train": {"vocab_size": 1024}}
    raw["model"] = {"preset": "pico"}
    raw["pretrain"]["train"] = {"steps": 20, "batch": 8, "eval_sequences": 8, "sample_prompts": []}
    raw["evaluate"] = {"sequences": 8}
    raw["refresh"] = {"pretrain_above": 0.3}
    raw["resources"] = {"workers": workers}
    return raw


def nightly(arguments: argparse.Namespace, config: Path) -> Callable[[], dict[str, Any]]:
    """What a night does: refresh, then collect garbage. Returns digests and states by label."""
    if arguments.leg == "commands":
        return lambda: by_commands(config)
    return lambda: in_this_process(config, flow=not arguments.no_servers)


def in_this_process(config: Path, flow: bool) -> dict[str, Any]:
    """The flow, as a worker's process calls it; without servers, the stages that it has."""
    from flows.config.pipeline import load_config
    from tasks.lineage.gc import collect, find_garbage
    from tasks.machine import home
    from tasks.running.progress import Display
    from tasks.running.run import pipeline_run
    from tasks.store import Store

    loaded = load_config(config, {})
    if flow:
        from flows import running
        from flows.deployments import corpus_refresh

        os.environ[running.QUIET] = "1"
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "ERROR")
        corpus_refresh(loaded)
        assert running.last_run is not None
        records = running.last_run.records
    else:
        from flows.corpus import build_corpus
        from flows.pretrain import build_tokens
        from flows.refresh import follow_up

        store = Store(home.store_path())
        shown = loaded.model_dump(mode="json")
        with pipeline_run(
            "soak", shown, loaded.resources, store=store, display=Display(quiet=True), follow=False
        ) as run:
            corpus = build_corpus(loaded)
            follow_up(loaded, corpus, build_tokens(loaded, corpus))
        records = run.records
    store = Store(home.store_path())
    garbage = find_garbage(store, keep_runs=KEEP_RUNS, grace_seconds=0)
    collect(store, garbage, keep_runs=KEEP_RUNS, grace_seconds=0)
    return {r.label: {"stage": r.stage, "digest": r.artifact.digest, "state": r.state} for r in records}


def by_commands(config: Path) -> dict[str, Any]:
    """The same by the command line."""
    done = subprocess.run(textmill("refresh", config, "--json"), check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the refresh failed:\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
    subprocess.run(
        textmill("gc", "--delete", "--keep-runs", KEEP_RUNS, "--grace-hours", 0), check=True, capture_output=True
    )
    stages = json.loads(done.stdout)["stages"]
    states = {True: "cached", False: "built"}
    return {s["label"]: {"stage": s["stage"], "digest": s["digest"], "state": states[s["cached"]]} for s in stages}


def textmill(*words: Any) -> list[str]:
    """The command of this checkout, whichever is installed."""
    return [sys.executable, "-m", "flows.cli.main", *map(str, words)]


def one_night(night: Callable[[], dict[str, Any]], folder: Path, name: str) -> dict[str, Any]:
    """One night and everything that is measured of it."""
    import psutil

    from benchmarks._soak_measures import of_home, of_process, of_roles

    started = time.perf_counter()
    made = night()
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "pretrained": any(each["stage"] == "pretrain" and each["state"] == "built" for each in made.values()),
        "digests": {label: each["digest"] for label, each in made.items() if each["stage"] not in NOT_COMPARED},
        **(of_process() if name == "one-process" else of_roles(psutil.Process())),
        **of_home(folder / "home", folder / "tmp"),
    }


def show(night: dict[str, Any]) -> None:
    """One row; the first has the names above."""
    shown = [name for name in SHOWN if name in night]
    if night["night"] == 0:
        print(" ".join(["night", *(f"{name:>11}" for name in shown)]))
    print(" ".join([f"{night['night']:>5}", *(f"{night[name]:>11.1f}" for name in shown)]))


def summary(nights: list[dict[str, Any]], by_design: Collection[str] | None = None) -> None:
    """The slope of every measure, behind the first tenth of the nights: of each process, or of the leg.

    Args:
        by_design: measures that may grow; None: the databases.
    """
    from benchmarks._soak_measures import BY_DESIGN, MEASURES, grows, slope

    print("\n| measure | median | a night | 95 % interval | second half | over all nights | |\n" + "|---" * 7 + "|")
    for name, words in MEASURES.items():
        found = slope(nights, name, warm_up=0.1)
        if found is None:
            if any(name in night for night in nights):
                print(f"| {words} | too few nights in a process |" + " |" * 5)
            continue
        verdict = (
            "by design"
            if name in (BY_DESIGN if by_design is None else by_design)
            else "GROWS"
            if grows(found, len(nights))
            else ""
        )
        print(
            f"| {words} | {found['median']:,.1f} | {found['slope']:+.4f} | {found['low']:+.4f} to {found['high']:+.4f} "
            f"| {found['later']:+.4f} | {found['slope'] * len(nights):+,.2f} | {verdict} |"
        )


def compared(company: Any, folder: Path, config: Path, digests: dict[str, str]) -> bool:
    """Whether a run over the last night's documents in an empty store has the same digests."""
    from flows.config.pipeline import load_config
    from flows.corpus import build_corpus
    from flows.pretrain import build_tokens
    from tasks.running import pool
    from tasks.running.progress import Display
    from tasks.running.run import Run, use_run
    from tasks.store import Store

    loaded = load_config(config, {})
    living, scratch = Store(folder / "home" / "store"), folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    store = Store(scratch / "store")
    pinned = living.aliased("soak")
    assert pinned is not None
    shutil.copytree(pinned.path, store.artifacts / pinned.stage / pinned.key, copy_function=shutil.copy2)
    store.set_alias("soak", pinned)
    os.environ["TEXTMILL_HOME"] = str(scratch)
    with use_run(Run(store, loaded.resources.resolved(), Display(quiet=True))) as run:
        build_tokens(loaded, build_corpus(loaded))
    pool.shut_down()
    fresh = {r.label: r.artifact.digest for r in run.records if r.stage not in NOT_COMPARED}
    differ = sorted(label for label, digest in fresh.items() if digests.get(label) != digest)
    print(f"night {company.night} against a run from scratch: {len(fresh)} stages, " + (
        f"DIFFERENT: {', '.join(differ)}" if differ else "equal digests"
    ))  # fmt: skip
    return not differ


if __name__ == "__main__":
    main()
