"""Near-twins across two sets of texts: which of the first resemble one of the second, with the evidence."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa

from data_quality.config import SignatureConfig
from data_quality.dedupe.exact import COMPARED, PINNED, collapse_equal, open_workspace, rank_documents
from data_quality.dedupe.minhash import match_near, resolve_twins
from data_quality.dedupe.signatures import signature_shard
from data_quality.hashing import text_hash
from data_quality.shards import BATCH_ROWS, whole_parquet

_DOCUMENTS = pa.schema([(name, pa.string()) for name in ("id", "source", "text", "text_hash")])
_SIDES = ("ours", "theirs")


def near_twins(
    ours: Mapping[str, str],
    theirs: Mapping[str, str],
    config: SignatureConfig,
    threshold: float,
    *,
    temp_directory: Path,
    memory_limit: str = "1GiB",
    threads: int = 1,
    max_comparisons: int = 1000,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[tuple[str, str, float]]:
    """(id of ours, id of the most alike of theirs, true Jaccard of their shingles) where that is at least `threshold`,
    ordered by id; ties go to the least id.

    Args:
        ours, theirs: text by id.
        config: what a shingle is, and the bands by which pairs are found: a pair of Jaccard s is compared with
            probability 1 - (1 - s^rows)^bands.
        temp_directory: existing directory for what does not fit into memory.

    Raises:
        InterruptedError: `should_stop` said so.
    """
    if not ours or not theirs:
        return []
    with tempfile.TemporaryDirectory(dir=temp_directory, prefix="textmill-across-") as name:
        paths = []
        for side, texts in zip(_SIDES, (ours, theirs), strict=True):
            documents, signatures = Path(name) / f"{side}.parquet", Path(name) / f"{side}-signatures.parquet"
            _write(documents, side, texts)
            signature_shard(documents, signatures, config)
            paths.append(signatures)
        with open_workspace(paths, Path(name), memory_limit, threads) as workspace:
            # ids of the two sides may be equal; that of a document is unique
            rank_documents(
                workspace,
                order="s.source != 'theirs', s.id",
                role=f"if(s.source = 'theirs', {PINNED}, {COMPARED})",
            )
            collapse_equal(workspace, texts=True, shingles=True)
            match_near(
                workspace,
                threshold=threshold,
                max_comparisons=max_comparisons,
                across_roles=True,
                should_stop=should_stop,
            )
            resolve_twins(workspace)
            found = workspace.sql.execute(
                f"""
                SELECT d.id, k.id, jaccard FROM duplicates
                JOIN documents d ON d.rank = dropped AND d.role = {COMPARED}
                JOIN documents k ON k.rank = duplicates.kept AND k.role = {PINNED}
                ORDER BY 1
                """
            ).fetchall()
    ends = [len(side) + 1 for side in _SIDES]
    return [(mine[ends[0] :], other[ends[1] :], float(jaccard)) for mine, other, jaccard in found]


def _write(path: Path, side: str, texts: Mapping[str, str]) -> None:
    with whole_parquet(path, _DOCUMENTS) as writer:
        names = sorted(texts)
        for start in range(0, len(names), BATCH_ROWS):
            rows = [
                {"id": f"{side}:{name}", "source": side, "text": texts[name], "text_hash": text_hash(texts[name])}
                for name in names[start : start + BATCH_ROWS]
            ]
            writer.write_table(pa.Table.from_pylist(rows, _DOCUMENTS), row_group_size=BATCH_ROWS)
