"""Configuration of the lists that a user brings: banned addresses, bad words, documents to keep or to drop."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel
from data_quality.errors import UsageError

WILD = ("*", "?")
"""What makes a pattern of an entry."""


class ListFile(StrictModel):
    """A text file with one entry a line, UTF-8; blank lines and lines that begin with `#` do not count.

    In YAML the path alone is enough. What enters a key is the file's content, never its path.
    """

    path: str = Field(description="The file.")
    sha256: str | None = Field(default=None, description="Hash of its content; read from the file when not given.")

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": str(value)} if isinstance(value, str | Path) else value

    def resolved(self) -> Self:
        """The same with the hash of what the file holds now. Raises ValueError for a file that cannot be read."""
        return self.model_copy(update={"sha256": hashlib.sha256(self._content()).hexdigest()})

    def entries(self) -> list[str]:
        """The entries in order, each once. Raises ValueError for a file that cannot be read or that changed."""
        content = self._content()
        if self.sha256 is not None and hashlib.sha256(content).hexdigest() != self.sha256:
            raise UsageError(f"the list {self.path} changed while it was in use; run it again")
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"the list {self.path} is not UTF-8: {error}; save it as UTF-8") from error
        stripped = (line.strip() for line in lines)
        return list(dict.fromkeys(line for line in stripped if line and not line.startswith("#")))

    def _content(self) -> bytes:
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise UsageError(f"the list {self.path} cannot be read: {error.strerror}") from error


class UrlLists(StrictModel):
    """Lists of banned addresses, compared with the document's metadata `url` (rulesets `refinedweb_url`)."""

    domains: ListFile | None = Field(
        default=None, description="Banned domains (`example.com`, which bans www.example.com too). One a line."
    )
    substrings: ListFile | None = Field(
        default=None, description="Strings banned anywhere in the address, whose `-` and `.` are passed over."
    )
    hard_words: ListFile | None = Field(default=None, description="Words of which one in the address bans it.")
    soft_words: ListFile | None = Field(default=None, description="Words of which two in the address ban it.")


class BadWordList(StrictModel):
    """The bad words of one language."""

    file: ListFile = Field(description="Words or phrases, one a line, any case; for instance a file of LDNOOBW.")
    allow: tuple[str, ...] = Field(default=(), description="Entries of the file that do not count.")
    boundaries: bool | None = Field(
        default=None,
        description="Match whole words only; null: yes, but for languages without spaces (ja, th, yue, zh).",
    )


class BadWordsConfig(StrictModel):
    """Bad words, a list for each language (ruleset `bad_words`)."""

    lists: dict[str, BadWordList] = Field(description="Language code to list; other languages have no bad words.")
    default_language: str = Field(
        default="en", description="List for documents whose language is not known, if there is one (datatrove: en)."
    )


class DocumentList(StrictModel):
    """Documents named by id or by source: exactly, or by a pattern with `*` (any characters) or `?` (one)."""

    ids: tuple[str, ...] = Field(default=(), description="Ids or patterns.")
    sources: tuple[str, ...] = Field(default=(), description="Names of sources or patterns.")
    ids_file: str | None = Field(default=None, description="A file with more ids or patterns, one a line.")
    sources_file: str | None = Field(default=None, description="A file with more sources or patterns.")

    def resolved(self) -> "DocumentList":
        """The same with the files' entries among `ids` and `sources`, in order, each once.

        Raises ValueError for a file that cannot be read.
        """
        return DocumentList(
            ids=_with_entries(self.ids, self.ids_file), sources=_with_entries(self.sources, self.sources_file)
        )

    def named(self, name: Callable[[str], str]) -> "DocumentList":
        """The same with ids and sources as a corpus has them; patterns are compared with these as they stand."""

        def as_written(entries: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(entry if any(wild in entry for wild in WILD) else name(entry) for entry in entries)

        return self.model_copy(update={"ids": as_written(self.ids), "sources": as_written(self.sources)})


def _with_entries(entries: tuple[str, ...], file: str | None) -> tuple[str, ...]:
    more = ListFile(path=file).entries() if file is not None else ()
    return tuple(dict.fromkeys([*entries, *more]))
