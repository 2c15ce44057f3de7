"""`textmill fill`: what a model puts into the gaps of a text."""

from pathlib import Path
from typing import Any

from flows.config.loading import ConfigError


def fill_text(folder: Path, text: str, count: int) -> dict[str, Any]:
    """The `count` likeliest tokens or words for each [MASK] of a text.

    Returns model, kind, text and `gaps`: of each a list of token and probability, the likeliest first.

    Raises:
        ConfigError: no such model, one that fills no gaps, or a text without one.
    """
    from lm.abilities import able, cannot
    from lm.artifact import described
    from lm.text_model import open_model
    from lm.texts.bert import BertText
    from lm.texts.ngram import NgramText

    try:
        kind = str(described(folder).get("kind", "gpt"))
        if kind not in able("fill"):
            raise ValueError(cannot(kind, "fill"))
        model = open_model(folder)
        assert isinstance(model, BertText | NgramText)
        found = model.fill(text, count)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"{folder}: {str(error).removeprefix(f'{folder}: ')}") from error
    gaps = [[{"token": token, "probability": chance} for token, chance in gap] for gap in found]
    return {"model": str(folder), "kind": kind, "text": text, "gaps": gaps}
