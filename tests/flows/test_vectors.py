"""Word vectors as a stage and as commands: trained on a corpus, asked, exported; faults are one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import textmill as notebook
from flows.cli.main import app, main
from flows.commands.export import export_model
from flows.commands.vectors import embed_file, neighbours
from flows.config.loading import ConfigError
from flows.corpus import build_corpus
from flows.pretrain import build_tokens
from lm.artifact import save_model
from lm.characters import vocabulary_characters
from lm.interop.word2vec import read_word2vec
from lm.models.elmo import ELMo
from lm.models.elmo_config import ELMoConfig
from lm.ngram.build import build_word_ngram
from lm.ngram.config import NgramConfig
from lm.text_model import open_model
from lm.texts.elmo import ELMoText
from lm.tokenizer import load_tokenizer
from lm.vectors.config import parse_vectors_config
from tasks.ngram import ngram
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Artifact, Store
from tasks.vectors import word_vectors
from tests.tasks.tiny_corpus import TOPICS, configuration, write_documents

SETTINGS: dict[str, dict[str, Any]] = {
    "word2vec": {"dimensions": 12, "epochs": 6, "learning_rate": 0.05},
    "glove": {"dimensions": 12, "epochs": 8, "x_max": 10.0, "window": 4},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Artifact]]:
    """A home with vectors of both kinds and an n-gram model over one small corpus."""
    root = tmp_path_factory.mktemp("vectors")
    write_documents(root / "documents")
    words = {"kind": "word", "vocab_size": 300, "min_frequency": 1}
    config = configuration(root / "documents", tokenizer={"train": words})
    with use_run(Run(Store(root / "home/store"), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
        given = {"tokens": tokens.tokens, "split": corpus.split, "tokenizer": tokens.tokenizer}
        found = {
            kind: word_vectors(parse_vectors_config({"kind": kind, **settings}), **given)
            for kind, settings in SETTINGS.items()
        }
        found["ngram"] = ngram(NgramConfig(order=2), **given)
        again = word_vectors(parse_vectors_config({"kind": "glove", **SETTINGS["glove"]}), **given)
    assert again.digest == found["glove"].digest
    assert run.records[-1].state == "cached"
    pool.shut_down()
    return root / "home", found


@pytest.fixture
def textmill(made: tuple[Path, dict[str, Artifact]], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TEXTMILL_HOME", str(made[0]))

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


@pytest.mark.parametrize("kind", ["word2vec", "glove"])
def test_the_stage_counts_and_reports(made: tuple[Path, dict[str, Artifact]], kind: str) -> None:
    artifact = made[1][kind]
    counts = artifact.counts()
    result = json.loads(artifact.file("result.json").read_text())
    for name, losses in result.items():
        assert counts[name.replace("losses", "loss")] == losses[-1] < losses[0]
    assert ("losses_at_rest" in result) == (kind == "word2vec")
    assert counts["parameters"] == 12 * counts["words"]
    assert counts["deterministic"] is True
    assert artifact.manifest()["config"]["kind"] == kind


def test_neighbours_know_the_topic(textmill: Any, made: tuple[Path, dict[str, Artifact]]) -> None:
    found = json.loads(textmill("neighbours", made[1]["word2vec"].name, "crane", "--count", "5", "--json"))
    assert [row["word"] in TOPICS["harbours"].split() for row in found["neighbours"]].count(True) >= 4
    assert (
        textmill("neighbours", str(made[1]["word2vec"].path), "crane")
        .splitlines()[0]
        .endswith(found["neighbours"][0]["word"])
    )


def test_a_notebook_opens_them(made: tuple[Path, dict[str, Artifact]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(made[0]))
    vectors = notebook.load_vectors(made[1]["glove"].name)
    assert vectors.described["kind"] == "glove"
    assert len(vectors.neighbours("rose", 3)) == 3


def test_lines_become_vectors(textmill: Any, made: tuple[Path, dict[str, Artifact]], tmp_path: Path) -> None:
    file, model = tmp_path / "text.txt", str(made[1]["glove"].path)
    file.write_text("the rose\n\nthe tide xyzzy\nxyzzy\n")
    found = json.loads(textmill("embed", model, str(file), "--json"))
    assert [(line["line"], line["words"], line["known"]) for line in found["lines"]] == [
        (1, 2, 2),
        (2, 0, 0),
        (3, 3, 2),
        (4, 1, 0),
    ]
    assert found["unknown"] == 1
    assert set(found["lines"][1]["vector"]) == {0.0}
    printed = textmill("embed", model, str(file)).splitlines()
    numbers = np.array([line.split("\t") for line in printed if "\t" in line], dtype=np.float32)
    np.testing.assert_allclose(numbers, [line["vector"] for line in found["lines"]], rtol=1e-5)
    assert "4 vectors of 12 numbers" in textmill("embed", model, str(file), "--out", str(tmp_path / "v.npy"))
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), numbers, rtol=1e-5)
    whole = json.loads(textmill("embed", model, str(file), "--whole", "--json"))
    assert [line["words"] for line in whole["lines"]] == [6]


@pytest.fixture(scope="module")
def elmo(made: tuple[Path, dict[str, Artifact]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an ELMo, as it is before training."""
    tokenizer, folder = made[1]["glove"].path, tmp_path_factory.mktemp("elmo")
    characters = torch.from_numpy(vocabulary_characters(load_tokenizer(tokenizer), 12))
    size = ELMoConfig(
        characters=12, filters=((1, 4), (2, 4)), width=6, cell_width=None, clip=None, vocab=len(characters)
    )
    save_model(ELMo(size, 0, characters), tokenizer, folder)
    return folder


def test_lines_become_vectors_of_an_elmo(textmill: Any, elmo: Path, tmp_path: Path) -> None:
    """The mean of all layers, or one of them; words that were never seen have vectors too."""
    file = tmp_path / "text.txt"
    file.write_text("the rose\n\nthe tide, xyzzy\n")
    model = open_model(elmo)
    assert isinstance(model, ELMoText)
    for layer, option in ((None, []), (0, ["--layer", "0"]), (2, ["--layer", "2"])):
        found = json.loads(textmill("embed", str(elmo), str(file), *option, "--json"))
        assert (found["kind"], found["dimensions"], found["unknown"]) == ("elmo", 12, 0)
        assert [(line["line"], line["words"], line["known"]) for line in found["lines"]] == [
            (1, 2, 2),
            (2, 0, 0),
            (3, 4, 4),
        ]
        expected, _ = model.embed_texts(["the rose", "the tide, xyzzy"], layer)
        np.testing.assert_allclose([found["lines"][row]["vector"] for row in (0, 2)], expected, rtol=1e-6)


def test_layers_that_are_not_there(made: tuple[Path, dict[str, Artifact]], elmo: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the rose")
    with pytest.raises(ConfigError, match=r"text\.txt: there is no layer 3: 0 is the word alone, 1 to 2 read its"):
        embed_file(elmo, file, False, None, 3)
    with pytest.raises(ConfigError, match="a model of kind 'glove' has one vector of a text: leave out --layer"):
        embed_file(made[1]["glove"].path, file, False, None, 0)


def test_export_writes_what_others_read(textmill: Any, made: tuple[Path, dict[str, Artifact]], tmp_path: Path) -> None:
    textmill("export", made[1]["word2vec"].name, str(tmp_path / "w"), "--to", "word2vec")
    text, binary = (read_word2vec(tmp_path / "w" / name) for name in ("vectors.txt", "vectors.bin"))
    assert (text.vectors == binary.vectors).all()
    assert text.neighbours("crane", 3) == binary.neighbours("crane", 3)
    build_word_ngram(["a b", "b a"], NgramConfig(order=2), tmp_path / "words")
    found = json.loads(textmill("export", str(tmp_path / "words"), str(tmp_path / "a"), "--to", "arpa", "--json"))
    assert list(found["files"]) == [str(tmp_path / "a/model.arpa")]
    assert (tmp_path / "a/model.arpa").read_text().startswith("\\data\\\n")


def test_faults_are_named(
    made: tuple[Path, dict[str, Artifact]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    vectors, counted = made[1]["word2vec"].path, made[1]["ngram"].path
    with pytest.raises(ConfigError, match=r"no vector of 'cranes'.*did you mean 'crane'"):
        neighbours(vectors, "cranes", 3)
    with pytest.raises(
        ConfigError, match="a model of kind 'ngram' has no word vectors; nnlm, word2vec and glove can be asked"
    ):
        neighbours(counted, "crane", 3)
    (tmp_path / "text.txt").write_text("a text")
    with pytest.raises(
        ConfigError, match=r"an n-gram model has counts and no vectors; nnlm, rnn, .* `textmill export --to arpa`"
    ):
        embed_file(counted, tmp_path / "text.txt", False, None)
    with pytest.raises(ConfigError, match=r"nothing\.txt: No such file or directory"):
        embed_file(vectors, tmp_path / "nothing.txt", False, None)
    (tmp_path / "text.txt").write_text("\n \n")
    with pytest.raises(ConfigError, match=r"text\.txt: there is no text to embed"):
        embed_file(vectors, tmp_path / "text.txt", False, None)
    with pytest.raises(ConfigError, match="--to onyx: no such target; there are hf, onnx, arpa, word2vec, mlflow"):
        export_model(vectors, "onyx", tmp_path / "out")
    with pytest.raises(
        ConfigError, match=r"arpa holds models of kind ngram, not 'word2vec' \(this one: --to word2vec\)"
    ):
        export_model(vectors, "arpa", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"the word b'.n' has white space in it \(or is empty\), which an ARPA file"):
        export_model(counted, "arpa", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"config\.json: no model there"):
        export_model(tmp_path, "arpa", tmp_path / "out")
    monkeypatch.setenv("TEXTMILL_HOME", str(made[0]))
    monkeypatch.setattr("sys.argv", ["textmill", "score", str(vectors), str(tmp_path / "text.txt")])
    monkeypatch.setattr("flows.cli.main._mute_native_exit", lambda: None)
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert "a model of kind 'word2vec' scores no text; ngram, nnlm, rnn" in said
    assert "(this one: `textmill embed`, `textmill neighbours`, `textmill export --to word2vec`)" in said
