"""The pages of docs/rulesets are those of the YAML files."""

from pathlib import Path

from data_quality.rules import load_ruleset, shipped_rulesets, written
from flows.project.ruleset_pages import EXAMPLE_SIGNAL, main, ruleset_pages

FOLDER = Path("docs/rulesets")


def test_the_pages_are_those_of_the_rulesets() -> None:
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert on_disk == ruleset_pages(), "run: python -m flows.project.ruleset_pages docs/rulesets"


def test_a_page_says_all_of_every_rule(tmp_path: Path) -> None:
    main(tmp_path)
    for name in shipped_rulesets():
        page = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
        ruleset = load_ruleset(name, custom=(EXAMPLE_SIGNAL,))
        for rule in ruleset.rules:
            assert f"| `{ruleset.reason(rule)}` | `{rule.signal} {rule.operator} {written(rule.threshold)}`" in page
            assert rule.source in page
            assert rule.reason in page
