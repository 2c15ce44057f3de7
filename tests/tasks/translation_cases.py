"""Artifacts of the translation stages from a few pairs, for the record of stage versions."""

import random
import tempfile
from pathlib import Path

from lm.tokenizers.config import ByteBPEConfig
from tasks.store import Artifact
from tasks.translation import PairSource, PairsRequest, PairTokenizerConfig, pair_tokenizer, pairs
from tests.tasks.tiny_corpus import prose


def pairs_case() -> Artifact:
    """Sentences and their words turned round."""
    draw = random.Random(3)
    lines = [prose(draw, "gardens", 1) for _ in range(60)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.tsv"
        path.write_text("".join(f"{line}\t{' '.join(reversed(line.split()))}\n" for line in lines), encoding="utf-8")
        source = PairSource.of((path,), ("source", "target"))
        return pairs(PairsRequest(train=source, valid=None, valid_fraction=0.2, salt="pairs", max_pairs=None))


def pair_tokenizer_case() -> Artifact:
    return pair_tokenizer(PairTokenizerConfig(side="both", train=ByteBPEConfig(vocab_size=300)), pairs=pairs_case())
