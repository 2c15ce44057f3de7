"""Speed of generation: `python -m benchmarks.generation_speed [--threads 2] [--only context batch peer]`.

Greedy, random weights, GPT-2's architecture with 6 layers, 384 wide, 6 heads, 8,192 tokens and a context of 2,048
(--model modern: the modern one). `context`: tokens per second behind prompts of 128 to 1,984 tokens, with the cache
and, up to 512, without. `batch`: prompts of unequal length, 1 to 32 at once. `peer`: transformers' `generate` with the
same weights on the same prompts, in turn with ours, medians; both are checked to write the same tokens.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from benchmarks.shakespeare import clock
from lm.generate import Decoder, generate_batch
from lm.interop.gpt2 import PREFIX, config_to_hugging_face, weight_rows
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig

SIZE = {"layers": 6, "width": 384, "heads": 6, "context": 2048, "vocab": 8192}


def prompts(model: Decoder, lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(1, model.config.vocab, (n,), generator=generator).tolist() for n in lengths]


def seconds_per_token(model: Decoder, given: list[list[int]], new: int, use_cache: bool = True) -> float:
    """Of all but the first token, which reads the prompt."""
    times: list[float] = []

    def seen(number: int, tokens: list[int]) -> bool:
        if number == 0:
            times.append(clock())
        return False

    generate_batch(model, given, new, temperature=0, use_cache=use_cache, ended=seen)
    return statistics.median(b - a for a, b in pairwise(times))


def by_context(model: Decoder) -> None:
    for length in (128, 512, 1024, 1984):
        cached = seconds_per_token(model, prompts(model, [length]), 24)
        row: dict[str, Any] = {"context": length, "tokens_per_second": round(1 / cached, 1)}
        if length <= 512:
            without = seconds_per_token(model, prompts(model, [length]), 6, use_cache=False)
            row |= {"without_cache": round(1 / without, 1), "ratio": round(without / cached, 1)}
        print(json.dumps(row), flush=True)


def by_batch(model: Decoder) -> None:
    for batch in (1, 2, 4, 8, 16, 32):
        given = prompts(model, [128 + 7 * (n % 5) for n in range(batch)])
        seconds = seconds_per_token(model, given, 16)
        print(json.dumps({"batch": batch, "tokens_per_second": round(batch / seconds, 1)}), flush=True)


def against_transformers(model: GPT, rounds: int) -> None:
    """Whole calls, prompt included."""
    from transformers import GPT2Config, GPT2LMHeadModel

    theirs = GPT2LMHeadModel(GPT2Config(**{**config_to_hugging_face(model.config, 0), "eos_token_id": None})).eval()
    named, ours = dict(theirs.named_parameters()), model.state_dict()
    with torch.no_grad():
        for row in weight_rows(model.config):
            named[PREFIX + row.theirs].copy_(ours[row.ours].T if row.transpose else ours[row.ours])
    for batch, length, new in ((1, 128, 64), (1, 512, 64), (8, 128, 32)):
        given = prompts(model, [length + 3 * (n % 4) for n in range(batch)])
        longest = max(map(len, given))
        rows = torch.tensor([[0] * (longest - len(p)) + p for p in given])
        real = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in given])

        def peer(rows: torch.Tensor = rows, real: torch.Tensor = real, new: int = new) -> list[list[int]]:
            options = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0}
            written = theirs.generate(rows, attention_mask=real, **options)  # noqa: B023
            return written[:, rows.shape[1] :].tolist()

        def mine(given: list[list[int]] = given, new: int = new) -> list[list[int]]:
            return generate_batch(model, given, new, temperature=0)

        assert mine() == peer()
        pairs = [(timed(mine), timed(peer)) for _ in range(rounds)]
        a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(theirs / ours for ours, theirs in pairs)
        row = {
            "batch": batch,
            "prompt": length,
            "new": new,
            "seconds": [round(a, 3), round(b, 3)],
            "ratio": round(ratio, 2),
        }
        print(json.dumps({"peer": "transformers", **row}), flush=True)


def timed(call: Callable[[], Any]) -> float:
    start = clock()
    call()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", choices=["gpt2", "modern"], default="gpt2")
    parser.add_argument("--only", nargs="*", choices=["context", "batch", "peer"], default=["context", "batch", "peer"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model: Decoder = GPT(GPTConfig(**SIZE)) if options.model == "gpt2" else Modern(ModernConfig(**SIZE))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # so that the likeliest token is far ahead of the second
        model.token_embedding.weight.normal_(0, 1, generator=generator)
    if "context" in options.only:
        by_context(model)
    if "batch" in options.only:
        by_batch(model)
    if "peer" in options.only and isinstance(model, GPT):
        against_transformers(model, options.rounds)


if __name__ == "__main__":
    main()
