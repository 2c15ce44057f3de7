"""Perplexity with its definition beside it: how much was seen, how the window moved, what stood at the beginning.

bits per byte       -log2 p(texts) / their UTF-8 bytes
bits per character  -log2 p(texts) / their Unicode code points
per word            exp(-ln p(texts) / their words), words as in `lm.evaluate.words`; spaces are paid for, not counted;
                    of a text whose first token is not scored, the words behind that token
per token           exp(-ln p(tokens) / tokens), without the spelling of unknown words; of use for one tokenizer only

The same model has as many perplexities as there are definitions: these four, the context, the stride and the beginning
always go together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lm.evaluate.decisions import Figure, decisions_table, plain, share
from lm.evaluate.words import word_count
from lm.stop import ShouldStop, never
from lm.text_model import TextModel
from lm.texts.decoder import DecoderText
from lm.texts.windows import Window, half, window_nats
from lm.texts.xlnet import XLNetText
from lm.tokenizer import end_of_text_id
from lm.tokenizers.spans import Encoded

LARGEST_EXPONENT = 709.0
"""e to it is still a float."""
COLUMNS = {
    "tokens": pa.int64(),
    "bytes": pa.int64(),
    "characters": pa.int64(),
    "words": pa.int64(),
    "nats": pa.float64(),
    "spelling_nats": pa.float64(),
}


@dataclass(frozen=True)
class Definition:
    """How texts are scored. `context`, `stride`: null is the model's context, and half of it; models without windows
    (recurrent ones, n-grams) carry what they can and take neither. `begin`: whether each text stands behind
    `<|endoftext|>`; else its first token is seen and neither scored nor counted."""

    context: int | None = None
    stride: int | None = None
    begin: bool = True

    def described(self, model: TextModel) -> dict[str, Any]:
        """What is printed beside the numbers."""
        begin = "each text behind <|endoftext|>, its first token scored"
        without = "the first token of each text is seen, not scored"
        window = self.window(model) if isinstance(model, DecoderText | XLNetText) else None
        return {
            "context": window.context if window else "all before, as far as the model goes back",
            "stride": window.stride if window else None,
            "beginning": begin if self.begin else without,
            "end_of_text": "not scored",
            "texts": "each by itself, not packed",
        }

    def window(self, model: DecoderText | XLNetText) -> Window:
        """Raises ValueError for a context that the model has not."""
        context = self.context or model.context
        if context > model.context:
            raise ValueError(f"a context of {context} tokens: the model has {model.context}")
        return Window(context, self.stride) if self.stride else half(context)


def perplexity_decisions(
    model: TextModel,
    texts: Sequence[str],
    definition: Definition,
    ids: Sequence[str] | None = None,
    should_stop: ShouldStop = never,
) -> pa.Table:
    """A row for each text with what it costs; `score` is its bits per byte, negated: more is better, as everywhere."""
    encoded = model.encode(texts)
    nats = _nats(model, encoded, definition, should_stop)
    rows = []
    for number, (text, found, costs) in enumerate(zip(texts, encoded, nats, strict=True)):
        skipped = len(found.ids) - len(costs)
        scored = slice(skipped, None)
        size, spelling = int(found.bytes[scored].sum()), float(found.spelling_nats[scored].sum())
        seen = int(found.bytes[:skipped].sum())  # of a first token that is not scored
        scored_text = text.encode()[seen:].decode(errors="ignore") if seen else text
        total = float(costs.sum()) + spelling
        rows.append(
            {
                "id": ids[number] if ids else str(number),
                "group": "all",
                "score": -total / math.log(2) / size if size else 0.0,
                "tokens": len(costs),
                "bytes": size,
                "characters": len(scored_text),
                "words": word_count([scored_text]),
                "nats": total,
                "spelling_nats": spelling,
            }
        )
    return decisions_table(rows, COLUMNS)


def perplexity_figures(table: pa.Table) -> dict[str, Figure]:
    """bits_per_byte, bits_per_character (both left out for a model that gives bytes no probability),
    perplexity_per_word and perplexity_per_token (left out where no float is so large); of a model that gives some texts
    no probability instead of all these `impossible`, the share of such texts. Sums are float64 in the order of the
    texts.

    Raises ValueError if no token was scored.
    """
    sums = {name: math.fsum(table[name].to_pylist()) for name in COLUMNS}
    if not sums["tokens"]:
        raise ValueError("there is no text to score: not one token")
    n = table.num_rows
    bits = sums["nats"] / math.log(2)
    found = {}
    if math.isinf(bits):
        found["impossible"] = share(np.isinf(table["nats"].to_numpy()))
    else:
        if sums["bytes"]:
            found["bits_per_byte"] = plain(bits / sums["bytes"], n)
            found["bits_per_character"] = plain(bits / sums["characters"], n)
        per_word, per_token = (
            sums["nats"] / max(sums["words"], 1),
            (sums["nats"] - sums["spelling_nats"]) / sums["tokens"],
        )
        for name, nats in (("perplexity_per_word", per_word), ("perplexity_per_token", per_token)):
            if (perplexity := perplexity_of(nats)) is not None:
                found[name] = plain(perplexity, n)
    for name in ("tokens", "bytes", "characters", "words"):
        found[name] = plain(sums[name], n)
    return found


def _nats(
    model: TextModel, encoded: Sequence[Encoded], definition: Definition, should_stop: ShouldStop
) -> list[np.ndarray]:
    sequences = [each.ids for each in encoded]
    if isinstance(model, DecoderText | XLNetText):
        begin = [end_of_text_id(model.tokenizer)] if definition.begin else []
        whole = [np.concatenate([np.array(begin, dtype=np.int64), ids]) for ids in sequences]
        device = next(model.model.parameters()).device
        window = definition.window(model)
        return window_nats(model.model, whole, window, model.model.config.vocab, device, should_stop)
    if definition.context or definition.stride or not definition.begin:
        raise ValueError(
            f"a model of kind {model.kind!r} has no windows and always begins with the beginning of a document: leave"
            " context, stride and begin as they are"
        )
    return model.token_nats(sequences, should_stop)


def perplexity_of(nats: float) -> float | None:
    """The perplexity of so many nats for each word or token; None of more than any float is, as of infinitely many."""
    return math.exp(nats) if nats < LARGEST_EXPONENT else None
