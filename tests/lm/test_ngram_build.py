"""Building: counts, both kinds of corpus, the same bytes whatever the threads, memory and order, clear errors."""

import hashlib
import json
import random
from collections import Counter
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lm.ngram.build import build_ngram, build_word_ngram, parse_size
from lm.ngram.config import NgramConfig
from lm.ngram.counts import blocks, count_runs, field_bits, merged, pack, read_run, sort_keys, write_runs
from lm.ngram.levels import index_dtype, parent_ranges
from lm.ngram.model import load_ngram
from lm.ngram.stream import index_stream, sequence_stream
from lm.ngram.words import WordVocabulary, read_words, word_stream
from lm.stop import Interrupted, never
from lm.tokenizer import encode_documents, end_of_text_id, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.tokens import TokenIndex, build_index
from tests.lm.ngram_oracle import events, sentences

LINES = [" ".join(sentence) for sentence in sentences()]


@pytest.fixture
def index(shards: list[Path]) -> TokenIndex:
    return build_index(shards)


def content(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_all_ngrams_are_counted(tmp_path: Path) -> None:
    described = build_word_ngram(LINES, NgramConfig(order=4, prune=(0, 0, 1)), tmp_path)
    expected = Counter(events(4))
    before = [sum(len(gram) == n for gram in expected) for n in range(1, 5)]
    before[1:] = [sum(len(gram) == n for gram in expected) for n in range(2, 5)]
    kept = [sum(len(gram) == n and count > (n > 2) for gram, count in expected.items()) for n in range(2, 5)]
    assert described["ngrams_before_pruning"] == before
    assert described["ngrams"] == [before[0] + 1, *kept]  # and <unk>, never seen
    assert described["sequences"] == len(LINES)
    assert described["tokens"] == sum(len(sentence) for sentence in sentences())


@pytest.mark.parametrize(("vocab", "order"), [(3, 6), (300, 5), (8192, 5), (2_000_000, 6), (70_000, 2), (2, 1)])
def test_packed_keys_sort_as_their_words(vocab: int, order: int) -> None:
    draw = np.random.default_rng(0)
    ids = np.concatenate([draw.integers(0, vocab, 3000), draw.integers(0, min(vocab, 3), 3000)]).astype(np.uint32)
    ids[::17] = ids[-1] = boundary = 0
    bits = field_bits(vocab, order)
    starts = len(ids) - 1
    expected = Counter()
    for i in range(starts):
        gram = ids[i : i + order].tolist()
        if boundary in gram[1:]:
            gram = gram[: gram.index(boundary, 1) + 1]
        expected[tuple(id + 1 for id in gram) + (0,) * (order - len(gram))] += 1
    high, low = sort_keys(*pack(ids, starts, order, bits, boundary), order * bits, 11)
    different, counts = count_runs(high, low)
    keys = [(int(h) << 64) | int(w) for h, w in zip(high[:different], low[:different], strict=True)]
    unpacked = [tuple(key >> bits * (order - 1 - j) & ((1 << bits) - 1) for j in range(order)) for key in keys]
    assert list(zip(unpacked, counts.tolist(), strict=True)) == sorted(expected.items())


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_blocks_have_every_place_once_with_what_follows(size: int) -> None:
    stream = np.arange(1000, dtype=np.uint32)
    begun = []
    for ids, starts in blocks(iter(np.split(stream, [3, 3, 500, 998])), 4, size):
        for i in range(starts):
            assert ids[i : i + 4].tolist() == stream[ids[i] : ids[i] + 4].tolist()
        begun += ids[:starts].tolist()
    assert begun == list(range(999))


def test_neither_threads_memory_nor_order_show(tmp_path: Path, index: TokenIndex, tokenizer_dir: Path) -> None:
    config = NgramConfig(order=5, prune=(0, 0, 1))
    build_ngram(index, tokenizer_dir, config, tmp_path / "once")
    tokens, shards = index.tokens, index.open()
    documents = [shards[s][b : b + n] for s, b, n in zip(index.shard, index.start, index.length, strict=True)]
    seen: list[int] = []
    for threads, memory in ((1, "30MB"), (2, "60MB"), (3, "1 GiB")):
        name = tmp_path / f"{threads}"
        build_ngram(
            documents[::-1], tokenizer_dir, config, name, memory_limit=memory, threads=threads, progress=seen.append
        )
        assert content(name) == content(tmp_path / "once")
        assert sum(seen) == tokens + len(index)
        seen.clear()
    assert set(content(tmp_path / "once")) >= {"config.json", "words.npy", "probs.npy", "tokenizer.json"}


def test_many_runs_and_a_spill_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = LINES * 20
    build_word_ngram(lines, NgramConfig(order=4), tmp_path / "one")
    runs, _ = write_runs(
        sequence_stream(([2, 3, 4] for _ in range(2000)), 1), 3, 5, 1, tmp_path / "runs", 1, 2, lambda _: None, never
    )
    assert len(runs) > 5
    assert sum(int(read_run(run)["n"].to_numpy().sum()) for run in runs) == 8000
    stopped = iter([False, True, True])
    monkeypatch.setattr("lm.ngram.counts.wait_for", lambda futures, timeout: wait([], timeout=0))  # a slow query
    with pytest.raises(Interrupted, match="merging n-gram counts"):
        list(merged(runs, tmp_path / "spill", "1GB", 1, lambda: next(stopped)))
    monkeypatch.undo()
    monkeypatch.setattr("lm.ngram.build.parse_size", lambda size: 1)  # the smallest blocks there are
    monkeypatch.setattr("lm.ngram.levels.ROWS", 64)
    for name, fan_in in (("many", 256), ("by-threes", 3)):
        monkeypatch.setattr("lm.ngram.counts.FAN_IN", fan_in)
        build_word_ngram(lines, NgramConfig(order=4), tmp_path / name, threads=2)
        assert content(tmp_path / name) == content(tmp_path / "one")


def test_an_index_is_a_corpus_of_whole_documents(
    tmp_path: Path, index: TokenIndex, documents: dict[str, str], tokenizer_dir: Path
) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    edge = end_of_text_id(tokenizer)
    stream = np.concatenate(list(index_stream(index)))
    assert stream[0] == stream[-1] == edge
    found = sorted(tuple(part[1:].tolist()) for part in np.split(stream, np.flatnonzero(stream == edge))[1:-1])
    assert found == sorted(tuple(ids.tolist()) for ids in encode_documents(tokenizer, list(documents.values())))
    described = build_ngram(index, tokenizer_dir, NgramConfig(order=2), tmp_path / "model")
    assert described["tokens"] == index.tokens
    assert described["sequences"] == len(index)
    assert described["vocab"] == index.vocab


def test_rare_words_become_unknown(tmp_path: Path) -> None:
    described = build_word_ngram(["a b a", "a <unk> c c", ""], NgramConfig(order=2, min_count=2), tmp_path)
    model = load_ngram(tmp_path)
    assert isinstance(model.names, WordVocabulary)
    assert model.names.words == ("<unk>", "</s>", "a", "c")
    assert model.encode("a b　 c\u3000").tolist() == [2, 0, 0]  # only ASCII white space divides words
    assert described["sequences"] == 3
    assert model.decode([2, 0]) == "a <unk>"


def test_words_are_those_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled reader against bytes.split and Counter: long lines, all kinds of space, lines within a line."""
    draw = random.Random(0)
    spaces = [" ", "  ", "\t", "\r", "\v\f", "\n", " \u3000", "\xa0"]
    words = [*(f"w{int(draw.paretovariate(0.4))}" for _ in range(5000)), "语言", "<unk>", "é", "\x00", "x" * 3000]
    lines = ["".join(draw.choice(words) + draw.choice(spaces) for _ in range(n)) for n in (0, 1, 3000, 2, 0, 6000, 40)]
    expected = Counter(word for line in lines for word in line.encode().split())
    del expected[b"<unk>"]
    monkeypatch.setattr("lm.ngram.words.BATCH", 1000)
    vocabulary, ids = read_words(lines, 2, tmp_path / "words")
    kept = sorted((-count, word) for word, count in expected.items() if count > 1)
    assert vocabulary.words == ("<unk>", "</s>", *(word.decode() for _, word in kept))
    stream = np.concatenate(list(word_stream(tmp_path / "words", ids)))
    assert stream.tolist() == [1, *(id for line in lines for id in [*vocabulary.encode(line).tolist(), 1])]
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        read_words(["a \ud800"], 1, tmp_path / "words")
    with pytest.raises(Interrupted, match="reading words"):
        read_words(lines, 1, tmp_path / "words", should_stop=lambda: True)
    with pytest.raises(ValueError, match="<s> or </s> stands in the text itself: 'a <s>'"):
        vocabulary.encode("a <s>")
    with pytest.raises(ValueError, match="begins with <unk> and </s>"):
        WordVocabulary(["a", "b"])
    with pytest.raises(ValueError, match="a word stands twice"):
        WordVocabulary(["<unk>", "</s>", "a", "a"]).encode("a")


def test_a_killed_build_leaves_nothing_that_looks_like_a_model(tmp_path: Path) -> None:
    build_word_ngram(LINES, NgramConfig(order=3), tmp_path / "good")
    out = tmp_path / "model"
    build_word_ngram(LINES[:50], NgramConfig(order=3), out)
    (out / "ngram-scratch").mkdir()
    (out / "ngram-scratch" / "left").write_text("by a kill")
    asked = iter([False, False, True, True])
    with pytest.raises(Interrupted, match="asked to stop while"):
        build_word_ngram(LINES, NgramConfig(order=3), out, should_stop=lambda: next(asked))
    with pytest.raises(FileNotFoundError, match="no model there"):
        load_ngram(out)
    build_word_ngram(LINES, NgramConfig(order=3), out)
    assert content(out) == content(tmp_path / "good")


def test_inputs_that_cannot_be_counted_are_named(tmp_path: Path, index: TokenIndex, tokenizer_dir: Path) -> None:
    other = tmp_path / "other"
    train_tokenizer(["some other text, some other tokens"], ByteBPEConfig(vocab_size=260), other)
    with pytest.raises(ValueError, match=r"made by another tokenizer than .*other"):
        build_ngram(index, other, NgramConfig(), tmp_path / "m")
    with pytest.raises(ValueError, match="token id 999 in the corpus, but the vocabulary has"):
        build_ngram([[1, 2], [999]], tokenizer_dir, NgramConfig(order=2), tmp_path / "m")
    with pytest.raises(ValueError, match="min_count 2 is for models of words"):
        build_ngram(index, tokenizer_dir, NgramConfig(min_count=2), tmp_path / "m")
    with pytest.raises(ValueError, match="there is no text to count"):
        build_ngram([], tokenizer_dir, NgramConfig(order=2), tmp_path / "m")
    with pytest.raises(ValueError, match="the word </s> stands in the text itself"):
        build_word_ngram(["a b", "c </s> d"], NgramConfig(order=2), tmp_path / "m")
    with pytest.raises(ValueError, match="order 6 over 5000000 words need 138 bits, 128 is the limit: take order 5"):
        field_bits(5_000_000, 6)
    with pytest.raises(ValueError, match="memory limit 'lots': give a number and one of B, KB"):
        build_word_ngram(["a"], NgramConfig(), tmp_path / "m", memory_limit="lots")
    assert [parse_size(size) for size in ("1GB", "512 MiB", "1.5kb")] == [10**9, 2**29, 1500]


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    build_word_ngram(LINES, NgramConfig(order=3), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    probs = np.load(tmp_path / "probs.npy")
    np.save(tmp_path / "probs.npy", probs[:-1])
    with pytest.raises(ValueError, match="do not fit together"):
        load_ngram(tmp_path)
    (tmp_path / "probs.npy").unlink()
    with pytest.raises(ValueError, match=r"probs.npy: missing, so this n-gram model is incomplete"):
        load_ngram(tmp_path)
    np.save(tmp_path / "probs.npy", probs)
    (tmp_path / "config.json").write_text(json.dumps({**config, "ngrams": [1, 2, 3]}))
    with pytest.raises(ValueError, match=r"n-grams, config.json says 6"):
        load_ngram(tmp_path)
    WordVocabulary(["<unk>", "</s>", "a"]).save(tmp_path)
    with pytest.raises(ValueError, match=r"3 words or tokens beside a model of \d+: build it again"):
        load_ngram(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "kind": "gpt"}))
    with pytest.raises(ValueError, match="not a 'ngram' model: 'gpt'"):
        load_ngram(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prune": (0, 2, 1)}, "must begin with 0 and not fall"),
        ({"prune": (1,)}, "must begin with 0 and not fall"),
        ({"order": 2, "prune": (0, 0, 1)}, "3 thresholds for 2 orders"),
        ({"discounts": (0.5,)}, "not for modified_kneser_ney"),
        ({"smoothing": "kneser_ney", "discounts": (0.5, 1.5)}, "must be within 0..1"),
        ({"discount_fallback": (0.5, 3.0, 1.0)}, "must be within 0..1, 0..2 and 0..3"),
        ({"order": 7}, "less than or equal to 6"),
        ({"smoothng": "mle"}, "smoothng"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NgramConfig(**settings)


def test_a_corpus_that_outgrows_32_bits_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = NgramConfig(order=3, prune=(0, 0, 1))
    build_word_ngram(LINES, config, tmp_path / "small")
    for module in ("levels", "arrays"):
        monkeypatch.setattr(f"lm.ngram.{module}.index_dtype", lambda largest: np.dtype("<u8"))
    build_word_ngram(LINES, config, tmp_path / "large")
    small, large = load_ngram(tmp_path / "small"), load_ngram(tmp_path / "large")
    assert (small.arrays.links.dtype, large.arrays.links.dtype) == (np.uint32, np.uint64)
    for name in ("words", "probs", "links", "backoffs", "children"):
        np.testing.assert_array_equal(getattr(small.arrays, name), getattr(large.arrays, name))
    ids = np.concatenate([small.encode(line) for line in LINES])
    offsets = np.array([0, len(ids)])
    np.testing.assert_array_equal(small.log_probs(ids, offsets), large.log_probs(ids, offsets))


def test_the_parts_of_a_large_build_fit() -> None:
    assert index_dtype(2**32 - 2) == np.uint32
    assert index_dtype(2**32 - 1) == np.uint64
    first = np.array([0, 0, 10, 10, 11, 40, 40], dtype=np.uint32)
    ranges = parent_ranges(first, 4)
    assert [begin for begin, _ in ranges] + [ranges[-1][1]] == [0, *(end for _, end in ranges)]
    assert ranges[-1][1] == 6
    assert parent_ranges(np.array([0, 5], dtype=np.uint32), 3) == [(0, 1)]
