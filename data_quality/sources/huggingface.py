"""Datasets of the Hugging Face hub, or of a builder and local files, through `datasets` in streaming mode."""

import re
from pathlib import Path
from typing import Any

from data_quality.config import FileSource, HuggingFaceSource
from data_quality.sources import resolve
from data_quality.sources.base import InputError, Reading, Skip, SourceNotFound, pick_columns, record_from_columns
from data_quality.sources.streams import too_long

COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_revision(source: HuggingFaceSource) -> str:
    """The commit that a hub dataset is at now. A full commit in the config is taken without asking."""
    if source.revision is not None and COMMIT.fullmatch(source.revision):
        return source.revision
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(source.dataset, revision=source.revision, timeout=10).sha
    except Exception as error:  # the HTTP client's own, of whichever client the library has today
        raise SourceNotFound(
            f"source {source.name!r}: cannot ask the hub for dataset {source.dataset!r}: {error}. Check the id and the "
            "network, or pin `revision` to a full commit, which needs no question"
        ) from error
    if commit is None:
        raise SourceNotFound(f"source {source.name!r}: the hub names no commit for dataset {source.dataset!r}")
    return commit


def find_files(source: HuggingFaceSource) -> list[tuple[str, str]]:
    """(URI, name) of the files of a dataset that lies on this machine; none for a dataset of the hub."""
    folder = Path(source.dataset).expanduser()
    paths = list(source.data_files)
    if not paths and folder.is_dir():
        paths = [str(path) for path in sorted(folder.rglob("*")) if path.is_file()]
        return [(path, Path(path).relative_to(folder).as_posix()) for path in paths]
    files = FileSource(name=source.name, paths=tuple(paths)) if paths else None
    return [] if files is None else list(resolve.find_files(files, ("",)))


def read(source: HuggingFaceSource, revision: str | None, data_files: list[str]) -> Reading:
    """The records of the split in its own order, numbered from 1."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    number = 0
    try:
        records = load_dataset(
            source.dataset,
            name=source.config_name,
            split=source.split,
            revision=revision,
            data_files=data_files or None,
            streaming=True,
        )
        for values in records:
            number += 1
            # Without declared features the columns are known only from the records.
            try:
                pick_columns(source, list(values))
            except InputError as error:
                yield Skip(error.reason, error.detail, None, number)
                continue
            yield _record(values, number, source)
    except (
        DatasetsError,
        OSError,
        ValueError,
        ImportError,
        RuntimeError,
    ) as error:  # the last: scripts, which it refuses
        raise InputError("corrupt", f"after {number} records of {source.dataset}: {error}") from error


def _record(values: dict[str, Any], number: int, source: HuggingFaceSource) -> Any:
    text = values[source.text_column]
    # Characters, not bytes: exact enough for a limit, and free.
    if isinstance(text, str) and len(text) > source.max_record_bytes:
        return Skip("too_long", too_long(len(text), source.max_record_bytes), None, number)
    return record_from_columns(source, values, number)
