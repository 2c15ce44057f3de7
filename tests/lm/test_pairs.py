"""Pairs of texts: what is read, refused, held out, skipped, batched and padded."""

import gzip
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from lm.objectives.causal import IGNORE
from lm.padding import padded
from lm.pair_examples import PairExamples
from lm.pairs import Pair, held_out, normal, read_pairs, split_pairs
from lm.tokenizer import end_of_text_id, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, CharacterConfig, UnigramConfig, WordConfig, WordPieceConfig
from lm.tokenizers.spelling import Spelling
from lm.translator_config import PairLimits

PAIRS = [Pair("Hello you", "Hallo du"), Pair("你好。", "good day"), Pair("a\u2028b", "c\x0bd")]


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_all_forms_read_the_same(tmp_path: Path, ending: str) -> None:
    """What Unicode calls line breaks are text, a byte-order mark is none; \\r\\n ends a line as \\n does."""
    source = write(tmp_path / f"x.en{ending}", "\ufeff" + "".join(f"{p.source}\r\n" for p in PAIRS))
    target = write(tmp_path / f"x.de{ending}", "\n".join(p.target for p in PAIRS))
    tsv = write(tmp_path / f"x.tsv{ending}", "".join(f"{p.source}\t{p.target}\tmore\n" for p in PAIRS))
    jsonl = write(tmp_path / f"x.jsonl{ending}", "".join(json.dumps({"a": p[0], "b": p[1]}) + "\n" for p in PAIRS))
    assert read_pairs(source, target) == read_pairs(tsv) == read_pairs(jsonl, fields=("a", "b")) == PAIRS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tsv", "a\tb\nonly one\n", "x.tsv: line 2 has no tab: two columns"),
        ("x.tsv", b"a\tb\n\xff\tc\n", r"x.tsv: line 2 is not UTF-8: invalid start byte \(byte 1\)"),
        ("x.jsonl", "{}\n", "line 1 has no text in 'source' (it has nothing)"),
        ("x.jsonl", '{"source": "a", "target": 3}\n', "line 1 has no text in 'target' (it has 'source', 'target')"),
        ("x.jsonl", "[1]\n", "line 1 is no JSON object: '[1]'"),
        ("x.jsonl", '{"source": \n', "line 1 is no JSON: "),
        ("x.csv", "a,b\n", "x.csv: pairs are read from .tsv, .jsonl (each also .gz), or from two text files"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message if "\\" in message else re.escape(message)):
        read_pairs(write(tmp_path / name, content))


def test_files_that_are_not_parallel_broken_or_not_there(tmp_path: Path) -> None:
    three, two = write(tmp_path / "x.en", "a\nb\nc\n"), write(tmp_path / "x.de", "a\nb\n")
    with pytest.raises(ValueError, match=r"x\.en has 3 lines and .*x\.de 2: line n of one must be line n"):
        read_pairs(three, two)
    cut = tmp_path / "cut.tsv.gz"
    cut.write_bytes(gzip.compress(b"a\tb\n" * 9999)[:-20])
    with pytest.raises(ValueError, match=r"cut\.tsv\.gz: broken after line \d+: Compressed file ended"):
        read_pairs(cut)
    damaged = tmp_path / "damaged.tsv.gz"
    damaged.write_bytes(gzip.compress(b"a\tb\n")[:10] + b"\xff" * 20)  # no block of deflate begins so
    with pytest.raises(ValueError, match=r"damaged\.tsv\.gz: broken after line 0: .*invalid block type"):
        read_pairs(damaged)
    plain = tmp_path / "plain.tsv.gz"
    plain.write_bytes(b"a\tb\n")
    with pytest.raises(ValueError, match=r"plain\.tsv\.gz: broken after line 0: Not a gzipped file"):
        read_pairs(plain)
    with pytest.raises(FileNotFoundError, match=r"none\.tsv: no such file"):
        read_pairs(tmp_path / "none.tsv")


def test_a_pair_is_held_out_by_itself_and_nothing_of_it_is_trained_on() -> None:
    pairs = [Pair(f"source {n}", f"target {n % 180}") for n in range(400)]
    train, valid, left_out = split_pairs(pairs, 0.1, "salt")
    assert 20 < len(valid) < 60
    assert len(train) + len(valid) + left_out == 400
    assert left_out > 0
    assert not {normal(p.target) for p in train} & {normal(p.target) for p in valid}
    assert [p for p in pairs[:100] if held_out(p, 0.1, "salt")] == [p for p in valid if p in pairs[:100]]
    twin = Pair(valid[0].source.upper() + "!", "another")
    assert split_pairs([*pairs, twin], 0.1, "salt")[1] == [*valid, twin]
    assert split_pairs(pairs, 0.1, "other")[1] != valid
    assert normal("?!") == "?!"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("words")
    train_tokenizer(["a b c d e f g h"], WordConfig(kind="word", vocab_size=50, min_frequency=1), folder)
    return load_tokenizer(folder)


def examples(tokenizer: Tokenizer, pairs: list[Pair], limit: int = 100) -> PairExamples:
    return PairExamples(pairs, tokenizer, tokenizer, PairLimits(source=limit, target=limit), Spelling({}))


def test_a_batch_says_what_is_read_and_what_is_predicted(words: Tokenizer) -> None:
    end = end_of_text_id(words)
    a, b, c = words.encode("a b c").ids  # a word and the space before it are one token
    batch = examples(words, [Pair("a b c", " c"), Pair(" b", "a b")]).batch(np.array([0, 1]))
    assert batch["source"].tolist() == [[a, b, c, end], [b, end, end, end]]
    assert batch["source_lengths"].tolist() == [4, 2]
    assert batch["tokens"].tolist() == [[end, c, end, end], [end, a, b, end]]
    assert batch["targets"].tolist() == [[c, end, IGNORE], [a, b, end]]
    assert batch["bytes"].tolist() == [[0, 2, 0, 0], [0, 1, 2, 0]]


def test_pairs_that_are_empty_or_long_are_skipped_and_counted(words: Tokenizer) -> None:
    made = examples(words, [Pair("", "a"), Pair("a b c", "a"), Pair("a", "b"), Pair("a", ""), Pair("a", "a b c")], 3)
    assert made.summary() == {
        "pairs": 1,
        "source_tokens": 2,
        "target_tokens": 2,
        "skipped_empty": 2,
        "skipped_long": 2,
    }
    assert made.kept == [2]


@pytest.mark.parametrize(
    "config",
    [
        ByteBPEConfig(vocab_size=280),
        CharacterConfig(kind="character", vocab_size=300),
        CharacterConfig(kind="character", vocab_size=40, unknown="unk"),
        WordPieceConfig(kind="wordpiece", vocab_size=60),
        UnigramConfig(kind="unigram", vocab_size=300),
        WordConfig(kind="word", vocab_size=40),
    ],
    ids=lambda config: config.kind,
)
def test_every_tokenizer_pays_for_all_bytes_of_the_target(tmp_path: Path, config: object) -> None:
    """The targets' bytes are those of the text (WordPiece drops spaces at most), whatever the tokens."""
    texts = ["the cat sat on the mat"] * 3 + ["ein Hund 模型 schläft"]
    train_tokenizer(texts, config, tmp_path)  # type: ignore[arg-type]
    tokenizer = load_tokenizer(tmp_path)
    made = PairExamples([Pair("the", t) for t in texts], tokenizer, tokenizer, PairLimits(), Spelling.load(tmp_path))
    batch = made.batch(np.arange(4))
    sizes = [len(t.encode()) for t in texts]
    assert batch["bytes"].sum(1).tolist() == sizes
    assert (batch["spelling_nats"].sum(1) >= 0).all()


def random_pairs(count: int, seed: int = 0) -> list[Pair]:
    draw = np.random.default_rng(seed)
    texts = [" ".join(draw.choice(list("abcdefgh"), draw.integers(1, 20))) for _ in range(2 * count)]
    return [Pair(x, y) for x, y in zip(texts[::2], texts[1::2], strict=True)]


def test_the_order_is_a_function_of_seed_epoch_and_place(words: Tokenizer) -> None:
    made = examples(words, random_pairs(1003))
    batches = [made.order(step * 10, 10, len(made), seed=3) for step in range(250)]
    again = examples(words, random_pairs(1003))
    for step in (249, 0, 120, 99, 100):
        assert (again.order(step * 10, 10, len(made), seed=3) == batches[step]).all()
    first, second = np.concatenate(batches[:100]), np.concatenate(batches[100:200])
    assert len(set(first.tolist())) == len(set(second.tolist())) == 1000
    assert set(first.tolist()) != set(second.tolist())
    assert {frozenset(b.tolist()) for b in batches[:100]} != {frozenset(b.tolist()) for b in batches[100:200]}
    assert not (made.order(0, 10, len(made), seed=4) == batches[0]).all()


def test_batches_hold_examples_of_like_length(words: Tokenizer) -> None:
    made = examples(words, random_pairs(1003))
    spread = [np.ptp(made.source_lengths[made.order(s * 10, 10, len(made), 0)]) for s in range(100)]
    assert np.mean(spread) < 1
    starts = [made.source_lengths[made.order(s * 10, 10, len(made), 0)].mean() for s in range(100)]
    assert abs(np.corrcoef(np.arange(100), starts)[0, 1]) < 0.3  # not from short to long


def test_in_some_epochs_every_example_comes(words: Tokenizer) -> None:
    """Those left over by the batches of an epoch are not the longest each time."""
    made = examples(words, random_pairs(100))
    orders = [made.order(epoch * 64, 64, len(made), 0) for epoch in range(30)]
    assert all(len(set(order.tolist())) == 64 for order in orders)
    assert set(np.concatenate(orders).tolist()) == set(range(100))


def test_fewer_pairs_than_a_batch_come_round_again(words: Tokenizer) -> None:
    made = examples(words, random_pairs(4))
    assert sorted(set(made.order(20, 10, 4, 0).tolist())) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="example 7 does not begin a batch of 10"):
        made.order(7, 10, 4, 0)


def test_the_fingerprint_is_that_of_the_content(words: Tokenizer) -> None:
    pairs = random_pairs(20)
    assert examples(words, pairs).fingerprint == examples(words, list(pairs)).fingerprint
    assert examples(words, pairs).fingerprint != examples(words, pairs[::-1]).fingerprint
    moved = [Pair("a b", "c"), Pair("d", "e")]
    assert examples(words, moved).fingerprint != examples(words, [Pair("a", "b c"), Pair("d", "e")]).fingerprint


def test_padded_rows_keep_their_type() -> None:
    whole = padded([np.array([1, 2, 3]), np.array([4])], 9)
    assert (whole.dtype, whole.tolist()) == (np.int64, [[1, 2, 3], [4, 9, 9]])
    assert padded([np.array([0.5]), np.array([])], 0).tolist() == [[0.5], [0.0]]


def test_padding_stands_on_the_right_alone(words: Tokenizer) -> None:
    made = examples(words, random_pairs(50))
    batch = made.batch(np.arange(50))
    for row, length in enumerate(made.target_lengths):
        assert (batch["targets"][row, :length] != IGNORE).all()
        assert (batch["targets"][row, length:] == IGNORE).all()
        assert torch.equal(batch["tokens"][row, 1 : length + 1], batch["targets"][row, :length])


@pytest.mark.skipif("TEXTMILL_DATA" not in os.environ, reason="needs TEXTMILL_DATA")
def test_real_pairs_are_read_and_held_out_without_a_leak() -> None:
    folder = Path(os.environ["TEXTMILL_DATA"]) / "labelled" / "translation"
    captions = read_pairs(folder / "multi30k" / "train.en.gz", folder / "multi30k" / "train.de.gz")
    assert len(captions) == 29_000
    train, valid, left_out = split_pairs(read_pairs(folder / "tatoeba_cmn_eng" / "train.tsv.gz"), 0.05, "en-zh")
    assert len(train) + len(valid) + left_out == 18_906
    assert 800 < len(valid) < 1100
    for side in range(2):
        assert not {normal(pair[side]) for pair in train} & {normal(pair[side]) for pair in valid}
