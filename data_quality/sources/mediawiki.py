"""MediaWiki XML dumps (export schema 0.3 to 0.11): the latest revision of each article as plain text."""

from typing import Any
from xml.parsers import expat

from data_quality.config import MediaWikiSource
from data_quality.sources.base import FileRef, InputError, Reading, Record, Skip
from data_quality.sources.streams import read_chunks, too_long
from data_quality.sources.wikitext import LinkPrefixes, plain_text

EXTENSIONS = (".xml",)
MAX_NESTING = 32
MAX_TOKEN_BYTES = 4 << 20
"""A tag longer than this ends the file; expat would hold all of it."""

_PAGE_FIELDS = frozenset({"title", "ns", "id"})
_REVISION_FIELDS = frozenset({"timestamp", "model", "text"})
_FILE, _MEDIA, _CATEGORY = 6, -2, 14


class _Dump:
    """Collects pages from expat's events; ``pages`` holds those that are complete."""

    def __init__(self, source: MediaWikiSource, path: str) -> None:
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

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if not self._open and name != "mediawiki":
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
            self.pages.append(self._make())
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
        links = LinkPrefixes.of(
            {*self._prefixes.get(_FILE, ()), *self._prefixes.get(_MEDIA, ()), *self._prefixes.get(_CATEGORY, ())}
        )
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
    dump = _Dump(source, ref.path)
    parser = expat.ParserCreate(None if source.encoding == "auto" else source.encoding)
    parser.buffer_text = True
    parser.buffer_size = 1 << 16
    parser.StartElementHandler = dump.start
    parser.EndElementHandler = dump.end
    parser.CharacterDataHandler = dump.characters
    parser.StartDoctypeDeclHandler = _refuse_doctype
    fed = 0
    failure: InputError | None = None
    try:
        for chunk in read_chunks(ref):
            parser.Parse(chunk, False)
            fed += len(chunk)
            if fed - max(parser.CurrentByteIndex, 0) > MAX_TOKEN_BYTES:
                raise InputError("invalid_xml", f"a tag of more than {MAX_TOKEN_BYTES} bytes")
            yield from dump.pages
            dump.pages.clear()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        failure = InputError("invalid_xml", str(error))
    except InputError as error:
        failure = error
    yield from dump.pages
    if failure is not None:
        raise failure


def _refuse_doctype(*_: object) -> None:
    raise InputError("invalid_xml", "a document type declaration, which exports never have: entities can be bombs")
