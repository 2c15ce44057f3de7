"""GPT-1's input form for classification: start token, text, extract token (Radford et al. 2018, section 3.3).

The two tokens (`_start_` and `_classify_` in openai/finetune-transformer-lm `train.py`, <s> and <e> in the paper)
are no part of the tokenizer: they are the two ids after the model's vocabulary, rows appended to its embedding.
Sequences are padded on the right; in a causal model no real token can see the padding.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer

from lm.tokenizer import encode_documents
from lm.train.objective import Batch

SPECIAL_TOKENS = ("<s>", "<e>")


@dataclass(frozen=True)
class Labelled:
    """A labelled file in memory: ids, texts, labels (int64 [n]) and the class name of each label that occurs."""

    path: Path
    ids: list[str]
    texts: list[str]
    labels: np.ndarray
    names: dict[int, str]


def read_labelled(path: Path) -> Labelled:
    """Read a Parquet file with columns id, text, label, label_name.

    Raises ValueError naming the file if a column is missing, there is no row, or a label has two names.
    """
    wanted = ["id", "text", "label", "label_name"]
    file = pq.ParquetFile(path)
    if missing := [name for name in wanted if name not in file.schema_arrow.names]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; columns are {', '.join(file.schema_arrow.names)}")
    rows = file.read(wanted).to_pydict()
    if not rows["id"]:
        raise ValueError(f"{path}: no examples")
    names: dict[int, str] = {}
    for label, name in zip(rows["label"], rows["label_name"], strict=True):
        if names.setdefault(label, name) != name:
            raise ValueError(f"{path}: label {label} is called both {names[label]!r} and {name!r}")
    return Labelled(path, rows["id"], rows["text"], np.asarray(rows["label"], np.int64), names)


def class_names(train: Labelled, *held_out: Labelled) -> list[str]:
    """The class names in label order. Every class must occur in training; the files must agree.

    Raises ValueError otherwise, naming file and label.
    """
    for other in held_out:
        for label, name in other.names.items():
            if train.names.get(label) != name:
                raise ValueError(
                    f"{other.path}: label {label} ({name!r}) is {train.names.get(label)!r} in {train.path}"
                )
    if sorted(train.names) != list(range(len(train.names))):
        raise ValueError(f"{train.path}: labels must be 0..C-1 with none missing, got {sorted(train.names)}")
    return [train.names[label] for label in range(len(train.names))]


def classification_input(text: Sequence[int], vocab: int, max_tokens: int) -> np.ndarray:
    """int64 [<= max_tokens]: start, the text's first `max_tokens` - 2 tokens, extract.

    `vocab` is the pretrained model's vocabulary: start is id `vocab`, extract id `vocab` + 1.
    """
    return np.array([vocab, *text[: max_tokens - 2], vocab + 1], np.int64)


class ClassificationExamples:
    """Labelled texts as `Examples` for the trainer.

    A batch holds `tokens` int64 [batch, time], padded on the right with 0, `lengths` int64 [batch] and `labels`
    int64 [batch]; time is the longest length of the batch.
    """

    def __init__(self, labelled: Labelled, tokenizer: Tokenizer, vocab: int, max_tokens: int) -> None:
        encoded = encode_documents(tokenizer, labelled.texts)
        self.inputs = [classification_input(ids.tolist(), vocab, max_tokens) for ids in encoded]
        self.lengths = np.array([len(ids) for ids in self.inputs], np.int64)
        self.labels = labelled.labels
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.lengths, self.labels, *self.inputs):
            digest.update(array.astype("<i8").tobytes())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: np.ndarray) -> Batch:
        """The examples at `indices`, in that order."""
        lengths = self.lengths[indices]
        tokens = np.zeros((len(indices), int(lengths.max())), np.int64)
        for row, index in enumerate(indices):
            tokens[row, : lengths[row]] = self.inputs[index]
        arrays = {"tokens": tokens, "lengths": lengths, "labels": self.labels[indices]}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
