"""Documents that are to be forgotten: which of them a piece of the sources may hold, and whether a document is one.

They are left out where sources are read, so that their text is in no table behind that. What a piece is made of names
only those that it may hold: a piece that can hold none is read, and found again, as if there were no list.
"""

from collections.abc import Callable, Iterable
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

    def named(self, name: Callable[[str], str]) -> "Forgotten":
        """The same with ids and sources as a corpus has them, however they were given."""
        return Forgotten(
            ids=tuple(sorted(set(map(name, self.ids)))), sources=tuple(sorted(set(map(name, self.sources))))
        )

    def test(self, source_name: str) -> Callable[[str, str, str], bool]:
        """Whether a document of a source, by its id, its `source` and its `source:path`, is one of them; all as they
        are written."""
        ids, sources = frozenset(self.ids), frozenset(self.sources)
        if source_name in sources:
            return lambda id, source, place: True
        return lambda id, source, place: id in ids or source in sources or place in ids


def leave_out(
    pieces: Iterable["Piece"], forgotten: Forgotten, named: Callable[[str], str] = lambda name: name
) -> list["Piece"]:
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

    def left_out(piece: "Piece") -> "Piece":
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
