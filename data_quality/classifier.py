"""Quality classifier: reference text against raw text, a linear model over hashed word n-grams, as a signal.

The words are those of all signals: a document is cut as its language has it (data_quality/words.py), or its script
where none is known, so that Chinese is read in words too. Everything is a function of the set of documents, their
languages and the config: documents are ordered by hash, sums run in a fixed order.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, TypeAdapter

from data_quality.compiled import kernel
from data_quality.config import ClassifierConfig
from data_quality.damaged import AGAIN, DamagedFile, read_object
from data_quality.errors import UsageError
from data_quality.hashing import text_hash
from data_quality.language_tables import with_languages
from data_quality.segment import word_rule
from data_quality.shards import read_batches, whole_parquet
from data_quality.text_lines import text_lines
from data_quality.vocabulary import WHITE_SPACE, Vocabulary
from data_quality.words import text_language

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

_BITS = TypeAdapter(Annotated[int, Field(strict=True, ge=0, le=26)])
_NGRAMS = TypeAdapter(Annotated[int, Field(strict=True, ge=1, le=5)])
_FINITE = TypeAdapter(Annotated[float, Field(allow_inf_nan=False)])

WEIGHTS_FILE, MODEL_FILE = "classifier.safetensors", "classifier.json"
SCORES_SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("classifier_score", pa.float64())])


@dataclass(frozen=True)
class Features:
    """Hashed features of n documents: document i has indices[offsets[i]:offsets[i+1]] with these values."""

    offsets: Int64s
    indices: npt.NDArray[np.int32]
    values: Floats

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Classifier:
    """A trained model: score = sigmoid(slope * (w . x + bias) + intercept), x of unit length."""

    weights: Floats
    bias: float
    slope: float
    intercept: float
    bits: int
    ngrams: int

    def logits(self, features: Features) -> npt.NDArray[np.float64]:
        """w . x + bias of each document, float64 [documents]."""
        return _logits(features.offsets, features.indices, features.values, self.weights, self.bias)

    def scores(self, features: Features) -> npt.NDArray[np.float64]:
        """Calibrated probability that a document is reference, float64 [documents]."""
        return _sigmoid(self.slope * self.logits(features) + self.intercept)


class FeatureReader:
    """Turns texts into hashed features."""

    def __init__(self, bits: int, ngrams: int) -> None:
        self.bits, self.ngrams = bits, ngrams
        self._vocabulary = Vocabulary()

    def __call__(self, texts: Iterable[str], languages: Iterable[str | None] = repeat(None)) -> Features:
        """Word n-grams of each text, 1 + log of their count, scaled to unit length; a text without a word has none.

        `languages`: that of each text, as `words.text_language` takes it.
        """
        offsets, indices, values = [0], [], []
        for text, language in zip(texts, languages, strict=False):
            self._vocabulary.make_room()
            lines = text_lines([text])
            rule = word_rule(text_language(text, language))
            tokens, _ = self._vocabulary.tokens(lines.codes, lines.starts, lines.ends, rule)
            hashes = self._vocabulary.hashes[tokens[tokens != WHITE_SPACE]]
            found, counts = np.unique(_ngram_buckets(hashes, self.ngrams, self.bits), return_counts=True)
            weight = 1 + np.log(counts)
            indices.append(found.astype(np.int32))
            values.append((weight / np.sqrt(weight @ weight) if len(weight) else weight).astype(np.float32))
            offsets.append(offsets[-1] + len(found))
        return Features(
            np.array(offsets, dtype=np.int64),
            np.concatenate(indices) if indices else np.empty(0, np.int32),
            np.concatenate(values) if values else np.empty(0, np.float32),
        )


@kernel
def _ngram_buckets(hashes, ngrams, bits):  # type: ignore[no-untyped-def]
    """The bucket of every n-gram: a fold of its words' hashes (Murmur's finaliser), cut to `bits`."""
    words = len(hashes)
    total = 0
    for n in range(1, ngrams + 1):
        total += max(words - n + 1, 0)
    buckets = np.empty(total, dtype=np.int64)
    at = 0
    for first in range(words):
        value = np.uint64(0)
        for n in range(min(ngrams, words - first)):
            value = (value ^ hashes[first + n]) * np.uint64(0xFF51AFD7ED558CCD)
            value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
            value ^= value >> np.uint64(33)
            buckets[at] = np.int64(value >> np.uint64(64 - bits))
            at += 1
    return buckets


@kernel
def _train(  # type: ignore[no-untyped-def]
    order, labels, importance, offsets, indices, values, weights, squares, bias, learning_rate, l2
):
    """One pass of AdaGrad on the logistic loss; bias[0] is the bias, bias[1] its sum of squared gradients."""
    for document in order:
        logit = bias[0]
        for at in range(offsets[document], offsets[document + 1]):
            logit += weights[indices[at]] * values[at]
        error = (1.0 / (1.0 + np.exp(-logit)) - labels[document]) * importance[document]
        for at in range(offsets[document], offsets[document + 1]):
            feature = indices[at]
            gradient = error * values[at] + l2 * weights[feature]
            squares[feature] += gradient * gradient
            weights[feature] -= learning_rate * gradient / (np.sqrt(squares[feature]) + 1e-8)
        bias[1] += error * error
        bias[0] -= learning_rate * error / (np.sqrt(bias[1]) + 1e-8)


@kernel
def _logits(offsets, indices, values, weights, bias):  # type: ignore[no-untyped-def]
    logits = np.empty(len(offsets) - 1, dtype=np.float64)
    for document in range(len(logits)):
        logit = bias
        for at in range(offsets[document], offsets[document + 1]):
            logit += np.float64(weights[indices[at]]) * values[at]
        logits[document] = logit
    return logits


def train_classifier(
    reference: Sequence[str],
    raw: Sequence[str],
    config: ClassifierConfig,
    progress: Callable[[int], None] = lambda documents: None,
    languages: Mapping[str, str | None] | None = None,
) -> tuple[Classifier, dict[str, float]]:
    """Train on two lists of texts, calibrate and measure on the share of them that is held out.

    Equal texts count once, and a reference text is no raw one. The two sides weigh the same, whatever their sizes.
    Calibration is Platt's (1999) on the held-out part, so that a score of 0.9 means nine in ten. `languages`: by text;
    where a text has none, its script decides how it is cut.

    Returns:
        The classifier, and the figures: documents trained on and held out of each side, auc and accuracy (of balanced
        sides) on the held-out part.

    Raises:
        ValueError: a side has no document, or none is held out or trained on.
    """
    labelled = _labelled(reference, raw, config)
    texts = [text for text, _, _ in labelled]
    labels = np.array([label for _, label, _ in labelled], dtype=np.float64)
    held_out = np.array([held for _, _, held in labelled], dtype=bool)
    for part, name in ((~held_out, "trained on"), (held_out, "held out")):
        for label, side in ((1.0, "reference"), (0.0, "raw")):
            if not np.any(part & (labels == label)):
                raise UsageError(
                    f"the quality classifier has no {side} document to be {name}: {len(reference)} texts are "
                    f"reference, {len(raw)} raw; name larger corpora, or change classifier.held_out"
                )
    known = languages or {}
    features = FeatureReader(config.bits, config.ngrams)(_counted(texts, progress), map(known.get, texts))
    importance = np.where(labels == 1, 0.5 / np.mean(labels[~held_out]), 0.5 / (1 - np.mean(labels[~held_out])))
    weights = np.zeros(1 << config.bits, dtype=np.float32)
    squares = np.zeros(1 << config.bits, dtype=np.float32)
    bias = np.zeros(2)
    trained = np.flatnonzero(~held_out)
    for epoch in range(config.epochs):
        order = np.random.default_rng([config.seed, epoch]).permutation(trained)
        _train(
            order, labels, importance, features.offsets, features.indices, features.values,
            weights, squares, bias, config.learning_rate, config.l2,
        )  # fmt: skip
    model = Classifier(weights, float(bias[0]), 1.0, 0.0, config.bits, config.ngrams)
    logits, truth = model.logits(features)[held_out], labels[held_out]
    slope, intercept = calibrate(logits, truth)
    model = Classifier(weights, float(bias[0]), slope, intercept, config.bits, config.ngrams)
    guesses = _sigmoid(slope * logits + intercept) >= 0.5
    figures = {
        "auc": auc(logits, truth),
        "accuracy": float(np.mean([np.mean(guesses[truth == 1]), np.mean(~guesses[truth == 0])])),
    }
    for name, part in (("trained", ~held_out), ("held_out", held_out)):
        figures |= {f"reference_{name}": int(np.sum(labels[part])), f"raw_{name}": int(np.sum(1 - labels[part]))}
    return model, figures


def _labelled(reference: Sequence[str], raw: Sequence[str], config: ClassifierConfig) -> list[tuple[str, int, bool]]:
    """(text, label, held out) in the order of the texts' hashes: that of neither corpus."""
    sides = [{text_hash(text): text for text in side} for side in (raw, reference)]
    rows = []
    for label, side in enumerate(sides):
        own = side.keys() - (sides[1].keys() if label == 0 else set())
        hashes = sorted(own)[: config.max_documents]
        rows += [(hashed, side[hashed], label) for hashed in hashes]
    # the first digits chose the documents; the last ones, which know nothing of that, choose the held-out part
    return [(text, label, int(hashed[-8:], 16) < config.held_out * 2**32) for hashed, text, label in sorted(rows)]


def _counted(texts: Sequence[str], progress: Callable[[int], None]) -> Iterator[str]:
    for text in texts:
        yield text
        progress(1)


def calibrate(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of Platt scaling (Platt 1999, with his smoothed targets), by Newton's method.

    The two sides weigh the same. Lin, Lin and Weng 2007 is the numerically safe form used here.
    """
    positive, negative = float(np.sum(labels)), float(np.sum(1 - labels))
    targets = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    importance = np.where(labels == 1, 0.5 / positive, 0.5 / negative)
    parameters = np.array([1.0, 0.0])
    inputs = np.stack([logits, np.ones_like(logits)])

    def loss(at: npt.NDArray[np.float64]) -> float:
        z = at @ inputs
        return float(np.sum(importance * (np.logaddexp(0, z) - targets * z)))

    for _ in range(100):
        p = _sigmoid(parameters @ inputs)
        gradient = inputs @ (importance * (p - targets))
        curvature = (inputs * (importance * p * (1 - p))) @ inputs.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size, before = 1.0, loss(parameters)
        while size > 1e-10 and loss(parameters - size * step) > before:
            size /= 2
        parameters = parameters - size * step
        if float(np.max(np.abs(size * step))) < 1e-10:
            break
    return float(parameters[0]), float(parameters[1])


def auc(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> float:
    """Probability that a reference document scores above a raw one, ties counting half (Mann-Whitney U)."""
    ordered = np.sort(scores[labels == 0])
    below = np.searchsorted(ordered, scores[labels == 1], side="left")
    not_above = np.searchsorted(ordered, scores[labels == 1], side="right")
    return float(np.sum(below + not_above) / 2 / (len(ordered) * max(int(np.sum(labels)), 1)))


def _sigmoid(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(z, -700, 700)))


def save_classifier(model: Classifier, figures: dict[str, float], directory: Path) -> None:
    """Write `classifier.safetensors` (weights) and `classifier.json` (everything else, with the figures)."""
    from safetensors.numpy import save_file

    save_file({"weights": model.weights}, directory / WEIGHTS_FILE)
    described = {name: value for name, value in vars(model).items() if name != "weights"}
    (directory / MODEL_FILE).write_text(json.dumps({**described, "figures": figures}, indent=1) + "\n")


def load_classifier(directory: Path) -> Classifier:
    """What `save_classifier` wrote. Raises DamagedFile: compiled loops look weights up by number."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    described = read_object(directory / MODEL_FILE)
    described.pop("figures", None)
    path = directory / WEIGHTS_FILE
    try:
        model = Classifier(load_file(path)["weights"], **described)
        slots = 1 << _BITS.validate_python(model.bits)
        _NGRAMS.validate_python(model.ngrams)
        for number in (model.bias, model.slope, model.intercept):
            _FINITE.validate_python(number)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(f"{directory}: no classifier ({' '.join(str(error).split())[:300]}): {AGAIN}") from error
    if model.weights.shape != (slots,) or not np.issubdtype(model.weights.dtype, np.floating):
        raise DamagedFile(f"{path}: {model.weights.dtype} {list(model.weights.shape)}, not {slots} weights: {AGAIN}")
    return model


def score_shard(
    in_path: Path,
    out_path: Path,
    model: Classifier,
    progress: Callable[[int], None] = lambda documents: None,
    languages: Sequence[Path] = (),
) -> dict[str, int]:
    """Write id and `classifier_score` of every document of a shard, in its order. Returns documents.

    With `languages`, language tables (`language.identify_shard`) that hold all the documents, the language is theirs.

    Raises:
        ValueError: the shard lacks id or text, or the language tables a document.
    """
    reader = FeatureReader(model.bits, model.ngrams)
    counts = {"documents": 0}
    with whole_parquet(out_path, SCORES_SCHEMA) as writer:
        for batch in with_languages(
            read_batches(in_path, ["id", "text"], ["language"]), in_path, languages, ("language",)
        ):
            texts = batch.column("text").to_pylist()
            known = batch.column("language").to_pylist() if "language" in batch.column_names else repeat(None)
            scores = model.scores(reader(texts, known))
            writer.write_table(pa.Table.from_arrays([batch.column("id"), pa.array(scores)], schema=SCORES_SCHEMA))
            counts["documents"] += len(batch)
            progress(len(batch))
    return counts
