"""Word documents (Office Open XML, ECMA-376): one document a file, its body read as a stream of XML."""

import posixpath
from typing import Any

from data_quality.config import DocxSource
from data_quality.sources.base import FileRef, InputError, Reading, Record, Skip
from data_quality.sources.blocks import Blocks
from data_quality.sources.streams import open_seekable, too_long
from data_quality.sources.zipped import Archive, XmlHandler, parse_xml

EXTENSIONS = (".docx",)
BODY = "word/document.xml"
NOT_READ = frozenset({"fallback", "del", "movefrom"})
"""Elements whose text is left out: what another form of the same content replaces, and tracked deletions."""


def read(ref: FileRef, source: DocxSource) -> Reading:
    """The one document of a Word file, or why there is none. Memory: the text, at most ``max_record_bytes``."""
    with open_seekable(ref) as raw:
        if raw.read(1) == b"":
            return
        raw.seek(0)
        archive = Archive(raw, source.max_unpacked_bytes)
        body = _body(archive)
        text = _Text(source.max_record_bytes)
        parse_xml(archive.chunks(body), text, body)
        notes = posixpath.join(posixpath.dirname(body), "footnotes.xml")
        if source.footnotes and notes in archive.names:
            parse_xml(archive.chunks(notes), text, notes)
        metadata = _Metadata()
        if "docProps/core.xml" in archive.names:
            parse_xml(archive.chunks("docProps/core.xml"), metadata, "docProps/core.xml")
        size = text.blocks.size
        if size > source.max_record_bytes:
            yield Skip("too_long", too_long(size, source.max_record_bytes), None, 1)
            return
        yield Record(1, text.blocks.text(), metadata=metadata.found)


def _body(archive: Archive) -> str:
    if "_rels/.rels" in archive.names:
        relations = _Relations()
        parse_xml(archive.chunks("_rels/.rels"), relations, "_rels/.rels")
        if relations.document in archive.names:
            return str(relations.document)
    if BODY not in archive.names:
        raise InputError("corrupt", f"no Word document: the archive has no {BODY}")
    return BODY


class _Relations(XmlHandler):
    def __init__(self) -> None:
        self.document: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "relationship" and attributes.get("type", "").endswith("/officeDocument"):
            self.document = attributes.get("target", "").lstrip("/")


class _Metadata(XmlHandler):
    """Title, author and language of docProps/core.xml."""

    NAMES = {"title": "title", "creator": "author", "language": "language"}  # noqa: RUF012  never changed

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._name: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._name = self.NAMES.get(name)

    def end(self, name: str) -> None:
        self._name = None

    def data(self, text: str) -> None:
        if self._name and text.strip():
            self.found[self._name] = self.found.get(self._name, "") + text


class _Text(XmlHandler):
    """Paragraphs, items of lists, and rows of tables with tabs between the cells."""

    def __init__(self, max_bytes: int) -> None:
        self.blocks = Blocks(max_bytes)
        self._paragraphs: list[list[str]] = []  # open ones; a text box lies inside a paragraph
        self._items: list[bool] = []  # of each open paragraph whether it is an item of a list
        self._path: list[str] = []
        self._skipped = 0
        self._goes_on = self._row_is_deleted = self._is_text = False
        self._carried: list[str] = []  # of a paragraph whose end was deleted

    def start(self, name: str, attributes: dict[str, str]) -> None:
        parent = self._path[-1] if self._path else ""
        self._path.append(name)
        if self._skipped or (name in NOT_READ and parent not in ("rpr", "trpr")):
            self._skipped += 1
            return
        match name:
            case "p":
                self._paragraphs.append(self._carried)
                self._items.append(False)
                self._carried, self._goes_on = [], False
            case "t":
                self._is_text = True
            case "tab" if parent == "r":
                self._add("\t")
            case "br" | "cr" if parent == "r":
                self._add("\n")
            case "nobreakhyphen":
                self._add("-")
            case "numpr" if self._items:
                self._items[-1] = True
            case "del" if self._path[-3:] == ["ppr", "rpr", "del"]:
                self._goes_on = True
            case "del" if parent == "trpr":
                self._row_is_deleted = True
            case "tbl":
                self.blocks.start_table()
            case "tc":
                self.blocks.start_cell()

    def end(self, name: str) -> None:
        self._path.pop()
        if self._skipped:
            self._skipped -= 1
            return
        match name:
            case "t":
                self._is_text = False
            case "p":
                self._end_paragraph(self._paragraphs.pop(), self._items.pop())
            case "tr":
                self.blocks.end_row(keep=not self._row_is_deleted)
                self._row_is_deleted = False
            case "tbl":
                self.blocks.end_table()
            case "body" | "footnote" if self._carried:
                self._goes_on = False
                self._end_paragraph(self._carried, False)

    def data(self, text: str) -> None:
        if self._is_text and not self._skipped:
            self._add(text)

    def _add(self, text: str) -> None:
        if self.blocks.count(text) and self._paragraphs:
            self._paragraphs[-1].append(text)

    def _end_paragraph(self, pieces: list[str], is_item: bool) -> None:
        if self._goes_on:
            self._carried, self._goes_on = pieces, False
            return
        text = "".join(pieces).rstrip()
        self.blocks.add("item" if is_item else "paragraph", f"- {text.strip()}" if is_item and text else text)
