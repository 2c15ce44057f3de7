"""Pieces: what ingest reads at a time, some files of a source or a range of a large one.

Sources are resolved to files, files are fingerprinted by content and grouped into pieces, and a piece is a pure
function of its content: it is ingested once and reused in every corpus that holds it. What a piece is made of names
only those documents that are to be forgotten which it may hold: a piece that can hold none is read, and found again,
as if there were no list.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_quality.config import (
    ColumnSource,
    CsvSource,
    HuggingFaceSource,
    IngestConfig,
    JsonlSource,
    PythonDocsSource,
    ShardConfig,
    SourceConfig,
    StrictModel,
    TextSource,
)
from data_quality.forgotten import Forgotten
from data_quality.hashing import unit_hash
from data_quality.sources import (
    delimited,
    docx,
    epub,
    html,
    huggingface,
    jsonl,
    mail,
    mediawiki,
    parquet,
    pdf,
    python_docs,
    text,
    warc,
)
from data_quality.sources.base import FileRef, SourceNotFound, require_library
from data_quality.sources.dated import path_date
from data_quality.sources.fingerprint import Fingerprints
from data_quality.sources.resolve import find_files, is_selected

PATH_IDS = frozenset({"text", "html", "pdf", "epub", "docx", "python_docs"})
"""Formats whose documents are always named by the file that they stand in."""
EXTENSIONS = {
    "text": text.EXTENSIONS,
    "jsonl": jsonl.EXTENSIONS,
    "csv": delimited.EXTENSIONS,
    "parquet": parquet.EXTENSIONS,
    "pdf": pdf.EXTENSIONS,
    "epub": epub.EXTENSIONS,
    "docx": docx.EXTENSIONS,
    "html": html.EXTENSIONS,
    "warc": warc.EXTENSIONS,
    "mediawiki": mediawiki.EXTENSIONS,
    "mail": mail.EXTENSIONS,
}
LIBRARIES = {"pdf": "pypdfium2", "epub": "lxml", "html": "resiliparse", "warc": "resiliparse", "mail": "resiliparse"}
# Raised when a reader finds other text in the same files, so that they are read again.
READERS = {"csv": 2, "html": 3, "warc": 3, "mediawiki": 2, "mail": 3}
GUESSED_ENCODING = 2  # the same for text, JSON Lines and tables of which the encoding is guessed
# What a file weighs besides its bytes when pieces are cut: thousands of tiny files are work too.
FILE_OVERHEAD_BYTES = 4096


class Piece(StrictModel):
    """Some files of one source: the unit of ingest. JSON-able; ``model_validate`` brings it back."""

    source: SourceConfig
    shards: ShardConfig
    files: tuple[FileRef, ...]
    revision: str | None = None
    forgotten: Forgotten | None = None
    """What it may hold of what is to be forgotten, as the corpus writes names."""

    @property
    def key_material(self) -> dict[str, Any]:
        """Everything that determines the documents and shards, and nothing else: no place, no time."""
        return {
            "source": self.source.model_dump(mode="json", exclude=set(self.source.SELECTION | self.source.RECORDED)),
            "shards": self.shards.model_dump(mode="json"),
            "files": [[file.path, file.sha256, file.extra, *self._range_material(file)] for file in self.files],
            "revision": self.revision,
            # Which syntax `ast` knows decides what it refuses.
            "python": platform.python_version_tuple()[:2] if isinstance(self.source, PythonDocsSource) else None,
            **self._libraries(),
            **({"reader": READERS[self.source.format]} if self.source.format in READERS else {}),
            **({} if self.forgotten is None else {"forgotten": self.forgotten.model_dump(mode="json")}),
        }

    def _libraries(self) -> dict[str, str]:
        """The versions of what reads the files, where that is a matter of judgement: layout, main text, encoding."""
        name = LIBRARIES.get(self.source.format)
        if isinstance(self.source, TextSource | JsonlSource | CsvSource) and self.source.encoding == "auto":
            return {"resiliparse": version("resiliparse"), "guessed": str(GUESSED_ENCODING)}  # charset.py
        return {name: version(name)} if name else {}

    def _range_material(self, file: FileRef) -> list[Any]:
        """What a range's result depends on beside its content: not where it is, and only where ids are made of record
        numbers how many records lie before it. Its own tables count lines and records from its start."""
        if file.range is None:
            return []
        numbered = getattr(self.source, "id_column", None) is None
        return [
            {
                "first": file.range.first,
                "header": file.range.header,
                "records_before": file.range.records_before if numbered else None,
                **({} if file.range.wiki is None else {"wiki": file.range.wiki.model_dump(mode="json")}),
                **({} if file.range.block is None else {"block": file.range.block}),
            }
        ]


def list_pieces(config: IngestConfig, fingerprint_cache: Path | None = None) -> list[Piece]:
    """The pieces of all sources, by source name and path.

    Within a source, files in the order of their paths are cut into pieces of about ``config.piece_bytes``: after a file
    whose path hashes below its share of a piece. Whether a file ends a piece depends on that file alone, so that a new
    file changes, or splits, no piece but its own. A file larger than ``piece_bytes`` whose format allows it becomes
    several pieces, each a range of its documents (:mod:`data_quality.sources.ranges`).

    Raises :class:`SourceNotFound` for a path, package or dataset that is not there.
    """
    pieces: list[Piece] = []
    for source in config.sources:
        if source.format in LIBRARIES:
            require_library(LIBRARIES[source.format], source.format)
    with Fingerprints(fingerprint_cache, config.trust_mtime) as fingerprints:
        for source in sorted(config.sources, key=lambda source: source.name):
            files = list(_files(source, fingerprints, config.piece_bytes, config.until))
            if isinstance(source, HuggingFaceSource):
                revision = None if files else huggingface.resolve_revision(source)
                pieces.append(Piece(source=source, shards=config.shards, files=tuple(files), revision=revision))
                continue
            for group in _cut(files, config.piece_bytes):
                pieces.append(Piece(source=source, shards=config.shards, files=tuple(group)))
    return pieces


def _files(source: SourceConfig, fingerprints: Fingerprints, piece_bytes: int, until: date | None) -> Iterator[FileRef]:
    if isinstance(source, PythonDocsSource):
        located = [
            (uri, path, extra)
            for uri, path, extra in python_docs.find_files(source)
            if is_selected(path, source.include, source.exclude)
        ]
        if not located:
            raise SourceNotFound(f"source {source.name!r}: no Python file in {source.packages}")
    elif isinstance(source, HuggingFaceSource):
        located = [(uri, path, {}) for uri, path in huggingface.find_files(source)]
    else:
        located = [(uri, path, {}) for uri, path in find_files(source, EXTENSIONS[source.format])]
    if until is not None:
        located = [file for file in located if (written := path_date(file[0])) is None or written <= until]
    fingerprints.cut_ahead([(uri, path) for uri, path, _ in located], source, piece_bytes)
    for uri, path, extra in sorted(located, key=lambda file: (file[1], file[0])):
        ranges = fingerprints.ranges_of(uri, path, source, piece_bytes)
        for part in ranges:
            yield FileRef(path=path, uri=uri, sha256=part.sha256, bytes=part.bytes, extra=extra, range=part.range)
        if not ranges:
            sha256, size = fingerprints.of(uri)
            yield FileRef(path=path, uri=uri, sha256=sha256, bytes=size, extra=extra)


def _cut(files: list[FileRef], piece_bytes: int) -> Iterator[list[FileRef]]:
    group: list[FileRef] = []
    for file in files:
        if file.range is not None:
            if group:
                yield group
                group = []
            yield [file]
            continue
        group.append(file)
        if unit_hash(file.path) * piece_bytes < file.bytes + FILE_OVERHEAD_BYTES:
            yield group
            group = []
    if group:
        yield group


def leave_out(
    pieces: Iterable[Piece], forgotten: Forgotten, named: Callable[[str], str] = lambda name: name
) -> list[Piece]:
    """The pieces, each with what it may hold of what is to be forgotten, as `named` says that names are written.

    Ids that are made of paths tell the file. Those that documents bring along may be anywhere: all pieces of sources
    with such ids get them.
    """
    pieces = list(pieces)
    if not forgotten:
        return pieces
    forgotten = forgotten.named(named)
    by_path = {named(piece.source.name) for piece in pieces if not _own_ids(piece.source)}
    elsewhere = [id for id in forgotten.ids if id.partition(":")[0] not in by_path]
    places: dict[str, list[str]] = {}
    for id in forgotten.ids:
        for place in {id, id.rpartition("#")[0]}:
            places.setdefault(place, []).append(id)

    def left_out(piece: Piece) -> Piece:
        source = piece.source
        paths = [getattr(source, "dataset", "")] if not piece.files else [file.path for file in piece.files]
        ids = {id for path in paths for id in places.get(named(f"{source.name}:{path}"), ())}
        if _own_ids(source):
            ids.update(elsewhere)
        said = {source.name, *(file.extra["package"] for file in piece.files if "package" in file.extra)}
        written = set(map(named, said))
        any_source = getattr(source, "source_column", None) is not None
        here = Forgotten(
            ids=tuple(sorted(ids)), sources=tuple(name for name in forgotten.sources if any_source or name in written)
        )
        return piece.model_copy(update={"forgotten": here}) if here else piece

    return [left_out(piece) for piece in pieces]


def _own_ids(source: Any) -> bool:
    """Whether documents of a source bring their ids along."""
    if isinstance(source, ColumnSource):
        return source.id_column is not None
    return source.format not in PATH_IDS
