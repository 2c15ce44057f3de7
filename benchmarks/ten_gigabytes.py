"""Ten gigabytes end to end: `python -m benchmarks.ten_gigabytes FOLDER [--gigabytes 10] [--workers 2] [--until STEP]`.

Three steps, each a command as users give it, in a home of its own below FOLDER:

    corpus    benchmarks.large_corpus writes so many gigabytes of text
    clean     `textmill clean`: ingest, normalise, languages, signals, rules, dedupe, boilerplate, personal data, views
    run       `textmill run` on the same store, which finds all that done: split, tokenizer, tokens, a model of 100
              steps, its score on held-out text, report

Prints for every stage its seconds (those in which parts were built side by side, and those of one process alone),
processor seconds, MB of the whole corpus per second, largest resident sizes and bytes on disk, and which of it all the
stage reads; for every step the largest resident size of a process and of all together, and the disk used. FOLDER then
holds it as measured.json, for benchmarks.projection. A second call goes on where the first one ended; the stage that
was under way then counts what was left of it alone, and the table says so. Exits with 1 if a step failed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from benchmarks._processes import disk_bytes, watched
from benchmarks.large_corpus import generate
from tasks.machine.termination import exit_on_sigterm

CONFIG = Path(__file__).with_name("large_corpus.yaml")
STEPS = ("corpus", "clean", "run")
MODEL_SECTIONS = ("split", "tokenizer", "model", "pretrain", "evaluate")

TEXT, TABLES, SAMPLE = "all text", "tables of all documents", "a sample"
READS = {
    "ingest": TEXT, "normalize": TEXT, "languages": TEXT, "signals": TEXT, "signatures": TEXT, "bands": TABLES,
    "judge": TABLES, "dedupe": TABLES, "line_tables": TEXT, "boilerplate": TABLES, "pii": TEXT, "decide": TABLES,
    "filter_corpus": TEXT, "profile": TABLES, "report": TABLES, "split": "all kept text", "train_tokenizer": SAMPLE,
    "tokenize": "all kept text", "pretrain": SAMPLE, "evaluate": SAMPLE,
}  # fmt: skip
"""What a stage reads however large the corpus is; the sample's size is in the configuration."""


def main() -> None:
    """Do what is left, print, write measured.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1], help="the last step")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    exit_on_sigterm()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(folder / "steps.json", {"gigabytes": arguments.gigabytes, "workers": arguments.workers})
    write_configs(folder, arguments.workers)
    for step in STEPS[: STEPS.index(arguments.until) + 1]:
        if not record.is_done(step):
            record.attempt(step, lambda step=step: do(step, folder, arguments))  # type: ignore[misc]
    measured = gather(folder, record)
    (folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")
    print("\n".join(table(measured)))


class Record:
    """What has been done in this folder, attempt by attempt, on disk after each."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.data = json.loads(path.read_text()) if path.exists() else {"settings": settings, "steps": {}}
        if self.data["settings"] != settings:
            sys.exit(f"{path.parent} was begun with {self.data['settings']}, not {settings}: give another folder")

    def is_done(self, step: str) -> bool:
        """Whether an attempt of this step has succeeded."""
        return any(attempt.get("ok") for attempt in self.data["steps"].get(step, []))

    def attempt(self, step: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do a step and note it; one that was begun and not noted was killed."""
        attempts = self.data["steps"].setdefault(step, [])
        attempts.append({"begun": time.time()})
        self.save()
        started = time.perf_counter()
        result = work()
        attempts[-1] |= {"seconds": time.perf_counter() - started, **result}
        self.save()
        if not result["ok"]:
            sys.exit(f"{step} failed; the same command goes on\n{result.get('said', '')}")

    def save(self) -> None:
        """Write it, whole or not at all."""
        draft = self.path.with_suffix(".partial")
        draft.write_text(json.dumps(self.data, indent=1))
        draft.replace(self.path)


def write_configs(folder: Path, workers: int) -> None:
    """The pipeline's configuration for the files of this folder, and its sections for `textmill clean`."""
    whole = yaml.safe_load(CONFIG.read_text())
    whole["ingest"]["sources"] = [
        {
            "format": "parquet",
            "name": "large",
            "paths": [str(folder / "corpus" / "copy-*.parquet")],
            "id_column": "id",
            "source_column": "source",
        }
    ]
    whole["resources"] = {"workers": workers}
    documents = {key: value for key, value in whole.items() if key not in MODEL_SECTIONS}
    for name, content in (("run", whole), ("clean", documents)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def do(step: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One step; what it took."""
    if step == "corpus":
        return {"ok": True, "text_bytes": generate(folder / "corpus", arguments.gigabytes, arguments.workers)}
    overrides = [word for override in arguments.overrides for word in ("--set", override)]
    home = folder / "home"
    if step == "clean":
        return measured_command(["clean", "--config", folder / "clean.yaml", "--out", folder / "clean"], folder, home)
    os.environ["TEXTMILL_HOME"] = str(home)
    from flows.servers import services

    services.ensure("prefect", "mlflow")  # here, so that they are no part of what is measured
    try:
        return measured_command(["run", folder / "run.yaml", *overrides], folder, home)
    finally:
        services.down()


def measured_command(words: list[str | Path], folder: Path, home: Path) -> dict[str, Any]:
    """Run `textmill` with these words; its output goes to a file beside."""
    textmill = [sys.executable, "-m", "flows.cli.main"]  # of this checkout, whichever is installed
    checkout = str(Path(__file__).parents[1])
    log = folder / f"{words[0]}.log"
    environment = {**os.environ, "TEXTMILL_HOME": str(home), "PYTHONPATH": checkout}
    with log.open("ab") as out:
        process = subprocess.Popen([*textmill, *words], stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            with watched(process.pid, folder) as peaks:
                _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()  # it leaves what it has, and the next call goes on
            process.wait()
            raise
    process.returncode = code = os.waitstatus_to_exitcode(status)
    return {
        "ok": code == 0,
        "processor_seconds": usage.ru_utime + usage.ru_stime,  # of the command and of every worker that it waited for
        "peaks": asdict(peaks),
        **({} if code == 0 else {"said": log.read_text(errors="replace")[-2000:]}),
    }


def gather(folder: Path, record: Record) -> dict[str, Any]:
    """Everything measured, from the record of steps and from what the stages noted."""
    steps = record.data["steps"]
    attempts = {step: len(tries) for step, tries in steps.items()}
    text_bytes = next((t["text_bytes"] for t in steps.get("corpus", []) if t.get("ok")), 0)
    done = {step: next((t for t in tries if t.get("ok")), None) for step, tries in steps.items()}
    return {
        **record.data["settings"],
        "text_bytes": text_bytes,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "steps": {s: {**d, "attempts": attempts[s]} for s, d in done.items() if d},
        "disk": {name: disk_bytes(folder / name) for name in ("corpus", "clean", "home") if (folder / name).exists()},
        "stages": stages(folder / "home" / "store" / "artifacts"),
    }


def stages(artifacts: Path) -> list[dict[str, Any]]:
    """What every stage noted of its last build, in the order in which they ended; with the bytes of its files."""
    found = []
    for path in artifacts.glob("*/*/_run/sidecar.json"):
        noted, manifest = json.loads(path.read_text()), json.loads((path.parents[1] / "manifest.json").read_text())
        parts = [
            json.loads((artifacts / p["stage"] / p["key"] / "manifest.json").read_text()) for p in manifest["parts"]
        ]
        found.append(
            {
                "stage": manifest["stage"],
                "parts": len(parts),
                "bytes": sum(entry["bytes"] for each in [manifest, *parts] for entry in each["files"]),
                "counts": {name: n for name, n in manifest["counts"].items() if isinstance(n, int | float)},
                **{
                    name: noted[name]
                    for name in (
                        "created", "seconds", "parts_seconds", "cpu_seconds", "peak_process_bytes", "peak_total_bytes"
                    )
                },
            }
        )  # fmt: skip
    return sorted(found, key=lambda each: each["created"])


def table(measured: dict[str, Any]) -> list[str]:
    """What people read."""
    megabytes = measured["text_bytes"] / 1e6
    lines = [
        f"{megabytes / 1e3:.3f} GB of text, {measured['workers']} workers",
        "",
        "| stage | s | in parts | alone | processor s | MB/s | largest process | all processes | on disk | reads |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for s in measured["stages"]:
        alone = s["seconds"] - s["parts_seconds"]
        lines.append(
            f"| {s['stage']} | {s['seconds']:.1f} | {s['parts_seconds']:.1f} | {alone:.1f} | {s['cpu_seconds']:.1f} | "
            f"{megabytes / s['seconds']:.1f} | {s['peak_process_bytes'] / 1e6:,.0f} MB | "
            f"{s['peak_total_bytes'] / 1e6:,.0f} MB | {s['bytes'] / 1e6:,.0f} MB | {READS.get(s['stage'], '?')} |"
        )
    lines += [
        "",
        "| step | s | MB/s | processor s | largest process | all | without mapped files | disk at most | attempts |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, step in measured["steps"].items():
        peaks = step.get("peaks", {})
        sizes = [f"{peaks[k] / 1e6:,.0f} MB" if peaks else "" for k in ("process", "tree", "tree_anonymous", "disk")]
        lines.append(
            f"| {name} | {step['seconds']:.1f} | {megabytes / step['seconds']:.1f} | "
            f"{step.get('processor_seconds', 0):.1f} | {' | '.join(sizes)} | {step['attempts']} |"
        )
    if any(step["attempts"] > 1 for step in measured["steps"].values()):
        lines.append(
            "A step of several attempts: the stage that was under way at a break counts its last attempt alone."
        )
    lines.append("")
    lines.append(", ".join(f"{name}: {size / 1e9:.2f} GB on disk" for name, size in measured["disk"].items()))
    return lines


if __name__ == "__main__":
    main()
