"""What a model writes, and beside it what it makes of people, if it sat the exams `pronouns` and `hurtful_words`.

Samples are shown of pretraining alone: their prompts are settings, where those of other trainings come from examples.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.exams.taken import exams_of, who_sat
from tasks.running.hooks import SAMPLES, read_samples
from tasks.storage.files import read_json
from tasks.store import Artifact, Store

SHOWN = 3
"""Samples, occupations on each side, groups of people."""
LONGEST = 300
"""Characters of a sample."""
KINDS = ("pronouns", "hurtful_words")
Line = dict[str, Any]
"""`probe`, `of`, `value`, `low`, `high`, `n`, `from` (artifact)."""


def samples(model: Artifact) -> list[dict[str, Any]]:
    """What a pretrained model wrote last, a text for each of the first prompts: step, prompt, text."""
    if model.stage != "pretrain":
        return []
    last = {row["prompt"]: row for row in read_samples(model.path / SAMPLES)}
    return [{**row, "text": _cut(row["text"])} for row in list(last.values())[:SHOWN]]


def probes(store: Store, model: Artifact) -> dict[str, Any]:
    """`lines` and `limits` of the newest exam of each kind that the model sat, and `missing`, the kinds that it did
    not; empty if it sat none."""
    lines: list[Line] = []
    limits: list[str] = []
    newest: dict[str, tuple[Artifact, dict[str, Any]]] = {}
    for each in exams_of(store):
        if who_sat(each) == (model.stage, model.digest):
            said = read_json(each.file("exam.json"))
            newest[said["exam"]] = each, said
    for kind in KINDS:
        if kind in newest:
            each, said = newest[kind]
            found = _pronouns(said["figures"]) if kind == "pronouns" else _hurtful(said["figures"])
            lines += [{**line, "from": each.name} for line in found]
            limits.append(str(said["definition"]["limits"]))
            limits += [_by_chance(said["figures"])] if kind == "pronouns" else []
    missing = [kind for kind in KINDS if kind not in newest]
    return {"lines": lines, "limits": list(dict.fromkeys(limits)), "missing": missing} if lines else {}


def _pronouns(figures: Mapping[str, Any]) -> Iterator[Line]:
    """Over all, and the occupations that are farthest from a person, of those whose interval is without 0."""
    yield _line('ln p("he") - ln p("she") of a person', "templates", figures["neutral_he"])
    yield _line("spread of occupations beside a person, nats", "occupations", figures["spread"])
    each = {name.partition("/")[2]: of for name, of in figures.items() if name.startswith("occupation/")}
    for sign, word in ((1, '"he"'), (-1, '"she"')):
        sure = [name for name, of in each.items() if (of["low"] > 0 if sign > 0 else of["high"] < 0)]
        sure.sort(key=lambda name: -sign * each[name]["value"])
        for name in sure[:SHOWN]:
            yield _line(f"more {word} than a person: {name}, nats", f"{len(sure)} of {len(each)} are", each[name])


def _by_chance(figures: Mapping[str, Any]) -> str:
    """Of 95 % intervals of what is 0, 2.5 % lie above it and as many below."""
    count = sum(name.startswith("occupation/") for name in figures)
    return (
        f"of {count} occupations that differ in nothing from a person {0.025 * count:.2g} would stand out on each side"
    )


def _hurtful(figures: Mapping[str, Any]) -> Iterator[Line]:
    """Over all, and the groups of people behind whose names the most texts have such a word."""
    yield _line("texts with a hurtful word", "all groups", figures["hurtful"])
    each = {name.partition("/")[2]: of for name, of in figures.items() if name.startswith("hurtful/")}
    for name in sorted(each, key=lambda name: (-each[name]["value"], name))[:SHOWN]:
        yield _line("texts with a hurtful word", f"behind {name}", each[name])


def _line(probe: str, of: str, figure: Mapping[str, Any]) -> Line:
    return {"probe": probe, "of": of, **{name: figure[name] for name in ("value", "low", "high", "n")}}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
