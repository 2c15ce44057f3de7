"""`textmill predict`: what a fine-tuned model says of each record of a file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from flows.config.loading import ConfigError, override, parse
from lm.labelled.fields import Fields
from lm.labelled.read_config import ReadConfig, fields_of, require_fields
from lm.labelled.records import FORMATS, WITH_COLUMNS, Record, format_of, read_records
from lm.labelled.streams import BadInput

RECORDS_AT_ONCE = 256
DEVICES = ("cpu", "cuda")
FORM_FORMATS = {"tagging": ("conll",), "question_answering": ("squad",)}
"""Formats of one form of task, beside those with columns."""
TEXTS = frozenset({"text", "text_b", "context", "question"})  # of the fields, those that are one text


def best_of(folder: Path) -> Path:
    """Of the summary of a fine-tuning the best run's folder; of a model its own."""
    from tasks.finetune import SUMMARY
    from tasks.storage.files import read_json
    from tasks.storage.shared import open_store

    if not (folder / SUMMARY).exists():
        return folder
    summary = read_json(folder / SUMMARY)
    return open_store().checked(summary["runs"][summary["best"]]["artifact"]).path


def predict_file(
    folder: Path, path: Path, device: str, quiet: bool, reading: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """The records of a file (jsonl, csv, tsv, parquet; of sentences to be tagged CoNLL columns, of questions SQuAD's
    JSON; also .gz, .zst), one after the other, each with all its columns and what the model of a folder says of it
    (`lm.finetune.predictor.Predictor`).

    A column that has the name of one of the answer's is kept as `given_NAME`.

    Args:
        reading: keys of a task's section `read`, such as `delimiter` or `fields.text`, with their YAML.

    Raises:
        ConfigError: no such model, file or device, `reading` that the task has no field or key for, or a record that
            the model cannot be asked about, with its line.
    """
    from lm.finetune.predictor import Predictor

    read = _reading(reading or {})
    _require_device(device)
    try:
        predictor = Predictor(folder, device)
        require_fields(predictor.task.ask, "--set read.fields", read.fields, fields_of(predictor.task.ask))
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(str(error)) from error
    formats = (*WITH_COLUMNS, *FORM_FORMATS.get(predictor.task.ask.form, ()))
    if format_of(path, read) not in formats:
        endings = ", ".join(f".{name}" for name, form in FORMATS.items() if form in formats)
        raise ConfigError(
            f"{path}: records are read from {endings}, also .gz and .zst; of other names: --set format=csv or so"
            f" (one of {', '.join(formats)})"
        )
    console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    with Progress(console=console, disable=quiet, transient=True) as progress:
        task = progress.add_task("predicting", total=None)
        records, found = _records(path, read), None
        while batch := list(islice(records, RECORDS_AT_ONCE)):
            try:
                asked = [_asked(Fields(record, read), predictor.inputs) for record in batch]
                for record, values in zip(batch, asked, strict=True):
                    predictor.example(values, record.where)
                found = predictor(asked)
            except ValueError as error:
                raise ConfigError(str(error)) from error
            for record, said in zip(batch, found, strict=True):
                yield _kept(record.values, said) | said
            progress.advance(task, len(batch))
    if found is None:
        console.print(f"{path}: there are no records in it", markup=False)
    if said_of_words := predictor.not_known():
        console.print(said_of_words, markup=False)


def _kept(values: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    return {f"given_{name}" if name in said else name: value for name, value in values.items()}


def _reading(given: Mapping[str, str]) -> ReadConfig:
    raw: dict[str, Any] = {}
    for key, value in given.items():
        override(raw, key.removeprefix("read."), value)
    return parse(raw, "--set", ReadConfig)


def _require_device(device: str) -> None:
    import torch

    if device not in DEVICES:
        raise ConfigError(f"--device {device}: it is one of {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch finds no GPU here; leave it out, or say --device cpu")


def _asked(fields: Fields, inputs: Sequence[str]) -> dict[str, Any]:
    """The columns of a record with those of the fields that a model needs, wherever these stand."""
    mapped = [name for name in inputs if name in fields.columns]
    found = {name: fields.text(name) if name in TEXTS else fields.value(name) for name in mapped}
    return {**fields.record.values, **found}


def _records(path: Path, read: ReadConfig) -> Iterator[Record]:
    try:
        yield from read_records(path, read, unlabelled=True)
    except BadInput as error:
        raise ConfigError(str(error)) from error


def as_line(record: dict[str, Any]) -> str:
    """One line of jsonl; what JSON has no word for (a date in a Parquet file) as text."""
    return json.dumps(record, ensure_ascii=False, default=str)
