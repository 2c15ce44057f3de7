"""The findings of a labelled set as a page that people read."""

from typing import Any

PAGE_SHOWN = 5
NOTED = {
    "files_not_parsed": "Python files that could not be parsed, left out",
    "docstrings_without_summary": "docstrings whose first paragraph is no single sentence of 3 to 30 words, left out",
    "docstrings_without_body": "docstrings with too little below their first line, left out",
    "summaries_in_body": "docstrings whose body repeats their first line, left out",
    "answers_moved": "answers whose offset was wrong, moved to the only place where they stand",
    "answers_left_out": "answers left out: their offset was wrong and they stand nowhere or in several places",
    "questions_left_out": "questions left out with their answers",
    "tags_mended": "tags that went on with a span that had not begun; they begin one now",
}


def findings_page(said: dict[str, Any], texts: bool = True) -> str:
    """Markdown: counts first, then (`texts`) the first few of each kind with what they say."""
    splits = list(said["examples"])
    lines = [f"# {said['task']}: what the checks found", ""]
    rows = [("examples read", [said["examples"][name] for name in splits])]
    rows += [("duplicates", [said["duplicates"][name]["count"] for name in splits])]
    rows += [("examples in contradictions", [said["contradictions"][name]["examples"] for name in splits])]
    rows += [("kept", [said["kept"][name] for name in splits])]
    lines += _table(["", *splits], [[name, *map(_number, numbers)] for name, numbers in rows])
    lines += _leaks(said, texts)
    lines += _shared(said)
    lines += _balance(said, splits)
    lines += _smaller(said)
    for split in splits if texts else ():
        if first := said["duplicates"][split]["first"]:
            lines += ["", f"## Duplicates in {split}", "", *_twins(first[:PAGE_SHOWN])]
    for split in splits if texts else ():
        if first := said["contradictions"][split]["first"]:
            lines += ["", f"## Contradictions in {split}", ""]
            lines += [
                f"- {', '.join(c['ids'][:6])}: {' / '.join(dict.fromkeys(c['answers']))}\n  > {_quote(c['text'])}"
                for c in first[:PAGE_SHOWN]
            ]
    return "\n".join(lines) + "\n"


def _leaks(said: dict[str, Any], texts: bool) -> list[str]:
    if not said["leaks"]:
        return ["", "No training example equals or nearly equals a held-out one."]
    rows = [
        [pair.replace("-", " in "), _number(leak["exact"]), _number(leak["near"]), _number(leak["other_answer"])]
        for pair, leak in said["leaks"].items()
    ]
    lines = ["", "## Leaks", ""]
    lines += _table(["examples of one that are in the other", "exact", "near", "of these with another answer"], rows)
    removed = said["removed"]
    lines += ["", f"Removed: {', '.join(f'{_number(count)} {name}' for name, count in removed.items())}."]
    for pair, leak in said["leaks"].items() if texts else ():
        for kind in ("exact", "near"):
            if first := leak[f"{kind}_first"]:
                lines += ["", f"{pair}, {kind}:", "", *_twins(first[:PAGE_SHOWN])]
    return lines


def _twins(twins: list[dict[str, Any]]) -> list[str]:
    lines = []
    for twin in twins:
        alike = twin["answers"][0] if twin["same_answer"] else " / ".join(twin["answers"])
        degree = "" if twin["kind"] == "exact" else f", Jaccard {twin['jaccard']:.2f}"
        lines.append(f"- {twin['id']} and {twin['other']}{degree}: {_quote(alike)}")
        lines += ["  >\n".join(f"  > {_quote(text)}\n" for text in dict.fromkeys(twin["texts"])).rstrip()]
    return lines


def _shared(said: dict[str, Any]) -> list[str]:
    parts = [
        f"{_number(count)} of {_number(said['examples'][split])} {split} examples have a {column} that training shows"
        for split, columns in said["shared_texts"].items()
        for column, count in columns.items()
        if count
    ]
    return ["", "Shared texts: " + "; ".join(parts) + "."] if parts else []


def _balance(said: dict[str, Any], splits: list[str]) -> list[str]:
    if not said["balance"]:
        return []
    totals = {split: sum(row[split] for row in said["balance"].values()) for split in splits}
    rows = [
        [label, *(f"{_number(row[split])} ({row[split] / (totals[split] or 1):.1%})" for split in splits)]
        for label, row in said["balance"].items()
    ]
    lines = ["", "## Labels", "", *_table(["label", *splits], rows)]
    for name, what in (
        ("unseen", "held out, but never in training"),
        ("train_only", "only in training"),
        ("nowhere", "in no example"),
    ):
        if said[name]:
            lines += ["", f"Labels {what}: {', '.join(said[name])}."]
    return lines


def _smaller(said: dict[str, Any]) -> list[str]:
    lines = []
    if said["empty"]["count"]:
        first = ", ".join(f"{item['id']} ({item['column']})" for item in said["empty"]["first"][:PAGE_SHOWN])
        lines += ["", f"Empty fields: {_number(said['empty']['count'])}, first {first}."]
    for split, part in said["read"].items():
        for what, count in part["noted"].items():
            places = ", ".join(part["places"][what][:PAGE_SHOWN])
            lines += ["", f"Reading {split}: {_number(count)} {NOTED[what]} ({places})."]
    return lines


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def _number(count: int) -> str:
    return f"{count:,}"


def _quote(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:200]
