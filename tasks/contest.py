"""A contest: two models on the same held-out documents, and whether the challenger wins with confidence."""

from typing import Any

from pydantic import Field

from lm.config import StrictModel
from tasks.stage import Work, sound_file, stage
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

CONTEST = "contest.json"


class ContestConfig(StrictModel):
    """What winning means."""

    confidence: float = Field(
        default=0.95,
        gt=0.5,
        lt=1,
        description="Of the paired bootstrap interval of the difference in bits per byte, documents resampled.",
    )
    margin: float = Field(
        default=0.0,
        ge=0,
        description="Bits per byte: the whole interval has to lie above. 0: any improvement that is none of chance.",
    )
    draws: int = Field(default=10_000, ge=100, description="Bootstrap samples.")


@stage(version=1, libraries=("numpy",))
def contest(work: Work, config: ContestConfig, *, champion: Artifact, challenger: Artifact) -> None:
    """Write contest.json: documents, bytes, bits_per_byte of both, difference (value, low, high, p_value), confidence,
    margin, wins, reason.

    The difference is champion less challenger, in bits over all bytes of the documents: above 0 the challenger is
    better. A long document counts for as much as it is long, as in bits per byte everywhere.

    Args:
        champion, challenger: exams of kind `perplexity` on the same documents.

    Raises:
        ValueError: they were not asked the same documents, or one of the models gives bytes no probability.
    """
    import numpy as np
    import pyarrow.parquet as pq

    from lm.evaluate.bootstrap import difference_of
    from lm.evaluate.decisions import DECISIONS

    tables = [pq.read_table(each.file(DECISIONS), columns=["id", "nats", "bytes"]) for each in (champion, challenger)]
    first, second = (table.sort_by("id") for table in tables)
    if first["id"] != second["id"]:
        raise ValueError(f"{champion.name} and {challenger.name} were not asked the same documents")
    sizes = np.array([table["bytes"].to_numpy() for table in (first, second)], np.float64)
    bits = np.array([table["nats"].to_numpy() for table in (first, second)], np.float64) / np.log(2)
    if not (sizes > 0).all() or not np.isfinite(bits).all():
        raise ValueError("one of the models gives some of this text no probability: bits per byte cannot be compared")

    def by(chosen: Any) -> float:
        per_byte = bits[:, chosen].sum(1) / sizes[:, chosen].sum(1)
        return float(per_byte[0] - per_byte[1])

    difference = difference_of(by, len(first), config.draws, config.confidence)
    wins = bool(difference.low > config.margin)
    each = bits.sum(1) / sizes.sum(1)
    share = f"{100 * config.confidence:g} %"
    interval = (
        f"{difference.value:+.4f} bits per byte ({share} interval {difference.low:+.4f} to {difference.high:+.4f})"
    )
    found: dict[str, Any] = {
        "documents": len(first),
        "bytes": int(sizes[0].sum()),
        "bits_per_byte": {"champion": float(each[0]), "challenger": float(each[1])},
        "difference": difference._asdict(),
        "confidence": config.confidence,
        "margin": config.margin,
        "wins": wins,
        "reason": f"the challenger is better by {interval}, {'' if wins else 'not '}above {config.margin:g} throughout",
    }
    write_json(work.directory / CONTEST, found)
    work.counts |= {"documents": len(first), "wins": int(wins), "difference": difference.value}
    work.counts |= {f"{who}_bits_per_byte": value for who, value in found["bits_per_byte"].items()}
    work.journal.write("file", path=CONTEST, directory="contest")
    rows = [{"model": who, "bits per byte": round(value, 4)} for who, value in found["bits_per_byte"].items()]
    work.table("bits-per-byte", rows, f"{len(first):,} documents that neither model has read: {found['reason']}")


def read_contest(artifact: Artifact) -> dict[str, Any]:
    """What the stage wrote."""
    return dict(read_json(sound_file(artifact, CONTEST)))
