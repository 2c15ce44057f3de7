"""The classification set "which library does this paragraph document?", made from documents.

A paragraph's label is its document's source, its split is its document's split, and the names that would give
the label away are masked. Membership and sampling depend on the paragraphs' text alone, so the set is the same
for any sharding and order of the documents.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from data_quality.blank_lines import BLANK_LINES
from data_quality.config import LabelledConfig
from data_quality.errors import UsageError
from data_quality.library_names import LibraryNames
from data_quality.shards import BATCH_ROWS, read_batches, whole_parquet
from data_quality.sql import connect

SPLITS = ("train", "valid", "test")

_IDENTIFIER_CHARACTER = re.compile(r"\w", re.ASCII)
_IDENTIFIER_END = re.compile(r"\W", re.ASCII)
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")

_CANDIDATES = pa.schema(
    {
        "hash": pa.string(),
        "document": pa.string(),
        "paragraph": pa.int32(),
        "label": pa.int32(),
        "text": pa.string(),
    }
)


def paragraphs(text: str, min_chars: int, max_chars: int) -> Iterator[str]:
    """The paragraphs of a text, each of `min_chars` to `max_chars` characters, in order.

    Blank lines separate; neighbours are joined until they reach `min_chars`; what is longer than `max_chars`
    is cut at the last white space before, or else between characters that no identifier joins (ideographs,
    punctuation). Left out: a rest shorter than `min_chars`, and an unbroken run of letters and digits that
    fits nowhere (encoded data).
    """
    current = ""
    for block in BLANK_LINES.split(text.strip()):
        current = f"{current}\n\n{block.rstrip()}" if current else block.strip()
        start = 0
        while len(current) - start > max_chars:
            end = _cut(current, start + min_chars, start + max_chars)
            if end is None:
                start = _identifier_end(current, start + max_chars)
            else:
                head = current[start:end].rstrip()
                if len(head) >= min_chars:
                    yield head
                start = end
            while start < len(current) and current[start].isspace():
                start += 1
        current = current[start:]
        if len(current) >= min_chars:
            yield current
            current = ""


def _cut(text: str, low: int, high: int) -> int | None:
    """The last place in low..high where `text` may be cut; never inside an identifier (a half can be a name)."""
    space = max(text.rfind(" ", low, high + 1), text.rfind("\n", low, high + 1))
    if space >= 0:
        return space
    joined = _IDENTIFIER_CHARACTER.match
    return next((i for i in range(high, low - 1, -1) if not (joined(text, i - 1) and joined(text, i))), None)


def _identifier_end(text: str, position: int) -> int:
    match = _IDENTIFIER_END.search(text, position)
    return match.start() if match else len(text)


def paragraph_hash(text: str) -> str:
    """blake2b-128 (32 hex digits) of the text with case folded and white space collapsed."""
    return hashlib.blake2b(" ".join(text.casefold().split()).encode(), digest_size=16).hexdigest()


def labelled_candidates(documents: Path, out: Path, config: LabelledConfig) -> dict[str, int]:
    """Every masked paragraph of one documents shard whose source is a class.

    Args:
        documents: Parquet shard with columns id, text, source.
        out: Parquet file to write: hash, document, paragraph (number within the document), label, text.

    Returns counts: documents (of the classes), candidates.
    """
    names = LibraryNames(config)
    labels = {c.name: label for label, c in enumerate(config.classes)}
    counts = {"documents": 0, "candidates": 0}
    with whole_parquet(out, _CANDIDATES) as writer:
        for batch in read_batches(documents, ["id", "text", "source"]):
            rows: list[dict[str, Any]] = []
            for document in batch.to_pylist():
                label = labels.get(document["source"])
                if label is None:
                    continue
                counts["documents"] += 1
                masked = names.mask(document["text"])
                for number, text in enumerate(paragraphs(masked, config.min_chars, config.max_chars)):
                    rows.append(
                        {
                            "hash": paragraph_hash(text),
                            "document": document["id"],
                            "paragraph": number,
                            "label": label,
                            "text": text,
                        }
                    )
            counts["candidates"] += len(rows)
            writer.write_table(pa.Table.from_pylist(rows, _CANDIDATES))
    return counts


_PLACED = """
create temp table placed as
select c.hash, c.document, c.paragraph, c.label, s.split,
       count(distinct c.label) over (partition by c.hash) as labels,
       row_number() over (
           partition by c.hash
           order by case s.split when 'test' then 0 when 'valid' then 1 else 2 end, c.document, c.paragraph
       ) as copy
from read_parquet($candidates) c join read_parquet($splits) s on c.document = s.id
where s.split in ('train', 'valid', 'test')
"""

_CHOSEN = """
with ranked as (
    select *, row_number() over (partition by split, label order by hash) as place
    from placed where labels = 1 and copy = 1
)
select r.document || '#' || r.paragraph as id, r.document, c.text, r.label
from ranked r join read_parquet($candidates) c on r.document = c.document and r.paragraph = c.paragraph
where r.split = $split and r.place <= $limit
order by r.hash
"""


def select_labelled(
    candidates: Sequence[Path],
    splits: Path,
    directory: Path,
    config: LabelledConfig,
    scratch: Path,
    memory_limit: str = "1GB",
    threads: int | None = None,
) -> dict[str, Any]:
    """Chooses the examples among all candidates; writes train.parquet, valid.parquet, test.parquet.

    A paragraph that occurs under two labels is dropped everywhere; of equal paragraphs one stays, test before
    valid before train, then by document id; each class then gives the paragraphs with the smallest hashes.

    Args:
        candidates: files of `labelled_candidates`.
        splits: Parquet file with columns id, split; documents that are in none of train, valid, test
            (near-twins of test documents, say) give no example.
        directory: where the three files go; columns id, document, text, label (int32), label_name.
        scratch: a directory for what does not fit into memory.
        memory_limit, threads: DuckDB's; threads None: one per core.

    Returns counts: candidates, outside_splits, conflicting, duplicates, `<split>` and `<split>_classes`
    (examples, all and by class name), `<split>_near_leak` for valid and test: the share of their examples that
    some training example resembles (Jaccard of word 5-grams at least 0.5).

    Raises ValueError if a class has no example in train, or valid or test is empty.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = {"candidates": [str(p) for p in candidates]}
    with connect(memory_limit, threads, scratch) as db:
        total = _one(db.execute("select count(*) from read_parquet($candidates)", files))
        db.execute(_PLACED, files | {"splits": str(splits)})
        counts: dict[str, Any] = {
            "candidates": total,
            "outside_splits": total - _one(db.execute("select count(*) from placed")),
            "conflicting": _one(db.execute("select count(*) from placed where labels > 1")),
            "duplicates": _one(db.execute("select count(*) from placed where labels = 1 and copy > 1")),
        }
        tables = {}
        for split in SPLITS:
            limit = config.per_class if split == "train" else config.per_class_eval
            tables[split] = db.sql(_CHOSEN, params=files | {"split": split, "limit": limit}).to_arrow_table()

    names = [c.name for c in config.classes]
    for split, table in tables.items():
        labels = table["label"].to_pylist()
        by_class = Counter(labels)
        counts[split] = len(labels)
        counts[f"{split}_classes"] = {name: by_class[label] for label, name in enumerate(names)}
        table = table.append_column("label_name", pa.array([names[label] for label in labels], pa.string()))
        with whole_parquet(directory / f"{split}.parquet", table.schema) as writer:
            writer.write_table(table, row_group_size=BATCH_ROWS)
    _check_usable(counts, names)
    train = tables["train"]["text"].to_pylist()
    for split in ("valid", "test"):
        counts[f"{split}_near_leak"] = near_leak(train, tables[split]["text"].to_pylist())
    return counts


def near_leak(train: Sequence[str], held_out: Sequence[str], n: int = 5, threshold: float = 0.5) -> float:
    """Share of the held-out texts that have a training text with word `n`-gram Jaccard >= `threshold`.

    Exact: the intersections with all training texts are counted through an inverted index. A text of fewer
    than `n` words counts as one shingle; an ideograph, kana or hangul syllable counts as one word.
    """
    sizes = []
    holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, text in enumerate(train):
        grams = _shingles(text, n)
        sizes.append(len(grams))
        for gram in grams:
            holders[gram].append(number)
    near = 0
    for text in held_out:
        grams = _shingles(text, n)
        common = Counter(number for gram in grams for number in holders.get(gram, ()))
        near += any(k / (len(grams) + sizes[number] - k) >= threshold for number, k in common.items())
    return near / len(held_out) if held_out else 0.0


def _shingles(text: str, n: int) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}


def _one(result: duckdb.DuckDBPyConnection) -> int:
    # all rows: DuckDB 2 keeps a connection busy until a result has been read to its end
    [(value,)] = result.fetchall()
    return int(value)


def _check_usable(counts: dict[str, Any], names: Sequence[str]) -> None:
    without = [name for name in names if counts["train_classes"][name] == 0]
    if without:
        raise UsageError(
            f"no training paragraph for the classes {', '.join(without)}: no document in the train split has"
            " this source, or its paragraphs are shorter than min_chars; take them out of `classes` or add"
            " documents"
        )
    for split in ("valid", "test"):
        if counts[split] == 0:
            raise UsageError(f"no {split} paragraph at all: give more documents to the {split} split")
