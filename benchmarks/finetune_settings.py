"""Settings of the quickstart's fine-tuning, chosen on dev: `python -m benchmarks.finetune_settings`.

Runs both systems (pretrained, random weights) at every point of a small grid, over what the newest run left in the
store, and prints their dev accuracy. The settings to ship are those with the best mean of the two systems, so that
neither is favoured. Test accuracy is not looked at. An interrupted search goes on where it stopped.
"""

import argparse
import itertools
import json
import shutil
from pathlib import Path

import torch

from flows.config.pipeline import quickstart
from lm.finetune.config import FinetuneConfig
from lm.finetune.train import finetune
from lm.models.gpt_config import GPTConfig
from tasks.machine import home
from tasks.store import Store

GRID = {"learning_rate": (2.5e-4, 5e-4, 1e-3), "epochs": (6.0,), "pooling": ("mean", "extract")}


def main() -> None:
    """Go through the grid; the figures of a run stand in its directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--work", type=Path, default=None, help="where the runs go; default: beside the store")
    arguments = parser.parse_args()
    store = Store(home.store_path())
    examples, model = store.checked("labelled"), store.checked("pretrain")
    work = arguments.work or home.home() / "finetune-settings"
    data = work / "dev-only"
    data.mkdir(parents=True, exist_ok=True)
    for name in ("task.json", "train.parquet", "valid.parquet"):  # without test, which is not looked at
        shutil.copyfile(examples.file(name), data / name)
    size = GPTConfig.model_validate_json(model.file("config.json").read_text())
    torch.set_num_threads(2)
    rows = []
    for point in itertools.product(*GRID.values()):
        chosen = dict(zip(GRID, point, strict=True))
        accuracies = {}
        for system in ("pretrained", "random"):
            runs = []
            for seed in arguments.seeds:
                settings = FinetuneConfig.model_validate(
                    {**quickstart().finetune.settings.model_dump(), **chosen, "initialisation": system, "seed": seed}
                ).resolve(size)
                directory = work / "-".join([*map(str, point), system, str(seed)])
                done = directory / "metrics.json"
                if not done.exists():
                    directory.mkdir(parents=True, exist_ok=True)
                    finetune(data, model.path, settings, directory)
                runs.append(json.loads(done.read_text())["valid"]["accuracy"])
            accuracies[system] = sum(runs) / len(runs)
        mean = sum(accuracies.values()) / 2
        rows.append((mean, chosen, accuracies))
        print(f"{mean:.3f}  {accuracies['pretrained']:.3f}  {accuracies['random']:.3f}  {chosen}", flush=True)
    best = max(rows, key=lambda row: row[0])
    print(f"best on dev (mean of both systems): {best[1]}")


if __name__ == "__main__":
    main()
