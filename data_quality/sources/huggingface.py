"""Datasets of the Hugging Face hub, or of a builder and local files, through `datasets` in streaming mode."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

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
    """The records of the split in its own order, numbered from 1.

    Damage ends the split, with all its files: the library reads it as one. How much it unpacks and holds at once is its
    own affair; `max_record_bytes` is asked of a record that is there. Raises :class:`SourceNotFound` where the network
    fails: what was read until then is not the dataset.
    """
    for number, values in enumerate(_values(source, revision, data_files), 1):
        # Without declared features the columns are known only from the records.
        try:
            pick_columns(source, list(values))
        except InputError as error:
            yield Skip(error.reason, error.detail, None, number)
            continue
        yield _record(values, number, source)


def _values(source: HuggingFaceSource, revision: str | None, data_files: list[str]) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    number = 0
    try:
        for values in load_dataset(
            source.dataset,
            name=source.config_name,
            split=source.split,
            revision=revision,
            data_files=data_files or None,
            streaming=True,
        ):
            number += 1
            yield values
    except StopIteration:  # its word for a JSON file without a record
        return
    except (ConnectionError, TimeoutError) as error:
        raise SourceNotFound(
            f"source {source.name!r}: after {number} records of {source.dataset}: {error}. Run again when the network "
            "is there"
        ) from error
    except Exception as error:  # what each builder, and each library below it, has for damage: there is no common kind
        if isinstance(error, MemoryError) and not isinstance(error, pa.ArrowException):
            raise  # the machine's fault; Arrow's is a length in the file that cannot be
        reason = "truncated" if isinstance(error, EOFError) else "corrupt"
        raise InputError(
            reason, f"after {number} records of {source.dataset}: {type(error).__name__}: {error}"
        ) from error


def _record(values: dict[str, Any], number: int, source: HuggingFaceSource) -> Any:
    text = values[source.text_column]
    # Characters, not bytes: exact enough for a limit, and free.
    if isinstance(text, str) and len(text) > source.max_record_bytes:
        return Skip("too_long", too_long(len(text), source.max_record_bytes), None, number)
    return record_from_columns(source, values, number)
