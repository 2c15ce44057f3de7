"""Documents that are to be forgotten: which of them a piece of the sources may hold, and whether a document is one.

They are left out where sources are read, so that their text is in no table behind that. What a piece is made of names
only those that it may hold: a piece that can hold none is read, and found again, as if there were no list.

`named` says how a corpus writes its ids and the names of sources (:class:`data_quality.pii_names.Pseudonyms`). What is
to be forgotten is compared in that form, whether it was named so or as the source has it.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from data_quality.config import ColumnSource, StrictModel

if TYPE_CHECKING:
    from data_quality.ingest import Piece

REASON = "forgotten"
PATH_IDS = frozenset({"text", "html", "pdf", "epub", "docx", "python_docs"})
"""Formats whose documents are always named by the file that they stand in."""


class Forgotten(StrictModel):
    """Names of what is left out: sorted, each once."""

    ids: tuple[str, ...] = Field((), description="Ids of documents, or `source:path`, which means all of that file.")
    sources: tuple[str, ...] = Field((), description="Names of sources, by the configuration or by the documents.")

    def __bool__(self) -> bool:
        return bool(self.ids or self.sources)

    def named(self, named: Callable[[str], str]) -> "Forgotten":
        """The same with the names that a corpus has for them."""
        return Forgotten(
            ids=tuple(sorted({named(id) for id in self.ids})), sources=tuple(sorted({named(s) for s in self.sources}))
        )

    def test(self, source_name: str, named: Callable[[str], str] = str) -> Callable[[str, str, str], bool]:
        """Whether a document of a source is one of them, by its id and its `source`, as named, and its file."""
        if not self:
            return lambda id, source, file: False
        ids, sources = frozenset(self.ids), frozenset(self.sources)
        if named(source_name) in sources:
            return lambda id, source, file: True

        @cache
        def is_whole_file(file: str) -> bool:
            return named(f"{source_name}:{file}") in ids

        return lambda id, source, file: id in ids or source in sources or is_whole_file(file)


def leave_out(pieces: Iterable["Piece"], forgotten: Forgotten, named: Callable[[str], str] = str) -> list["Piece"]:
    """The pieces, each with what it may hold of what is to be forgotten, as `named`.

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
    return [_left_out(piece, forgotten, places, elsewhere, named) for piece in pieces]


def _left_out(
    piece: "Piece",
    forgotten: Forgotten,
    places: dict[str, list[str]],
    elsewhere: list[str],
    named: Callable[[str], str],
) -> "Piece":
    source = piece.source
    files = [file.path for file in piece.files] if piece.files else [getattr(source, "dataset", "")]
    ids = {id for path in files for id in places.get(named(f"{source.name}:{path}"), ())}
    if _own_ids(source):
        ids.update(elsewhere)
    said = {named(name) for name in (source.name, *(f.extra["package"] for f in piece.files if "package" in f.extra))}
    any_source = getattr(source, "source_column", None) is not None
    here = Forgotten(
        ids=tuple(sorted(ids)), sources=tuple(name for name in forgotten.sources if any_source or name in said)
    )
    return piece.model_copy(update={"forgotten": here}) if here else piece


def _own_ids(source: Any) -> bool:
    """Whether documents of a source bring their ids along."""
    if isinstance(source, ColumnSource):
        return source.id_column is not None
    return source.format not in PATH_IDS
