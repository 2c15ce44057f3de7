"""Near-twins of documents: those that dedupe dropped in their favour, or kept instead of them.

They are no copies by name, so that forgetting a document leaves them: one that was dropped in its favour comes back.
"""

from typing import Any

from tasks.lineage.descent import Descent, Ids
from tasks.running.tables import rows
from tasks.store import Artifact

_QUERY = """
    WITH asked AS (SELECT unnest($ids) AS id),
         pairs AS (SELECT id, twin, jaccard FROM read_parquet($tables) WHERE twin IS NOT NULL),
         family AS (SELECT id FROM asked UNION SELECT twin FROM pairs SEMI JOIN asked USING (id))
    SELECT p.id AS id, p.twin AS "like", p.jaccard AS jaccard FROM pairs p SEMI JOIN family f ON p.twin = f.id
        ANTI JOIN asked a ON p.id = a.id
    UNION
    SELECT p.twin, p.id, p.jaccard FROM pairs p SEMI JOIN asked a ON p.id = a.id ANTI JOIN asked b ON p.twin = b.id
    ORDER BY ALL
"""


def near_twins(descent: Descent, ids: Ids) -> list[dict[str, Any]]:
    """`id`, the document that it is `like`, and their `jaccard` (None: the same address), by all corpora of the store.

    Those that are asked about are not among them. Twins of twins are: what a document was dropped for together with it.
    """
    if not ids:
        return []
    found: dict[str, dict[str, Any]] = {}
    for decisions in _decisions(descent):
        descent.store.fetch_parts(decisions)
        tables = [str(shard.path) for shard in decisions.shards()]
        if tables:
            for row in rows(_QUERY, {"ids": sorted(ids), "tables": tables}):
                found.setdefault(row["id"], row)
    return [found[id] for id in sorted(found)]


def _decisions(descent: Descent) -> list[Artifact]:
    keys = [key for key, manifest in descent.manifests.items() if manifest["stage"] == "decide"]
    made = [descent.store.find("decide", key) for key in keys]
    return [artifact for artifact in made if artifact is not None]
