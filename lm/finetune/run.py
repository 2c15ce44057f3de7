"""A model's outputs for items, and what they say of the examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lm.finetune.artifact import device_of
from lm.finetune.forms.base import Answer, Example, TaskForm
from lm.finetune.heads import TaskModel
from lm.finetune.predictions import Predictions, label_column
from lm.labelled.folder import LabelledSet, Split, Task
from lm.stop import ShouldStop, check, never

BATCH = 64


@torch.no_grad()
def outputs_of(
    model: TaskModel, form: TaskForm, items: Any, batch: int = BATCH, should_stop: ShouldStop = never
) -> list[np.ndarray]:
    """The head's outputs for each item, in their order; the model should be in eval mode.

    Items of like length go together, so that little is spent on padding.
    """
    device = device_of(model)
    found: list[np.ndarray] = [np.empty(0)] * len(items)
    by_length = np.argsort(items.lengths, kind="stable")
    for start in range(0, len(by_length), batch):
        check(should_stop, "predicting")
        chosen = by_length[start : start + batch]
        inputs = {name: tensor.to(device) for name, tensor in items.batch(chosen).items()}
        outputs, _ = model(inputs)
        for place, one in zip(chosen.tolist(), form.split(outputs, inputs), strict=True):
            found[place] = one
    return found


def answer(
    model: TaskModel, form: TaskForm, items: Any, batch: int = BATCH, should_stop: ShouldStop = never
) -> list[Answer]:
    """What the model says of each example."""
    return form.answers(items, outputs_of(model, form, items, batch, should_stop))


def held_out_splits(labelled: LabelledSet) -> list[Split]:
    """What is not trained on: valid and, where there is one, test."""
    return ["valid", "test"] if labelled.has("test") else ["valid"]


def as_predictions(task: Task, examples: Sequence[Example], answers: Sequence[Answer]) -> Predictions:
    """Answers beside the ids and labels of their examples."""
    column = label_column(task)
    rows: list[Mapping[str, Any]] = [
        {"id": example["id"], "label": example[column], **said} for example, said in zip(examples, answers, strict=True)
    ]
    return Predictions(task, rows)
