"""Benchmark files: which there are, and the texts in them that a training document must not hold."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from data_quality.config import BenchmarkConfig, FileSource, StrictModel
from data_quality.errors import UsageError
from data_quality.sources.base import FileRef, InputError
from data_quality.sources.fingerprint import Fingerprints
from data_quality.sources.parquet import read_rows
from data_quality.sources.resolve import find_files
from data_quality.sources.streams import as_utf8, open_seekable, read_chunks, read_lines, split_compression

EXTENSIONS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet")
MAX_RECORD_BYTES = 64 << 20
MAX_FILE_BYTES = 1 << 30  # of `.json`, which is read as a whole


class BenchmarkFile(StrictModel):
    """One file of a benchmark and how it is read."""

    benchmark: BenchmarkConfig
    file: FileRef

    def key_material(self) -> dict[str, Any]:
        """What determines the items: reader settings, the path that ids show, the content's hash; no absolute path."""
        settings = self.benchmark.model_dump(mode="json", exclude={"paths"})
        return {**settings, "path": self.file.path, "sha256": self.file.sha256}


class Item(NamedTuple):
    """One text of a benchmark; `id` says where it stands: `file:record/field`."""

    benchmark: str
    id: str
    text: str


def list_files(benchmarks: tuple[BenchmarkConfig, ...], cache: Path | None) -> list[BenchmarkFile]:
    """The files of all benchmarks, fingerprinted, in the order of the benchmarks and then of their paths.

    Raises:
        SourceNotFound: a path has no file.
        ValueError: a file whose name does not say its format.
    """
    found = []
    with Fingerprints(cache, trust=True) as fingerprints:
        for benchmark in benchmarks:
            source = FileSource(name=benchmark.name, paths=benchmark.paths)
            for uri, path in find_files(source, EXTENSIONS):
                _format(path, uri)
                sha256, size = fingerprints.of(uri)
                found.append(
                    BenchmarkFile(benchmark=benchmark, file=FileRef(path=path, uri=uri, sha256=sha256, bytes=size))
                )
    return found


def _format(path: str, uri: str) -> str:
    name = split_compression(path)[0].lower()
    for extension in EXTENSIONS:
        if name.endswith(extension):
            return extension
    raise UsageError(
        f"benchmark file {uri}: its name ends in none of {', '.join(EXTENSIONS)} (or these with .gz, .zst)"
    )


def read_items(found: BenchmarkFile) -> Iterator[Item]:
    """Every text of a file that is compared.

    Raises:
        ValueError: the file cannot be read, a record is malformed, or no record has one of the columns that are named.
            A benchmark of which a part was skipped would pass for one that was searched.
    """
    file, benchmark = found.file, found.benchmark
    seen = not benchmark.columns
    where = file.uri
    try:
        for number, record in _records(found):
            where = f"{file.uri}, record {number}"
            for path, text in _texts(record, ()):
                if not benchmark.columns or any(part in benchmark.columns for part in path):
                    seen = True
                    field = ".".join(path)
                    yield Item(benchmark.name, f"{file.path}:{number}" + (f"/{field}" if field else ""), text)
    except (InputError, ValueError, csv.Error, pa.ArrowException) as error:
        detail = f"{error.reason}: {error.detail}" if isinstance(error, InputError) else str(error)
        raise UsageError(f"benchmark {benchmark.name!r}: {where}: {detail}") from error
    if not seen:
        raise UsageError(
            f"benchmark {benchmark.name!r}: {file.uri} has none of the columns {', '.join(benchmark.columns)}"
        )


def _texts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, (*path, str(name)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*path, str(number)))


def _records(found: BenchmarkFile) -> Iterator[tuple[int, Any]]:
    file = found.file
    match _format(file.path, file.uri):
        case ".parquet":
            yield from _parquet(file)
        case ".json":
            yield 1, json.loads(_whole(file))
        case ".csv":
            yield from _delimited(found, ",")
        case ".tsv":
            yield from _delimited(found, "\t")
        case ".txt":
            yield from _lines(file)
        case _:
            for number, line in _lines(file):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except ValueError as error:
                        raise ValueError(f"line {number} is no JSON: {error}") from None


def _lines(file: FileRef) -> Iterator[tuple[int, str]]:
    for number, part in enumerate(read_lines(file, "utf-8", MAX_RECORD_BYTES), start=1):
        if part.data is None:
            raise ValueError(f"line {number} has {part.size} bytes; at most {MAX_RECORD_BYTES} are read")
        yield number, part.data.decode()


def _delimited(found: BenchmarkFile, delimiter: str) -> Iterator[tuple[int, Any]]:
    """Tab-separated benchmark files hold bare quotation marks, comma-separated ones quote with them."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD_BYTES))
    lines = (line.rstrip("\r") + "\n" for _, line in _lines(found.file))
    names: list[str] | None = None
    rows = csv.reader(lines, "excel") if delimiter == "," else csv.reader(lines, "excel-tab", quoting=csv.QUOTE_NONE)
    for number, row in enumerate(rows, start=1):
        if names is None and found.benchmark.header:
            names = row
            continue
        named = [*(names or []), *(str(place) for place in range(len(names or []) + 1, len(row) + 1))]
        yield number, dict(zip(named, row, strict=False))


def _whole(file: FileRef) -> str:
    whole = io.BytesIO()
    for chunk in as_utf8(read_chunks(file), "utf-8"):
        whole.write(chunk)
        if whole.tell() > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES} bytes of JSON in one piece; make it .jsonl")
    return whole.getvalue().decode()


def _parquet(file: FileRef) -> Iterator[tuple[int, Any]]:
    with open_seekable(file) as raw:
        yield from enumerate(read_rows(file.uri, raw, MAX_RECORD_BYTES), start=1)
