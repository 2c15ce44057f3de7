"""docs/howto/lineage.md: its commands, on a small model."""

import json
import random
import re
import shlex
from pathlib import Path

import pytest
import yaml

from flows.pipeline import build_all
from tasks.running.run import pipeline_run
from tests.flows.lineage_home import artifact, quiet_run, textmill
from tests.tasks.tiny_corpus import configuration, prose

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "lineage.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.heavy
def test_the_page_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but what needs a server: `card --register`, and `run`, in whose place the pipeline runs without Prefect."""
    monkeypatch.chdir(tmp_path)
    draw = random.Random(1)
    for source, count in (("manuals", 40), ("leaflets", 12)):
        (tmp_path / source).mkdir()
        for number in range(count):
            (tmp_path / source / f"{number:02d}.txt").write_text(prose(draw, "harbours"))
    (tmp_path / "ids.txt").write_text("manuals:01.txt\nmanuals:02.txt\n")
    [shown] = blocks("yaml")
    [source] = yaml.safe_load(shown)["ingest"]["sources"]
    other = {"format": "text", "name": "leaflets", "paths": ["leaflets"]}
    config = configuration(tmp_path, ingest={"sources": [source, other]}, task=None)

    def run() -> None:
        quiet = quiet_run(tmp_path)
        given = {"store": quiet.store, "display": quiet.display, "follow": False}
        with pipeline_run("textmill", config.model_dump(mode="json"), quiet.resources, **given):
            build_all(config)

    run()
    model = artifact(tmp_path, "pretrain")
    done: dict[str, str] = {}
    for line in "".join(blocks("bash")).splitlines():
        name, *arguments = shlex.split(line)
        assert name == "textmill"
        if arguments[0] == "run":
            run()
        elif "--register" not in arguments:
            if arguments[0] == "rebuild":
                arguments += ["--workers", "1"]
            answer = textmill(tmp_path, *arguments)
            assert answer.exit_code == 0, f"{line}: {answer.output}"
            done[line] = answer.stdout
    assert "| manuals | text | 40 | 40 |" in done["textmill card pretrain"]
    assert "CC-BY-4.0" in done["textmill card pretrain"]
    assert f"pretrain/{model.key} is {model.digest}" in done["textmill rebuild pretrain"]
    assert "data that it is in" in done["textmill trace manuals:00.txt"]
    assert (tmp_path / "documents.parquet").exists()
    assert "ticket 7" in done["textmill why manuals:00.txt"]
    assert not model.path.exists()  # it had read some of the leaflets
    assert artifact(tmp_path, "pretrain").key != model.key
    asked = json.loads(textmill(tmp_path, "forget", "--list", "--json").stdout)
    assert [each["on_disk"] for each in asked] == [0, 0, 0, 0]
    assert [each["stands"] for each in asked] == [True] * 4


def test_the_page_names_every_option() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for option in ("--go-on", "--out", "--with-twins", "--unseen", "--withdraw", "--retire", "--list", "--register"):
        assert option in text
