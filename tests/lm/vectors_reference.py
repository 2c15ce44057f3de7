"""word2vec the obvious way: lists of pairs, probabilities by PyTorch's autograd, draws as the kernel makes them."""

from collections.abc import Sequence

import numpy as np
import torch

from lm.vectors.config import Word2VecConfig
from lm.vectors.hierarchical import Tree

MASK = (1 << 64) - 1


class Draws:
    """splitmix64 in whole numbers of Python."""

    def __init__(self, state: int) -> None:
        self.state = state

    def bits(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        x = self.state
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        return x ^ (x >> 31)


def skipgram_pairs(words: Sequence[int], reaches: Sequence[int]) -> list[tuple[int, int]]:
    """(word in the middle, word around) of a sequence, `reaches` being how far each place looks."""
    return [
        (word, words[j])
        for i, (word, reach) in enumerate(zip(words, reaches, strict=True))
        for j in range(max(0, i - reach), min(len(words), i + reach + 1))
        if j != i
    ]


def cbow_examples(words: Sequence[int], reaches: Sequence[int]) -> list[tuple[int, list[int]]]:
    """(word in the middle, all words around) of a sequence: a gap to be filled. A word alone is none."""
    examples = []
    for i, (word, reach) in enumerate(zip(words, reaches, strict=True)):
        around = [words[j] for j in range(max(0, i - reach), min(len(words), i + reach + 1)) if j != i]
        if around:
            examples.append((word, around))
    return examples


class Reference:
    """Trains float64 matrices as `lm.vectors.kernels.train` should, one prediction after the other."""

    def __init__(
        self,
        config: Word2VecConfig,
        inputs: np.ndarray,
        outputs: np.ndarray,
        keep: np.ndarray,
        tables: tuple[np.ndarray, np.ndarray],
        tree: Tree,
    ) -> None:
        self.config, self.keep, self.tables, self.tree = config, keep, tables, tree
        self.inputs, self.outputs = torch.from_numpy(inputs.copy()), torch.from_numpy(outputs.copy())
        self.loss, self.predictions, self.collisions = 0.0, 0, 0

    def train(self, sequences: Sequence[Sequence[int]], rates: Sequence[float], state: int) -> None:
        draws = Draws(state)
        for sequence, rate in zip(sequences, rates, strict=True):
            kept = [word for word in sequence if draws.bits() >> 32 < int(self.keep[word])]
            for i, word in enumerate(kept):
                reach = 1 + ((draws.bits() >> 32) * self.config.window >> 32)
                around = [kept[j] for j in range(max(0, i - reach), min(len(kept), i + reach + 1)) if j != i]
                if not around:
                    continue
                if self.config.architecture == "cbow":
                    self.predict(around, *self.targets(word, draws), rate)
                else:
                    for other in around:
                        self.predict([other], *self.targets(word, draws), rate)

    def targets(self, word: int, draws: Draws) -> tuple[list[int], list[int]]:
        """Rows of the outputs and their signs."""
        if self.config.output == "hierarchical_softmax":
            here = slice(int(self.tree.starts[word]), int(self.tree.starts[word + 1]))
            return self.tree.nodes[here].tolist(), self.tree.turns[here].tolist()
        share, other = self.tables
        found = [word]
        for _ in range(self.config.negatives):
            bits = draws.bits()
            cell = (bits >> 32) * len(share) >> 32
            drawn = cell if bits & 0xFFFFFFFF < int(share[cell]) else int(other[cell])
            if drawn != word:
                found.append(drawn)
        self.collisions += len(found) - len(set(found))
        return found, [1] + [-1] * (len(found) - 1)

    def predict(self, around: list[int], targets: list[int], signs: list[int], rate: float) -> None:
        """A step down the gradient that autograd finds."""
        inputs, outputs = self.inputs.requires_grad_(), self.outputs.requires_grad_()
        h = inputs[around].mean(dim=0)
        scores = torch.tensor(signs) * (outputs[targets] @ h)
        loss = -torch.nn.functional.logsigmoid(scores).sum()
        by_input, by_output = torch.autograd.grad(loss, [inputs, outputs])
        if self.config.architecture == "cbow" and self.config.cbow_update == "whole":
            by_input = by_input * len(around)
        self.inputs = (inputs - rate * by_input).detach()
        self.outputs = (outputs - rate * by_output).detach()
        self.loss += float(loss.detach())
        self.predictions += 1
