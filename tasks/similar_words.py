"""Similar words: what stands for the hidden words of a model that never sees a mask (MacBERT)."""

from typing import Any

from pydantic import Field

from lm.config import StrictModel
from lm.vectors.config import Word2VecConfig
from tasks.pretrain import split_index
from tasks.running.hooks import training
from tasks.running.versions import library_versions
from tasks.stage import Work, stage
from tasks.store import Artifact

SHOWN = 20  # words of each number of tokens


class SimilarWordsConfig(StrictModel):
    """Whose vectors say what is similar."""

    vectors: Word2VecConfig
    chinese_words: bool = Field(description="Chinese words are found by a segmenter; false: each character is one.")

    def key_material(self) -> dict[str, Any]:
        """With what cuts Chinese, where that is asked for."""
        material = self.model_dump(mode="json")
        return material | ({"segmenter": library_versions(["rjieba"])} if self.chinese_words else {})


@stage(version=2, libraries=("numba", "tokenizers", "unicode"))
def similar_words(
    work: Work,
    config: SimilarWordsConfig,
    *,
    tokens: Artifact,
    split: Artifact,
    tokenizer: Artifact,
    mixture: Artifact | None = None,
) -> None:
    """Train word2vec on the words of the training documents and find the nearest words of each, of as many tokens."""
    from lm.similar_words import find_similar_words
    from lm.tokenizer import load_tokenizer
    from lm.words_in_tokens import chinese_words

    loaded = load_tokenizer(tokenizer.path)
    with training(work) as (hooks, should_stop):
        found = find_similar_words(
            split_index(tokens, split, "train", mixture),
            loaded,
            chinese_words if config.chinese_words else None,
            config.vectors,
            work.scratch,
            hooks=hooks,
            should_stop=should_stop,
        )
    found.save(work.directory)
    work.counts["words"] = len(found)
    rows = [
        {"word": loaded.decode(word.tolist()), "similar": ", ".join(loaded.decode(other) for other in near.tolist())}
        for word, near in found.most_frequent(SHOWN)
    ]
    work.table("similar_words", rows, "What may stand for the most frequent words of one token, of two, ...")
