"""The development corpora that benchmarks read: `TEXTMILL_DATA` names the folder that holds them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from data_quality.config import JsonlSource
from data_quality.documents import Document
from data_quality.ingest import make_document
from data_quality.sources import jsonl
from data_quality.sources.base import FileRef, Record
from data_quality.sources.fingerprint import Fingerprints


def read_documents(corpus: str, source: str | None = None) -> Iterator[Document]:
    """The documents of one corpus (`corpus_en`, `corpus_zh`), or those of one of its sources."""
    root = os.environ.get("TEXTMILL_DATA")
    if not root:
        sys.exit("TEXTMILL_DATA is not set: it names the folder with corpus_en and corpus_zh")
    settings = JsonlSource(format="jsonl", name=corpus, paths=(root,), id_column="id", source_column="source")
    with Fingerprints(None, False) as fingerprints:
        for path in sorted((Path(root) / corpus).glob("*.jsonl.zst")):
            sha256, size = fingerprints.of(str(path))
            ref = FileRef(path=path.name, uri=str(path), sha256=sha256, bytes=size)
            for record in jsonl.read(ref, settings):
                made = make_document(record, ref.path, settings) if isinstance(record, Record) else record
                if isinstance(made, Document) and source in (None, made.source):
                    yield made
