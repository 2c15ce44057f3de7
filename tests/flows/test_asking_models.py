"""`textmill score`, `generate` and `fill` from the shell: how texts are joined, and whom one is sent to."""

import json
import math
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from flows.cli.main import app
from flows.commands.fill import fill_text
from flows.commands.score import score_file
from flows.config.loading import ConfigError
from lm.artifact import save_model
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.ngram.build import build_ngram, build_word_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import load_ngram
from lm.text_model import open_model
from lm.tokenizer import encode_documents, joined, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordPieceConfig
from lm.translator import save_translator

LINES = ["the model learns the data", "the model reads the data", "a model learns"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    build_word_ngram(LINES, NgramConfig(order=3, smoothing="kneser_ney"), folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bert")
    train_tokenizer(LINES * 3, WordPieceConfig(kind="wordpiece", vocab_size=60), root / "tokenizer")
    vocab = load_tokenizer(root / "tokenizer").get_vocab_size()
    model = Bert(BertConfig(layers=1, width=8, heads=2, context=16, vocab=vocab), seed=1)
    with torch.no_grad():
        model.bias.add_(torch.linspace(0, 9, vocab))
    save_model(model, root / "tokenizer", root / "model")
    return root / "model"


def generated(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["generate", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.removesuffix("\n")


@pytest.mark.parametrize(
    ("prompt", "written"),
    [
        ("the", "the model learns the"),
        ("the ", "the model learns the"),
        ("the\n", "the\nmodel learns the"),
        ("", "the model learns"),
    ],
)
def test_words_stand_between_spaces_behind_a_prompt_too(prompt: str, written: str, words: Path) -> None:
    assert generated(words, "--prompt", prompt, "--tokens", 3, "--temperature", 0) == written


def test_pieces_of_words_are_joined_to_a_prompt_too(bert: Path, tmp_path: Path) -> None:
    """With a tokenizer of WordPiece, which leaves spaces out: an n-gram model that knows one text by heart."""
    tokenizer, text = load_tokenizer(bert), "the model reads the data learns"
    ids = encode_documents(tokenizer, [text] * 9)
    build_ngram(ids, bert, NgramConfig(order=5), tmp_path / "model")
    pieces = tokenizer.encode(text, add_special_tokens=False)
    for place in range(1, len(ids[0])):  # behind every whole word, sign or piece
        begin = text[: pieces.offsets[place - 1][1]]
        if encode_documents(tokenizer, [begin])[0].tolist() == ids[0][:place].tolist():
            found = generated(tmp_path / "model", "--prompt", begin, "--tokens", 40, "--temperature", 0)
            assert found == text
    assert joined(tokenizer, "dat", "##a ,") == "data ,"
    assert joined(tokenizer, "data", ".") == "data."
    assert joined(load_tokenizer(bert), "", "the") == "the"


def test_text_that_is_no_utf8_is_said_to_be_none(bert: Path, tmp_path: Path) -> None:
    """A byte of an argument that is not UTF-8 comes as a lone surrogate, which no tokenizer takes."""
    train_tokenizer(LINES * 3, ByteBPEConfig(vocab_size=270), tmp_path / "tokenizer")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    for texts in (["caf\udce9"], ["fine", "a caf\udce9 there"]):
        with pytest.raises(ValueError, match=r"the text is not UTF-8: '.*caf\\\\udce9.*' at character"):
            encode_documents(tokenizer, texts)
    build_ngram(encode_documents(tokenizer, LINES), tmp_path / "tokenizer", NgramConfig(order=2), tmp_path / "model")
    done = CliRunner().invoke(app, ["generate", str(tmp_path / "model"), "--prompt", "caf\udce9"])
    assert done.exit_code == 1
    assert "is not UTF-8" in f"{done.output}{done.exception}"
    with pytest.raises(ConfigError, match="the text is not UTF-8"):  # by a tokenizer of words and pieces, too
        fill_text(bert, "the caf\udce9 [MASK]", 3)


def test_nothing_follows_where_the_model_ends(words: Path) -> None:
    assert open_model(words).generate("the model learns the data", 5, temperature=0.0) == ""
    assert open_model(words).generate("the", 9, temperature=0.0, stop=[" learns"]) == " model"


def test_an_ngram_model_fills_a_gap_by_both_sides(words: Path) -> None:
    found = fill_text(words, "a model [MASK]", 3)
    model = load_ngram(words)
    left, right = [model.boundary, *model.encode("a model").tolist()], [model.boundary]
    [gap] = found["gaps"]
    assert [row["token"] for row in gap] == [model.decode([id]) for id, _ in model.cloze(left, right, 3)]
    assert gap[0]["token"] == "learns"
    assert gap[0]["probability"] > gap[1]["probability"]
    with pytest.raises(ConfigError, match=r"fills one gap, and the text has 2: write one \[MASK\]"):
        fill_text(words, "[MASK] model [MASK]", 3)


def test_a_bert_fills_gaps_from_the_shell(bert: Path) -> None:
    model = open_model(bert)
    done = CliRunner().invoke(app, ["fill", str(bert), "the [MASK] learns [MASK]", "--count", "2", "--json"])
    gaps = json.loads(done.stdout)["gaps"]
    expected = model.fill("the [MASK] learns [MASK]", 2)  # type: ignore[attr-defined]
    assert [[row["token"] for row in gap] for gap in gaps] == [[token for token, _ in gap] for gap in expected]
    assert gaps[0][0]["probability"] == pytest.approx(expected[0][0][1])
    done = CliRunner().invoke(app, ["fill", str(bert), "the [MASK] learns", "--count", "1"])
    [[(token, chance)]] = model.fill("the [MASK] learns", 1)  # type: ignore[attr-defined]
    assert done.stdout.split() == [f"{chance:.4f}", token]
    with pytest.raises(ConfigError, match=r"the text has no gap: write \[MASK\]"):
        fill_text(bert, "the model", 2)


def test_a_bert_scores_a_file_by_pseudo_likelihood(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the model learns\n\nthe corpus\n")
    model = open_model(bert)
    expected = model.pseudo_log_likelihood(["the model learns", "the corpus"])  # type: ignore[attr-defined]
    command = ["score", str(bert), str(tmp_path / "text.txt")]
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert [line["line"] for line in found["lines"]] == [1, 3]
    assert [line["pseudo_log_likelihood"] for line in found["lines"]] == pytest.approx([e.sum() for e in expected])
    tokens, whole = sum(map(len, expected)), sum(each.sum() for each in expected)
    assert found["tokens"] == tokens
    assert found["bytes"] == len("the model learnsthe corpus")
    assert found["pseudo_perplexity_per_token"] == pytest.approx(math.exp(-whole / tokens))
    assert not found.keys() & {"bits_per_byte", "perplexity_per_token", "nats"}
    shown = CliRunner().invoke(app, command).stdout
    assert f"pseudo-log-likelihood  {whole:,.2f} nats" in shown
    assert "bits per byte" not in shown


def test_whoever_cannot_says_who_can(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the model\n")
    with pytest.raises(ValueError, match=r"defines no probability of a text, and so no bits per byte.*textmill score"):
        open_model(bert).score(["the model"])
    with pytest.raises(
        ValueError, match=r"a masked language model does not continue a text; ngram, nnlm.*textmill fill"
    ):
        open_model(bert).generate("the", 3)
    size = Seq2SeqConfig(embedding=4, width=4, source_vocab=60, target_vocab=60)
    save_translator(Seq2Seq(size), bert, bert, tmp_path / "seq2seq")
    with pytest.raises(ConfigError, match=r"'seq2seq' scores no text.*this one: `textmill translate`, `te"):
        score_file(tmp_path / "seq2seq", tmp_path / "text.txt", whole=False, quiet=True)
    with pytest.raises(ConfigError, match=r"'seq2seq' fills no gaps; ngram and bert can be asked for that"):
        fill_text(tmp_path / "seq2seq", "the [MASK]", 2)
    with pytest.raises(ConfigError, match=r"config\.json: no model there"):
        fill_text(tmp_path, "the [MASK]", 2)
