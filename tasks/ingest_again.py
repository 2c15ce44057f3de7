"""Pieces of sources that were read before fewer documents were to be forgotten.

A new request changes the key of every piece that may hold one of its documents, and few of them do: of the others what
was read is taken over as it is, after a look at the ids, so that forgetting one document does not read a source again.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_quality.forgotten import Forgotten
from data_quality.pieces import Piece
from tasks.storage.files import canonical_json, read_json
from tasks.store import Store

PIECES = "ingest.piece"


def read_before(store: Store, pieces: Sequence[Piece], materials: Sequence[dict[str, Any]]) -> list[str | None]:
    """For each piece the folder of what was read of it under a part of its list, the longest there is; else None.

    `materials` are the key materials of the pieces' parts. Looked for on this machine only; nothing depends on whether
    it is there but the time that reading takes.
    """
    if not any(piece.forgotten for piece in pieces):
        return [None] * len(pieces)
    known: dict[bytes, list[tuple[int, Forgotten, Path]]] = {}
    for manifest in (store.artifacts / PIECES).glob("*/manifest.json"):
        try:
            apart, list_ = _apart(read_json(manifest)["config"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # collected meanwhile, or broken: it is read again
        known.setdefault(apart, []).append((len(list_.ids) + len(list_.sources), list_, manifest.parent))
    found: list[str | None] = []
    for piece, material in zip(pieces, materials, strict=True):
        former = known.get(_apart(material)[0], []) if piece.forgotten else []
        usable = [(size, str(folder)) for size, list_, folder in former if _is_part(list_, piece.forgotten)]
        found.append(max(usable)[1] if usable else None)
    return found


def taken_over(
    earlier: Path, piece: Piece, directory: Path, named: Callable[[str], str] = str
) -> dict[str, Any] | None:
    """Copy what was read earlier into `directory` and return the part's result; None if it holds a document that is to
    be forgotten. `named` says how names are written, as it did then."""
    import pyarrow.parquet as pq

    manifest = read_json(earlier / "manifest.json")
    files = [file.path for file in piece.files]
    files += pq.read_table(earlier / "files.parquet", columns=["file"])["file"].to_pylist()  # a dataset of the hub
    is_forgotten = (piece.forgotten or Forgotten()).test(named(piece.source.name))
    if any(is_forgotten("", "", named(f"{piece.source.name}:{file}")) for file in files):
        return None
    for shard in manifest["shards"]:
        table = pq.read_table(earlier / shard["path"], columns=["id", "source"])
        for id, source in zip(table["id"].to_pylist(), table["source"].to_pylist(), strict=True):
            if is_forgotten(id, source, ""):
                return None
    for entry in manifest["files"]:
        shutil.copyfile(earlier / entry["path"], directory / entry["path"])
    return {"counts": manifest["counts"], "shards": manifest["shards"], "digest": manifest["digest"]}


def _apart(material: dict[str, Any]) -> tuple[bytes, Forgotten]:
    rest = {name: value for name, value in material.items() if name != "forgotten"}
    return canonical_json(rest), Forgotten.model_validate(material.get("forgotten") or {})


def _is_part(one: Forgotten, of: Forgotten | None) -> bool:
    return of is not None and set(one.ids) <= set(of.ids) and set(one.sources) <= set(of.sources)
