"""Word vectors from text to use: what is a word, training and going on, neighbours, embeddings, people's pairs."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lm.evaluate.metrics_labels import spearman
from lm.evaluate.similarity import agreement, analogy_accuracy, read_analogies, read_pairs
from lm.evaluate.word_decisions import similarity_figure, similarity_rows
from lm.stop import Interrupted
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import parse_tokenizer_config
from lm.tokens import TokenIndex, build_index, tokenize_shard
from lm.train.hooks import Hooks
from lm.train.identity import ResumeError
from lm.train.non_finite import NonFiniteError
from lm.vectors.artifact import load_vectors
from lm.vectors.config import GloVeConfig, Word2VecConfig, parse_vectors_config
from lm.vectors.corpus import corpus_of_tokens, corpus_of_words
from lm.vectors.neighbours import UnknownWord, WordVectors
from lm.vectors.train import train_vectors
from lm.vectors.vocabulary import Vocabulary, token_names
from tests.lm.corpus import write_documents

DAYS, COLOURS = ("monday", "tuesday", "friday"), ("red", "green", "blue")


def sentences(count: int = 600, seed: int = 0) -> list[str]:
    """Days stand where days stand, colours where colours do; no day or colour ever beside another."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        day, colour = DAYS[random.integers(3)], COLOURS[random.integers(3)]
        lines.append(
            f"we met on {day} at noon in town" if random.random() < 0.5 else f"a {colour} coat hung by that door"
        )
    return lines


def settings(kind: str, **changes: Any) -> Word2VecConfig | GloVeConfig:
    common = {"dimensions": 16, "epochs": 12, "window": 3, "min_count": 1}
    own: dict[str, Any] = {"word2vec": {"sample": 0.0, "learning_rate": 0.05}, "glove": {"x_max": 10.0}}[kind]
    return parse_vectors_config({"kind": kind, **common, **own, **changes})


@pytest.fixture(scope="module", params=["word2vec", "glove"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> WordVectors:
    root = tmp_path_factory.mktemp("vectors")
    train_vectors(sentences(), None, settings(request.param), root / "scratch", root / "model")
    return load_vectors(root / "model")


def test_vectors_carry_similarity_and_one_hot_does_not(trained: WordVectors) -> None:
    rows = [trained.row(word) for word in (*DAYS, *COLOURS)]
    one_hot = np.eye(len(trained))[rows]
    assert (one_hot @ one_hot.T == np.eye(6)).all()
    cosines = trained.directions[rows] @ trained.directions[rows].T
    within = [cosines[i, j] for group in (range(3), range(3, 6)) for i in group for j in group if i < j]
    across = cosines[:3, 3:]
    assert min(within) > across.max()
    assert trained.similarity("monday", "tuesday") > trained.similarity("monday", "red")


def test_one_hot_times_the_matrix_is_a_look_up(trained: WordVectors) -> None:
    one_hot = np.eye(len(trained), dtype=np.float32)
    assert (one_hot[3] @ trained.vectors == trained.vectors[3]).all()


@pytest.fixture
def plane() -> WordVectors:
    """Countries to the east, their capitals north of them; one word in two cases."""
    words = ("france", "paris", "spain", "madrid", "Paris", "nothing")
    vectors = [[1, 0.2, 0], [1, 0.2, 1], [0.2, 1, 0], [0.2, 1, 1], [0.9, 0.2, 0.8], [0, 0, 0]]
    return WordVectors(Vocabulary(words, np.arange(6, 0, -1)), np.array(vectors, dtype=np.float32))


def test_analogies_neighbours_and_means(plane: WordVectors) -> None:
    assert plane.analogy("france", "paris", "spain")[0][0] == "madrid"
    assert [word for word, _ in plane.analogy("france", "paris", "spain", 9)] == ["madrid", "Paris", "nothing"]
    assert plane.neighbours("paris", 1)[0][0] == "Paris"
    assert plane.similarity("france", "france") == pytest.approx(1.0)
    assert plane.similarity("france", "nothing") == 0.0
    found = plane.embed("france  paris\nunheard")
    assert (found.known, found.words) == (2, 3)
    np.testing.assert_allclose(found.vector, [1, 0.2, 0.5], atol=1e-6)
    assert plane.embed("unheard of") == (pytest.approx(np.zeros(3)), 0, 2)


def test_an_unknown_word_is_answered_with_near_ones(plane: WordVectors) -> None:
    with pytest.raises(UnknownWord, match="no vector of 'Madrid'; it has those of 6 words; did you mean 'madrid'"):
        plane.neighbours("Madrid")
    with pytest.raises(UnknownWord, match=r"no vector of 'farnce'.*did you mean 'france'"):
        plane.analogy("farnce", "paris", "spain")
    with pytest.raises(UnknownWord, match=r"no vector of 'xyzzy'; it has those of 6 words$"):
        plane.vector("xyzzy")


def test_spearman_shares_ranks_of_ties() -> None:
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 90])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1.0)
    # by hand: ranks 1 2.5 2.5 4 against 1 2 3 4
    assert spearman(np.array([1.0, 5, 5, 9]), np.array([1.0, 2, 3, 4])) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert spearman(np.ones(3), np.arange(3)) == 0.0


def test_pairs_and_analogies_of_files(plane: WordVectors, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text(
        "# a note\nword1\tword2\tscore\nPARIS\tfrance\t8\nparis\tmadrid\t5\nparis\tspain\t1\nparis\toslo\t9\n"
    )
    with pytest.raises(ValueError, match=r"pairs\.tsv, line 2: not two words and a score with tabs between: 'word1"):
        read_pairs(file)
    file.write_text(file.read_text().removeprefix("# a note\n"))  # a header may only stand first
    found = agreement(plane, read_pairs(file))
    assert (found.known, found.pairs) == (3, 4)
    assert found.spearman == pytest.approx(1.0)
    with pytest.raises(ValueError, match="1 of 1 pairs have vectors: there is nothing to rank"):
        agreement(plane, [("paris", "spain", 1.0)])
    questions = tmp_path / "questions.txt"
    questions.write_text(
        ": capitals\nfrance Paris Spain madrid\nfrance paris norway oslo\n: asked\nfrance paris spain Paris\n",
        encoding="utf-8-sig",  # as Windows writes it
    )
    assert analogy_accuracy(plane, read_analogies(questions)) == {"capitals": (1, 1), "asked": (0, 1), "total": (1, 2)}
    questions.write_text(": a\none two three\n")
    with pytest.raises(ValueError, match=r"questions\.txt, line 2: not four words: 'one two three'"):
        read_analogies(questions)
    for reader in (read_pairs, read_analogies):
        questions.write_text("# nothing\n" if reader is read_pairs else "\n")
        with pytest.raises(ValueError, match="there are no"):
            reader(questions)


def test_equal_scores_of_words_share_their_rank() -> None:
    """Whichever order the list has: two pairs that people and vectors score alike are equally far from right."""
    vocabulary = Vocabulary(("a", "b", "c", "d"), np.arange(4, 0, -1))
    vectors = WordVectors(vocabulary, np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32))
    pairs = [("a", "b", 9.0), ("b", "c", 9.0), ("a", "c", 9.0), ("a", "d", 1.0), ("b", "d", 1.0)]
    for order in (pairs, pairs[::-1]):
        assert similarity_rows(vectors, [("x", order)])["score"].to_pylist() == [0.0] * 5


def test_the_ranking_of_words_has_an_interval() -> None:
    draw = np.random.Generator(np.random.Philox(5))
    words = tuple(f"w{n}" for n in range(60))
    points = draw.normal(size=(60, 6)).astype(np.float32)
    vectors = WordVectors(Vocabulary(words, np.arange(60, 0, -1)), points)
    near = points @ points.T / np.outer(*(np.linalg.norm(points, axis=1),) * 2)
    pairs = [(f"w{a}", f"W{b}", float(near[a, b] + draw.normal(0, 0.3))) for a, b in draw.integers(60, size=(200, 2))]
    unknown = [("w1", "nobody", 3.0)]
    table = similarity_rows(vectors, [("long", pairs + unknown), ("short", pairs[:20]), ("one", pairs[:1] + unknown)])
    long, short = similarity_figure(table, "long"), similarity_figure(table, "short")
    assert long["value"] == pytest.approx(agreement(vectors, pairs).spearman)
    assert (long["n"], short["n"]) == (200, 20)
    z, width = math.atanh(long["value"]), 1.06**0.5 / math.sqrt(197)  # Fisher's, with Fieller's variance of ranks
    assert long["low"] == pytest.approx(math.tanh(z - 1.96 * width), abs=0.04)
    assert long["high"] == pytest.approx(math.tanh(z + 1.96 * width), abs=0.04)
    assert short["high"] - short["low"] > 2 * (long["high"] - long["low"])
    with pytest.raises(ValueError, match="one: 1 of its pairs with vectors: there is nothing to rank"):
        similarity_figure(table, "one")


# --- text ----------------------------------------------------------------------------------------------------


def tokens_of(root: Path, documents: Sequence[str], **tokenizer: Any) -> tuple[TokenIndex, Path]:
    train_tokenizer(documents, parse_tokenizer_config(tokenizer), root / "tokenizer")
    source = write_documents(root / "d.parquet", {str(n): text for n, text in enumerate(documents)})
    tokenize_shard(source, root / "t/0", root / "tokenizer")
    return build_index([root / "t/0"]), root / "tokenizer"


def test_lines_of_words_become_rows(tmp_path: Path) -> None:
    corpus = corpus_of_words(["b a a rare b a", "", "rare", "a b"], 3, tmp_path)
    assert corpus.vocabulary.words == ("a", "b")
    assert corpus.vocabulary.counts.tolist() == [4, 3]
    assert corpus.rows.tolist() == [1, 0, 0, 1, 0, 0, 1]  # rare words are gone before windows are cut
    assert corpus.offsets.tolist() == [0, 5, 7]
    other = corpus_of_words(["b a a rare b a a", "b"], 3, tmp_path / "other")
    assert other.fingerprint != corpus.fingerprint
    with pytest.raises(ValueError, match="1 words occur 4 times or more: there is nothing to tell apart; give more"):
        corpus_of_words(["a a a a b"], 4, tmp_path)


def test_a_long_document_is_cut(tmp_path: Path) -> None:
    corpus = corpus_of_words(["a b " * 12_345], 1, tmp_path)
    assert corpus.offsets.tolist() == [0, 10_000, 20_000, 24_690]


@pytest.mark.parametrize("spaces", ["attached", "separate"])
def test_tokens_of_words_mean_the_same_behind_a_space(tmp_path: Path, spaces: str) -> None:
    index, tokenizer = tokens_of(
        tmp_path, ["the cat\n\nthe cat", "cat the"], kind="word", spaces=spaces, min_frequency=1
    )
    corpus = corpus_of_tokens(index, tokenizer, 1, tmp_path / "scratch")
    assert corpus.vocabulary.words == ("cat", "the")
    assert corpus.vocabulary.counts.tolist() == [3, 3]
    cat, the = 0, 1
    found = {tuple(corpus.rows[a:b].tolist()) for a, b in zip(corpus.offsets[:-1], corpus.offsets[1:], strict=True)}
    assert found == {(the, cat, the, cat), (cat, the)}


def test_pieces_are_words_of_their_own(tmp_path: Path) -> None:
    for kind, expected in {"byte_bpe": "▁cat", "unigram": "▁cat", "wordpiece": "cat"}.items():
        _, tokenizer = tokens_of(tmp_path / kind, ["the cat sat, the cat sat"] * 30, kind=kind, vocab_size=300)
        names = token_names(load_tokenizer(tokenizer))
        assert expected in names
        assert "" in names
        assert not any(name and not name.strip() for name in names)
        assert "<|endoftext|>" not in names
        assert "[SEP]" not in names


@pytest.mark.parametrize("kind", ["word", "byte_bpe", "unigram"])
def test_a_model_of_tokens_is_used_as_one_of_words(tmp_path: Path, kind: str) -> None:
    index, tokenizer = tokens_of(tmp_path, sentences(), kind=kind, vocab_size=330)
    described = train_vectors(index, tokenizer, settings("word2vec"), tmp_path / "s", tmp_path / "model")
    model = load_vectors(tmp_path / "model")
    assert (described["unit"], described["words"]) == ("token", len(model))
    assert {word.lstrip("▁") for word, _ in model.neighbours("monday", 2)} == {"tuesday", "friday"}
    rows = model.text_rows("a red coat")
    assert [model.words[row].lstrip("▁") for row in rows] == ["a", "red", "coat"]
    if kind == "word":
        assert model.embed("a red sky")[1:] == (2, 3)
    with pytest.raises(UnknownWord, match="no vector of 'redcoat'"):
        model.row("redcoat")
    with pytest.raises(ValueError, match="a token index comes with the tokenizer that made it"):
        train_vectors(index, None, settings("word2vec"), tmp_path / "s", tmp_path / "model")
    with pytest.raises(ValueError, match="lines of words have no tokenizer"):
        train_vectors(["a b"], tokenizer, settings("word2vec"), tmp_path / "s", tmp_path / "model")
    train_tokenizer(["another text"], parse_tokenizer_config({"kind": kind, "vocab_size": 300}), tmp_path / "other")
    with pytest.raises(ValueError, match="the tokens were made by another tokenizer than"):
        train_vectors(index, tmp_path / "other", settings("word2vec"), tmp_path / "s", tmp_path / "model")


def test_shards_do_not_show(tmp_path: Path) -> None:
    documents = sentences(40)
    index, tokenizer = tokens_of(tmp_path, documents, kind="word")
    for half in (0, 1):
        part = {str(n): text for n, text in enumerate(documents) if n % 2 != half}
        tokenize_shard(write_documents(tmp_path / f"{half}.parquet", part), tmp_path / f"t/h{half}", tokenizer)
    halves = build_index([tmp_path / "t/h0", tmp_path / "t/h1"])
    found = [corpus_of_tokens(each, tokenizer, 1, tmp_path / "s").fingerprint for each in (index, halves)]
    assert found[0] == found[1]


# --- training ------------------------------------------------------------------------------------------------


def vectors_of(folder: Path) -> bytes:
    return (folder / "vectors.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["word2vec", "glove"])
def test_one_thread_gives_the_same_bits_and_a_checkpoint_goes_on(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.vectors.word2vec.CHUNK_WORDS", 100)
    monkeypatch.setattr("lm.vectors.glove.CHUNK_RECORDS", 10)
    text, config = sentences(200), settings(kind, epochs=3)
    reports: list[dict[int, dict[str, float]]] = []

    def train(folder: str, out: str, **more: Any) -> dict[str, Any]:
        reports.append({})
        hooks = Hooks(on_metrics=lambda step, figures: reports[-1].update({step: figures}))
        return train_vectors(
            text, None, config, tmp_path / folder, tmp_path / out, hooks=hooks, checkpoint_seconds=0, **more
        )

    described = train("a", "first")
    train("b", "second")
    assert vectors_of(tmp_path / "first") == vectors_of(tmp_path / "second")
    assert described["deterministic"] is True
    assert len(described["losses"]) == 3
    assert described["losses"][-1] < described["losses"][0]
    polls = iter(range(1000))
    with pytest.raises(Interrupted, match="training, after chunk"):
        train("c", "third", should_stop=lambda: next(polls) > 16)
    train("c", "third")
    assert vectors_of(tmp_path / "first") == vectors_of(tmp_path / "third")
    joined = {**reports[2], **reports[3]}
    assert set(reports[2]).isdisjoint(reports[3])
    for step, figures in reports[0].items():
        assert {**joined[step], "tokens_per_second": 0} == {**figures, "tokens_per_second": 0}


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    def train(text: list[str], **changes: Any) -> None:
        config = settings("word2vec", **{"epochs": 1, **changes})
        train_vectors(text, None, config, tmp_path / "scratch", tmp_path / "model")

    train(sentences(30))
    with pytest.raises(ResumeError, match=r"is of another run \(seed was 0, is 5; window was 3, is 2\)"):
        train(sentences(30), window=2, seed=5)
    with pytest.raises(ResumeError, match=r"is of another run \(data was '[0-9a-f]{32}', is '[0-9a-f]{32}'\)"):
        train(sentences(30, seed=1))
    with pytest.raises(ResumeError, match=r"kind was 'word2vec', is 'glove'; .*x_max was None, is 10\.0"):
        train_vectors(sentences(30), None, settings("glove", epochs=1), tmp_path / "scratch", tmp_path / "model")


@pytest.mark.parametrize("kind", ["word2vec", "glove"])
def test_without_locks_is_marked_and_learns(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.vectors.word2vec.CHUNK_WORDS", 300)
    config = settings(kind, lock_free_threads=2)
    described = train_vectors(sentences(), None, config, tmp_path / "s", tmp_path / "model")
    assert described["deterministic"] is False
    assert json.loads((tmp_path / "model/config.json").read_text())["deterministic"] is False
    model = load_vectors(tmp_path / "model")
    assert model.similarity("monday", "tuesday") > model.similarity("monday", "red")


def test_a_rate_that_is_too_high_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"chunk 0: loss nan is not finite.*lower the learning rate"):
        train_vectors(sentences(), None, settings("word2vec", learning_rate=1e38), tmp_path / "s", tmp_path / "model")


@pytest.mark.parametrize(
    "case",
    [
        {"architecture": "cbow", "cbow_update": "shared"},
        {"output": "hierarchical_softmax"},
        {"architecture": "cbow", "output": "hierarchical_softmax"},
    ],
    ids=lambda case: "-".join(case.values()),
)
def test_every_form_of_word2vec_learns(tmp_path: Path, case: dict[str, Any]) -> None:
    train_vectors(sentences(), None, settings("word2vec", **case), tmp_path / "s", tmp_path / "model")
    model = load_vectors(tmp_path / "model")
    assert {word for word, _ in model.neighbours("monday", 2)} == {"tuesday", "friday"}
    assert load_file(tmp_path / "model/vectors.safetensors")["outputs"].shape[1] == 16


def test_folders_that_are_not_whole(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json: no model there"):
        load_vectors(tmp_path)
    (tmp_path / "config.json").write_text('{"kind": "gpt"}')
    with pytest.raises(ValueError, match="a model of kind 'gpt' has no word vectors; nnlm, word2vec and glove can"):
        load_vectors(tmp_path)
    train_vectors(sentences(20), None, settings("word2vec", epochs=1), tmp_path / "s", tmp_path / "model")
    words = json.loads((tmp_path / "model/words.json").read_text())
    words["words"].pop()
    (tmp_path / "model/words.json").write_text(json.dumps(words))
    with pytest.raises(ValueError, match=r"words\.json: \d+ words, \d+ counts"):
        load_vectors(tmp_path / "model")
    words["counts"].pop()
    (tmp_path / "model/words.json").write_text(json.dumps(words))
    with pytest.raises(ValueError, match=r"\d+ vectors beside \d+ words: train it again"):
        load_vectors(tmp_path / "model")
    (tmp_path / "model/vectors.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="missing, so this model is incomplete: train it again"):
        load_vectors(tmp_path / "model")


def test_bytes_of_a_character_are_no_word_of_another(tokenizer_dir: Path) -> None:
    """The lone byte E4, which begins much Chinese, is written as the letter ä in a byte-level vocabulary."""
    names = [name for name in token_names(load_tokenizer(tokenizer_dir)) if name]
    assert len(names) == len(set(names))
    assert "<bytes:ä>" in names
