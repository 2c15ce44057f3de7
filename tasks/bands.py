"""Bands: which documents share a band of their signatures. The part of near-dedupe that is most work, by band."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.running.parts import Part, build_parts, one_table
from tasks.stage import NoConfig, Work, stage
from tasks.store import Artifact, Shard

if TYPE_CHECKING:
    from data_quality.dedupe.bands import BandGroup


@stage(version=5)
def bands(work: Work, config: NoConfig, *, signatures: Artifact) -> None:
    """Find the documents that share a band, one part for a group of bands.

    Positions in the tables count through the shards of `signatures` as `in_order` has them.
    """
    from data_quality.dedupe.bands import band_groups
    from data_quality.dedupe.exact import check_signatures

    shards = in_order(signatures)
    paths = [shard.path for shard in shards]
    count, _ = check_signatures(paths)
    material = [shard.digest for shard in shards]
    parts = [
        Part({"signatures": material, "group": asdict(group)}, (paths, group))
        for group in band_groups(int(signatures.counts()["documents"]), count)
    ]
    build_parts(work, "bands.group", 5, bands_part, parts, unit="groups of bands")


def in_order(signatures: Artifact) -> list[Shard]:
    """Signature shards in the order of their content: artifacts of equal content may list them in another one."""
    return sorted(signatures.shards(), key=lambda shard: shard.digest)


def bands_part(directory: Path, signatures: Sequence[Path], group: "BandGroup") -> dict[str, Any]:
    """One group of bands, in a worker."""
    from data_quality.dedupe.bands import shared_bands

    out = directory / "bands.parquet"
    return one_table(out, shared_bands(signatures, group, out))
