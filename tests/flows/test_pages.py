"""What the pages name is there: the files of the design's table, models that a command takes."""

import re
from pathlib import Path

import pytest

from flows.config.loading import ConfigError
from flows.pretrain import named_model
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store, StoreError

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]


def test_every_file_of_the_design_is_there() -> None:
    table = [line for line in (ROOT / "docs/design.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    named = set(re.findall(r"`([\w<>*./]+\.(?:py|yaml))`", "\n".join(table)))
    assert len(named) > 40
    missing = [name for name in sorted(named) if not list(ROOT.glob(re.sub(r"<\w+>", "*", name)))]
    assert not missing


def test_a_model_to_be_taught_is_named_as_one_may_be(tmp_path: Path) -> None:
    """A stage's name is refused: what is not in this empty store is another matter."""
    named = {
        model
        for page in PAGES
        for model in re.findall(
            r"textmill (?:finetune|instruct|search)[^|`]* --model ([\w/.-]+)", page.read_text("utf-8")
        )
    }
    assert {"pretrain/KEY", "MODEL"} <= named
    with use_run(Run(Store(tmp_path), Resources(workers=1, threads=1), Display(quiet=True))):
        for model in sorted(named):
            with pytest.raises(StoreError):
                named_model(model, "model")
        with pytest.raises(ConfigError, match="'pretrain' is a stage"):
            named_model("pretrain", "model")
