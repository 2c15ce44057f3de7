"""A corpus of any size from the real one: `python -m benchmarks.large_corpus FOLDER [--gigabytes 10] [--workers 2]`.

The documents of corpus_en and corpus_zh below TEXTMILL_DATA in their natural proportion, once as they are and then as
often as it takes in other words (`benchmarks._other_words`): one Parquet file for each copy, of the last one a part
that is drawn by the hash of the document's id. Exact and near duplicates are those of the real corpus in every copy,
and none of two copies: texts of short words, about one in eighty, stand in the first copy only. Sizes are those of the
UTF-8 texts; a file's name tells its copy, and the same --gigabytes give the same bytes with any number of workers.
Files that are there already stay as they are.
"""

import argparse
import multiprocessing
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks._other_words import LEAST_REWRITTEN, alphabet, characters, ranked_characters, rewrite

if TYPE_CHECKING:
    from data_quality.documents import Document

CORPORA = ("corpus_en", "corpus_zh")
ROWS = 2_000
"""Of a batch, and so of a row group: some 3 MB of text, the unit that ingest cuts Parquet files by."""

SCHEMA = pa.schema([("id", pa.string()), ("source", pa.string()), ("text", pa.string())])


def main() -> None:
    """Write the files and say what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    started = time.perf_counter()
    size = generate(arguments.folder, arguments.gigabytes, arguments.workers)
    files = list(arguments.folder.glob("copy-*.parquet"))
    print(f"{size / 1e9:.3f} GB of text in {len(files)} files, {time.perf_counter() - started:.1f} s")


def generate(folder: Path, gigabytes: float, workers: int = 2, documents: "Iterator[Document] | None" = None) -> int:
    """Write the corpus. Returns the bytes of its texts.

    Args:
        documents: what is copied; without them the real corpora.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / "base.arrow"
    if not base.exists():
        write_base(base, documents or real_documents())
    with pa.memory_map(str(base)) as source:
        reader = pa.ipc.open_file(source)
        one = sum(text_bytes(reader.get_batch(n)) for n in range(reader.num_record_batches))
    copies, rest = divmod(gigabytes * 1e9, one)
    shares = [1.0] * int(copies) + ([rest / one] if rest >= 1 else [])
    todo = [(base, folder / name(copy, share), copy, share) for copy, share in enumerate(shares)]
    for stale in set(folder.glob("copy-*.parquet")) - {out for _, out, _, _ in todo}:
        stale.unlink()  # of a corpus of another size
    missing = [item for item in todo if not item[1].exists()]
    if workers == 1:
        for item in missing:
            write_copy(*item)
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            for done in [pool.submit(write_copy, *item) for item in missing]:
                done.result()
    return sum(int(pq.read_metadata(out).metadata[b"text_bytes"]) for _, out, _, _ in todo)


def name(copy: int, share: float) -> str:
    """What the file of a copy is called: a part of one says so."""
    return f"copy-{copy:05d}.parquet" if share == 1.0 else f"copy-{copy:05d}-part-{share:.6f}.parquet"


def real_documents() -> "Iterator[Document]":
    """Those of both corpora."""
    from benchmarks.documents import read_documents  # not at the top: workers write copies, and need no reader

    for corpus in CORPORA:
        yield from read_documents(corpus)


def write_base(path: Path, documents: "Iterator[Document]") -> None:
    """The documents as they are, so that copies are made without reading the sources again; ranks beside them."""
    draft = path.with_suffix(".partial")
    counted: Counter[str] = Counter()
    with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        while batch := list(islice(documents, ROWS)):
            for document in batch:
                if is_chinese(document):
                    counted.update(document.text)
            columns = [[d.id for d in batch], [d.source for d in batch], [d.text for d in batch]]
            writer.write_batch(pa.record_batch([pa.array(c, pa.string()) for c in columns], schema=SCHEMA))
    path.with_suffix(".ranks").write_text(ranked_characters(counted), encoding="utf-8")
    draft.rename(path)


def is_chinese(document: "Document") -> bool:
    """Whether most characters of its beginning are Chinese."""
    start = document.text[:200]
    return 2 * sum("\u4e00" <= character <= "\u9fff" for character in start) > len(start)


def write_copy(base: Path, out: Path, copy: int, share: float) -> None:
    """One copy, or a part of it, batch by batch; in a worker."""
    letters, han = alphabet(copy), characters(copy, base.with_suffix(".ranks").read_text(encoding="utf-8"))
    draft = out.with_suffix(".partial")
    size = 0
    with pa.memory_map(str(base)) as source, pq.ParquetWriter(draft, SCHEMA, compression="zstd") as writer:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = drawn(reader.get_batch(number), share)
            if copy and batch.num_rows:
                batch = rewritten(batch, letters, han)
            if batch.num_rows:
                size += text_bytes(batch)
                ids = pc.binary_join_element_wise(str(copy), batch["id"], "/")
                writer.write_batch(pa.record_batch([ids, batch["source"], batch["text"]], schema=SCHEMA))
        writer.add_key_value_metadata({"text_bytes": str(size)})
    draft.rename(out)


def drawn(batch: pa.RecordBatch, share: float) -> pa.RecordBatch:
    """Of its documents those whose id's hash is below a share of all hashes."""
    if share == 1.0:
        return batch
    return batch.filter(pa.array([zlib.crc32(i.as_py().encode()) < share * 2**32 for i in batch["id"]]))


def rewritten(batch: pa.RecordBatch, letters: np.ndarray, han: np.ndarray) -> pa.RecordBatch:
    """The documents in other words, without those of which too little is written otherwise."""
    texts = pa.concat_arrays([batch["text"]])  # that of a slice need not begin at its buffer's start
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2], dtype=np.uint8).copy()
    changed = rewrite(data, offsets.astype(np.int64), letters, han)
    made = pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets.tobytes()), pa.py_buffer(data))
    enough = pa.array(changed >= LEAST_REWRITTEN * np.diff(offsets))
    return pa.record_batch([batch["id"], batch["source"], made], schema=SCHEMA).filter(enough)


def text_bytes(batch: pa.RecordBatch) -> int:
    """UTF-8 bytes of the texts."""
    return int(pc.sum(pc.binary_length(batch["text"])).as_py() or 0)


if __name__ == "__main__":
    main()
