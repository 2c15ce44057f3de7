"""What a model cannot be trusted with, as far as its own record says so."""

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.cards.data import NOT_RECORDED

PROBABILITY = ("gpt", "modern", "rnn", "nnlm", "transformer_xl", "xlnet", "ngram", "elmo")
"""Kinds that continue or score texts, and were not taught to answer."""
ONE_FOR_EACH_WORD = ("word2vec", "glove")
TRANSLATORS = ("transformer", "seq2seq")


def limits(facts: Mapping[str, Any]) -> list[str]:
    """Sentences, the general ones last."""
    return [*_of_model(facts), *_of_data(facts), *_of_figures(facts)]


def _of_model(facts: Mapping[str, Any]) -> Iterator[str]:
    described, counts = facts["described"], facts["counts"]
    kind, context = described.get("kind"), described.get("context")
    if context:
        yield f"It sees {context:,} tokens at most; what lies further back is unknown to it."
    if kind in PROBABILITY and facts["stage"] != "instruct":
        yield "It continues text; it was not taught to answer questions, to follow instructions or to refuse."
    if facts["stage"] == "instruct":
        yield "It was taught to answer by examples alone: nothing was done about harmful or false answers."
    if kind in ONE_FOR_EACH_WORD:
        yield (
            "A word has one vector, whatever it means where it stands; what words share in its texts, prejudice too, "
            "is in them."
        )
    if kind in TRANSLATORS:
        yield (
            "It translates in the direction of its pairs only; nothing looks whether what it writes says what was "
            "written."
        )
    tokens, parameters = counts.get("tokens"), counts.get("parameters")
    # of a model that goes on from another these are only its own
    if kind in PROBABILITY and not facts["base"] and tokens and parameters and tokens < 20 * parameters:
        yield (
            f"It read {tokens / parameters:.2g} tokens for each parameter; about 20 are usual for the best use of a "
            "budget (Hoffmann et al. 2022)."
        )
    if counts.get("deterministic") is False:
        yield "It was trained without locks: trained again it comes out different."


def _of_data(facts: Mapping[str, Any]) -> Iterator[str]:
    corpora = facts["corpora"]
    sources = [row for corpus in corpora for row in corpus["sources"]]
    unknown = [row["source"] for row in sources if row["license"] == NOT_RECORDED]
    if unknown:
        yield (
            f"The licence of {len(unknown)} of {len(sources)} sources is not recorded: whether the model may be passed "
            "on is for its owner to find out."
        )
    stated = [made["license"] for made in facts["sets"] if made["stage"] != "labelled"]  # those are of the corpus
    if NOT_RECORDED in stated:
        yield (
            "The licence of the examples that it was taught with is not recorded: whether the model may be passed on "
            "is for its owner to find out."
        )
    codes = sorted({code for corpus in corpora for code in corpus["languages"] if code != "unknown"})
    if codes:
        yield f"It knows the languages of its documents ({', '.join(codes[:10])}) and no other."
    elif corpora:
        yield "The language of its documents was not looked at."
    steps = " ".join(step for corpus in corpora for step in corpus["steps"])
    if corpora and "personal data was not looked for" in steps:
        yield "Personal data was not taken out of its documents: it may repeat some."
    elif corpora:
        yield "Personal data was replaced by patterns, which find what has a form (addresses, numbers), not names."
    if corpora and "benchmark" not in steps:
        yield "Its documents were not compared with benchmarks: figures of public exams may be of what it has read."


def _of_figures(facts: Mapping[str, Any]) -> Iterator[str]:
    figures = facts["figures"]
    if any("test" in row["on"] or "validation" in row["on"] for row in figures):
        yield "Held-out figures are of documents like those that it was trained on; on other text it does worse."
    if figures and not any(row["on"].startswith("exam") for row in figures):
        yield "No exam was put to it: of knowledge, bias and memorised text nothing is known (`textmill evaluate`)."
