"""docs/howto/evaluate.md: its files and its commands, on small models."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.config.exam import shipped_exams
from lm.labelled.folder import Task, write_labelled
from lm.labelled.forms import Classification
from tasks.exams.config import EXAMS
from tests.lm import exam_models
from tests.lm.exam_models import PROSE

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "evaluate.md"


def blocks(language: str) -> list[str]:
    """The page's blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-pairs.csv").write_text(blocks("csv")[0])
    for block in blocks("yaml"):
        [name] = re.findall(r"^# (\S+\.yaml)$", block, re.MULTILINE)
        (tmp_path / name).write_text(block)
    (tmp_path / "held-out.txt").write_text("\n".join(PROSE))
    task = Task(name="reviews", ask=Classification(classes=("negative", "positive")), metrics=("accuracy",))
    rows = [{"id": str(n), "text": text, "text_b": None, "label": n % 2} for n, text in enumerate(PROSE)]
    write_labelled(tmp_path / "reviews", task, {"train": rows, "valid": rows[:3]})
    exam_models.gpt(tmp_path, context=120)
    exam_models.ngram(tmp_path)

    def textmill(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    exams = ["my-pairs.yaml", "held-out.yaml", "my-reviews.yaml"]
    found = {each["name"]: each for each in json.loads(textmill("evaluate", "gpt", *exams, "--json"))["exams"]}
    assert found["my-pairs"]["items"] == 2
    assert found["held-out"]["definition"]["stride"] == 32
    assert found["my-reviews"]["definition"] == {
        "template": "reviews",
        "examples": 2,
        "drawn by": "seed 0 and the item, from train, near-copies of the item left out",
        "decided by": "unconditional",
        "beginning": "behind <|endoftext|>",
    }
    textmill("evaluate", "ngram", "my-pairs.yaml")
    assert "2 items that both have" in textmill("compare", "gpt", "ngram", "--task", "my-pairs")
    assert json.loads(textmill("evaluate", "gpt", "my-pairs.yaml", "--json"))["exams"][0]["cached"]


def test_the_page_knows_every_kind_and_every_shipped_exam() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [kind for kind in EXAMS if f"`{kind}`" not in text] == []
    assert [name for name in shipped_exams() if f"`{name}`" not in text] == []
