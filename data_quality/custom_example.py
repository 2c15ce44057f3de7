"""An example of a signal of your own; the ruleset `custom` names it and docs/own-rules.md explains it."""

from data_quality.custom import CustomDocument


def exclamation_ratio(document: CustomDocument) -> float:
    """Exclamation marks / sentence ends, 0 without any."""
    exclaimed = sum(word in "!！" for word in document.words)
    ended = exclaimed + sum(word in ".。?？" for word in document.words)
    return exclaimed / ended if ended else 0.0
