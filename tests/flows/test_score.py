"""`textmill score`: figures add up, lines keep their numbers, faults are one line."""

import math
from pathlib import Path

import pytest

from flows.cli.printing import show_score
from flows.commands.score import score_file
from flows.config.loading import ConfigError
from lm.ngram.build import build_ngram, build_word_ngram
from lm.ngram.config import NgramConfig
from lm.tokenizer import encode_documents, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig

TEXT = "The rose is red.\n\nThe tide is high.\r\n  \nNothing else"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    train_tokenizer([TEXT] * 3, ByteBPEConfig(vocab_size=280), tmp_path / "tokenizer")
    ids = encode_documents(load_tokenizer(tmp_path / "tokenizer"), [TEXT])
    build_ngram(ids, tmp_path / "tokenizer", NgramConfig(order=2), tmp_path / "model")
    return tmp_path / "model"


def test_lines_and_their_sum(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT.encode())
    found = score_file(model, file, whole=False, quiet=True)
    assert [line["line"] for line in found["lines"]] == [1, 3, 5]
    assert found["bytes"] == sum(len(line) for line in ("The rose is red.", "The tide is high.", "Nothing else"))
    assert found["nats"] == pytest.approx(-sum(line["log_prob"] for line in found["lines"]))
    assert found["bits_per_byte"] == pytest.approx(found["nats"] / math.log(2) / found["bytes"])
    assert found["perplexity_per_token"] == pytest.approx(math.exp(found["nats"] / found["tokens"]))
    whole = score_file(model, file, whole=True, quiet=True)
    assert (whole["texts"], whole["bytes"]) == (1, len(TEXT.replace("\r", "").encode()))


@pytest.mark.parametrize("whole", [False, True])
def test_a_byte_order_mark_is_no_text(model: Path, tmp_path: Path, whole: bool) -> None:
    plain, marked = tmp_path / "plain.txt", tmp_path / "marked.txt"
    plain.write_text(TEXT, encoding="utf-8")
    marked.write_text(TEXT, encoding="utf-8-sig")
    first, second = (score_file(model, file, whole=whole, quiet=True) for file in (plain, marked))
    assert first["nats"] == second["nats"]
    assert first["bytes"] == second["bytes"]


def test_windows_line_ends_are_none_of_the_text(model: Path, tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix.txt", tmp_path / "windows.txt"
    unix.write_bytes(TEXT.encode())
    windows.write_bytes(TEXT.replace("\r", "").replace("\n", "\r\n").encode())
    for whole in (False, True):
        first, second = (score_file(model, file, whole=whole, quiet=True) for file in (unix, windows))
        assert (first["nats"], first["bytes"]) == (second["nats"], second["bytes"])


def test_faults_say_where(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    with pytest.raises(ConfigError, match=r"text\.txt: No such file or directory"):
        score_file(model, file, whole=False, quiet=True)
    file.write_bytes(b"good\nb\xffd\n")
    for whole in (False, True):
        with pytest.raises(ConfigError, match=r"text\.txt: line 2 is not UTF-8: invalid start byte \(0xff\)"):
            score_file(model, file, whole=whole, quiet=True)
    file.write_text(" \n\n")
    with pytest.raises(ConfigError, match=r"text\.txt: there is no text to score"):
        score_file(model, file, whole=False, quiet=True)
    with pytest.raises(ConfigError, match="no model there"):
        score_file(tmp_path, file, whole=False, quiet=True)


def test_a_model_of_words_has_no_bits_per_byte(tmp_path: Path) -> None:
    build_word_ngram(["a b c"], NgramConfig(order=2), tmp_path / "words")
    (tmp_path / "text.txt").write_text("a b\nc")
    found = score_file(tmp_path / "words", tmp_path / "text.txt", whole=False, quiet=True)
    assert (found["tokens"], found["bits_per_byte"]) == (3, None)


def test_no_probability_is_said_and_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_word_ngram(["a b c"], NgramConfig(order=2, smoothing="mle"), tmp_path / "words")
    (tmp_path / "text.txt").write_text("a b\nc a\n")
    found = score_file(tmp_path / "words", tmp_path / "text.txt", whole=False, quiet=True)
    assert (found["nats"], found["perplexity_per_token"]) == (None, None)
    assert found["lines"][0]["log_prob"] == pytest.approx(0.0)
    assert found["lines"][1]["log_prob"] is None
    show_score(found)
    assert "perplexity per token   infinite: it gives some of this no probability" in capsys.readouterr().out
