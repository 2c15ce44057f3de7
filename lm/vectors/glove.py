"""GloVe: word vectors whose products are the logarithms of co-occurrences (Pennington et al. 2014).

    J = Σ f(X_ij) (w_i · w̃_j + b_i + b̃_j - ln X_ij)²          f(x) = min(1, (x / x_max) ** exponent)

over all X_ij > 0. The two sets of vectors differ only by their random beginning; their sum is the result (section 4.2).
"""

import numpy as np

from lm.compiled import vector_kernel
from lm.order import draw_seed
from lm.vectors.config import GloVeConfig
from lm.vectors.loop import Figures

CHUNK_RECORDS = 1 << 18


@vector_kernel
def train(records, parameters, sums, rate):  # type: ignore[no-untyped-def]
    """One pass over records with AdaGrad (Duchi et al. 2011); returns Σ f(X) (...)² / 2, float64.

    Of a gradient g of f(X) (...)² / 2: s += (rate g)², then the parameter -= rate g / √s; the sums s begin at 1. That
    the rate is in the sum is how the released program has it: the steps shrink 1 / rate times later.
    """
    words, others, logs, weights = records
    w, c, w_bias, c_bias = parameters
    w_sum, c_sum, w_bias_sum, c_bias_sum = sums
    one = w.dtype.type(1)
    loss = 0.0
    for r in range(len(words)):
        i, j = words[r], others[r]
        a, b, a_sum, b_sum = w[i], c[j], w_sum[i], c_sum[j]
        total = w_bias[i] + c_bias[j] - logs[r]
        for k in range(len(a)):
            total += a[k] * b[k]
        scaled = rate * weights[r] * total
        loss += 0.5 * np.float64(weights[r]) * np.float64(total) * np.float64(total)
        for k in range(len(a)):
            step_a, step_b = scaled * b[k], scaled * a[k]
            a_sum[k] += step_a * step_a
            b_sum[k] += step_b * step_b
            a[k] -= step_a * (one / np.sqrt(a_sum[k]))
            b[k] -= step_b * (one / np.sqrt(b_sum[k]))
        w_bias_sum[i] += scaled * scaled
        c_bias_sum[j] += scaled * scaled
        w_bias[i] -= scaled / np.sqrt(w_bias_sum[i])
        c_bias[j] -= scaled / np.sqrt(c_bias_sum[j])
    return loss


class GloVe:
    """The parameters and the steps that train them on records (`lm.vectors.cooccurrence.RECORD`)."""

    def __init__(self, words: int, records: np.ndarray, config: GloVeConfig, dtype: type = np.float32) -> None:
        self.records, self.config, self.dtype = records, config, dtype
        draw = np.random.Generator(np.random.Philox(draw_seed(config.seed, "init")))
        d = config.dimensions
        uniform = (draw.random((2, words, d + 1)) - 0.5) / (d + 1)  # as released: the bias is one more dimension
        self.arrays: dict[str, np.ndarray] = {}
        """What a checkpoint keeps: vectors, biases, and their sums of squares."""
        for name, drawn in zip(("word", "context"), uniform.astype(dtype), strict=True):
            self.arrays[name] = np.ascontiguousarray(drawn[:, :d])
            self.arrays[f"{name}_bias"] = np.ascontiguousarray(drawn[:, d])
        self.arrays |= {f"{name}_sum": np.ones_like(array) for name, array in self.arrays.items()}
        self.bounds = np.append(np.arange(0, len(records), CHUNK_RECORDS), len(records))
        self.sizes = np.diff(self.bounds)

    @property
    def vectors(self) -> np.ndarray:
        """w + w̃, [words, dimensions]."""
        return self.arrays["word"] + self.arrays["context"]

    def step(self, chunk: int) -> Figures:
        """Train on chunk `chunk` of the endless run of epochs."""
        number = chunk % len(self.sizes)
        records = self.records[self.bounds[number] : self.bounds[number + 1]]
        parameters, sums = (
            tuple(self.arrays[name + ending] for name in ("word", "context", "word_bias", "context_bias"))
            for ending in ("", "_sum")
        )
        fields = tuple(np.ascontiguousarray(records[name]) for name in ("word", "other", "log", "weight"))
        return float(train(fields, parameters, sums, self.dtype(self.config.learning_rate))), len(records)
