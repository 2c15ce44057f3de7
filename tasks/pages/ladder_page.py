"""A ladder as one self-contained page: the leaderboard, what a bit per byte costs, samples side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.pages.ladder_picture import COSTS, cost_of_bits
from tasks.reports.format import count, decimal, duration, share, short, size
from tasks.reports.page import environment, style_sheet
from tasks.reports.summary import Tile

Row = Mapping[str, Any]


def ladder_page(name: str, rows: Sequence[Row], prompt: str, tokens: int, text_bytes: int) -> str:
    """The page as HTML, to be written as UTF-8.

    Args:
        rows: of the leaderboard, the best model first; at least one.
        prompt: what the samples went on from.
        tokens, text_bytes: of the test text.
    """
    style, style_hash = style_sheet()
    drawings = [(cost, cost_of_bits(rows, cost)) for cost in COSTS]
    return (
        environment(Path(__file__).parent)
        .get_template("ladder_page.html.jinja")
        .render(
            name=name,
            lead=_lead(rows, tokens, text_bytes),
            tiles=_tiles(rows),
            rows=rows,
            worst=rows[-1]["bits_per_byte"],
            carried=any(row["carried_bits_per_byte"] is not None for row in rows),
            pictures=[(cost, drawing) for cost, drawing in drawings if drawing],
            prompt=prompt,
            style=style,
            style_hash=style_hash,
        )
    )


def _lead(rows: Sequence[Row], tokens: int, text_bytes: int) -> str:
    models = f"{count(len(rows))} models" if len(rows) > 1 else "One model"
    kinds = len({row["kind"] for row in rows})
    of_kinds = f" of {kinds} kinds" if kinds > 1 else ""
    text = f"{models}{of_kinds} on {size(text_bytes)} of held-out text ({count(tokens)} tokens)."
    best, worst = rows[0], rows[-1]
    if len(rows) == 1:
        return text
    saved = share(worst["bits_per_byte"] - best["bits_per_byte"], worst["bits_per_byte"])
    return f"{text} {best['model']} needs {saved} fewer bits than {worst['model']}."


def _tiles(rows: Sequence[Row]) -> list[Tile]:
    """The best, the cheapest and the smallest: what one would choose by each column."""
    best = rows[0]
    found = [Tile("best bits per byte", decimal(best["bits_per_byte"], 4), [best["model"]])]
    chosen = {
        "least time": ("seconds", duration),
        "fewest parameters": ("parameters", short),
        "most tokens a second": ("tokens_per_second", short),
    }
    for name, (key, written) in chosen.items():
        row = (max if key == "tokens_per_second" else min)(rows, key=lambda row: row[key])
        found.append(Tile(name, written(row[key]), [row["model"], f"{decimal(row['bits_per_byte'], 3)} bits per byte"]))
    return found
