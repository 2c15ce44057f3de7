"""Ingest: sources become Parquet shards of documents, piece by piece, with every skipped record on file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from data_quality.config import IngestConfig
from data_quality.errors import UsageError
from data_quality.hashing import combine_digests, unit_hash
from data_quality.ingest import require_documents
from data_quality.pieces import Piece, leave_out, list_pieces
from data_quality.sources.base import SKIPPED
from tasks.ingest_again import read_before, taken_over
from tasks.lineage.forgotten import forgotten
from tasks.machine.home import home
from tasks.pii import PiiRequest, namer
from tasks.running.parts import Part, build_parts
from tasks.running.run import current_run
from tasks.running.tables import rows
from tasks.stage import Work, stage
from tasks.store import Artifact

if TYPE_CHECKING:
    from data_quality.documents import IdCollision

FINDER = 2
"""Raised when names are written otherwise, since other personal data is found in them."""
SHOWN_COLLISIONS = 10
SHOWN_PLACES = 3
"""Of one id; a column that is none of ids may have one value everywhere."""


class IngestRequest(BaseModel):
    """What is to be read, fingerprinted: pieces are groups of files with their content hashes.

    `names` says which personal data is taken out of ids and the names of sources and files; None: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    pieces: tuple[Piece, ...]
    names: PiiRequest | None = None

    def key_material(self) -> dict[str, Any]:
        """The pieces' own key material: reader settings, relative paths and hashes; no absolute path, no time.

        Licences are with them, so that they are on record as soon as they are stated; nothing is read again for that.
        """
        licenses = {piece.source.name: piece.source.license for piece in self.pieces if piece.source.license}
        pieces = [self.material(piece) for piece in self.pieces]
        return {"pieces": pieces, **self.names_material(), **({"licenses": licenses} if licenses else {})}

    def material(self, piece: Piece) -> dict[str, Any]:
        """The key material of a piece, its files named as in the result: MLflow is shown it."""
        named = namer(self.names)
        material = piece.key_material
        return {**material, "files": [[named(path), *rest] for path, *rest in material["files"]]}

    def part_material(self, piece: Piece) -> dict[str, Any]:
        """The key material of the part that a piece is read to."""
        return {**self.material(piece), **self.names_material()}

    def names_material(self) -> dict[str, Any]:
        """What decides how names are written; nothing where they stay as they are."""
        return {} if self.names is None else {"names": self.names.model_dump(mode="json"), "finder": FINDER}


def fingerprinted(config: IngestConfig, max_files: int | None = None, names: PiiRequest | None = None) -> IngestRequest:
    """Look at the sources as they are now. Files whose size and time are unchanged are not hashed again.

    The request also says which documents are to be forgotten, as the store's list has them now.

    Args:
        names: the personal data that no id and no name of a source or a file may hold.
        max_files: take only so many files, those whose paths have the smallest hashes: a sample of all sources.
    """
    cache = home() / "fingerprints.sqlite"
    cache.parent.mkdir(parents=True, exist_ok=True)
    names = names if names and names.find.ids else None
    pieces = leave_out(list_pieces(config, cache), forgotten(current_run().store), namer(names))
    chosen = pieces if max_files is None else _sample(pieces, max_files)
    return IngestRequest(pieces=tuple(chosen), names=names)


def _sample(pieces: list[Piece], max_files: int) -> Iterator[Piece]:
    """The pieces with only the chosen files; those left without any go, a hub dataset (it lists none) stays."""
    hashes = sorted({unit_hash(file.path) for piece in pieces for file in piece.files})
    largest = hashes[min(max_files, len(hashes)) - 1] if hashes else 0.0
    for piece in pieces:
        files = tuple(file for file in piece.files if unit_hash(file.path) <= largest)
        if files or not piece.files:
            yield piece.model_copy(update={"files": files})


@stage(version=2)
def ingest(work: Work, config: IngestRequest) -> None:
    """Read every piece in a process pool; `skipped.parquet` lists what gave no document."""
    materials = [config.part_material(piece) for piece in config.pieces]
    earlier = read_before(work.store, config.pieces, materials)
    parts = [
        Part(material, (piece, config.names, former), weight=sum(file.bytes for file in piece.files))
        for piece, material, former in zip(config.pieces, materials, earlier, strict=True)
    ]
    pieces = build_parts(work, "ingest.piece", 1, ingest_part, parts, unit="bytes")
    table = work.directory / SKIPPED
    gather_skipped(table, config.pieces, pieces)
    skipped = skipped_reasons(work, table)
    summary = {
        "files": work.counts.get("files", 0),
        "documents": work.counts.get("documents", 0),
        "skipped_by_reason": {row["reason"]: row["records"] for row in skipped},
        "skip_examples": [f"{row['example']}: {row['detail']}" for row in skipped],
    }
    require_documents([summary])
    check_ids(work, config, pieces)
    work.digest = combine_digests(piece.digest for piece in pieces)
    work.table("skipped", skipped, "Records and files that were not read, by reason")


def ingest_part(directory: Path, piece: Piece, names: PiiRequest | None, earlier: str | None = None) -> dict[str, Any]:
    """One piece, in a worker. What was read of it `earlier` is taken where nothing in that is to be forgotten."""
    from data_quality.ingest import ingest_piece

    named = namer(names)
    if earlier is not None and (same := taken_over(Path(earlier), piece, directory, named)) is not None:
        return same
    result = ingest_piece(piece, directory, named=named)
    shards = [
        {"path": s["name"], "digest": s["digest"], "counts": {"documents": s["rows"], "bytes": s["bytes"]}}
        for s in result["shards"]
    ]
    counts = {name: result[name] for name in ("files", "documents", "skipped", "text_bytes", "bytes")}
    return {"counts": counts, "shards": shards, "digest": result["digest"]}


def check_ids(work: Work, config: IngestRequest, pieces: list[Artifact]) -> None:
    """Refuse a corpus in which two documents have one id.

    Raises:
        UsageError: naming the id and its places in the files that were read.
    """
    from data_quality.documents import find_id_collisions

    paths = [shard.path for piece in pieces for shard in piece.shards()]
    collisions = find_id_collisions(
        paths,
        work.scratch,
        memory_limit=work.resources.memory_limit,
        threads=work.resources.threads,
        limit=SHOWN_COLLISIONS + 1,
    )
    if collisions:
        count = f"more than {SHOWN_COLLISIONS}" if len(collisions) > SHOWN_COLLISIONS else str(len(collisions))
        shown = "\n  ".join(_places(config, pieces, collisions[:SHOWN_COLLISIONS]))
        raise UsageError(
            f"{count} document ids occur more than once:\n  {shown}\n"
            "Name each file once. Where a column has the same ids in several files, leave `id_column` out of their "
            "sources, and ids are made of source, file and record. For `textmill clean` that is --set "
            "'ingest.sources=[{format: FORMAT, name: ONE, paths: [ONE], metadata_columns: [id]}, {format: FORMAT, "
            "name: TWO, paths: [TWO], metadata_columns: [id]}]' in place of the inputs, or the same in a file for "
            "--config"
        )


def _places(config: IngestRequest, pieces: list[Artifact], collisions: list["IdCollision"]) -> Iterator[str]:
    """A line for each id with the first of its places in the files that were read; their pieces are read again for it,
    each as far as it takes."""
    from data_quality.ingest import places_of

    found: dict[str, list[str]] = {collision.id: [] for collision in collisions}
    for piece, artifact in zip(config.pieces, pieces, strict=True):
        shards = {str(shard.path) for shard in artifact.shards()}
        here = [collision for collision in collisions if not shards.isdisjoint(collision.shards)]
        wanted = {one.id: SHOWN_PLACES - len(found[one.id]) for one in here if len(found[one.id]) < SHOWN_PLACES}
        for id, place in places_of(piece, wanted, namer(config.names)) if wanted else ():
            found[id].append(place)
    for collision in collisions:
        places = found[collision.id]
        more = f" and {collision.count - len(places):,} more" if collision.count > len(places) else ""
        yield f"id {collision.id!r}: {' and '.join(places)}{more}"


def gather_skipped(table: Path, pieces: Sequence[Piece], artifacts: Sequence[Artifact]) -> None:
    """The pieces' tables of what was skipped as one, with the line and record numbers of the files.

    A piece that is a range of a file counts from its start, since what lies before it may change without it.
    """
    import pyarrow.parquet as pq

    from data_quality.skipped import SKIPPED_SCHEMA, read_skipped

    with pq.ParquetWriter(table, SKIPPED_SCHEMA, compression="zstd") as writer:
        for piece, artifact in zip(pieces, artifacts, strict=True):
            position = piece.files[0].range if piece.files else None  # a range is a piece of its own
            found = read_skipped(artifact.path / SKIPPED, position)
            if found.num_rows:
                writer.write_table(found)


def skipped_reasons(work: Work, table: Path) -> list[dict[str, Any]]:
    """Skipped records by reason, with the file and the detail of one example each."""
    return rows(
        "SELECT reason, count(*) AS records, min(file) AS example, arg_min(detail, file) AS detail "
        "FROM read_parquet(?) GROUP BY ALL ORDER BY ALL",
        [str(table)],
        work,
    )
