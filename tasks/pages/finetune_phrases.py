"""What the pages of fine-tunings and of studies say of a run in the same words."""

from collections.abc import Mapping

LOST = {
    "cut": "with a text too long for the model, whose end it did not read",
    "unreachable": "with an answer that stands in no window of the context, or not in the context at all",
}
SPLITS = {"train": "training", "valid": "dev", "test": "test"}


def lost_phrases(lost: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What did not fit, as metrics.json says it, a phrase for each kind and split."""
    return [
        f"{count:,} {SPLITS[split]} example{'s' if count != 1 else ''} {LOST[how]}"
        for split, of in lost.items()
        for how, count in of.items()
    ]


def stopped_early(looks: Mapping[str, int]) -> bool:
    """Whether a run ended before its last planned look at dev."""
    return looks["made"] < looks["planned"]


def times(count: int) -> str:
    """So many times, in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
