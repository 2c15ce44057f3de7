"""Similar words: what stands for the hidden words of a model that never sees a mask (MacBERT)."""

from pydantic import Field

from lm.config import StrictModel
from lm.vectors.config import Word2VecConfig
from tasks.pretrain import split_index
from tasks.running.hooks import training
from tasks.stage import Work, stage
from tasks.store import Artifact

SHOWN = 20


class SimilarWordsConfig(StrictModel):
    """Whose vectors say what is similar."""

    vectors: Word2VecConfig
    chinese_words: bool = Field(description="Chinese words are found by a segmenter; false: each character is one.")
    count: int = Field(default=10, ge=1, description="Similar words of each word, of which one is drawn.")


@stage(version=1, libraries=("numba", "rjieba"))
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
    from lm.ngram.build import parse_size
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
            config.count,
            work.scratch,
            memory=parse_size(work.resources.memory_limit) // 2,
            hooks=hooks,
            should_stop=should_stop,
        )
    found.save(work.directory)
    work.counts["words"] = len(found)
    rows = [
        {"word": loaded.decode(word.tolist()), "similar": ", ".join(loaded.decode(other) for other in near.tolist())}
        for word, near in found.most_frequent(SHOWN)
    ]
    work.table("similar_words", rows, "What may stand for the most frequent words")
