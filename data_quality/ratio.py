"""A share of nothing is 0."""


def ratio(part: float, whole: float) -> float:
    """part / whole; 0 where datatrove divides by zero (an empty text, no words)."""
    return part / whole if whole else 0.0
