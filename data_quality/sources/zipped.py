"""ZIP archives of XML (EPUB, DOCX), read within limits: no bomb, no entity, nothing nested is opened."""

import html.entities
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from data_quality.sources.base import InputError

MAX_ENTRIES = 50_000
MAX_RATIO = 250
"""Unpacked to packed bytes of one entry; a megabyte of one letter is about 1000, dense XML about 30."""
RATIO_FROM_BYTES = 4 << 20
"""Entries below this are harmless whatever their ratio."""
MAX_DIRECTORY_BYTES = 8 << 20
"""Of the table of contents, which is read whole; about what MAX_ENTRIES can need."""
CHUNK_BYTES = 1 << 16
MAX_TAG_BYTES = 4 << 20
"""Of one tag or comment, which the parser holds whole."""
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Archive:
    """A ZIP file whose entries are read as streams of together at most ``max_bytes``.

    Raises :class:`InputError`: ``encrypted``, ``corrupt``, or ``archive_bomb`` for one that unpacks to more than is
    allowed, or than honest text would.
    """

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        head = file.read(len(OLE_MAGIC))
        if head == OLE_MAGIC:
            raise _old_or_encrypted(file)
        file.seek(0)
        self._left = self._max_bytes = max_bytes
        try:
            self._zip = zipfile.ZipFile(_DirectoryLimit(file))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError) as error:
            # NotImplementedError is zipfile's own, for an archive that demands a later version of the format
            raise InputError("corrupt", f"not a ZIP archive that can be read: {error}") from None
        infos = self._zip.infolist()
        if len(infos) > MAX_ENTRIES:
            raise InputError("archive_bomb", f"{len(infos)} entries; at most {MAX_ENTRIES} are read")
        self.names = frozenset(info.filename for info in infos)

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of an entry in chunks of at most 64 KiB."""
        try:
            info = self._zip.getinfo(name)
            if info.flag_bits & 0x1:
                raise InputError("encrypted", f"{name} opens only with a password")
            if info.file_size > max(RATIO_FROM_BYTES, MAX_RATIO * info.compress_size):
                raise InputError("archive_bomb", f"{name} unpacks {info.compress_size} bytes to {info.file_size}")
            with self._zip.open(info) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    self._left -= len(chunk)
                    if self._left < 0:
                        raise InputError("archive_bomb", f"max_unpacked_bytes is {self._max_bytes}; {name} is beyond")
                    yield chunk
        except KeyError:
            raise InputError("corrupt", f"no {name} in the archive") from None
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            EOFError,
            ValueError,
            RuntimeError,
        ) as error:
            raise InputError("corrupt", f"{name}: {type(error).__name__}: {error}") from None

    def read(self, name: str, limit: int) -> bytes:
        """An entry of at most ``limit`` bytes as a whole."""
        data = bytearray()
        for chunk in self.chunks(name):
            data += chunk
            if len(data) > limit:
                raise InputError("too_long", f"{name} has more than {limit} bytes")
        return bytes(data)


class _DirectoryLimit:
    """A file of which no single read is larger than a table of contents may be, whatever the archive claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise OSError(f"a table of contents of {size} bytes")
        return self._file.read(size if size >= 0 else MAX_DIRECTORY_BYTES)


def _old_or_encrypted(file: BinaryIO) -> InputError:
    file.seek(0)
    if "EncryptedPackage".encode("utf-16-le") in file.read(1 << 20):
        return InputError("encrypted", "opens only with a password")
    return InputError("corrupt", "a file of the old binary Office format: save it as .docx")


class XmlHandler:
    """What :func:`parse_xml` calls: elements by their local names in lower case, attributes by theirs."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def data(self, text: str) -> None:
        """Text; may come in several pieces."""


def parse_xml(chunks: Iterator[bytes], handler: XmlHandler, name: str) -> None:
    """Parse XML as a stream. The entities of HTML are known; a document that declares its own is refused.

    Raises :class:`InputError` with reason ``xml_entities`` or ``invalid_xml``.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.UseForeignDTD(True)  # so that an entity of HTML's DTD, which is not read, is no error
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def refuse(*_: object) -> None:
        raise InputError("xml_entities", f"{name} declares XML entities, which are not expanded")

    def skipped_entity(entity: str, is_parameter: bool) -> None:
        if not is_parameter:
            handler.data(html.entities.html5.get(f"{entity};", ""))

    parser.StartElementHandler = lambda tag, attributes: handler.start(
        _local(tag), {_local(key): value for key, value in attributes.items()}
    )
    parser.EndElementHandler = lambda tag: handler.end(_local(tag))
    parser.CharacterDataHandler = handler.data
    parser.EntityDeclHandler = refuse
    parser.SkippedEntityHandler = skipped_entity
    try:
        fed = 0
        for chunk in chunks:
            parser.Parse(chunk, False)
            fed += len(chunk)
            if fed - parser.CurrentByteIndex > MAX_TAG_BYTES:
                raise InputError("too_long", f"{name} has a tag of more than {MAX_TAG_BYTES} bytes")
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: encodings that are unknown
        raise InputError("invalid_xml", f"{name}: {error}") from None


def _local(name: str) -> str:
    return name.rpartition(":")[2].lower()
