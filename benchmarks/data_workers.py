"""What data workers give: `python -m benchmarks.data_workers --work FOLDER [--batch 128] [--device-ms 100]`.

A training that needs a batch of BERT's examples every `--device-ms` (a GPU computes, the processor sleeps) and reads it
from `lm.train.batches` with 0, 1 and 2 workers, and from torch's DataLoader with as many, in turn, `--rounds` times:
the median milliseconds that a step waits for its batch, and those of the first, which starts the workers. The same
steps are read each time, and have the same bits. The text is that of benchmarks.bert_corpus.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from benchmarks.bert_corpus import prepare
from lm.masked_examples import MaskedExamples
from lm.masking_config import MaskingConfig, SegmentsConfig
from lm.order import numbered_by_epoch
from lm.tokenizer import load_tokenizer
from lm.train.batches import AHEAD, Reading, Steps, readings


def loaded(steps: Steps, first: int, end: int, workers: int) -> Iterator[Reading]:
    """The same steps by torch's DataLoader, which sends tensors through shared memory."""
    loader = DataLoader(
        steps,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(first, end),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        multiprocessing_context="spawn" if workers else None,
    )
    yield from loader


def waits(read: Iterator[Reading], device_ms: float) -> tuple[list[float], list[torch.Tensor]]:
    """Milliseconds that each step waits for its batch, and the tokens that it then has."""
    found, tokens = [], []
    while True:
        started = time.perf_counter()
        reading = next(read, None)
        if reading is None:
            return found, tokens
        found.append(1e3 * (time.perf_counter() - started))
        tokens.append(reading.parts[0]["tokens"])
        time.sleep(device_ms / 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--device-ms", type=float, default=100.0)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    corpus = prepare(options.work, megabytes=8.0)
    examples = MaskedExamples(
        corpus.train, load_tokenizer(corpus.tokenizer), MaskingConfig(), SegmentsConfig(length=options.length), seed=0
    )
    steps = Steps(examples, numbered_by_epoch, options.batch, options.batch, seed=0)
    steps[0]  # kernels are loaded
    expected = [steps[n].parts[0]["tokens"] for n in range(options.steps)]
    ways = {f"{of} {workers}": (of, workers) for workers in (0, 1, 2) for of in ("ours", "DataLoader")}
    rows: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (of, workers) in ways.items():
            read = (readings if of == "ours" else loaded)(steps, 0, options.steps, workers)
            with closing(read):  # type: ignore[type-var]
                waited, tokens = waits(read, options.device_ms)
            assert all(torch.equal(a, b) for a, b in zip(tokens, expected, strict=True))
            rows[name].append(waited)
    for name, rounds in rows.items():
        later = [statistics.median(each[options.steps // 4 :]) for each in rounds]
        print(
            json.dumps(
                {
                    "batches by": name,
                    "ms a step waits": round(statistics.median(later), 2),
                    "ms the first waits": round(statistics.median(each[0] for each in rounds)),
                }
            )
        )


if __name__ == "__main__":
    main()
