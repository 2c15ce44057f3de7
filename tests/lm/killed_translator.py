"""A small translator for test_train_translator.py: `python killed_translator.py ROOT NAME=MOMENT,MOMENT,... ...`.

As killed_run.py: for each NAME the run in ROOT/NAME is started once per MOMENT in a process of its own that kills
itself at that moment, and then once more to the end. A NAME begins with the kind of its model. Prints `NAME SIGNALS
SHA256` of the model that is handed back, the average of its last three checkpoints, and of its translations.
"""

import hashlib
import os
import sys
from pathlib import Path

import torch
import torch._dynamo  # the first optimiser imports it: once here, not in every child

from lm.config import OptimizerConfig, TrainConfig
from lm.pairs import Pair
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import CharacterConfig
from lm.train.hooks import Hooks
from lm.train_translator import TRANSLATIONS, train_translator
from lm.translator_config import TranslatorConfig
from tests.lm import killed_run
from tests.lm.killed_run import in_child, kill_self

PAIRS = [Pair(text, text[::-1]) for text in ("abc", "bca", "cab", "aabb", "ccba", "bb", "acac", "cba", "abca")]
STEPS = 12
MODELS = {
    "seq2seq": {"kind": "seq2seq", "embedding": 8, "width": 8, "attention": "additive", "bidirectional": True},
    "transformer": {"kind": "transformer", "layers": 1, "width": 8, "heads": 2, "feed_forward": 16},
}


def train(directory: Path, kill_at: str | None) -> None:
    kind = directory.name.partition("-")[0]
    given = {**MODELS[kind], "dropout": 0.2}
    settings = TranslatorConfig.model_validate(
        {"model": given, "label_smoothing": 0.1, "average": {"checkpoints": 3, "interval": 2}}
    )
    config = TrainConfig(
        steps=STEPS,
        batch=4,
        micro_batch=2,
        precision="fp32",
        optimizer=OptimizerConfig(learning_rate=0.01),
        eval_interval=5,
        sample_interval=0,
        checkpoint_seconds=0,
        keep_last=1,
    )
    hooks = Hooks(on_progress=lambda step, _: kill_self() if kill_at == f"step:{step}" else None)
    tokenizer = directory.parent / "tokenizer"
    train_translator(
        PAIRS, PAIRS[:3], tokenizer, tokenizer, settings, config, directory / "checkpoints", directory, hooks=hooks
    )


def main(root: Path, runs: list[str]) -> None:
    torch.set_num_threads(1)
    killed_run.train = train
    train_tokenizer(["abc"], CharacterConfig(kind="character", vocab_size=300, min_frequency=1), root / "tokenizer")
    for run in runs:
        name, _, moments = run.partition("=")
        signals = [in_child(root / name, moment) for moment in moments.split(",") if moment]
        signals.append(in_child(root / name, None))
        content = b"".join((root / name / file).read_bytes() for file in ("model.safetensors", TRANSLATIONS))
        print(name, ",".join(map(str, signals)), hashlib.sha256(content).hexdigest(), flush=True)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a fork after threads of the tokenizer's would wait for them
    main(Path(sys.argv[1]), sys.argv[2:])
