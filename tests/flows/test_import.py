"""`textmill import` of ARPA files and of word2vec's: there, back and there again; and what is not taken over."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.commands.export import import_model
from flows.config.loading import ConfigError
from lm.ngram.build import build_ngram, build_word_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import load_ngram
from lm.text_model import open_model
from lm.tokenizer import encode_documents, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.vectors.artifact import VECTORS, load_vectors, save_vectors
from lm.vectors.vocabulary import Vocabulary

LINES = ["the tide is high", "the rose is red", "the tide is red", "a rose"]


def textmill(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def word_ngram(folder: Path) -> Path:
    build_word_ngram(LINES, NgramConfig(order=3, smoothing="kneser_ney"), folder)
    return folder


def token_ngram(folder: Path) -> Path:
    tokenizer = folder.with_name("tokenizer")
    train_tokenizer(LINES * 3, ByteBPEConfig(vocab_size=270), tokenizer)
    build_ngram(encode_documents(load_tokenizer(tokenizer), LINES), tokenizer, NgramConfig(order=3), folder)
    return folder


def test_what_onnx_holds_is_not_read_back(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "gpt"}')
    with pytest.raises(ConfigError, match="is a model of ours already"):
        import_model(tmp_path, tmp_path / "out")
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match="was exported to ONNX, which is not read back: import what `--to hf` wrote"):
        import_model(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("made", [word_ngram, token_ngram])
def test_an_arpa_file_comes_back_as_it_went(made: Any, tmp_path: Path) -> None:
    folder = made(tmp_path / "model")
    textmill("export", folder, tmp_path / "arpa", "--to", "arpa")
    textmill("import", tmp_path / "arpa", tmp_path / "back")
    textmill("export", tmp_path / "back", tmp_path / "again", "--to", "arpa")
    names = sorted(path.name for path in (tmp_path / "arpa").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert (tmp_path / "arpa" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    ours, back = (load_ngram(path) for path in (folder, tmp_path / "back"))
    ids = np.arange(ours.vocab)
    for history in ([ours.boundary], [ours.boundary, *ours.encode("the tide").tolist()], ours.encode("rose is")):
        np.testing.assert_allclose(back.distribution(history), ours.distribution(history), rtol=1e-6, atol=1e-12)
    assert back.decode(ids.tolist()) == ours.decode(ids.tolist())
    one, other = (open_model(path) for path in (folder, tmp_path / "back"))
    assert [s.nats for s in one.score(LINES)] == pytest.approx([s.nats for s in other.score(LINES)], rel=1e-6)
    assert one.generate("the", 5, seed=2) == other.generate("the", 5, seed=2)


def test_a_file_alone_and_a_packed_one_are_taken_over(tmp_path: Path) -> None:
    textmill("export", word_ngram(tmp_path / "model"), tmp_path / "arpa", "--to", "arpa")
    packed = tmp_path / "packed" / "lm.arpa.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress((tmp_path / "arpa/model.arpa").read_bytes()))
    for number, source in enumerate((packed, packed.parent, tmp_path / "arpa/model.arpa")):
        textmill("import", source, tmp_path / f"back{number}")
        assert load_ngram(tmp_path / f"back{number}").order == 3
    (tmp_path / "text.txt").write_text("the tide is high\n")
    found = json.loads(textmill("score", tmp_path / "back0", tmp_path / "text.txt", "--json"))
    assert (found["kind"], found["tokens"]) == ("ngram", 4)


@pytest.mark.parametrize("unit", ["word", "token"])
def test_vectors_come_back_as_they_went(unit: str, tmp_path: Path) -> None:
    drawn = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    vocabulary = Vocabulary(("▁the", "▁tide", "▁rose"), np.array([9, 4, 2]))
    tokenizer = None
    if unit == "token":
        tokenizer = tmp_path / "tokenizer"
        train_tokenizer(LINES * 9, ByteBPEConfig(vocab_size=300), tokenizer)
    described = {"kind": "glove", "unit": unit, "dimensions": 5, "words": 3}
    save_vectors(vocabulary, {VECTORS: drawn}, described, tokenizer, tmp_path / "model")
    textmill("export", tmp_path / "model", tmp_path / "files", "--to", "word2vec")
    textmill("import", tmp_path / "files", tmp_path / "back")
    textmill("export", tmp_path / "back", tmp_path / "again", "--to", "word2vec")
    for path in (tmp_path / "files").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    back = load_vectors(tmp_path / "back")
    assert (back.vectors == drawn).all()
    assert back.neighbours("the") == load_vectors(tmp_path / "model").neighbours("the")
    assert json.loads((tmp_path / "back/config.json").read_text())["kind"] == "word2vec"
    for name in ("vectors.txt", "vectors.bin"):
        textmill("import", tmp_path / "files" / name, tmp_path / name)
        assert load_vectors(tmp_path / name).words == vocabulary.words
    (tmp_path / "text.txt").write_text("a tide\n")
    if unit == "token":
        found = json.loads(textmill("embed", tmp_path / "back", tmp_path / "text.txt", "--json"))
        np.testing.assert_allclose(found["lines"][0]["vector"], drawn[1], rtol=1e-6)


def test_what_is_not_taken_over_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def refused(source: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            import_model(source, out)
        assert not out.exists()
        assert not list(tmp_path.glob("*.partial"))
        return str(caught.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty: no model there; what can be read: a Hugging Face folder" in refused(empty)
    assert "nothing: no such file or folder; what can be read" in refused(tmp_path / "nothing")
    (tmp_path / "weights.pt").write_bytes(b"\x80")
    assert "weights.pt: not a model of another program; what can be read" in refused(tmp_path / "weights.pt")
    both = tmp_path / "both"
    both.mkdir()
    for name in ("a.arpa", "b.arpa"):
        (both / name).write_text("\\data\\\n")
    assert "both: several ARPA files: name one of a.arpa, b.arpa" in refused(both)
    (both / "b.arpa").rename(both / "vectors.txt")
    assert "both: n-grams and vectors: name one of a.arpa, vectors.txt" in refused(both)
    assert r"a.arpa: no \end\: not an ARPA file, or one that was cut off" in refused(both / "a.arpa")
    assert "vectors.txt: the first line says words and dimensions" in refused(both / "vectors.txt")
    packed = both / "c.arpa.gz"
    packed.write_bytes(gzip.compress(b"\\data\\\nngram 1=1\n")[:-12])
    assert "c.arpa.gz, behind line" in refused(packed)
    assert "damaged gzip" in refused(packed)
    packed.write_text("\\data\\\n")
    assert "damaged gzip: Not a gzipped file" in refused(packed)


def test_a_failed_import_leaves_room_for_the_next(tmp_path: Path) -> None:
    """An n-gram whose beginning has no line is found when the vocabulary is written already."""
    bad = tmp_path / "bad.arpa"
    bad.write_text(
        "\\data\\\nngram 1=3\nngram 2=1\nngram 3=1\n\n\\1-grams:\n-1\t<unk>\n-1\ta\t0\n-1\tb\t0\n\n"
        "\\2-grams:\n-1\ta a\t0\n\n\\3-grams:\n-1\tb a a\n\n\\end\\\n"
    )
    with pytest.raises(ConfigError, match="the beginning of a 3-gram has no line of its own"):
        import_model(bad, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    word_ngram(tmp_path / "model")
    textmill("export", tmp_path / "model", tmp_path / "arpa", "--to", "arpa")
    assert import_model(tmp_path / "arpa", tmp_path / "out") == tmp_path / "out"


def test_an_empty_folder_may_be_the_one_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    textmill("export", word_ngram(tmp_path / "model"), tmp_path / "arpa", "--to", "arpa")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    textmill("import", tmp_path / "arpa", ".")
    assert load_ngram(Path()).order == 3
    assert not list(tmp_path.glob("*.partial"))
