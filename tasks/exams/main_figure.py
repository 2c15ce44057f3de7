"""Which figure of an exam stands for it in a table of many models, and whether a larger one is better."""

from collections.abc import Mapping
from typing import Any

MAIN = {
    "minimal_pairs": ("accuracy",),
    "cloze": ("exact",),
    "perplexity": ("bits_per_byte", "perplexity_per_word"),
    "word_similarity": ("spearman",),
    "analogies": ("accuracy",),
    "sentence_similarity": ("spearman",),
    "tag_probe": ("best",),
    "sense_probe": ("best",),
    "memorised": ("prompted/texts", "unprompted/texts"),
    "pronouns": ("spread",),
    "hurtful_words": ("hurtful",),
    "contamination": ("found",),
}
"""By kind: a figure's name, or what it begins with; the first that there is."""
KINDS_OF_LESS = ("perplexity", "memorised", "pronouns", "hurtful_words", "contamination")
FIGURES_OF_LESS = ("answer_nats_per_word", "bits_per_byte", "equal", "examples_dropped", "prompts_cut")
"""Of other kinds; a figure's name, or what it begins with before a number of examples."""


def less_is_better(kind: str, figure: str) -> bool:
    """Whether the smaller of two values of a figure is the better one."""
    return kind in KINDS_OF_LESS or figure in FIGURES_OF_LESS or figure.rpartition("_")[0] in FIGURES_OF_LESS


def main_figure(kind: str, figures: Mapping[str, Any], template: Mapping[str, Any] | None = None) -> str:
    """The name of the figure that stands for an exam of a kind; `template` is the prompt's, where there is one."""
    wanted: tuple[str, ...] = MAIN.get(kind, ())
    if template is not None:
        by_ask = {"choose": "accuracy", "generate": template["metric"], "hint": "gain_nats"}
        wanted = (by_ask[template["ask"]],)
    if kind == "patterns":  # that with the most examples
        shots = [int(name.removeprefix("shots_")) for name in figures if name.startswith("shots_")]
        wanted = (f"shots_{max(shots)}",)
    for name in wanted:
        if found := next((each for each in sorted(figures) if each == name or each.startswith(f"{name}/")), None):
            return found
    known = [name for name, each in sorted(figures.items()) if each["low"] is not None]
    return [*known, *sorted(figures)][0]
