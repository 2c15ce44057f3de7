"""Zero, one and few examples at three sizes (C20): `python -m benchmarks.in_context [--seeds 1] [--steps 600]`.

GPTs of three sizes read the same tokens: half of them prose of corpus_en (below TEXTMILL_DATA), half of them pages in
the formats that records and lists of such text have (lm/evaluate/patterns.py), written with three quarters of its
frequent words. They are then asked to go on with formats that the prompt shows, in the other quarter of the words,
with 0, 1, 4 and 16 examples. Nothing but the prompt says which of four choices is right. Prints a line of JSON for
each model.
"""

import argparse
import json
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from benchmarks._prose import ENGLISH, texts
from benchmarks._small_runs import gpt, train
from lm.evaluate.patterns import PATTERNS, frequent_words, pattern_decisions, pattern_figures, pattern_items
from lm.order import draw_seed
from lm.texts.decoder import DecoderText
from lm.tokenizer import encode_documents, end_of_text_id, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.tokenizers.spelling import Spelling

SIZES = [(1, 32), (2, 64), (4, 128)]
CONTEXT, BATCH, VOCAB = 256, 16, 1024
SHOTS = (0, 1, 4, 16)
DOCUMENTS, LONGEST = 1200, 4000


def pages(words: list[str], count: int, seed: int) -> list[str]:
    """Documents in one format each: a pattern's examples, what is asked, and the right choice."""
    found = []
    kinds = sorted(PATTERNS)
    for number in range(count // len(kinds)):
        for kind in kinds:
            [item] = pattern_items(kind, words, 1, draw_seed(seed, "page", number, kind))
            found.append("".join(item.examples) + item.question + item.choices[item.label] + "\n")
    return found


def tokens_of(tokenizer: Tokenizer, documents: list[str], seed: int) -> np.ndarray:
    """Documents one after the other behind the end-of-text token, in an order that the seed decides."""
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(documents))
    ids = encode_documents(tokenizer, [documents[at] for at in order])
    end = [end_of_text_id(tokenizer)]
    return np.concatenate([np.concatenate([end, each]) for each in ids])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 1, 2], help="which of the three")
    parser.add_argument("--items", type=int, default=150, help="of each format")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    prose = [text[:LONGEST] for _, text in islice(texts("corpus_en", ENGLISH), DOCUMENTS)]
    words = frequent_words(prose)
    known, unseen = words[: 3 * len(words) // 4], words[3 * len(words) // 4 :]
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer(prose, ByteBPEConfig(vocab_size=VOCAB), Path(folder))
        tokenizer = load_tokenizer(Path(folder))
    for seed in arguments.seeds:
        needed = arguments.steps * BATCH * CONTEXT // 2
        running = tokens_of(tokenizer, prose, seed)[:needed]
        formats = tokens_of(tokenizer, pages(known, needed // 150, seed), seed)[:needed]
        halves = zip(*(np.array_split(each, 2000) for each in (running, formats)), strict=True)
        text = np.concatenate([part for pair in halves for part in pair])
        items = [item for kind in PATTERNS for item in pattern_items(kind, unseen, arguments.items, seed=0)]
        for layers, width in (SIZES[number] for number in arguments.sizes):
            model = gpt(VOCAB, layers, width, CONTEXT, seed)
            settings = {"context": CONTEXT, "steps": arguments.steps, "batch": BATCH, "rate": 2e-3, "seed": seed}
            trained = train(model, text, running[: 50 * CONTEXT], **settings)
            table = pattern_decisions(DecoderText(model.eval(), tokenizer, Spelling({})), items, SHOTS)
            figures = pattern_figures(table)
            print(
                json.dumps(
                    {
                        "layers": layers,
                        "width": width,
                        "parameters": sum(p.numel() for p in model.parameters()),
                        "seed": seed,
                        "tokens": trained["tokens"],
                        "distinct_tokens": len(text),
                        "seconds": trained["seconds"],
                        "prose_nats_per_token": trained["nats"],
                        "figures": {name: round(float(figure["value"]), 4) for name, figure in figures.items()},
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
