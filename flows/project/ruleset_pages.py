"""docs/rulesets/, a page per ruleset, generated from the YAML files.

`python -m flows.project.ruleset_pages docs/rulesets` writes them.
"""

import sys
from pathlib import Path

from data_quality.rules import Rule, Ruleset, load_ruleset, shipped_rulesets, written
from data_quality.signal_catalogue import DOCUMENT_SIGNALS, EDITED_SIGNALS, GROUPS, RAW, meaning

NOTE = (
    "Generated from the YAML files by `python -m flows.project.ruleset_pages docs/rulesets`; a test keeps it equal "
    "to them."
)
EXAMPLE_SIGNAL = "exclamation_ratio"  # the one that the ruleset `custom` shows, data_quality/custom_example.py

INDEX = f"""# Rulesets

Name them in `rules.rulesets`, in the order in which they are to give the first reason; change single thresholds under
`rules.thresholds`. {NOTE}

| ruleset | judges | rules | what it is |
|---|---|---|---|
"""


def ruleset_pages() -> dict[str, str]:
    """Every page as Markdown by file name: README.md, the overview, and one page per shipped ruleset."""
    rulesets = [load_ruleset(name, custom=(EXAMPLE_SIGNAL,)) for name in shipped_rulesets()]
    pages = {f"{ruleset.name}.md": _page(ruleset) for ruleset in rulesets}
    rows = [
        f"| [{ruleset.name}]({ruleset.name}.md) | {_version(ruleset.text)} | {len(ruleset.rules)} | "
        f"{ruleset.description.split('. ')[0].rstrip('.')} |"
        for ruleset in rulesets
    ]
    return {"README.md": INDEX + "\n".join(rows) + "\n"} | pages


def _page(ruleset: Ruleset) -> str:
    lines = [
        f"# {ruleset.name}",
        "",
        ruleset.description,
        "",
        f"Source: {ruleset.citation}",
        "",
        f"Text judged: {_version(ruleset.text)}. {NOTE}",
        "",
        "| reason | a document goes if | because | source of the threshold |",
        "|---|---|---|---|",
    ]
    lines += [_rule(ruleset, rule) for rule in ruleset.rules]
    lines += ["", "## Signals", "", "| signal | of | what it measures | measured |", "|---|---|---|---|"]
    for text, signal in dict.fromkeys((ruleset.text_of(rule), rule.signal) for rule in ruleset.rules):
        judged = "the document" if signal in DOCUMENT_SIGNALS else _version(text)
        lines.append(f"| `{signal}` | {judged} | {_cell(meaning(text, signal))} | {_when(text, signal)} |")
    return "\n".join(lines) + "\n"


def _rule(ruleset: Ruleset, rule: Rule) -> str:
    condition = f"`{rule.signal} {rule.operator} {written(rule.threshold)}`"
    if rule.text is not None and rule.text != ruleset.text:
        condition += f" of {_version(rule.text)}"
    if rule.language is not None:
        condition += f", language {rule.language}"
    return f"| `{ruleset.reason(rule)}` | {condition} | {_cell(rule.reason)} | {_cell(rule.source)} |"


def _version(text: str) -> str:
    return "the raw text" if text == RAW else f"the text version `{text}`"


def _when(text: str, signal: str) -> str:
    """Whether a signal is always measured, or only where a ruleset asks for it."""
    if signal in DOCUMENT_SIGNALS:
        return "always" if signal == "language" else "with a language table"
    if text in EDITED_SIGNALS:
        return "with that version"
    for group, signals in GROUPS.items():
        if signal in signals:
            return f"in the group `{group}`"
    return "by your function" if signal == EXAMPLE_SIGNAL else "always"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(folder: Path) -> None:
    """Write all pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in ruleset_pages().items():
        (folder / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
