"""What pretraining and fine-tuning share: the trainer's hooks become journal entries, progress and sample files."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.stop import ShouldStop
from tasks.running.gpu import gpu_slot
from tasks.running.work import Work

if TYPE_CHECKING:
    from lm.train.hooks import Hooks

SAMPLES = "samples.jsonl"
RESULT = "result.json"
OF_THE_ATTEMPT = ("resumed_from", "checkpoint")
"""Of what a training returns, what may differ between two equal ones."""


@contextmanager
def training(work: Work, device: str = "cpu") -> Iterator[tuple["Hooks", ShouldStop]]:
    """Inside the block a first SIGTERM or Ctrl-C asks the trainer for a checkpoint; yields hooks and `should_stop`.

    Args:
        device: what it trains on, resolved: of a GPU it waits for a slot first.
    """
    import torch

    torch.set_num_threads(work.resources.threads)
    with gpu_slot(device), work.graceful_stop() as should_stop:
        yield _hooks(work), should_stop


def write_result(work: Work, result: Mapping[str, Any]) -> None:
    """What a training found as result.json, and its size and length among the counts."""
    kept = {name: value for name, value in result.items() if name not in OF_THE_ATTEMPT}
    (work.directory / RESULT).write_text(json.dumps(kept, indent=1))
    work.counts |= {"parameters": result["parameters"], "tokens": result["tokens"], "steps": result["step"]}


def _hooks(work: Work) -> "Hooks":
    from lm.train.hooks import Hooks

    samples = _Samples(work)

    def progress(step: int, steps: int) -> None:
        if work.progress.total != steps:
            work.progress.start(steps, "steps")
        work.progress.set(step)

    def mishap(step: int, record: dict[str, Any]) -> None:
        figures = {name: float(record[name]) for name in ("loss", "grad_norm")}
        work.journal.metrics(_prefixed(f"guard/{record['action']}", figures), step)

    return Hooks(
        on_metrics=lambda step, figures: work.journal.metrics(_prefixed("train", figures), step),
        on_evaluate=lambda step, figures: work.journal.metrics(_prefixed("valid", figures), step),
        on_sample=samples.add,
        on_mishap=mishap,
        on_progress=progress,
    )


def _prefixed(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in figures.items()}


class _Samples:
    """`samples.jsonl`: step, prompt, text. A resumed training repeats samples; equal ones replace each other."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.path = work.directory / SAMPLES
        self.rows = {(row["step"], row["prompt"]): row for row in read_samples(self.path)}

    def add(self, step: int, prompt: str, text: str) -> None:
        self.rows[step, prompt] = {"step": step, "prompt": prompt, "text": text}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows.values()), encoding="utf-8"
        )
        temporary.replace(self.path)
        self.work.journal.write("file", path=SAMPLES, directory="samples")


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The samples of a training, oldest first; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
