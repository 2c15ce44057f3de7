"""Train, valid and test: membership by hash of the document id, permanent; near-twins of test kept out of training.

A test document is one whose id says so, today and in every later refresh, whether or not it is in the corpus now: one
that dedupe or a rule dropped today may come back tomorrow. So every such document, dropped ones included, keeps its
near-twins out of training and validation.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import SplitConfig
from data_quality.dedupe.exact import COMPARED, PINNED, Workspace, collapse_equal, open_workspace, rank_documents
from data_quality.dedupe.minhash import match_near, resolve_twins
from data_quality.sql import single_row, sql_list, write_rows

Split = Literal["train", "valid", "test"]

SPLIT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("twin", pa.string()),
        pa.field("jaccard", pa.float64()),
    ]
)
_BATCH = 50_000


def split_of(document_id: str, config: SplitConfig) -> Split:
    """Where a document belongs: a function of its id and the salt alone.

    The id falls on a point of [0, 1): test is [0, test_fraction), valid is [1 - valid_fraction, 1). Raising a fraction
    moves documents out of train only.
    """
    digest = blake2b(document_id.encode(), digest_size=8, key=blake2b(config.salt.encode()).digest()).digest()
    point = int.from_bytes(digest, "big") / 2**64
    if point < config.test_fraction:
        return "test"
    return "valid" if point >= 1 - config.valid_fraction else "train"


def split_documents(
    kept_paths: Sequence[Path],
    signature_paths: Sequence[Path],
    out_path: Path,
    config: SplitConfig,
    *,
    band_paths: Sequence[Path] = (),
    duplicate_paths: Sequence[Path] = (),
    temp_directory: Path,
    memory_limit: str = "1GiB",
    threads: int = 1,
    progress: Callable[[int], None] = lambda n: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Write `out_path`, one row per kept document, ordered by id.

    Columns: id, split ("train", "valid", "test" or "excluded"), and for the excluded reason ("near_twin_of_test",
    "near_twin_of_valid"), twin (the id of that document, which may be one that was dropped) and jaccard. A document is
    excluded if its true Jaccard similarity with a test document is at least `config.threshold`; a training document
    also by a valid one.

    Args:
        kept_paths: shards of the documents that are kept (of which only id is read).
        signature_paths: shards of `signature_shard` for all documents, dropped ones included.
        duplicate_paths: the table of `near_dedupe`, whose verified pairs count as well (its comparisons are bounded
            per document, and so are those made here).
        band_paths, temp_directory, memory_limit, threads, progress, should_stop: as for `near_dedupe`.

    Returns:
        Counts: train, valid, test, near_twin_of_test, near_twin_of_valid, bounded.

    Raises:
        ValueError: shards that do not fit together, an id twice, a kept document without a signature.
    """
    with open_workspace(signature_paths, temp_directory, memory_limit, threads, band_paths) as workspace:
        _assign(workspace, config, kept_paths)
        workspace.sql.execute("CREATE TABLE evidence (id VARCHAR, reason VARCHAR, twin VARCHAR, jaccard DOUBLE)")
        bounded = 0
        for pinned, compared in (("test", ("train", "valid")), ("valid", ("train",))):
            bounded += _find_twins(workspace, config, pinned, compared, progress, should_stop)
            if duplicate_paths:
                _add_known_twins(workspace, config, pinned, compared, duplicate_paths)
        counts = _write(workspace, Path(out_path))
    return {**counts, "bounded": bounded}


def _assign(workspace: Workspace, config: SplitConfig, kept_paths: Sequence[Path]) -> None:
    """Create table `members` (id, split, kept) of all documents that have a signature."""
    sql = workspace.sql
    sql.execute("CREATE TABLE assigned (id VARCHAR, split VARCHAR)")
    for ids in _ids(workspace.signatures):
        sql.register("batch", pa.table({"id": ids, "split": [split_of(id_, config) for id_ in ids]}))
        sql.execute("INSERT INTO assigned FROM batch")
    sql.unregister("batch")
    kept = f"(SELECT id FROM read_parquet({sql_list([str(path) for path in kept_paths])}))"
    sql.execute(
        f"""
        CREATE TABLE members AS
        SELECT a.id, split, k.id IS NOT NULL AS kept FROM assigned a LEFT JOIN {kept} k ON k.id = a.id
        """
    )
    first, unsigned = single_row(sql, f"SELECT min(id), count(*) FROM {kept} ANTI JOIN assigned USING (id)")
    if unsigned:
        raise ValueError(f"{unsigned} kept documents have no signature, {first!r} among them: sign all documents")


def _ids(paths: Sequence[Path]) -> Iterator[list[str]]:
    for path in paths:
        with pq.ParquetFile(path) as shard:
            for batch in shard.iter_batches(batch_size=_BATCH, columns=["id"]):
                yield batch["id"].to_pylist()


def _find_twins(
    workspace: Workspace,
    config: SplitConfig,
    pinned: str,
    compared: tuple[str, ...],
    progress: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> int:
    """Add to `evidence` the kept documents of the splits `compared` that have a twin in `pinned`, kept or not."""
    rank_documents(
        workspace,
        order=f"members.split != '{pinned}', s.id",
        role=f"if(members.split = '{pinned}', {PINNED}, {COMPARED})",
        join=f"""JOIN members ON members.id = s.id
            AND (members.split = '{pinned}' OR members.kept AND list_contains({sql_list(compared)}, members.split))""",
    )
    collapse_equal(workspace, texts=True, shingles=True)
    counts = match_near(
        workspace,
        threshold=config.threshold,
        max_comparisons=config.max_comparisons,
        across_roles=True,
        progress=progress,
        should_stop=should_stop,
    )
    resolve_twins(workspace)
    workspace.sql.execute(
        f"""
        INSERT INTO evidence
        SELECT d.id, 'near_twin_of_{pinned}', k.id, jaccard FROM duplicates
        JOIN documents d ON d.rank = dropped AND d.role = {COMPARED}
        JOIN documents k ON k.rank = duplicates.kept AND k.role = {PINNED}
        """
    )
    return counts["bounded"]


def _add_known_twins(
    workspace: Workspace, config: SplitConfig, pinned: str, compared: tuple[str, ...], paths: Sequence[Path]
) -> None:
    """Add to `evidence` the documents in favour of which dedupe dropped a document of the split `pinned`."""
    workspace.sql.execute(
        f"""
        INSERT INTO evidence
        SELECT ours.id, 'near_twin_of_{pinned}', theirs.id, jaccard
        FROM read_parquet({sql_list([str(path) for path in paths])}) pairs
        JOIN members ours ON ours.id = pairs.kept AND ours.kept AND list_contains({sql_list(compared)}, ours.split)
        JOIN members theirs ON theirs.id = pairs.dropped AND theirs.split = '{pinned}'
        WHERE jaccard >= {config.threshold}
        """
    )


def _write(workspace: Workspace, out_path: Path) -> dict[str, int]:
    workspace.sql.execute(
        """
        CREATE TABLE result AS
        WITH strongest AS (
            SELECT * FROM evidence
            QUALIFY row_number() OVER (PARTITION BY id ORDER BY reason, jaccard DESC, twin) = 1
        )
        SELECT m.id, if(reason IS NULL, split, 'excluded') AS split, reason, twin, jaccard
        FROM members m LEFT JOIN strongest USING (id) WHERE m.kept
        """
    )
    rows = workspace.sql.execute("SELECT coalesce(reason, split), count(*) FROM result GROUP BY ALL").fetchall()
    write_rows(workspace.sql.sql("FROM result ORDER BY id"), SPLIT_SCHEMA, out_path)
    names = ("train", "valid", "test", "near_twin_of_test", "near_twin_of_valid")
    return {name: dict(rows).get(name, 0) for name in names}
