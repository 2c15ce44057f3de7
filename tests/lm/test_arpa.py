"""ARPA files: written and read back without loss, read from others, errors that say where."""

import gzip
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from lm.interop.arpa import write_arpa
from lm.interop.arpa_reader import read_arpa
from lm.ngram.build import build_ngram, build_word_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import NgramModel, load_ngram
from lm.stop import Interrupted
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.tokens import build_index
from tests.lm.ngram_oracle import ORACLE, sentences

LINES = [" ".join(sentence) for sentence in sentences()]
FILES = ("words", "probs", "links", "backoffs", "children")

# A file as SRILM writes them: the suffix "b c" of "a b c" is not there, weights may be above 1 or missing.
FOREIGN = """
written by hand
\\data\\
ngram 1=6
ngram 2=4
ngram 3=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-0.7\t</s>
-0.5\ta\t0.2
-0.6\tb\t-0.3
-0.9\tc

\\2-grams:
-0.2\t<s> a\t-0.1
-0.4\ta b\t-0.2
-0.3\tb </s>
-0.8\tc <s>\t-0.2

\\3-grams:
-0.1\ta b c
-0.05\t<s> a b

\\end\\
"""


def same(one: NgramModel, other: NgramModel) -> bool:
    return all(np.array_equal(getattr(one.arrays, name), getattr(other.arrays, name)) for name in FILES)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("config", [{"order": 1}, {"order": 4, "prune": (0, 0, 1)}, {"order": 3, "smoothing": "mle"}])
def test_words_come_back_unchanged(tmp_path: Path, config: dict[str, object], precision: str) -> None:
    build_word_ngram(LINES, NgramConfig(**config, precision=precision), tmp_path / "one")  # type: ignore[arg-type]
    model = load_ngram(tmp_path / "one")
    sizes = write_arpa(model, tmp_path / "one.arpa")
    text = (tmp_path / "one.arpa").read_text(encoding="utf-8")
    assert [int(n) for n in re.findall(r"ngram \d=(\d+)", text)] == sizes
    assert sizes == [model.vocab + 1, *model.described["ngrams"][1:]]
    read_arpa(tmp_path / "one.arpa", tmp_path / "two", precision=precision)
    again = load_ngram(tmp_path / "two")
    assert model.names.words == again.names.words  # type: ignore[union-attr]
    if precision == "float32":
        assert same(model, again)
    else:
        np.testing.assert_allclose(model.arrays.probs, again.arrays.probs, rtol=5e-9)
    write_arpa(again, tmp_path / "two.arpa")
    assert (tmp_path / "two.arpa").read_text(encoding="utf-8") == text


def test_tokens_come_back_unchanged(tmp_path: Path, shards: list[Path], tokenizer_dir: Path) -> None:
    build_ngram(build_index(shards), tokenizer_dir, NgramConfig(order=3), tmp_path / "one")
    model = load_ngram(tmp_path / "one")
    write_arpa(model, tmp_path / "one.arpa")
    described = read_arpa(tmp_path / "one.arpa", tmp_path / "two", tokenizer_dir)
    again = load_ngram(tmp_path / "two")
    assert same(model, again)
    assert described["left_out"] == 1  # <unk>, which this tokenizer has no use for
    assert again.encode("the model").tolist() == model.encode("the model").tolist()
    other = tmp_path / "other"
    train_tokenizer(["entirely different words"], ByteBPEConfig(vocab_size=258), other)
    with pytest.raises(ValueError, match=r"one.arpa, line \d+: .* is no token of the tokenizer"):
        read_arpa(tmp_path / "one.arpa", tmp_path / "three", other)


def test_kenlms_scores_of_lmplzs_file_are_ours_of_our_file(tmp_path: Path) -> None:
    build_word_ngram(LINES, NgramConfig(order=4), tmp_path / "one")
    write_arpa(load_ngram(tmp_path / "one"), tmp_path / "one.arpa")
    read_arpa(tmp_path / "one.arpa", tmp_path / "two")
    model = load_ngram(tmp_path / "two")
    for text, log10_p in json.loads(ORACLE.read_text(encoding="utf-8"))["lmplz"]["whole"]["sentences"]:
        assert model.sequence_log_prob(model.encode(text)) / math.log(10) == pytest.approx(log10_p, abs=1e-4)


@pytest.mark.parametrize("name", ["foreign.arpa", "foreign.arpa.gz"])
def test_a_file_of_another_toolkit(tmp_path: Path, name: str) -> None:
    content = FOREIGN.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    described = read_arpa(tmp_path / name, tmp_path / "model", precision="float64")
    model = load_ngram(tmp_path / "model")
    assert described["left_out"] == 1  # c <s>
    a, b, c = model.encode("a b c").tolist()
    edge = model.boundary
    logs = {
        ((1,), a): -0.2,
        ((1, a), b): -0.05,
        ((a, b), c): -0.1,
        ((a, b), b): -0.2 - 0.3 - 0.6,
        ((b,), c): -0.3 - 0.9,
        ((a,), a): 0.2 - 0.5,
        ((c, a), b): -0.4,
        ((b, c), a): -0.5,  # after "a b c" nothing is known of "b c", nor of "c"
        ((1,), c): -0.5 - 0.9,
        ((a, b), edge): -0.2 - 0.3,
        ((a,), 0): 0.2 - 1.0,
    }
    for (history, word), expected in logs.items():
        assert model.log_prob(history, word) / math.log(10) == pytest.approx(expected), (history, word)
    run = model.log_probs(np.array([a, b, c, a, edge]), np.array([0, 5])) / math.log(10)
    assert run == pytest.approx([-0.2, -0.05, -0.1, -0.5, 0.2 - 0.7])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\end\\", "", "no .end.: not an ARPA file, or one that was cut off"),
        ("ngram 2=4", "ngram 2=5", r"line 22: 5 2-grams were announced, 4 stand here"),
        ("ngram 2=4", "ngram 3=4", "line 5: expected the number of 2-grams"),
        ("\\2-grams:", "\\3-grams:", "line 16: expected 2-grams"),
        ("-0.4\ta b\t-0.2", "-0.4\ta", "line 18: expected log10 p, 2 words and perhaps"),
        ("-0.4\ta b\t-0.2", "-0.4\ta b\tmany", "line 18: not a number"),
        ("-0.4\ta b", "0.4\ta b", "line 18: log10 p must not be above 0"),
        ("-0.4\ta b", "nan\ta b", "line 18: log10 p must not be above 0"),
        ("-0.1\ta b c", "-0.1\ta b d", "line 23: d is not among the unigrams"),
        ("-0.9\tc", "-0.9\tb", "line 14: b stands twice among the unigrams"),
        ("-0.1\ta b c", "-0.1\tb a c", "the beginning of a 3-gram has no line of its own"),
        ("-0.3\tb </s>", "-0.4\ta b", "a 2-gram stands twice"),
    ],
)
def test_a_bad_file_is_named_with_the_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "bad.arpa"
    path.write_text(FOREIGN.replace(old, new, 1))
    with pytest.raises(ValueError, match=f"bad.arpa.*{message}"):
        read_arpa(path, tmp_path / "model")


def test_what_an_arpa_file_cannot_hold(tmp_path: Path) -> None:
    for smoothing in ("add_k", "stupid_backoff"):
        build_word_ngram(LINES, NgramConfig(order=2, smoothing=smoothing), tmp_path / smoothing)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"cannot hold {smoothing}: build with another smoothing"):
            write_arpa(load_ngram(tmp_path / smoothing), tmp_path / "x.arpa")
    build_word_ngram(LINES, NgramConfig(order=2), tmp_path / "model")
    with pytest.raises(Interrupted, match=r"writing x.arpa"):
        write_arpa(load_ngram(tmp_path / "model"), tmp_path / "x.arpa", should_stop=lambda: True)
    assert not (tmp_path / "x.arpa").exists()
