"""The files from which the stages that read from outside were made, and whether they still are what they were."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic import BaseModel

from data_quality.sources.fingerprint import Fingerprints
from tasks.adopt import TEMPLATE, AdoptConfig
from tasks.adopt_labelled import AdoptLabelledConfig
from tasks.decontaminate import BenchmarkRequest
from tasks.exam import ExamRequest
from tasks.ingest import IngestRequest
from tasks.labelled_set import LabelledSetRequest
from tasks.token_counts import AdoptTokenizerConfig
from tasks.translation import PairsRequest


class SourceFile(NamedTuple):
    """A file or URI, what it is called in ids and messages, and the SHA-256 that it had."""

    uri: str
    name: str
    sha256: str


class Change(NamedTuple):
    """A file that is not what it was; `now` is None where it is gone."""

    file: SourceFile
    now: str | None

    def __str__(self) -> str:
        if self.now is None:
            return f"{self.file.name} is no longer at {self.file.uri} (it had the SHA-256 {self.file.sha256})"
        return f"{self.file.name} changed: its SHA-256 was {self.file.sha256}, is {self.now} ({self.file.uri})"


def source_files(request: BaseModel) -> Iterator[SourceFile]:
    """What a stage read, as its request names it; none of a stage that reads artifacts only.

    Ranges of a large file are left out: the stage itself compares each as it reads it. So are datasets of the hub,
    which are named by their commit.
    """
    match request:
        case IngestRequest():
            for piece in request.pieces:
                whole = (file for file in piece.files if file.range is None)
                yield from (SourceFile(file.uri, f"{piece.source.name}:{file.path}", file.sha256) for file in whole)
        case BenchmarkRequest():
            for each in request.files:
                yield SourceFile(each.file.uri, f"{each.benchmark.name}:{each.file.path}", each.file.sha256)
        case AdoptConfig() | AdoptLabelledConfig():
            named = {name: sha256 for name, sha256 in request.sha256.items() if name != TEMPLATE}
            yield from (SourceFile(str(request.folder / name), name, sha256) for name, sha256 in named.items())
        case AdoptTokenizerConfig():
            yield SourceFile(str(request.file), request.file.name, request.sha256)
        case PairsRequest():
            for source in filter(None, (request.train, request.valid)):
                yield from (SourceFile(str(p), p.name, h) for p, h in zip(source.paths, source.sha256, strict=True))
        case LabelledSetRequest():
            for split in filter(None, (request.train, request.valid, request.test)):
                files = [*split.paths, *split.targets]
                if split.hub is None:
                    yield from (SourceFile(str(p), p.name, h) for p, h in zip(files, split.sha256, strict=True))
        case ExamRequest() if request.files is not None:
            content = request.files
            yield from (SourceFile(str(p), p.name, h) for p, h in zip(content.paths, content.sha256, strict=True))


def changes(files: Iterable[SourceFile]) -> list[Change]:
    """Those that have another content now, or are gone; every file is read."""
    found = []
    with Fingerprints(None, trust=False) as fingerprints:
        for file in files:
            try:
                now, _ = fingerprints.of(file.uri)
            except FileNotFoundError:
                found.append(Change(file, None))
                continue
            if now != file.sha256:
                found.append(Change(file, now))
    return found
