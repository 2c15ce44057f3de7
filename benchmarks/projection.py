"""What a terabyte would take: `python -m benchmarks.projection MEASURED.json... [--price 0.04]`.

From what `benchmarks.ten_gigabytes` measured at two sizes or more, on paper. For every stage, of S bytes on C cores:

    parts    k * S / min(C, n)    k: processor seconds a byte of the largest run, (seconds in parts) * workers / S,
                                  * 1.03 for Dask's batches; n: parts there are (shards; for `bands` its groups)
    alone    a * S ** e           one process over all shards; e from the sizes measured, by least squares of the
                                  logarithms, at most 2; a so that the largest run comes out. Where e is below 1, since
                                  starting weighs less and less, instead the line through the two largest runs
    sample   constant             stages that read a sample (tokenizer's learning, pretraining, scoring)

A stage's time is the sum. Memory of the process alone is a line through its largest resident sizes, never falling. Core
hours are counted twice: those that work, and those that are held, all cores until the end, which cost the price.

Prints the table of growth, projections for 1 TB and 100 TB, the stages that one process does, and the number of cores
from which each takes longer than all parallel work together.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_quality.dedupe.bands import band_groups

SIZES = (1e12, 1e14)
CORES = {1e12: (64, 256), 1e14: (1024, 4096)}
DASK = 1.03
"""What a batch costs beside its work (docs/results/data-quality.md)."""

SHORT = 1.0
"""Seconds below which a stage is too short to tell how it grows: it is taken to grow in proportion."""

SAMPLED = {"train_tokenizer", "pretrain", "evaluate"}
BANDS = 14  # of the preset fineweb


@dataclass(frozen=True)
class Growth:
    """How one stage grows. Seconds, bytes."""

    stage: str
    per_byte: float  # processor seconds in parts
    alone: float  # of the largest run
    exponent: float | None  # None: too short to tell
    size: float  # of the largest run
    straight: tuple[float, float]  # alone, as a line: at size 0, and for each byte
    memory: tuple[float, float]  # at size 0, and for each byte
    parts_per_byte: float
    documents_per_byte: float

    def most_parts(self, size: float) -> float:
        """How many cores can work at once."""
        if self.stage == "bands":
            return len(band_groups(round(self.documents_per_byte * size), BANDS))
        return max(1.0, self.parts_per_byte * size)

    def parts_seconds(self, size: float, cores: int) -> float:
        """Wall seconds of the work by shard."""
        return DASK * self.per_byte * size / min(cores, self.most_parts(size))

    def alone_seconds(self, size: float) -> float:
        """Wall seconds of what one process does."""
        if self.stage in SAMPLED:
            return self.alone
        if self.exponent is not None and self.exponent < 1:
            return self.straight[0] + self.straight[1] * size
        return self.alone * (size / self.size) ** min(2.0, self.exponent or 1.0)

    def memory_bytes(self, size: float) -> float:
        """Resident size of the largest process."""
        return self.memory[0] + self.memory[1] * (0.0 if self.stage in SAMPLED else size)


def growths(runs: list[dict[str, Any]]) -> list[Growth]:
    """Of every stage of the largest run, in their order there."""
    runs = sorted(runs, key=lambda run: run["text_bytes"])
    largest = runs[-1]
    documents = largest["stages"][0]["counts"]["documents"]  # of the first stage, which reads the sources
    found = []
    for stage in dict.fromkeys(s["stage"] for s in largest["stages"]):
        rows = [(run, next((s for s in run["stages"] if s["stage"] == stage), None)) for run in runs]
        pairs = [(run["text_bytes"], row) for run, row in rows if row is not None]
        size, last = pairs[-1]
        alone = [(s, row["seconds"] - row["parts_seconds"]) for s, row in pairs]
        memory = [(s, row["peak_process_bytes"]) for s, row in pairs]
        found.append(
            Growth(
                stage,
                last["parts_seconds"] * largest["workers"] / size,
                max(0.0, alone[-1][1]),
                exponent(alone),
                size,
                line(alone[-2:]),
                line(memory),
                last["parts"] / size,
                documents / largest["text_bytes"],
            )
        )
    return found


def exponent(points: list[tuple[float, float]]) -> float | None:
    """The slope of log seconds over log bytes; None where fewer than two are long enough to tell."""
    told = [(math.log(size), math.log(seconds)) for size, seconds in points if seconds >= SHORT]
    return least_squares(told)[1] if len(told) > 1 else None


def line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The value at size 0 and for each byte; level where values fall, and where there is one point."""
    highest = max(value for _, value in points)
    if len(points) < 2:
        return highest, 0.0
    start, slope = least_squares(points)
    return (start, slope) if slope > 0 else (highest, 0.0)


def least_squares(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope."""
    n = len(points)
    x, y = sum(p[0] for p in points) / n, sum(p[1] for p in points) / n
    slope = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    return y - slope * x, slope


def growth_table(runs: list[dict[str, Any]], found: list[Growth]) -> list[str]:
    """How seconds and memory of every stage grew."""
    runs = sorted(runs, key=lambda run: run["text_bytes"])
    sizes = [f"{run['text_bytes'] / 1e9:.2f} GB" for run in runs]
    lines = [
        f"| stage | alone, s, at {', '.join(sizes)} | exponent | in parts, core s a GB | resident, MB, at each |",
        "|---|---|---|---|---|",
    ]
    for growth in found:
        rows = [next((s for s in run["stages"] if s["stage"] == growth.stage), None) for run in runs]
        alone = ", ".join(f"{r['seconds'] - r['parts_seconds']:.1f}" if r else "-" for r in rows)
        memory = ", ".join(f"{r['peak_process_bytes'] / 1e6:,.0f}" if r else "-" for r in rows)
        exponent = "" if growth.exponent is None else f"{growth.exponent:.2f}"
        lines.append(f"| {growth.stage} | {alone} | {exponent} | {1e9 * growth.per_byte:,.0f} | {memory} |")
    return lines


def projected(found: list[Growth], size: float, cores: int, price: float) -> str:
    """One size on one cluster: the whole, and the stages that take most of it."""
    parts = {g.stage: g.parts_seconds(size, cores) for g in found}
    alone = {g.stage: g.alone_seconds(size) for g in found}
    wall = sum(parts.values()) + sum(alone.values())
    working = sum(DASK * g.per_byte * size for g in found) + sum(alone.values())
    held = wall * cores / 3600
    most = sorted(found, key=lambda g: -(parts[g.stage] + alone[g.stage]))[:4]
    whole = {g.stage: parts[g.stage] + alone[g.stage] for g in found}
    shown = "; ".join(
        f"{g.stage} {duration(whole[g.stage])} ({alone[g.stage] / whole[g.stage]:.0%} alone)" for g in most
    )
    return (
        f"| {size / 1e12:.0f} TB, {cores:,} cores | {duration(wall)} | {duration(sum(parts.values()))} | "
        f"{duration(sum(alone.values()))} | {working / 3600:,.0f} | {held:,.0f} | {held * price:,.0f} | {shown} |"
    )


def alone_table(found: list[Growth]) -> list[str]:
    """The stages that one process does: time and memory at each size, and where they outweigh the parallel work."""
    heads = " | ".join(f"{size / 1e12:.0f} TB: time, resident, cores" for size in SIZES)
    lines = [f"| one process | {heads} |", "|---|" + "---|" * len(SIZES)]
    for growth in sorted(found, key=lambda g: -g.alone_seconds(SIZES[-1])):
        if growth.stage in SAMPLED or growth.alone_seconds(SIZES[0]) < 60:
            continue
        cells = []
        for size in SIZES:
            work = sum(DASK * g.per_byte * size for g in found)
            seconds = growth.alone_seconds(size)
            resident = growth.memory_bytes(size) / 1e9
            cells.append(f"{duration(seconds)}, {resident:,.0f} GB, from {work / seconds:,.0f}")
        lines.append(f"| {growth.stage} | {' | '.join(cells)} |")
    return lines


def duration(seconds: float) -> str:
    """Minutes, hours or days."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, nargs="+")
    parser.add_argument("--price", type=float, default=0.04, help="of a core hour, in any currency")
    arguments = parser.parse_args()
    runs = [json.loads(path.read_text()) for path in arguments.measured]
    if len({run["text_bytes"] for run in runs}) < max(2, len(runs)):
        parser.error("name what was measured at two sizes or more, each once: growth cannot be told from one")
    found = growths(runs)
    print("\n".join(growth_table(runs, found)))
    print(
        f"\n| | wall | in parts | alone | core hours at work | held | price at {arguments.price} | most of it |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for size in SIZES:
        for cores in CORES[size]:
            print(projected(found, size, cores, arguments.price))
    print()
    print("\n".join(alone_table(found)))


if __name__ == "__main__":
    main()
