"""MediaWiki XML dumps (export schema 0.3 to 0.11): the latest revision of each article as plain text."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.parsers import expat

from data_quality.config import MediaWikiSource
from data_quality.sources.base import FileRef, InputError, Reading, Record, Skip, WikiHead
from data_quality.sources.streams import CHUNK_BYTES, Unit, read_chunks, too_long
from data_quality.sources.wikitext import LinkPrefixes, plain_text

EXTENSIONS = (".xml",)
MAX_NESTING = 32
MAX_TOKEN_BYTES = 4 << 20
"""A tag longer than this ends the file; expat would hold all of it."""

_PAGE_FIELDS = frozenset({"title", "ns", "id"})
_REVISION_FIELDS = frozenset({"timestamp", "model", "text"})
_FILE, _MEDIA, _CATEGORY = 6, -2, 14
_ROOT, _PAGE_END = "mediawiki", b"</page>"
MAX_HEAD_CHARACTERS = 64 << 10
"""A dump with a longer head, of which each range gets a copy, is not cut."""


class _Dump:
    """Collects pages from expat's events; ``pages`` holds those that are complete."""

    def __init__(self, source: MediaWikiSource, path: str, head: WikiHead | None = None) -> None:
        self._source, self._path_in_ids = source, path
        self._open: list[str] = []
        self._text: list[str] | None = None
        self._size = 0
        self._page: dict[str, Any] = {}
        self._number = 0
        self._wiki: dict[str, str] = {}
        self._prefixes: dict[int, set[str]] = {}
        self._namespace = 0
        self.pages: list[Record | Skip] = []
        if head is not None:
            self._wiki |= head.names
            self._prefixes[_FILE] = set(head.link_prefixes)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if not self._open and name != _ROOT:
            raise InputError("invalid_xml", f"the root element is {name[:100]!r}: not a MediaWiki export")
        if len(self._open) >= MAX_NESTING:
            raise InputError("too_nested", f"XML elements nested more than {MAX_NESTING} deep")
        parent = self._open[-1] if self._open else ""
        self._open.append(name)
        if name == "page":
            self._page = {}
            self._number += 1
        elif name == "redirect" and parent == "page":
            self._page["redirect"] = attributes.get("title", "")
        elif name == "revision":
            for field in _REVISION_FIELDS:
                self._page.pop(field, None)  # a later revision stands in for the earlier
        elif name == "namespace":
            key = attributes.get("key", "")
            self._namespace = int(key) if key.removeprefix("-").isdecimal() else 0
            self._collect()
        if (
            (parent == "page" and name in _PAGE_FIELDS)
            or (parent == "revision" and name in _REVISION_FIELDS)
            or (parent == "siteinfo" and name in ("dbname", "sitename", "base"))
        ):
            self._collect()

    def _collect(self) -> None:
        self._text, self._size = [], 0

    def characters(self, text: str) -> None:
        """Text within an element; beyond the limit it is counted, not held."""
        if self._text is not None:
            self._size += len(text.encode("utf-8", "surrogatepass"))
            if self._size <= self._source.max_record_bytes:
                self._text.append(text)
            else:
                self._text.clear()

    def end(self, name: str) -> None:
        """An element ends."""
        self._open.pop()
        parent = self._open[-1] if self._open else ""
        if name == "page":
            self._finish()
        if self._text is None:
            return
        value, self._text = "".join(self._text), None
        if name == "namespace":
            self._prefixes.setdefault(self._namespace, set()).add(value.strip().lower())
        elif parent == "siteinfo":
            self._wiki[name] = value.strip()
        else:
            self._page[name] = value
            if name == "text":
                self._page["size"] = self._size

    def head(self) -> WikiHead:
        """What articles depend on, of what stands outside them."""
        names = {name: self._wiki[name] for name in ("dbname", "base") if name in self._wiki}
        return WikiHead(names=names, link_prefixes=tuple(sorted(self._link_prefixes())))

    def _link_prefixes(self) -> set[str]:
        return {*self._prefixes.get(_FILE, ()), *self._prefixes.get(_MEDIA, ()), *self._prefixes.get(_CATEGORY, ())}

    def _finish(self) -> None:
        self.pages.append(self._make())

    def _make(self) -> Record | Skip:
        page, number = self._page, self._number
        title, namespace = page.get("title", "").strip(), page.get("ns", "0").strip()
        if not namespace.removeprefix("-").isdecimal() or int(namespace) not in self._source.namespaces:
            return Skip("other_namespace", f"namespace {namespace[:20]}", record=number)
        if "redirect" in page:
            return Skip("redirect", f"to {page['redirect']}", record=number)
        if page.get("model", "wikitext").strip() != "wikitext":
            return Skip("other_content_type", page["model"].strip()[:100], record=number)
        if page.get("size", 0) > self._source.max_record_bytes:
            return Skip("too_long", too_long(page["size"], self._source.max_record_bytes), record=number)
        links = LinkPrefixes.of(self._link_prefixes())
        page_id = page.get("id", "").strip()
        wiki = self._wiki.get("dbname") or self._path_in_ids
        metadata = {"title": title, "date": page.get("timestamp", "").strip()}
        if "base" in self._wiki and "/" in self._wiki["base"]:
            metadata["url"] = f"{self._wiki['base'].rpartition('/')[0]}/{title.replace(' ', '_')}"
        return Record(
            number,
            plain_text(page.get("text", ""), links),
            id=f"{self._source.name}:{wiki}/{page_id}" if page_id else None,
            metadata=metadata,
        )


def read(ref: FileRef, source: MediaWikiSource) -> Reading:
    """The articles of one dump, numbered by page. Document ids are `name:wiki/page id`, the same in every dump.

    Redirects and other namespaces are counted as skips. Raises :class:`InputError` where the XML is broken, declares
    entities, or nests too deeply; the pages before it stand.
    """
    dump = _Dump(source, ref.path, None if ref.range is None else ref.range.wiki)
    parser = _Parser(source, dump)
    failure: InputError | None = None
    try:
        if ref.range is not None and not ref.range.first:
            parser.feed(f"<{_ROOT}>".encode())
        for chunk in read_chunks(ref):
            parser.feed(chunk)
            yield from dump.pages
            dump.pages.clear()
        if ref.range is not None and not ref.range.last:
            parser.feed(f"</{_ROOT}>".encode())
        parser.finish()
    except InputError as error:
        failure = error
    yield from dump.pages
    if failure is not None:
        raise failure


class _Parser:
    """expat, with the events going to a dump."""

    def __init__(self, source: MediaWikiSource, dump: _Dump) -> None:
        self._parser = parser = expat.ParserCreate(None if source.encoding == "auto" else source.encoding)
        parser.buffer_text = True
        parser.buffer_size = 1 << 16
        parser.StartElementHandler = dump.start
        parser.EndElementHandler = dump.end
        parser.CharacterDataHandler = dump.characters
        parser.StartDoctypeDeclHandler = _refuse_doctype
        self.fed = 0
        self.max_token_bytes = MAX_TOKEN_BYTES

    @property
    def position(self) -> int:
        """Where the event that is under way begins, or what is not yet parsed. Bytes."""
        return max(self._parser.CurrentByteIndex, 0)

    def feed(self, chunk: bytes) -> None:
        """Parse on; raises :class:`InputError` for what is no XML, or a tag that never ends."""
        self._parse(chunk, False)
        self.fed += len(chunk)
        if self.fed - self.position > self.max_token_bytes:
            raise InputError("invalid_xml", f"a tag of more than {MAX_TOKEN_BYTES} bytes")

    def finish(self) -> None:
        """Raises :class:`InputError` if the end is none."""
        self._parse(b"", True)

    def _parse(self, chunk: bytes, final: bool) -> None:
        try:
            self._parser.Parse(chunk, final)
        except expat.ExpatError as error:
            raise InputError("invalid_xml", str(error)) from None


class _PageEnd(NamedTuple):
    position: int
    pages: int
    head: WikiHead


class _PageEnds(_Dump):
    """Where pages end that stand in no other element but the root."""

    def __init__(self, source: MediaWikiSource) -> None:
        super().__init__(source, "")
        self.parser = _Parser(source, self)
        self.ends: deque[_PageEnd] = deque()
        self._head: WikiHead | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        super().start(name, attributes)
        if name in ("namespace", "dbname", "base"):
            self._head = None

    def _finish(self) -> None:
        if self._open != [_ROOT]:
            return
        if self._head is None:
            self._head = self.head()
            if len(self._head.model_dump_json()) > MAX_HEAD_CHARACTERS:
                raise InputError("too_long", f"the head of the dump is longer than {MAX_HEAD_CHARACTERS} characters")
        self.ends.append(_PageEnd(self.parser.position, self._number, self._head))


def units(chunks: Iterator[bytes], source: MediaWikiSource) -> Iterator[Unit]:
    """Where a dump may be cut: after `</page>` and the line end behind it.

    The dump is parsed as it is for reading, so that what looks like a page in a comment or in text is none. Raises
    :class:`InputError` as reading does.
    """
    dump = _PageEnds(source)
    parser, ends = dump.parser, dump.ends
    parser.max_token_bytes -= CHUNK_BYTES  # whatever chunks a tag is read in, it is no longer than the reader's limit
    held = bytearray()  # the content from `begin` on: what is not yet parsed, and pages whose line end has not come
    begin = 0
    for chunk in chunks:
        held += chunk
        parser.feed(chunk)
        while ends:
            position, pages, head = ends[0]
            tag = bytes(held[position - begin : position - begin + len(_PAGE_END) + 2])
            line_end = tag[len(_PAGE_END) :]
            if tag.startswith(_PAGE_END) and line_end in (b"", b"\r"):
                break  # is there more of it?
            ends.popleft()
            if tag.startswith(_PAGE_END):  # and is no `<page/>` or `</page >`
                size = len(_PAGE_END) + (2 if line_end == b"\r\n" else 1 if line_end[:1] == b"\n" else 0)
                yield Unit(position + size, None, pages, None, head)
        keep = min(ends[0].position if ends else parser.fed, parser.position)
        del held[: keep - begin]
        begin = keep
    parser.finish()


def _refuse_doctype(*_: object) -> None:
    raise InputError("invalid_xml", "a document type declaration, which exports never have: entities can be bombs")
