"""Training word2vec: chunks of sequences through the kernel of `lm.vectors.kernels`."""

import numpy as np

from lm.order import draw_seed
from lm.vectors.config import Word2VecConfig
from lm.vectors.corpus import Corpus
from lm.vectors.hierarchical import first_places, huffman_tree, no_tree
from lm.vectors.kernels import train
from lm.vectors.loop import Figures
from lm.vectors.sampling import alias_table, keep_chances

CHUNK_WORDS = 1 << 16
CHUNKS_AT_REST = 4
"""Of the text, over which the loss of vectors at rest is taken."""


class Word2Vec:
    """The two matrices and the steps that train them.

    inputs: float32 [words, dimensions], what is kept in the end; outputs: float32 [words, dimensions], or [words - 1,
    dimensions], inner nodes of the tree, for hierarchical softmax.
    """

    def __init__(self, corpus: Corpus, config: Word2VecConfig, dtype: type = np.float32) -> None:
        self.corpus, self.config = corpus, config
        counts, words = corpus.vocabulary.counts, len(corpus.vocabulary)
        self.inputs: np.ndarray = initial_vectors(words, config).astype(dtype)
        self.keep = keep_chances(counts, config.sample)
        if config.output == "negative_sampling":
            self.tables, self.tree = alias_table(counts**config.negative_exponent), no_tree(words)
            self.negatives, outputs = config.negatives, words
        else:
            self.tables, self.tree = alias_table(np.ones(1)), huffman_tree(counts, first_places(corpus.rows, words))
            self.negatives, outputs = 0, self.tree.inner
        self.outputs: np.ndarray = np.zeros((outputs, config.dimensions), dtype=dtype)
        self.bounds = chunk_bounds(corpus.offsets, CHUNK_WORDS)
        self.sizes = np.diff(corpus.offsets[self.bounds])

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        return {"inputs": self.inputs, "outputs": self.outputs}

    def rate(self, chunk: int) -> float:
        """The learning rate where a chunk begins."""
        epoch, number = divmod(chunk, len(self.sizes))
        return float(self._rates(epoch, self.corpus.offsets[self.bounds[number] : self.bounds[number] + 1])[0])

    def step(self, chunk: int) -> Figures:
        """Train on chunk `chunk` of the endless run of epochs."""
        epoch, number = divmod(chunk, len(self.sizes))
        offsets = self.corpus.offsets[self.bounds[number] : self.bounds[number + 1]]
        return self._run(number, self._rates(epoch, offsets), draw_seed(self.config.seed, "word2vec", chunk))

    def at_rest(self) -> Figures:
        """The loss of the vectors as they are, on a few chunks across the text and the same draws whenever it is asked.

        What `step` returns is the loss on the way, each prediction behind the step of the one before, which may move
        the very same vectors: at a high rate it is much lower than this, and it may rise as the rate falls.
        """
        chosen = np.unique(np.linspace(0, len(self.sizes) - 1, CHUNKS_AT_REST).astype(np.int64)).tolist()
        found = [
            self._run(number, np.zeros(self.bounds[number + 1] - self.bounds[number]), draw_seed(0, "at rest", number))
            for number in chosen
        ]
        return sum(loss for loss, _ in found), sum(predictions for _, predictions in found)

    def _run(self, number: int, rates: np.ndarray, draws: int) -> Figures:
        """Chunk `number` of an epoch at these rates of its sequences; a rate of 0 moves nothing."""
        offsets = self.corpus.offsets[self.bounds[number] : self.bounds[number + 1] + 1]
        loss, predictions = train(
            np.asarray(self.corpus.rows[offsets[0] : offsets[-1]]),
            offsets - offsets[0],
            self.inputs,
            self.outputs,
            self.keep,
            self.tables,
            tuple(self.tree),
            self.negatives,
            self.config.window,
            self.config.architecture == "cbow",
            self.config.cbow_update == "shared",
            rates,
            np.uint64(draws),
        )
        return float(loss), int(predictions)

    def _rates(self, epoch: int, places: np.ndarray) -> np.ndarray:
        """The learning rate at words of an epoch: it falls linearly with the words read."""
        words = int(self.corpus.offsets[-1])
        done = (epoch * words + places) / (self.config.epochs * words)
        first, last = self.config.learning_rate, self.config.final_learning_rate
        return np.maximum(last, first - (first - last) * done)


def initial_vectors(words: int, config: Word2VecConfig) -> np.ndarray:
    """Uniform in ± initial_span / dimensions, float32 [words, dimensions]."""
    draw = np.random.Generator(np.random.Philox(draw_seed(config.seed, "init")))
    uniform = draw.random((words, config.dimensions), np.float32)
    return (2 * uniform - 1) * np.float32(config.initial_span / config.dimensions)


def chunk_bounds(offsets: np.ndarray, size: int) -> np.ndarray:
    """Which sequences begin a chunk, and the number of sequences: whole sequences with about `size` words together."""
    first = np.unique(np.searchsorted(offsets[:-1], np.arange(0, int(offsets[-1]), size)))
    bounds = np.unique(np.concatenate([first, [len(offsets) - 1]]))
    return bounds.astype(np.int64)
