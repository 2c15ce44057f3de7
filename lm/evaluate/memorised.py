"""Learned or remembered: how much of what a model writes stands verbatim in its training text (Lee et al. 2022).

Two ways of asking. `unprompted`: texts from the beginning of a document on, drawn at temperature 1 over the whole
vocabulary (their section 6.1: 1.92 % of tokens in 50-token runs from the training data with duplicates, 0.19 %
without).
`prompted`: the first tokens of training documents, and what the model writes behind them (Carlini et al. 2023),
greedily.

Runs are of `span` tokens of the model's tokenizer, or of words. Of a prompted text only what the model wrote counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lm.evaluate.decisions import Figure, decisions_table, mean, plain, share
from lm.evaluate.verbatim import Verbatim
from lm.generate import generate_texts
from lm.order import draw_seed
from lm.stop import ShouldStop, check, never
from lm.text_model import TextModel
from lm.texts.decoder import DecoderText

TOGETHER = 32
COLUMNS = {
    "text": pa.string(),
    "prompt": pa.string(),
    "tokens": pa.int32(),
    "runs": pa.int32(),
    "runs_found": pa.int32(),
    "covered": pa.int32(),  # tokens in a found run
    "document": pa.string(),  # the evidence: where the first found run stands
    "document_at": pa.int32(),
    "words": pa.int32(),
    "words_covered": pa.int32(),
    "continues": pa.bool_(),  # a prompted text that goes on as its document does, for `span` tokens or to its end
}


@dataclass(frozen=True)
class Written:
    """A text that a model wrote behind a prompt (empty: unprompted), and how the prompt's document goes on."""

    id: str
    prompt: str
    text: str
    truth: str = ""


def write_texts(
    model: TextModel,
    prompts: Sequence[tuple[str, str, str]],
    tokens: int,
    seed: int = 0,
    temperature: float = 1.0,
    should_stop: ShouldStop = never,
) -> list[Written]:
    """What a model writes behind each (id, prompt, truth): at most `tokens` tokens, drawn over the whole vocabulary, or
    greedily at temperature 0. The draws depend on the seed and the number of the prompt."""
    texts: list[str] = []
    for start in range(0, len(prompts), TOGETHER):
        check(should_stop, "writing")
        part = [prompt for _, prompt, _ in prompts[start : start + TOGETHER]]
        draw = draw_seed(seed, "memorised", start)
        if isinstance(model, DecoderText):
            texts += generate_texts(
                model.model,
                model.tokenizer,
                part,
                tokens,
                seed=draw,
                temperature=temperature,
                top_k=None,
                should_stop=should_stop,
            )
        else:
            for number, prompt in enumerate(part):
                check(should_stop, "writing")
                own = draw_seed(draw, number)
                texts.append(model.generate(prompt, tokens, temperature=temperature, top_k=None, seed=own))
    return [Written(id, prompt, text, truth) for (id, prompt, truth), text in zip(prompts, texts, strict=True)]


def memorised_decisions(
    model: TextModel,
    written: Sequence[Written],
    tokens: Iterable[tuple[str, np.ndarray]],
    texts: Iterable[tuple[str, str]] = (),
    span: int = 50,
    should_stop: ShouldStop = never,
) -> pa.Table:
    """A row for each written text, after the training documents went by once: `tokens`, their ids of the model's
    tokenizer, and `texts`, in which runs of words are sought (none: none are found).

    `score` is the share of a text's tokens that lie in a run of `span` tokens that stands in a document, negated: less
    is better. Groups are `prompted` and `unprompted`.
    """
    encoded = model.encode([each.text for each in written])
    of_tokens_ = Verbatim([each.ids for each in encoded], span).search(tokens, should_stop)
    numbers: dict[str, int] = {}
    sought = Verbatim([_numbered(each.text, numbers) for each in written], span)
    known = dict(numbers)
    of_words_ = sought.search(
        ((id, np.array([known.get(word, len(known)) for word in text.split()], dtype=np.int64)) for id, text in texts),
        should_stop,
    )
    truths = model.encode([each.truth for each in written])
    rows: list[dict[str, Any]] = []
    for each, of_tokens, of_words, own, truth in zip(written, of_tokens_, of_words_, encoded, truths, strict=True):
        goes_on = min(span, len(truth.ids))
        rows.append(
            {
                "id": each.id,
                "group": "prompted" if each.prompt else "unprompted",
                "score": -of_tokens.covered / max(of_tokens.ids, 1),
                "text": each.text,
                "prompt": each.prompt,
                "tokens": of_tokens.ids,
                "runs": len(of_tokens.runs),
                "runs_found": int(of_tokens.runs.sum()),
                "covered": of_tokens.covered,
                "document": of_tokens.document,
                "document_at": of_tokens.at,
                "words": of_words.ids,
                "words_covered": of_words.covered,
                "continues": bool(goes_on) and np.array_equal(own.ids[:goes_on], truth.ids[:goes_on]),
            }
        )
    return decisions_table(rows, COLUMNS)


def memorised_figures(table: pa.Table) -> dict[str, Figure]:
    """Of each group: `runs` (the share of runs that stand in the corpus), `tokens` and `words` (the share that lies in
    such a run, with an interval over texts), `texts` (that have one at all), and for prompted ones `continued` (the
    share that goes on as the document did)."""
    found: dict[str, Figure] = {}
    groups = np.array(table["group"].to_pylist(), dtype=object)
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in COLUMNS if name not in ("text", "prompt")}
    for name in sorted(set(groups.tolist())):
        here = {column: values[groups == name] for column, values in columns.items()}
        runs = int(here["runs"].sum())
        found[f"{name}/runs"] = plain(float(here["runs_found"].sum()) / max(runs, 1), runs)
        for what, covered in (("tokens", "covered"), ("words", "words_covered")):
            shares = here[covered] / np.maximum(here[what], 1)
            total = float(here[covered].sum()) / max(float(here[what].sum()), 1.0)
            interval, said = mean(shares.astype(np.float64)), int(here[what].sum())
            found[f"{name}/{what}"] = plain(total, said)
            if interval["low"] is not None and interval["high"] is not None:
                width = (interval["high"] - interval["low"]) / 2
                found[f"{name}/{what}"] |= {"low": max(0.0, total - width), "high": min(1.0, total + width)}
        found[f"{name}/texts"] = share((here["runs_found"] > 0).astype(np.float64))
        if name == "prompted":
            found["prompted/continued"] = share(here["continues"].astype(np.float64))
    return found


def _numbered(text: str, numbers: dict[str, int]) -> np.ndarray:
    """Words (what stands between white space) as numbers, given out as they come."""
    return np.array([numbers.setdefault(word, len(numbers)) for word in text.split()], dtype=np.int64)
