"""SIGKILL and SIGTERM at moments spread over all stages, each stage built anew for it."""

import math
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.asked import Answer

PARTS = {
    **{"ingest": "ingest.piece", "bands": "bands.group", "filter_corpus": "filter.shard"},
    **{"tokenize": "tokens.shard", "count_tokens": "token_counts.shard", "report": "report.sizes"},
}
"""Of the stages whose parts are not called <stage>.shard."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


def forget(stage: str, store: Path) -> None:
    """Remove what is finished of a stage that is aimed at again: it is built again, and must come out equal."""
    for name in (stage, PARTS.get(stage, f"{stage}.shard")):
        shutil.rmtree(store / "artifacts" / name, ignore_errors=True)


def plan(seed: int, count: int, stages: list[str]) -> list[tuple[str, int, float]]:
    """(stage, signal, when, as a share of the stage's seconds): all stages in turn, in the order of the pipeline."""
    draw = random.Random(seed)
    shuffled = draw.sample(stages, len(stages))
    aims = [shuffled[i % len(stages)] for i in range(count)]
    drawn = [(aim, int(draw.choice(SIGNALS)), draw.random()) for aim in aims]
    return sorted(drawn, key=lambda aim: (stages.index(aim[0]), aim[2]))


def killed(
    mill: Callable[..., Answer],
    home: Path,
    undisturbed: Answer,
    seed: int,
    count: int,
    until: float = math.inf,
    **request: Any,
) -> dict[str, Any]:
    """Kill so often, run to the end, and say how many kills landed, after how many of them the run came to its end all
    the same (a SIGTERM in the last stage may be lost), what outlived them and how the last run ended.

    Args:
        until: when to kill no more, by `time.monotonic()`.
    """
    seconds: dict[str, float] = {}
    for label, took in undisturbed["seconds"].items():
        seconds.setdefault(undisturbed["stages"][label], took)
    landed, left, went_on = [], [], 0
    for stage, number, share in plan(seed, count, list(seconds)):
        if time.monotonic() > until:
            break
        forget(stage, home / "store")
        kill = {"signal": number, "stage": stage, "after": share * min(seconds[stage], 1.0)}
        answer = mill(home, kill=kill, **request)
        if answer["landed"]:
            landed.append((stage, number))
            went_on += answer["exit"] == 0
        left += answer["left"]
    return {"landed": landed, "left": left, "went_on": went_on, "last": mill(home, **request)}
