"""Similar words: of as many tokens, by the cosines of their vectors; cut as whole-word masking cuts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from lm.damaged import DamagedFile
from lm.similar_words import SEPARATOR, SIMILAR_FILE, SimilarWords, find_similar_words
from lm.special_tokens import special_ids
from lm.stop import Interrupted
from lm.tokenizer import load_tokenizer
from lm.tokenizers.config import WordPieceConfig
from lm.tokens import TokenIndex, build_index, tokenize_shard
from lm.vectors.artifact import load_vectors
from lm.vectors.config import Word2VecConfig
from lm.words_in_tokens import WordStarts
from tests.lm.masked_corpus import documents, make_index

VECTORS = Word2VecConfig(kind="word2vec", dimensions=16, min_count=2, epochs=2)
CHINESE = ["我们在北京学习语言模型。", "语言模型学习北京的数据。", "我们学习数据，在北京。"] * 20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenIndex, Path]:
    return make_index(tmp_path_factory.mktemp("corpus"), documents(60))


def test_they_are_the_nearest_by_cosine_of_as_many_tokens(corpus: tuple[TokenIndex, Path], tmp_path: Path) -> None:
    index, tokenizer = corpus
    found = find_similar_words(index, load_tokenizer(tokenizer), None, VECTORS, tmp_path, count=4)
    vectors = load_vectors(tmp_path / "vectors")
    assert len(found) == len(vectors) > 100
    spelled = [tuple(map(int, word.split(SEPARATOR))) for word in vectors.words]
    lengths = np.array([len(word) for word in spelled])
    assert set(lengths.tolist()) == {1, 2}
    directions = vectors.vectors / np.linalg.norm(vectors.vectors, axis=1, keepdims=True)
    for row in range(0, len(spelled), 7):
        cosines = directions.astype(np.float64) @ directions[row]
        others = [other for other in np.flatnonzero(lengths == lengths[row]) if other != row]
        nearest = sorted(others, key=lambda other: -cosines[other])[:4]
        got = [spelled.index(tuple(word)) for word in found.of(np.array(spelled[row])).tolist()]
        assert set(got) <= set(others)
        assert len(set(got)) == len(nearest)
        assert cosines[got] == pytest.approx(cosines[nearest], abs=1e-6)


def test_words_are_those_of_whole_word_masking(corpus: tuple[TokenIndex, Path], tmp_path: Path) -> None:
    index, tokenizer = corpus
    loaded = load_tokenizer(tokenizer)
    every = VECTORS.model_copy(update={"min_count": 1})
    found = find_similar_words(index, loaded, None, every, tmp_path, count=4)
    ids = index.open()[index.shard[0]][index.start[0] : index.start[0] + index.length[0]]
    starts = np.flatnonzero(WordStarts(loaded)(ids)).tolist()
    for low, high in zip(starts, [*starts[1:], len(ids)], strict=True):
        similar = found.of(ids[low:high])
        assert similar.shape[1] == high - low
        assert not (similar == ids[low:high]).all(axis=1).any()


def test_what_stands_in_the_same_places_is_similar(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    around = {"red": ["sky", "sea"], "blue": ["sky", "sea"], "three": ["dogs", "cats"], "four": ["dogs", "cats"]}
    texts = []
    for _ in range(300):
        words = draw.choice(list(around), 8)
        texts.append(" ".join(f"{word} {draw.choice(around[word])} ." for word in words))
    index, tokenizer = make_index(tmp_path, texts, WordPieceConfig(kind="wordpiece", vocab_size=300))
    loaded = load_tokenizer(tokenizer)
    vectors = VECTORS.model_copy(update={"window": 1, "epochs": 10, "sample": 0.0})
    found = find_similar_words(index, loaded, None, vectors, tmp_path / "scratch", count=1)
    for word, other in (("red", "blue"), ("blue", "red"), ("three", "four"), ("dogs", "cats")):
        ids = np.array(loaded.encode(word, add_special_tokens=False).ids)
        assert loaded.decode(found.of(ids)[0].tolist()) == other


def test_chinese_words_are_those_of_the_segmenter(tmp_path: Path) -> None:
    index, tokenizer = make_index(tmp_path, CHINESE)
    loaded = load_tokenizer(tokenizer)

    def segment(text: str) -> list[str]:
        return [text[at : at + 2] for at in range(0, len(text), 2)]

    found = find_similar_words(index, loaded, segment, VECTORS, tmp_path / "scratch", count=3)
    of = loaded.encode("我们", add_special_tokens=False).ids
    assert len(of) == 2
    assert {len(loaded.decode(word.tolist()).replace(" ", "")) for word in found.of(np.array(of))} == {2}
    single = find_similar_words(index, loaded, None, VECTORS, tmp_path / "single", count=3)
    assert not len(single.of(np.array(of)))
    assert len(single.of(np.array(of[:1])))


def test_what_is_no_text_is_no_word(tmp_path: Path) -> None:
    _, tokenizer = make_index(tmp_path, ["ba de ki lo mu na"] * 40)
    texts = [f"ba \u16a0 de \u16a1{word}" for word in ("ki", "lo", "mu", "na") * 10]  # runes that no token spells
    pq.write_table(pa.table({"id": [f"{n:03d}" for n in range(len(texts))], "text": texts}), tmp_path / "runes.parquet")
    tokenize_shard(tmp_path / "runes.parquet", tmp_path / "runes", tokenizer)
    index, loaded = build_index([tmp_path / "runes"]), load_tokenizer(tokenizer)
    assert loaded.token_to_id("[UNK]") in index.open()[0]
    found = find_similar_words(index, loaded, None, VECTORS, tmp_path / "scratch")
    ids = {id for words in found.words.values() for id in words.ravel().tolist()}
    assert ids
    assert not ids & special_ids(loaded)


def test_a_folder_says_the_same_and_a_stop_is_heard(corpus: tuple[TokenIndex, Path], tmp_path: Path) -> None:
    index, tokenizer = corpus
    loaded = load_tokenizer(tokenizer)
    with pytest.raises(Interrupted):
        find_similar_words(index, loaded, None, VECTORS, tmp_path / "scratch", count=4, should_stop=lambda: True)
    found = find_similar_words(index, loaded, None, VECTORS, tmp_path / "scratch", count=4)
    again = find_similar_words(index, loaded, None, VECTORS, tmp_path / "another", count=4)
    found.save(tmp_path)
    read = SimilarWords.load(tmp_path)
    assert read.fingerprint == found.fingerprint == again.fingerprint
    for word, near in found.most_frequent(5):
        assert np.array_equal(read.of(word), near)
    assert not len(read.of(np.array([0, 0, 0, 0, 0])))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"words.1": np.zeros((3, 1), np.int32)}, "words of 1 tokens and their neighbours do not fit"),
        ({"words.1": np.zeros((1, 1), np.int32), "near.1": np.ones((1, 2), np.int32)}, "do not fit"),
        ({"words.2": np.zeros((1, 1), np.int32), "near.2": np.zeros((1, 2), np.int32)}, "do not fit"),
        ({"words.1": np.zeros((1, 1), np.float32), "near.1": np.zeros((1, 2), np.int32)}, "no part of similar words"),
        ({"other": np.zeros(3)}, "other is no part of similar words"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    save_file(arrays, tmp_path / SIMILAR_FILE)
    with pytest.raises(DamagedFile, match=f"{SIMILAR_FILE}.*{message}"):
        SimilarWords.load(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=SIMILAR_FILE):
        SimilarWords.load(tmp_path)
