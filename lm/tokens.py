"""Token shards, and the index of documents over them.

A shard is `<stem>.bin` (little-endian token ids, memory-mapped), `<stem>.parquet` (id, start, tokens, bytes,
token_hash of each document) and `<stem>.json` (what it is; written last). Where an id alone does not say what its
token stands for (`<unk>`, WordPiece), `<stem>.spans.parquet` holds the tokens that differ. Which documents are trained
on is an index over shards, ordered by the hash of the document id, so that shard boundaries and file order do not show.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from lm.damaged import VOCABULARY_BYTES, DamagedFile, read_object, read_table, validated
from lm.spans import SPAN_SCHEMA, Spans, differing
from lm.stop import ShouldStop, check, never
from lm.tokenizer import (
    TOKENIZER_FILE,
    encode_documents,
    end_of_text_id,
    has_fixed_bytes,
    load_tokenizer,
    token_byte_lengths,
    unknown_id,
)
from lm.tokenizers.spans import encode_spans
from lm.tokenizers.spelling import Spelling

SPANS_SUFFIX = ".spans.parquet"
NAMED = 5  # documents that a message names
DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("start", pa.int64()),
        ("tokens", pa.int32()),
        ("bytes", pa.int32()),
        ("token_hash", pa.uint64()),
    ]
)


def token_dtype(vocab: int) -> np.dtype[Any]:
    """uint16 for up to 65,536 tokens, else uint32; little-endian."""
    return np.dtype("<u2") if vocab <= 2**16 else np.dtype("<u4")


def tokenizer_sha256(tokenizer_dir: Path) -> str:
    """The identity of a tokenizer: sha256 of its `tokenizer.json`."""
    return hashlib.sha256((tokenizer_dir / TOKENIZER_FILE).read_bytes()).hexdigest()


def tokenize_shard(
    documents: Path,
    out: Path,
    tokenizer_dir: Path,
    progress: Callable[[int], None] = lambda _: None,
    should_stop: ShouldStop = never,
) -> dict[str, int]:
    """Encode a documents shard (Parquet with `id` and `text`) into `out`.bin, .parquet and .json, and .spans.parquet
    for a tokenizer without fixed bytes.

    One row group is in memory at a time; `progress` advances by documents. Returns {documents, tokens, bytes}.
    """
    tokenizer = load_tokenizer(tokenizer_dir, kept=True)
    dtype = token_dtype(tokenizer.get_vocab_size())
    fixed, unknown = has_fixed_bytes(tokenizer), unknown_id(tokenizer)
    spelling, by_id = Spelling.load(tokenizer_dir), token_byte_lengths(tokenizer)
    out.parent.mkdir(parents=True, exist_ok=True)
    suffixes = (".bin", ".parquet", *(() if fixed else (SPANS_SUFFIX,)), ".json")
    partial = {s: out.with_name(f"{out.name}{s}.tmp") for s in suffixes}
    start = total_bytes = count = 0
    source = pq.ParquetFile(documents)
    with ExitStack() as files:
        files.enter_context(source)
        binary = files.enter_context(partial[".bin"].open("wb"))
        writers = [
            files.enter_context(pq.ParquetWriter(partial[suffix], schema, compression="zstd"))
            for suffix, schema in ((".parquet", DOCUMENT_SCHEMA), (SPANS_SUFFIX, SPAN_SCHEMA))
            if suffix in partial
        ]
        for batch in source.iter_batches(batch_size=1000, columns=["id", "text"]):
            check(should_stop, f"tokenizing {documents.name}")
            ids, texts = batch.column("id").to_pylist(), batch.column("text").to_pylist()
            if fixed:
                encoded = [tokens.astype(dtype) for tokens in encode_documents(tokenizer, texts)]
            else:
                spans = encode_spans(tokenizer, texts, unknown, spelling)
                encoded = [text.ids.astype(dtype) for text in spans]
                writers[1].write_batch(differing(spans, start, by_id, unknown))
            lengths = np.array([len(tokens) for tokens in encoded], dtype=np.int64)
            sizes = [len(text.encode()) for text in texts]
            starts = start + np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
            hashes = [_hash64(tokens.tobytes()) for tokens in encoded]
            for tokens in encoded:
                binary.write(tokens.tobytes())
            columns = [ids, starts, lengths.astype(np.int32), sizes, hashes]
            arrays = [pa.array(c, type=f.type) for c, f in zip(columns, DOCUMENT_SCHEMA, strict=True)]
            writers[0].write_batch(pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT_SCHEMA))
            start, total_bytes, count = start + int(lengths.sum()), total_bytes + sum(sizes), count + len(ids)
            progress(len(ids))
    described = {
        "dtype": dtype.name,
        "tokens": start,
        "documents": count,
        "bytes": total_bytes,
        "tokenizer_sha256": tokenizer_sha256(tokenizer_dir),
        "vocab": tokenizer.get_vocab_size(),
        "end_of_text": end_of_text_id(tokenizer),
        **({} if fixed else {"token_bytes": by_id.tolist()}),
    }
    partial[".json"].write_text(json.dumps(described, indent=1) + "\n")
    for suffix, path in partial.items():
        os.replace(path, out.with_name(out.name + suffix))
    return {"documents": count, "tokens": start, "bytes": total_bytes}


class _Header(BaseModel):
    """What a token shard's `.json` says."""

    dtype: Literal["uint16", "uint32"]
    tokens: int = Field(ge=0, strict=True)
    documents: int = Field(ge=0, strict=True)
    bytes: int = Field(ge=0, strict=True)
    tokenizer_sha256: str
    vocab: int = Field(ge=1, strict=True)
    end_of_text: int = Field(ge=0, strict=True)
    token_bytes: list[Annotated[int, Field(ge=0, lt=2**63)]] | None = None


class MappedShards(list[np.ndarray]):
    """Files of tokens, memory-mapped (an empty one cannot be mapped and becomes an empty array). Another process that
    they are sent to maps the files itself, instead of being sent what is in them."""

    def __init__(self, paths: Sequence[Path], dtype: np.dtype[Any]) -> None:
        super().__init__(
            np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.empty(0, dtype) for path in paths
        )
        self.paths, self.dtype = paths, dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.paths, self.dtype)


@dataclass(frozen=True)
class TokenIndex:
    """Documents of token shards in training order; the arrays run in parallel, one entry per document."""

    shards: tuple[Path, ...]
    dtype: np.dtype[Any]
    vocab: int
    end_of_text: int
    tokenizer_sha256: str
    shard: np.ndarray
    start: np.ndarray
    length: np.ndarray
    bytes: np.ndarray
    fingerprint: str
    token_bytes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.start)

    @property
    def tokens(self) -> int:
        """Tokens of all documents, without the `<|endoftext|>` that packing adds."""
        return int(self.length.sum())

    def open(self) -> list[np.ndarray]:
        """The shards' tokens, memory-mapped."""
        return MappedShards([shard.with_name(shard.name + ".bin") for shard in self.shards], self.dtype)

    def document_id(self, number: int) -> str:
        """The id of a document, read from its shard: for messages."""
        stem = self.shards[self.shard[number]]
        table = _documents(stem)
        here = (table["start"].to_numpy() == self.start[number]) & (table["tokens"].to_numpy() == self.length[number])
        return str(table["id"][int(here.argmax())])

    def spans(self) -> list[Spans] | None:
        """Of each shard, which tokens do not stand for the bytes that their id says; None: no token does not."""
        if self.token_bytes is None:
            return None
        return [Spans.read(shard.with_name(shard.name + SPANS_SUFFIX), self.token_bytes) for shard in self.shards]

    def token_counts(self) -> np.ndarray:
        """How often each token occurs, int64 [vocab], with one `<|endoftext|>` after each document."""
        counts = np.zeros(self.vocab, dtype=np.int64)
        for number, tokens in enumerate(self.open()):
            here = self.shard == number
            for start, length in zip(self.start[here], self.length[here], strict=True):
                found = np.bincount(tokens[start : start + length], minlength=self.vocab)
                if (most := len(found)) > self.vocab:
                    where = f"{self.shards[number]}.bin"
                    raise DamagedFile(f"{where}: token {most - 1} of {self.vocab}: tokenize it again")
                counts += found
        counts[self.end_of_text] += len(self)
        return counts


def named_documents(index: TokenIndex, numbers: Sequence[int]) -> str:
    """Documents by their ids, the first few of them: for messages."""
    named = ", ".join(repr(index.document_id(number)) for number in numbers[:NAMED])
    return f"documents {named}" + (f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else "")


def build_index(shards: Sequence[Path], copies: Callable[[pa.Array], np.ndarray] | None = None) -> TokenIndex:
    """Index the documents of `shards` (stems, as given to `tokenize_shard`).

    `copies` maps a shard's document ids to how often each is read in one epoch, bool or int [documents]; None: once.
    Copies of a document stand at places of their own in the training order. Raises ValueError if the shards were made
    by different tokenizers or a shard is incomplete.
    """
    if not shards:
        raise ValueError("there are no token shards to index")
    headers = [_header(stem) for stem in shards]
    for stem, header in zip(shards, headers, strict=True):
        if header["tokenizer_sha256"] != headers[0]["tokenizer_sha256"]:
            raise ValueError(f"{stem} was made by another tokenizer than {shards[0]}: tokenize again")
    order_keys, columns = [], []
    for number, (stem, header) in enumerate(zip(shards, headers, strict=True)):
        table = _documents(stem, header["tokens"], DOCUMENT_SCHEMA.names)
        numbers = np.zeros(table.num_rows, dtype=np.int64)  # which copy of its document a row is
        if copies is not None:
            times = np.asarray(copies(table.column("id").combine_chunks())).astype(np.int64)
            numbers = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
            table = table.take(np.repeat(np.arange(table.num_rows), times))
        ids = table.column("id").to_pylist()
        order_keys += [_order_key(id, copy) for id, copy in zip(ids, numbers.tolist(), strict=True)]
        shard = np.full(len(ids), number, dtype=np.int32)
        rest = [table.column(c).to_numpy() for c in ("start", "tokens", "bytes", "token_hash")]
        columns.append([shard, *rest])
    keys = np.frombuffer(b"".join(order_keys), dtype="<u8").reshape(-1, 2)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    shard, start, length, size, token_hash = (np.concatenate(parts)[order] for parts in zip(*columns, strict=True))
    content = hashlib.blake2b(headers[0]["tokenizer_sha256"].encode(), digest_size=16)
    content.update(np.ascontiguousarray(keys[order]).tobytes())
    content.update(np.ascontiguousarray(token_hash).tobytes())
    return TokenIndex(
        tuple(shards),
        np.dtype(headers[0]["dtype"]).newbyteorder("<"),
        headers[0]["vocab"],
        headers[0]["end_of_text"],
        headers[0]["tokenizer_sha256"],
        shard,
        start,
        length,
        size,
        content.hexdigest(),
        np.array(headers[0]["token_bytes"], dtype=np.int64) if "token_bytes" in headers[0] else None,
    )


def shard_documents(stems: Sequence[Path], wanted: set[str] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """(id, token ids) of each document of token shards, or of the `wanted` ones, in the order of the shards; int64."""
    for stem in stems:
        header = _header(stem)
        path = stem.with_name(stem.name + ".bin")
        tokens = np.memmap(path, dtype=header["dtype"], mode="r") if header["tokens"] else np.empty(0, np.uint16)
        table = _documents(stem, header["tokens"])
        columns = (table[name].to_pylist() for name in ("id", "start", "tokens"))
        for id, start, length in zip(*columns, strict=True):
            if wanted is None or id in wanted:
                yield id, tokens[start : start + length].astype(np.int64)


def _order_key(id: str, copy: int) -> bytes:
    """Where a copy of a document stands among all; the first one where the document alone would."""
    return hashlib.blake2b((f"{id}\0{copy}" if copy else id).encode(), digest_size=16).digest()


def _header(stem: Path) -> dict[str, Any]:
    path = stem.with_name(stem.name + ".json")
    if not path.exists():
        raise ValueError(f"{path}: missing, so this token shard is incomplete: tokenize it again")
    header = validated(_Header, read_object(path, VOCABULARY_BYTES), path)
    size = stem.with_name(stem.name + ".bin").stat().st_size
    if size != header.tokens * np.dtype(header.dtype).itemsize:
        raise DamagedFile(f"{stem}.bin: {size} bytes do not hold {header.tokens} tokens: tokenize it again")
    if header.end_of_text >= header.vocab or len(header.token_bytes or ()) not in (0, header.vocab):
        raise DamagedFile(f"{path}: numbers that do not fit a vocabulary of {header.vocab}: tokenize it again")
    return header.model_dump(exclude_none=True)


def _documents(stem: Path, tokens: int | None = None, columns: Sequence[str] = ("id", "start", "tokens")) -> pa.Table:
    """The documents of a token shard; if `tokens` says how many it has, no document may reach beyond them."""
    path = stem.with_name(stem.name + ".parquet")
    table = read_table(path, columns).select(columns)
    wanted = pa.schema([DOCUMENT_SCHEMA.field(name) for name in columns])
    if table.schema.remove_metadata() != wanted or any(column.null_count for column in table.columns):
        raise DamagedFile(f"{path}: not a table of {', '.join(columns)}: tokenize it again")
    start, length = table["start"].to_numpy(), table["tokens"].to_numpy().astype(np.int64)
    if (
        tokens is not None
        and len(start)
        and not (start.min() >= 0 and length.min() >= 0 and start.max() <= tokens and (start + length).max() <= tokens)
    ):
        raise DamagedFile(f"{path}: documents that reach beyond the {tokens} tokens of the shard: tokenize it again")
    return table


def _hash64(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
