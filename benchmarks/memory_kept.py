"""What keeping freed memory is worth to a training step (`lm.memory`): `python -m benchmarks.memory_kept [--rounds 2]`.

Forwards, backwards and AdamW on random tokens, one thread, in processes of their own in turn: as the C library does it,
and with `keep_freed_memory`. Tokens for each second of the processor, the first steps left out.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from lm.memory import keep_freed_memory
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig

LEFT_OUT, ROWS, LENGTH, VOCAB = 3, 8, 128, 4096
MODELS: dict[str, Callable[[], nn.Module]] = {
    "nnlm": lambda: NNLM(NNLMConfig(order=5, embedding=64, hidden=128, start_token=0, vocab=VOCAB)),
    "gpt": lambda: GPT(GPTConfig(layers=4, width=192, heads=4, context=LENGTH, vocab=VOCAB)),
}


def speed(model: nn.Module, steps: int) -> float:
    """Tokens for each second of the processor."""
    torch.set_num_threads(1)
    optimizer, start = torch.optim.AdamW(model.parameters(), lr=1e-3), 0.0
    generator = torch.Generator().manual_seed(0)
    for step in range(LEFT_OUT + steps):
        if step == LEFT_OUT:
            start = time.process_time()
        tokens = torch.randint(1, VOCAB, (ROWS, LENGTH + 1), generator=generator)
        F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return steps * ROWS * LENGTH / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--model", choices=list(MODELS), help="one process: this model")
    parser.add_argument("--kept", action="store_true", help="of that process: memory is kept")
    options = parser.parse_args()
    if options.model:
        if options.kept:
            keep_freed_memory()
        print(speed(MODELS[options.model](), options.steps))
        return
    for name in MODELS:
        found: dict[str, list[int]] = {"as glibc does it": [], "kept": []}
        for _ in range(options.rounds):
            for way, more in zip(found, ([], ["--kept"]), strict=True):
                command = [sys.executable, "-m", "benchmarks.memory_kept", "--model", name, *more]
                command += ["--steps", str(options.steps)]
                found[way].append(round(float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)))
        print(json.dumps({"model": name, **found}), flush=True)


if __name__ == "__main__":
    main()
