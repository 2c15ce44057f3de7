"""Documents that are to be forgotten: their names, and whether a document is one of them.

They are left out where sources are read, so that their text is in no table behind that.
"""

from collections.abc import Callable

from pydantic import Field

from data_quality.config.base import StrictModel

REASON = "forgotten"


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
