"""A labelled set of a few generated examples with every kind of finding, for the tests of its stage."""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from flows.config.task import TaskConfig
from tasks.labelled_set import labelled_set
from tasks.store import Artifact
from tests.tasks.tiny_corpus import prose

LONG = "the harbour master counted nineteen gulls on the wooden quay before the evening storm"
TRAIN = [
    ("leak-exact", "One that is held out, too", "good"),
    ("leak-near", f"{LONG} came", "bad"),
    ("first", "Seen twice", "good"),
    ("again", "seen  TWICE", "good"),
    ("yes", "Nobody agrees on this", "good"),
    ("no", "Nobody agrees on this", "bad"),
    ("empty", " ", "bad"),
]
VALID = [
    ("v0", "one that is held out, too", "bad"),
    ("v1", f"{LONG} began", "bad"),
    ("v2", "Nothing like it in training", "odd"),
]


def write_set(folder: Path, extra: int = 40) -> Path:
    """train.jsonl and valid.jsonl with known findings among generated sentences that have none."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(11)
    others = [(f"x{n}", f"{prose(draw, 'gardens', 1)} {n} {n}", draw.choice(["good", "bad"])) for n in range(extra)]
    for name, rows in (("train", [*TRAIN, *others]), ("valid", VALID)):
        lines = [json.dumps({"name": i, "sentence": t, "label": n}, ensure_ascii=False) + "\n" for i, t, n in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def task(folder: Path, **more: Any) -> TaskConfig:
    """A task on these files."""
    return TaskConfig.model_validate(
        {
            "name": "moods",
            "ask": {"form": "classification", "classes": ["bad", "good", "odd", "never"]},
            "read": {"fields": {"id": "name", "text": "sentence"}},
            "train": {"files": [str(folder / "train.jsonl")]},
            "valid": {"files": [str(folder / "valid.jsonl")]},
            **more,
        }
    )


def labelled_set_case() -> Artifact:
    with tempfile.TemporaryDirectory() as folder:
        return labelled_set(task(write_set(Path(folder))).request())
