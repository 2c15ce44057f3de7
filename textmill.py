"""Textmill from a notebook.

    import textmill

    corpus = textmill.load_corpus()                    # the newest kept corpus, read lazily
    corpus.to_table(columns=["id", "source"]).to_pandas()
    textmill.open_model("ngram").score(["How surprising is this?"])  # a model of any kind
    model, tokenizer = textmill.load_model("pretrain")             # a GPT as a torch module
    textmill.load_vectors().neighbours("harbour")                  # word2vec or GloVe
    textmill.open_artifact("dedupe").file("duplicates.parquet")

The libraries are usable alone as well: `import data_quality`, `import lm`.
"""

from typing import TYPE_CHECKING, Any

from tasks.storage.shared import open_store
from tasks.store import Artifact

if TYPE_CHECKING:
    from lm.models.gpt import GPT
    from lm.text_model import TextModel
    from lm.vectors.neighbours import WordVectors

__all__ = ["load_corpus", "load_model", "load_vectors", "open_artifact", "open_model"]


def open_artifact(name: str) -> Artifact:
    """The artifact meant by `stage/key`, a key, a prefix of either, an alias, or a stage (its newest).

    Raises:
        StoreError: none or several are meant, or its files are damaged.
    """
    return open_store().checked(name)


def load_corpus(name: str = "filter_corpus") -> Any:
    """The documents of a corpus artifact as a `pyarrow.dataset.Dataset` (columns: data_quality/documents.py).

    Args:
        name: as for `open_artifact`; `normalize` is the corpus before anything was dropped.
    """
    import pyarrow.dataset

    return pyarrow.dataset.dataset([str(shard.path) for shard in open_artifact(name).shards()])


def load_model(name: str = "pretrain") -> "tuple[GPT, Any]":
    """A pretrained model (on the CPU, in eval mode) and its tokenizer."""
    from lm.artifact import load_model as load

    return load(open_artifact(name).path)


def open_model(name: str = "pretrain") -> "TextModel":
    """A model of any kind that gives texts a probability: it scores and continues them (lm/text_model.py)."""
    from lm.text_model import open_model as open_folder

    return open_folder(open_artifact(name).path)


def load_vectors(name: str = "word_vectors") -> "WordVectors":
    """Word vectors: neighbours, analogies, the mean of a text (lm/vectors/neighbours.py)."""
    from lm.vectors.artifact import load_vectors as load

    return load(open_artifact(name).path)
