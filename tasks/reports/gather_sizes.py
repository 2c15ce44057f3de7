"""Gather documents and bytes of text by source: counted once for each shard, since it takes a look at every text."""

from pathlib import Path
from typing import Any

from tasks.running.parts import Part, build_parts
from tasks.stage import Work
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

Sizes = dict[str, tuple[int, int]]
"""Documents and UTF-8 bytes by source."""

SIZES = "sizes.json"


def sizes(work: Work, corpus: Artifact) -> Sizes:
    """Those of all shards."""
    parts = [Part({"shard": shard.digest}, (str(shard.path),)) for shard in corpus.shards()]
    added: Sizes = {}
    for part in build_parts(work, "report.sizes", 1, sizes_part, parts, light=True):
        for source, (documents, size) in read_json(part.path / SIZES).items():
            before = added.get(source, (0, 0))
            added[source] = (before[0] + documents, before[1] + size)
    return added


def sizes_part(directory: Path, shard: str) -> dict[str, Any]:
    """One shard, in a worker."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(shard, columns=["source", "text"])
    table = table.set_column(1, "bytes", pc.binary_length(table["text"]))
    found = table.group_by("source").aggregate([("bytes", "count"), ("bytes", "sum")]).sort_by("source")
    write_json(directory / SIZES, {source: [documents, size] for documents, size, source in _rows(found)})
    return {"counts": {}, "shards": []}


def _rows(table: Any) -> Any:
    return zip(*(table[name].to_pylist() for name in ("bytes_count", "bytes_sum", "source")), strict=True)
