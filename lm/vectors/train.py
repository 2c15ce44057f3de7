"""From a text to a folder of word vectors: the parts put together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lm.stop import ShouldStop, never
from lm.tokens import TokenIndex
from lm.train.hooks import Hooks
from lm.vectors.artifact import VECTORS, save_vectors
from lm.vectors.config import CommonConfig, GloVeConfig, Word2VecConfig
from lm.vectors.cooccurrence import cooccurrences, write_records
from lm.vectors.corpus import Corpus, corpus_of_tokens, corpus_of_words
from lm.vectors.glove import GloVe
from lm.vectors.loop import ChunkRun, RunState
from lm.vectors.word2vec import Word2Vec


def train_vectors(
    corpus: TokenIndex | Iterable[str],
    tokenizer_dir: Path | None,
    config: Word2VecConfig | GloVeConfig,
    scratch: Path,
    out_dir: Path,
    *,
    memory: int = 1 << 30,
    checkpoint_seconds: float = 60.0,
    checkpoint_interval: int = 0,
    hooks: Hooks | None = None,
    should_stop: ShouldStop = never,
) -> dict[str, Any]:
    """Train on a token index (with its tokenizer's folder) or on lines of words (with None); write a model folder.

    Goes on from the newest good checkpoint in `scratch`, where the text as rows and GloVe's co-occurrences (made of
    blocks of `memory` bytes) lie too. The text is read again then, and lines must be the same ones.

    Returns what config.json says: the settings, words (with a vector), tokens (the text's words that have one), losses
    (the mean of each epoch, on the way), of word2vec losses_at_rest (of the vectors at the end of each epoch, see
    `Word2Vec.at_rest`), ... Raises Interrupted, ResumeError and NonFiniteError as `ChunkRun.run` does, and
    ValueError if the text has too few words.
    """
    if isinstance(corpus, TokenIndex):
        if tokenizer_dir is None:
            raise ValueError("a token index comes with the tokenizer that made it: tokenizer_dir is None")
        text = corpus_of_tokens(corpus, tokenizer_dir, config.min_count, scratch, should_stop)
    else:
        if tokenizer_dir is not None:
            raise ValueError("lines of words have no tokenizer: give a token index, or tokenizer_dir None")
        text = corpus_of_words(corpus, config.min_count, scratch, should_stop)
    loop = _Loop(text, config, scratch / "checkpoints", checkpoint_seconds, checkpoint_interval, hooks, should_stop)
    if isinstance(config, GloVeConfig):
        state, arrays, more = _glove(text, config, scratch, memory, loop)
    else:
        state, arrays, more = _word2vec(text, config, loop)
    described = {
        **config.model_dump(mode="json"),
        "unit": text.unit,
        "words": len(text.vocabulary),
        "tokens": len(text.rows),
        "sequences": len(text.offsets) - 1,
        "corpus": text.fingerprint,
        "deterministic": config.deterministic,
        "losses": state.epochs,
        **more,
    }
    save_vectors(text.vocabulary, arrays, described, tokenizer_dir, out_dir)
    return described


class _Loop:
    """What both models hand to `ChunkRun`."""

    def __init__(
        self,
        text: Corpus,
        config: CommonConfig,
        directory: Path,
        seconds: float,
        interval: int,
        hooks: Hooks | None,
        should_stop: ShouldStop,
    ) -> None:
        self.identity = {"data": text.fingerprint, **config.model_dump(mode="json")}
        self.should_stop = should_stop
        self._given: dict[str, Any] = {
            "identity": self.identity,
            "directory": directory,
            "threads": config.lock_free_threads,
            "hooks": hooks or Hooks(),
            "should_stop": should_stop,
            "checkpoint_seconds": seconds,
            "checkpoint_interval": interval,
        }

    def __call__(self, **model: Any) -> RunState:
        return ChunkRun(**model, **self._given).run()


def _word2vec(
    text: Corpus, config: Word2VecConfig, loop: _Loop
) -> tuple[RunState, dict[str, np.ndarray], dict[str, Any]]:
    model = Word2Vec(text, config)
    state = loop(
        train=model.step,
        arrays=model.arrays,
        sizes=model.sizes,
        epochs=config.epochs,
        rate=model.rate,
        at_rest=model.at_rest,
    )
    return state, {VECTORS: model.inputs, "outputs": model.outputs}, {"losses_at_rest": state.at_rest}


def _glove(
    text: Corpus, config: GloVeConfig, scratch: Path, memory: int, loop: _Loop
) -> tuple[RunState, dict[str, np.ndarray], dict[str, Any]]:
    pairs = cooccurrences(
        text, config.window, scratch, memory, threads=config.lock_free_threads, should_stop=loop.should_stop
    )
    records = write_records(pairs, config.x_max, config.exponent, config.seed, scratch, loop.should_stop)
    model = GloVe(len(text.vocabulary), records, config)
    rate = lambda _: config.learning_rate  # noqa: E731
    state = loop(train=model.step, arrays=model.arrays, sizes=model.sizes, epochs=config.epochs, rate=rate)
    return state, {VECTORS: model.vectors}, {"cooccurrences": len(records)}
