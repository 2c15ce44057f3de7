"""Every model of configs/models as it is shipped: `python -m benchmarks.shipped_models --home DIR --out FILE.json`.

One after the other in one store, so that corpus, tokenizers and what was trained before are reused; what was stopped
goes on. The figures are those that the command itself prints at its end. Some hours on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from flows.config.loading import CONFIGS
from tasks.storage.files import read_json, write_json
from tasks.store import RUN_DIRECTORY

MODELS = CONFIGS / "models"
EVERY_RUN = ("documents read", "documents kept")  # of the corpus, which all have in common
MODEL_STAGES = ("pretrain", "ngram", "word_vectors")


def pretrained(config: Path, home: Path) -> dict[str, Any]:
    """The summary of `textmill pretrain CONFIG`, in a process of its own.

    Raises:
        RuntimeError: it failed; the message has the end of what it printed.
    """
    command = [sys.executable, "-m", "flows.cli.main", "pretrain", str(config), "--json"]
    done = subprocess.run(command, env={**os.environ, "TEXTMILL_HOME": str(home)}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{config}: exit status {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def row(summary: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run: figures, the model's parameters and seconds of training as its manifest has them."""
    [stage] = [stage for stage in summary["stages"] if stage["stage"] in MODEL_STAGES]
    made = Path(stage["path"])
    counts, spent = read_json(made / "manifest.json")["counts"], read_json(made / RUN_DIRECTORY / "sidecar.json")
    figures = {key: value for key, value in summary["figures"].items() if key not in EVERY_RUN}
    return {
        "artifact": f"{stage['stage']}/{stage['key'][:12]}",
        "seconds": spent["seconds"],
        "counts": counts,
        "figures": figures,
        "sample": summary["sample"],
    }


def main() -> None:
    """Run what is asked for and write rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="TEXTMILL_HOME of all runs")
    parser.add_argument("--out", type=Path, required=True, help="JSON: one row for each model")
    parser.add_argument("--only", nargs="*", help="names of files, without .yaml; all of them otherwise")
    options = parser.parse_args()
    names = options.only or sorted(path.stem for path in MODELS.glob("*.yaml") if path.stem != "base")
    rows: dict[str, Any] = read_json(options.out) if options.out.exists() else {}
    for name in names:
        rows[name] = row(pretrained(MODELS / f"{name}.yaml", options.home))
        write_json(options.out, rows)
        print(f"{name}: {rows[name]['seconds']:.0f} s, {rows[name]['figures']}", flush=True)


if __name__ == "__main__":
    main()
