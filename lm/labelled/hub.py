"""Sets of the Hugging Face hub through `datasets`: numbers of classes become their names."""

from collections.abc import Iterator, Sequence
from typing import Any

from lm.labelled.read_config import HubConfig
from lm.labelled.records import Record
from lm.labelled.streams import BadInput

CONVERTED = "refs/convert/parquet"
"""Where the hub keeps Parquet files of sets whose own files only a script can read, which `datasets` no longer runs."""


def converted_files(hub: HubConfig, split: str) -> tuple[str, ...]:
    """The files of a split in that branch."""
    return (f"{hub.config or 'default'}/{split}/*.parquet",)


def read_hub(hub: HubConfig, split: str, data_files: Sequence[str] = ()) -> Iterator[Record]:
    """The records of a split in its order, numbered from 1.

    Raises BadInput for a set or a split that cannot be had, saying how to go on without the hub.
    """
    from datasets import load_dataset

    where, number = f"{hub.id}, {split}", 0
    try:
        records = load_dataset(
            hub.id,
            name=None if data_files else hub.config,
            split=split,
            revision=hub.revision,
            data_files={split: list(data_files)} if data_files else None,
            streaming=True,
        )
        features = dict(records.features or {})
        for values in records:
            number += 1
            named = {name: _names(value, features.get(name)) for name, value in values.items()}
            yield Record(f"{where}: record {number}", f"{split}: record {number}", named)
    except Exception as error:  # its own, those of readers of every format, and the HTTP client's
        raise BadInput(
            f"{where}: cannot be read from the hub after {number} records: {type(error).__name__}: {error}. Check"
            " hub.id, hub.config and the split; without a network, name files: --set train.files=[FILE] --set"
            " valid.files=[FILE], and their columns with --set read.fields.NAME=COLUMN"
        ) from error


def _names(value: Any, feature: Any) -> Any:
    """The value with class numbers replaced by names, in lists and objects too; -1 (no label) stays."""
    if value is None or feature is None:
        return value
    names = getattr(feature, "names", None)
    if names is not None and isinstance(value, int):
        return names[value] if value >= 0 else value
    if isinstance(value, dict):
        inner = feature if isinstance(feature, dict) else getattr(feature, "feature", None)
        return {key: _names(item, inner.get(key) if isinstance(inner, dict) else None) for key, item in value.items()}
    if isinstance(value, list):
        inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
        return [_names(item, inner) for item in value]
    return value
