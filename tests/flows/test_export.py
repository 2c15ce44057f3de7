"""`textmill export` and `import`: formats of others from the command line, and what they refuse."""

import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from flows.cli.main import app
from flows.commands.export import WRITE, export_model, import_model
from flows.config.loading import ConfigError
from lm.abilities import TARGETS, held
from lm.artifact import load_model, save_model
from lm.interop.hugging_face import EXPORT
from lm.interop.onnx_graphs import GRAPHS
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig

SIZE = {"layers": 2, "width": 16, "heads": 2, "context": 12, "vocab": 300}


@pytest.fixture
def tokenizer_dir(tmp_path: Path) -> Path:
    train_tokenizer(["the model learns the data"] * 3, ByteBPEConfig(vocab_size=260), tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def folder(tmp_path: Path, tokenizer_dir: Path) -> Path:
    save_model(GPT(GPTConfig(**SIZE), seed=1), tokenizer_dir, tmp_path / "model")
    return tmp_path / "model"


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    run = CliRunner()
    done = run.invoke(app, ["export", str(folder), str(tmp_path / "hf"), "--to", "hf"])
    assert done.exit_code == 0, done.output
    done = run.invoke(app, ["import", str(tmp_path / "hf"), str(tmp_path / "back")])
    assert done.exit_code == 0, done.output
    ours, back = load_model(folder)[0], load_model(tmp_path / "back")[0]
    assert all(torch.equal(v, back.state_dict()[k]) for k, v in ours.state_dict().items())
    assert (tmp_path / "back/config.json").read_bytes() == (folder / "config.json").read_bytes()


def test_what_cannot_be_converted_is_said(folder: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    save_model(Modern(ModernConfig(**SIZE)), tokenizer_dir, tmp_path / "modern")
    save_model(GPT(GPTConfig(**SIZE, band=3)), tokenizer_dir, tmp_path / "gpt3")
    save_model(GPT(GPTConfig(**SIZE, head_width=4)), tokenizer_dir, tmp_path / "narrow")
    refused = {
        ("modern", "hf"): r"hf holds models of kind gpt, bert and xlnet, not 'modern' \(this one: --to onnx\)",
        ("gpt3", "hf"): "a band of 3 positions",
        ("narrow", "hf"): "2 heads of 4 are not the width of 16",
        ("model", "gguf"): "no such target; there are hf, onnx",
        ("tokenizer", "hf"): "no model there",
    }
    for (name, target), message in refused.items():
        with pytest.raises(ConfigError, match=message):
            export_model(tmp_path / name, target, tmp_path / "out")
    with pytest.raises(ConfigError, match="is in use"):
        export_model(folder, "hf", folder)
    with pytest.raises(ConfigError, match="a model of ours already"):
        import_model(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("command", "options"), [("export", ["--to", "hf"]), ("import", [])])
def test_a_folder_that_cannot_be_made_is_named(folder: Path, tmp_path: Path, command: str, options: list[str]) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file/out", Path("/proc/out")):
        done = CliRunner().invoke(app, [command, str(folder), str(out), *options], catch_exceptions=True)
        assert isinstance(done.exception, ConfigError)
        assert re.match(rf"{out} cannot be made \(.*\): name a folder in a place to write to", str(done.exception))


def test_what_the_table_says_is_what_the_library_can_write() -> None:
    assert set(held("hf")) == set(EXPORT)
    assert set(held("onnx")) == set(GRAPHS)
    assert set(WRITE) == set(TARGETS)
