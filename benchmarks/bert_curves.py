"""The curves of benchmarks.bert_learning as one picture: `python -m benchmarks.bert_curves FOLDER FILE.svg`.

FOLDER is what bert_learning was given as --work. Left: nats a token on validation text over the steps; right: how often
the pairs of the two runs that have them are told apart.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

LOSSES = {
    "causal": ("causal_loss", "every next token"),
    "mlm": ("masked_loss", "masked, 80/10/10"),
    "hidden": ("masked_loss", "masked, 100/0/0"),
    "nsp": ("masked_loss", "masked, beside next sentences"),
    "sop": ("masked_loss", "masked, beside sentence order"),
}
PAIRS = {"nsp": "next sentences", "sop": "sentence order"}


def curve(folder: Path, run: str, figure: str) -> tuple[list[int], list[float]]:
    """Steps and what the figure was at each."""
    lines = (folder / "runs" / run / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [row["step"] for row in rows], [row[figure] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the --work of benchmarks.bert_learning")
    parser.add_argument("picture", type=Path, help="an SVG file to write")
    options = parser.parse_args()
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "textmill"  # the same bytes for the same figures
    from matplotlib import pyplot

    figure, (nats, pairs) = pyplot.subplots(1, 2, figsize=(10, 4), width_ratios=[3, 2], layout="constrained")
    for run, (loss, label) in LOSSES.items():
        nats.plot(*curve(options.folder, run, loss), label=label)
    for run, label in PAIRS.items():
        pairs.plot(*curve(options.folder, run, "pair_accuracy"), label=label)
    nats.set(xlabel="steps", ylabel="nats a token, validation text")
    pairs.set(xlabel="steps", ylabel="pairs told apart", ylim=(0.4, 1))
    for axes in (nats, pairs):
        axes.legend(frameon=False)
    figure.savefig(options.picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
