"""The scaling study in words and tables: Markdown for Prefect, MLflow and people."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {
    "parameters": "L(N), largest budget",
    "data": "L(D), largest size",
    "compute": "L(C), best runs",
    "joint": "L(N, D)",
}


def scaling_page(found: Mapping[str, Any]) -> str:
    """What was predicted and what came, the laws, the runs."""
    target, measured = found["target"], found["measured"]
    share = round(100 * found["confidence"])
    lines = [
        f"A {target['kind']} of {target['layers']} layers of width {target['width']}, {target['body']:,} parameters "
        f"without embeddings ({target['all']:,} with them), on {target['tokens']:,} tokens, {target['flops']:.3g} "
        f"operations. {found['prediction']} was written {_when(found['predicted_at'])} and is an input of "
        f"the training, which ended {_when(found['trained_at'])}.",
        "",
        f"| law | predicted bits per byte | {share} % interval | measured | error | inside |",
        "|---|---|---|---|---|---|",
    ]
    for law, row in sorted(found["outcome"].items(), key=lambda item: item[0] != "joint"):
        error = row["measured"] / row["value"] - 1
        lines.append(
            f"| {NAMES[law]} | {row['value']:.4f} | {row['low']:.4f} to {row['high']:.4f} | {row['measured']:.4f} | "
            f"{100 * error:+.2f} % | {'yes' if row['inside'] else 'no'} |"
        )
    lines += ["", *laws_table(found, share), "", *runs_table([*found["runs"], measured])]
    return "\n".join(lines) + "\n"


def laws_table(found: Mapping[str, Any], share: int) -> list[str]:
    """A row for each law."""
    counted = "without embeddings and head" if found["count"] == "body" else "all of them"
    lines = [
        f"N is parameters ({counted}), D tokens read, C operations of training, the head's included.",
        "",
        f"| law | fit | R² of log L | exponent, {share} % interval | runs |",
        "|---|---|---|---|---|",
    ]
    for name, letter in (("parameters", "N"), ("data", "D"), ("compute", "C")):
        if law := found["laws"][name]:
            low, high = law["interval"]
            lines.append(
                f"| {NAMES[name]} | {law['coefficient']:.4g} {letter}^-{law['exponent']:.4f} | "
                f"{law['r_squared']:.4f} | {low:.4f} to {high:.4f} | {len(law['runs'])} |"
            )
    law = found["laws"]["joint"]
    between = {name: f"{low:.3g} to {high:.3g}" for name, (low, high) in law["intervals"].items()}
    lines.append(
        f"| {NAMES['joint']} | {law['irreducible']:.3g} + {law['size_coefficient']:.3g} "
        f"N^-{law['size_exponent']:.3f} + {law['data_coefficient']:.3g} D^-{law['data_exponent']:.3f} | "
        f"{law['r_squared']:.4f} | E {between['irreducible']}; of N {between['size_exponent']}; "
        f"of D {between['data_exponent']} | {len(found['runs'])} |"
    )
    lines += [
        "",
        f"The best size grows with compute as C^{law['compute_exponent']:.2f} ({between['compute_exponent']}).",
    ]
    return lines


def runs_table(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Held-out bits per byte, a row for each size and a column for each budget."""
    budgets = sorted({run["tokens"] for run in runs})
    sizes = sorted({(run["body"], run["all"], run["layers"], run["width"]) for run in runs})
    cells = {(run["body"], run["tokens"]): run["bits_per_byte"] for run in runs}
    head = " | ".join(f"{tokens:,} tokens" for tokens in budgets)
    lines = [f"| layers x width | body | all | {head} |", "|---" * (3 + len(budgets)) + "|"]
    for body, whole, layers, width in sizes:
        found = [cells.get((body, tokens)) for tokens in budgets]
        shown = " | ".join("" if value is None else f"{value:.4f}" for value in found)
        lines.append(f"| {layers} x {width} | {body:,} | {whole:,} | {shown} |")
    return lines


def grid_page(rows: Sequence[Mapping[str, Any]]) -> str:
    """Held-out and own loss, a row for each model and a column for each text."""
    texts = sorted({row["text_tokens"] for row in rows})
    sizes = sorted({(row["body"], row["layers"], row["width"]) for row in rows})
    cells = {(row["body"], row["text_tokens"]): row for row in rows}
    read = rows[0]["tokens"]
    lines = [
        f"Bits per byte of held-out text / of the text trained on; each model read {read:,} tokens, whatever the text.",
        "",
        "| layers x width | body | " + " | ".join(f"{text:,} tokens" for text in texts) + " |",
        "|---" * (2 + len(texts)) + "|",
    ]
    best = {text: min(row["bits_per_byte"] for row in rows if row["text_tokens"] == text) for text in texts}
    for body, layers, width in sizes:
        shown = []
        for text in texts:
            cell = cells[body, text]
            held = f"{cell['bits_per_byte']:.3f}"
            held = f"**{held}**" if cell["bits_per_byte"] == best[text] else held
            shown.append(f"{held} / {cell['own_bits_per_byte']:.3f}")
        lines.append(f"| {layers} x {width} | {body:,} | " + " | ".join(shown) + " |")
    return "\n".join([*lines, "", "Bold: the best model for a text."]) + "\n"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
