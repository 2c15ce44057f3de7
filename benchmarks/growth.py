"""How the cost of a cleaning grows with the data: `python -m benchmarks.growth [--config FILE] [--scales 1 4 16]`.

`textmill clean` on parts of the English corpus below TEXTMILL_DATA, in an empty store and a process of its own each:
the largest scale is the whole corpus, the others are parts of it drawn by the hash of the document id. Prints the
seconds and the peak resident size of every stage, how the seconds grow from the smallest scale to the largest (1: in
proportion), and draws them with --out.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

from benchmarks.documents import read_documents


def write_parts(directory: Path, scales: list[int]) -> dict[int, tuple[Path, float]]:
    """A JSONL file for every scale, with its megabytes of text."""
    parts = {}
    documents = sorted(read_documents("corpus_en"), key=lambda document: zlib.crc32(document.id.encode()))
    for scale in scales:
        path = directory / f"documents-{scale}.jsonl"
        chosen = documents[: len(documents) * scale // max(scales)]
        with path.open("w", encoding="utf-8") as file:
            for document in chosen:
                row = {"id": document.id, "source": document.source, "text": document.text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        parts[scale] = path, sum(len(document.text.encode()) for document in chosen) / 1e6
    return parts


def clean(inputs: list[Path], home: Path, config: Path, workers: int) -> tuple[float, dict[str, dict[str, Any]]]:
    """Wall seconds of a cleaning, and what each stage noted of its own cost, the last time that it ran."""
    textmill = Path(sys.executable).with_name("textmill")
    command = [textmill, "clean", *inputs, "--out", home / "out", "--config", config, "--workers", str(workers)]
    start = time.perf_counter()
    environment = {**os.environ, "TEXTMILL_HOME": str(home)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"the cleaning failed:\n{done.stderr[-2000:]}")
    seconds = time.perf_counter() - start
    sidecars = [
        (p.parts[-4], json.loads(p.read_text())) for p in (home / "store").glob("artifacts/*/*/_run/sidecar.json")
    ]
    return seconds, dict(sorted(sidecars, key=lambda item: str(item[1]["created"])))


def draw(sizes: list[float], seconds: dict[str, list[float]], out: Path) -> None:
    """Seconds over megabytes, both logarithmic, a line for each stage; the grey one grows in proportion."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
    whole = seconds["whole"]
    axes.plot(sizes, [whole[-1] * size / sizes[-1] for size in sizes], color="0.75", linewidth=6, label="in proportion")
    for name, values in sorted(seconds.items(), key=lambda item: -item[1][-1]):
        if values[-1] >= 0.02 * whole[-1]:
            axes.plot(sizes, values, marker="o", label=name, linewidth=2.5 if name == "whole" else 1.3)
    axes.set(xscale="log", yscale="log", xlabel="megabytes of text", ylabel="seconds")
    axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    """Print a table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/clean-en.yaml"))
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="an SVG to write")
    arguments = parser.parse_args()
    scales = sorted(set(arguments.scales))
    if len(scales) < 2:
        parser.error("--scales: name at least two")
    seconds: dict[str, list[float]] = {"whole": []}
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="textmill-growth-") as name:
        parts = write_parts(Path(name), scales)
        for scale in scales:
            wall, stages = clean(
                [parts[scale][0]], Path(name) / str(scale), arguments.config.absolute(), arguments.workers
            )
            seconds["whole"].append(wall)
            for stage, cost in sorted(stages.items(), key=lambda item: item[1]["created"]):
                seconds.setdefault(stage, []).append(cost["seconds"])
                memory[stage] = cost["peak_process_bytes"]
    sizes = [parts[scale][1] for scale in scales]
    print(f"{'':<16}" + "".join(f"{size:>9.1f} MB" for size in sizes) + "  exponent  largest process")
    for stage, values in seconds.items():
        slope = math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0])
        peak = f"{memory[stage] / 1e6:>10.0f} MB" if stage in memory else ""
        print(f"{stage:<16}" + "".join(f"{value:>10.2f} s" for value in values) + f"{slope:>10.2f}  {peak}")
    if arguments.out:
        draw(sizes, seconds, arguments.out)


if __name__ == "__main__":
    main()
