"""A tiny training of every kind that trains, for test_kill.py: what a user would call, with hooks that take notes.

Each entry of `KINDS` prepares, once in the process that forks the others, what its runs share, and gives a function
that trains in a folder: `train(folder, hooks, workers)` writes folder/model.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

import lm.vectors.glove
import lm.vectors.word2vec
from lm.config import TrainConfig
from lm.models.rnn_config import rnn_preset
from lm.pairs import Pair
from lm.pretrain import RECIPES, pretrain
from lm.pretraining import Pretraining
from lm.recipes.recipe import Given
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, CharacterConfig, TokenizerConfig, WordConfig, WordPieceConfig
from lm.tokens import TokenIndex
from lm.train.hooks import Hooks
from lm.train_translator import train_translator
from lm.translator_config import TranslatorConfig
from lm.vectors.config import parse_vectors_config
from lm.vectors.train import train_vectors
from tests.lm.masked_corpus import ROBERTA, documents, make_index, make_similar

Train = Callable[[Path, Hooks, int], None]
STEPS, INTERVAL = 20, 3
"""Of each run, and between its checkpoints."""

TOKENIZERS: dict[str, TokenizerConfig] = {
    "bytes": ByteBPEConfig(vocab_size=260),
    "words": WordConfig(kind="word", vocab_size=300, min_frequency=1),
    "pieces": WordPieceConfig(kind="wordpiece", vocab_size=300),
    "roberta": ROBERTA,
}


@cache
def corpus(tokenizer: str) -> tuple[TokenIndex, Path]:
    """A few documents under a tokenizer, made once in this process; the folder goes with it."""
    folder = Path(tempfile.mkdtemp(dir=ROOT[0]))
    return make_index(folder, documents(6, sentences=4), TOKENIZERS[tokenizer])


ROOT: list[Path] = []
"""Where things of this process alone may lie."""


def train_config(**changed: Any) -> TrainConfig:
    """Two micro-batches a step; two evaluations and two samples on the way, and checkpoints between them."""
    settings: dict[str, Any] = {
        "steps": STEPS,
        "batch": 4,
        "micro_batch": 2,
        "precision": "fp32",
        "optimizer": {"learning_rate": 0.01},
        "metrics_interval": 1,
        "eval_interval": 7,
        "eval_sequences": 4,
        "sample_interval": 8,
        "sample_tokens": 3,
        "sample_prompts": ["ba"],
        "checkpoint_interval": INTERVAL,
        "checkpoint_seconds": 0,
        "keep_last": 1,
    }
    return TrainConfig.model_validate(settings | changed)


def pretrained(tokenizer: str, settings: dict[str, Any], **train: Any) -> Train:
    """A model that is pretrained on tokens."""
    index, folder = corpus(tokenizer)
    parsed: Any = TypeAdapter(Pretraining).validate_python({"kind": settings["model"]["kind"], **settings})
    parsed = parsed.with_vocab(index.vocab)
    masking = getattr(parsed, "masking", None)
    similar = None
    if masking and masking.hidden_by == "similar":
        similar = folder.parent
        make_similar(index, load_tokenizer(folder)).save(similar)
    given = Given(parsed, parsed.resolve(train_config(**train)), index, index, folder, similar_words=similar)
    RECIPES[parsed.model.kind](given)  # what is compiled is loaded once, and not in every child

    def run(directory: Path, hooks: Hooks, workers: int) -> None:
        config = given.config.model_copy(update={"data_workers": workers})
        pretrain(replace(given, config=config), directory / "checkpoints", directory / "model", hooks)

    return run


SMALL = {"layers": 1, "width": 16, "heads": 2}
GPT = {"kind": "gpt", **SMALL, "context": 16, "dropout": 0.1}
RNN = {"kind": "rnn", "embedding": 8, "width": 12, "output_dropout": 0.1}
AWD = rnn_preset("awd-lstm", embedding=12, width=16, layers=2).model_dump()
XL = {"kind": "transformer_xl", **SMALL, "inner": 32, "memory": 9, "dropout": 0.1}
XLNET = {"kind": "xlnet", **SMALL, "inner": 32, "context": 16, "dropout": 0.1}
BERT = {"kind": "bert", **SMALL, "context": 32, "segments": 2}
ELMO = {
    "kind": "elmo",
    "characters": 9,
    "character_width": 4,
    "filters": [[1, 4], [2, 4]],
    "width": 8,
    "cell_width": 12,
    "clip": 1.0,
}


def masked(tokenizer: str, model: dict[str, Any], segments: dict[str, Any], masking: dict[str, Any]) -> Train:
    """BERT or one of its kin; 20 steps of 4 are more than an epoch, so that masks change on the way."""
    return pretrained(
        tokenizer, {"model": {**BERT, **model}, "segments": {"length": 32, **segments}, "masking": masking}
    )


PAIRS = [Pair(text, text[::-1]) for text in ("abc", "bca", "cab", "aabb", "ccba", "bb", "acac", "cba", "abca")]


def translated(model: dict[str, Any]) -> Train:
    """A translator of mirrored words, handed back as the average of its last checkpoints."""
    tokenizer = Path(tempfile.mkdtemp(dir=ROOT[0]))
    train_tokenizer(["abc"], CharacterConfig(kind="character", vocab_size=300, min_frequency=1), tokenizer)
    average = {"checkpoints": 3, "interval": INTERVAL}
    settings = TranslatorConfig.model_validate(
        {"model": {**model, "dropout": 0.2}, "label_smoothing": 0.1, "average": average}
    )

    def run(directory: Path, hooks: Hooks, workers: int) -> None:
        train_translator(
            PAIRS,
            PAIRS[:3],
            tokenizer,
            tokenizer,
            settings,
            train_config(data_workers=workers, sample_prompts=["abc"]),
            directory / "checkpoints",
            directory / "model",
            hooks=hooks,
        )

    return run


def vectors(settings: dict[str, Any]) -> Train:
    """Word vectors in chunks, ten an epoch. Their text is in memory: there is nothing for data workers to do."""
    lm.vectors.word2vec.CHUNK_WORDS, lm.vectors.glove.CHUNK_RECORDS = 200, 300
    random = np.random.default_rng(0)
    lines = [" ".join(f"w{word}" for word in random.zipf(1.3, 20) if word < 200) for _ in range(120)]
    config = parse_vectors_config({"dimensions": 8, "epochs": 3, "min_count": 1, **settings})

    def run(directory: Path, hooks: Hooks, workers: int = 0) -> None:
        train_vectors(
            lines,
            None,
            config,
            directory / "scratch",
            directory / "model",
            checkpoint_seconds=0,
            checkpoint_interval=INTERVAL,
            hooks=hooks,
        )

    with tempfile.TemporaryDirectory(dir=ROOT[0]) as warm:
        run(Path(warm), Hooks())  # the kernels are loaded once, and not in every child
    return run


KINDS: dict[str, Callable[[], Train]] = {
    "gpt": partial(pretrained, "bytes", {"model": GPT}),
    "gpt1": partial(pretrained, "bytes", {"model": {**GPT, "norm": "post"}}),
    "gpt3": partial(pretrained, "bytes", {"model": {**GPT, "layers": 2, "band": 4}, "document_mask": True}),
    "modern": partial(pretrained, "bytes", {"model": {"kind": "modern", **SMALL, "context": 16}}),
    "elman": partial(pretrained, "bytes", {"model": {**RNN, "cell": "elman"}, "stream": {"bptt": 8}}),
    "gru": partial(pretrained, "bytes", {"model": {**RNN, "cell": "gru"}, "stream": {"bptt": 8}}),
    "lstm": partial(pretrained, "bytes", {"model": {**RNN, "cell": "lstm"}, "stream": {"bptt": 8}}),
    # carried states, the average of the weights and the evaluations that began it are in the checkpoint
    "awd": partial(
        pretrained,
        "bytes",
        {"model": AWD, "stream": {"bptt": 8, "random": True, "alpha": 2.0, "beta": 1.0}},
        eval_interval=4,
        optimizer={"method": "sgd", "learning_rate": 5.0, "weight_decay": 1e-6, "average_after": 0},
    ),
    "nnlm": partial(
        pretrained, "words", {"model": {"kind": "nnlm", "order": 4, "embedding": 6, "hidden": 8}, "sequence": 16}
    ),
    "elmo": partial(pretrained, "words", {"model": ELMO, "sequence": 6}),
    "bert": partial(masked, "pieces", {}, {"passes": 2}, {"dynamic": False}),
    "roberta": partial(masked, "roberta", {"pair_head": False, "segments": 1}, {"pairs": "none"}, {}),
    "albert": partial(
        masked,
        "pieces",
        {"layers": 2, "embedding": 8, "shared_layers": True},
        {"pairs": "sop"},
        {"unit": "word", "spans": [1, 0.5]},
    ),
    "spanbert": partial(
        masked,
        "pieces",
        {"pair_head": False, "boundary_head": True, "boundary_width": 4},
        {"pairs": "none"},
        {"unit": "word", "spans": [0.5, 0.5], "fate": "span", "boundary": True},
    ),
    "macbert": partial(
        masked,
        "pieces",
        {},
        {},
        {"unit": "word", "chinese_words": True, "spans": [0.4, 0.3], "fate": "word", "hidden_by": "similar"},
    ),
    # the memory of each layer is in the checkpoint
    "xl": partial(pretrained, "bytes", {"model": XL, "stream": {"segment": 8}}),
    # orders follow from the number of the example
    "xlnet": partial(pretrained, "bytes", {"model": XLNET, "permutation": {"predict": 4}}),
    "xlnet_memory": partial(pretrained, "bytes", {"model": {**XLNET, "memory": 8}, "permutation": {"predict": 4}}),
    "seq2seq": partial(
        translated, {"kind": "seq2seq", "embedding": 8, "width": 8, "attention": "additive", "bidirectional": True}
    ),
    "transformer": partial(
        translated, {"kind": "transformer", "layers": 1, "width": 8, "heads": 2, "feed_forward": 16}
    ),
    "word2vec": partial(vectors, {"kind": "word2vec"}),
    "glove": partial(vectors, {"kind": "glove", "window": 4, "x_max": 5.0}),
}
