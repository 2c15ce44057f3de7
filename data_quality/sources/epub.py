"""EPUB books (EPUB 3.3, and 2): one document a file, its chapters in the order of the spine."""

import contextlib
import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from data_quality.config import EpubSource
from data_quality.sources.base import FileRef, InputError, Reading, Record, Skip, require_library
from data_quality.sources.blocks import Blocks
from data_quality.sources.streams import open_seekable, too_long
from data_quality.sources.zipped import Archive, XmlHandler, parse_xml

EXTENSIONS = (".epub",)
CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
CHAPTER_TYPES = frozenset({"application/xhtml+xml", "text/html", "text/x-oeb1-document"})
NOT_TEXT = frozenset({"head", "script", "style", "template", "nav", "svg", "rt", "rp"})
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "hr", "li", "main", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
})  # fmt: skip


def read(ref: FileRef, source: EpubSource) -> Reading:
    """The one document of a book, or why there is none; a chapter that is missing is a skip beside it.

    Memory: the text, at most ``max_record_bytes``, and a chapter.
    """
    with open_seekable(ref) as raw:
        if raw.read(1) == b"":
            return
        raw.seek(0)
        archive = Archive(raw, source.max_unpacked_bytes)
        package = _package(archive)
        encrypted = _encrypted(archive)
        text = Blocks(source.max_record_bytes)
        for chapter in package.chapters():
            if chapter in encrypted:
                raise InputError("encrypted", f"{chapter} is encrypted")
            if chapter not in archive.names:
                yield Skip("missing_chapter", f"the book names {chapter}, which is not in it")
                continue
            text.extend(_chapter(archive, chapter, source.max_record_bytes))
            if text.size > source.max_record_bytes:
                yield Skip("too_long", too_long(text.size, source.max_record_bytes), None, 1)
                return
        metadata: dict[str, Any] = {name: "; ".join(values) for name, values in package.metadata.items()}
        language = None
        if source.language is None and package.metadata.get("language"):
            language = re.split("[-_]", package.metadata["language"][0])[0].lower()
        yield Record(1, text.text(), language=language, metadata=metadata)


def _package(archive: Archive) -> "_Package":
    container = _Container()
    parse_xml(archive.chunks(CONTAINER), container, CONTAINER)
    if container.path is None:
        raise InputError("corrupt", f"{CONTAINER} names no package")
    package = _Package(posixpath.dirname(container.path))
    parse_xml(archive.chunks(container.path), package, container.path)
    return package


def _encrypted(archive: Archive) -> frozenset[str]:
    """Entries that are encrypted. Fonts often are, which takes nothing from the text."""
    if ENCRYPTION not in archive.names:
        return frozenset()
    references = _References()
    parse_xml(archive.chunks(ENCRYPTION), references, ENCRYPTION)
    return frozenset(references.found)


def _chapter(archive: Archive, name: str, max_bytes: int) -> Blocks:
    chapter = _Xhtml(max_bytes)
    try:
        parse_xml(archive.chunks(name), chapter, name)
    except InputError as error:
        if error.reason != "invalid_xml":
            raise
        # Tag soup, as many books have it.
        chapter = _Xhtml(max_bytes)
        try:
            content = archive.read(name, max_bytes).decode("utf-8-sig")
        except UnicodeDecodeError as broken:
            raise InputError("bad_encoding", f"{name}: not utf-8: {broken.reason} at byte {broken.start}") from None
        _parse_soup(content, chapter)
    chapter.flush()
    return chapter.blocks


def _parse_soup(content: str, handler: XmlHandler) -> None:
    # libxml2: linear in whatever it is fed, as the standard library's HTMLParser is not.
    require_library("lxml", "epub")
    from lxml import etree

    class Target:
        def start(self, tag: str, attributes: Mapping[str, str]) -> None:
            handler.start(tag, dict(attributes))

        def end(self, tag: str) -> None:
            handler.end(tag)

        def data(self, text: str) -> None:
            handler.data(text)

        def close(self) -> None: ...

    parser = etree.HTMLParser(target=Target(), no_network=True)
    with contextlib.suppress(etree.XMLSyntaxError):  # nothing in it at all
        parser.feed(content)
        parser.close()


class _Container(XmlHandler):
    path: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "rootfile" and self.path is None:
            self.path = attributes.get("full-path")


class _References(XmlHandler):
    def __init__(self) -> None:
        self.found: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "cipherreference":
            self.found.append(unquote(attributes.get("uri", "")))


class _Package(XmlHandler):
    """The package document: metadata, the files of the book, and their order."""

    NAMES = {"title": "title", "creator": "author", "language": "language"}  # noqa: RUF012  never changed

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.metadata: dict[str, list[str]] = {}
        self._items: dict[str, str] = {}
        self._spine: list[str] = []
        self._text: list[str] | None = None

    def chapters(self) -> list[str]:
        """Names of the entries that hold the text, in reading order, each once."""
        return list(dict.fromkeys(self._items[id] for id in self._spine if id in self._items))

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in self.NAMES:
            self._text = []
        elif name == "itemref":
            self._spine.append(attributes.get("idref", ""))
        elif name == "item" and _is_chapter(attributes):
            href = unquote(attributes.get("href", "").partition("#")[0])
            self._items[attributes.get("id", "")] = posixpath.normpath(posixpath.join(self._folder, href))

    def end(self, name: str) -> None:
        if name in self.NAMES and self._text is not None:
            value = " ".join("".join(self._text).split())
            if value:
                self.metadata.setdefault(self.NAMES[name], []).append(value)
            self._text = None

    def data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)


def _is_chapter(item: dict[str, str]) -> bool:
    """Whether an item of the manifest holds text, and not the navigation."""
    return item.get("media-type") in CHAPTER_TYPES and "nav" not in item.get("properties", "").split()


class _Xhtml(XmlHandler):
    """The text of a chapter."""

    def __init__(self, max_bytes: int) -> None:
        self.blocks = Blocks(max_bytes)
        self._pieces: list[str] = []
        self._skipped: str | None = None  # the element whose text is left out, and how often it is open in itself
        self._depth = 0
        self._is_pre = self._is_item = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skipped is not None and not (name == "body" and self._skipped == "head"):
            self._depth += name == self._skipped
            return
        self._skipped = None
        if name in NOT_TEXT:
            self._skipped, self._depth = name, 1
        elif name == "br":
            self._pieces.append("\n")
        elif name in ("td", "th"):
            self.flush()
            self.blocks.start_cell()
        elif name in BLOCKS:
            self.flush()
            self._is_pre = self._is_pre or name == "pre"
            self._is_item = self._is_item or name == "li"
            if name == "table":
                self.blocks.start_table()

    def end(self, name: str) -> None:
        if self._skipped is not None:
            self._depth -= name == self._skipped
            if self._depth == 0:
                self._skipped = None
        elif name in BLOCKS or name in ("td", "th"):
            self.flush()
            if name == "pre":
                self._is_pre = False
            elif name == "li":
                self._is_item = False
            elif name == "tr":
                self.blocks.end_row()
            elif name == "table":
                self.blocks.end_table()

    def data(self, text: str) -> None:
        if self._skipped is None and self.blocks.count(text):
            self._pieces.append(text if self._is_pre else re.sub(r"[ \t\r\n\f]+", " ", text))

    def flush(self) -> None:
        """What was gathered becomes a block."""
        text, self._pieces = "".join(self._pieces), []
        if not text.strip():
            return
        text = text.strip("\n").rstrip() if self._is_pre else "\n".join(line.strip(" ") for line in text.split("\n"))
        text = text if self._is_pre else re.sub(r" {2,}", " ", text).strip("\n")
        self.blocks.add("item" if self._is_item else "paragraph", f"- {text}" if self._is_item else text)
        self._is_item = False  # only the first block of an item bears the mark
