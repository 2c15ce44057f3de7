"""The top of the report: one sentence and a strip of figures."""

from typing import NamedTuple

from tasks.reports.data import ReportData
from tasks.reports.format import count, decimal, duration, share, short, size


class Tile(NamedTuple):
    """One figure of the strip at the top."""

    name: str
    figure: str
    subs: list[str]


def tiles(data: ReportData) -> list[Tile]:
    """The strip: a tile for every headline figure that is known."""
    h, p, f = data.headline, data.pretraining, data.finetuning
    found = []
    if h.kept and h.kept.bytes is not None:
        subs = [f"{count(h.kept.documents)} documents"] if h.kept.documents is not None else []
        if h.raw and h.raw.bytes is not None:
            subs.append(f"of {size(h.raw.bytes)} raw ({share(h.kept.bytes, h.raw.bytes)})")
        found.append(Tile("text kept", size(h.kept.bytes), subs))
    if h.drawn:
        subs = [f"{count(h.drawn.documents)} documents", "copies counted once"]
        found.append(Tile("drawn by the mixture", size(h.drawn.bytes), subs))
    if h.kept and h.kept.tokens is not None:
        per_token = f"{h.kept.bytes / h.kept.tokens:.2f} bytes per token" if h.kept.bytes and h.kept.tokens else ""
        found.append(Tile("tokens", short(h.kept.tokens), [per_token] if per_token else []))
    if p and p.parameters is not None:
        found.append(Tile("parameters", short(p.parameters), [p.model] if p.model else []))
    if p and p.pretrained is not None:
        others = [(p.unigram, "unigram"), (p.untrained, "untrained")]
        found.append(
            Tile(
                "held-out bits per byte",
                decimal(p.pretrained, 3),
                [f"{name} {decimal(value, 3)}" for value, name in others if value is not None],
            )
        )
    if p is None:
        found += _losses(data)
    for system in f.systems if f else ():
        if system.role == "pretrained" and system.accuracy:
            a = system.accuracy
            subs = [f"[{share(a.low)}, {share(a.high)}]"]
            subs += (
                [f"{s.name} {share(s.accuracy.value)}" for s in f.systems if s.accuracy and s is not system]
                if f
                else []
            )
            found.append(Tile("test accuracy", share(a.value), subs))
    if h.seconds is not None:
        built = sum(s.state != "cached" for s in data.stages)
        subs = [f"{built} stages built", f"{len(data.stages) - built} reused"] if data.stages else []
        found.append(Tile("total time", duration(h.seconds), subs))
    return found


def _losses(data: ReportData) -> list[Tile]:
    """Where the documents of a corpus went, for a report without models."""
    whole = data.headline.raw.documents if data.headline.raw else None
    ways = {"dropped by rules": ("rules",), "duplicates dropped": ("url", "dedupe")}
    known = {stage for stages in ways.values() for stage in stages}
    lost = {name: sum(d.documents for d in data.drops if d.stage in stages) for name, stages in ways.items()}
    lost["dropped otherwise"] = sum(d.documents for d in data.drops if d.stage not in {*known, "split"})
    subs = "of {} documents ({})"
    return [
        Tile(name, count(n), [subs.format(count(whole), share(n, whole))] if whole else [])
        for name, n in lost.items()
        if n
    ]


def lead(data: ReportData) -> list[tuple[bool, str]]:
    """The summary as (bold, words) pieces."""
    h, p, f = data.headline, data.pretraining, data.finetuning
    pieces: list[tuple[bool, str]] = []
    if h.raw and h.kept and h.raw.bytes and h.kept.bytes is not None:
        pieces += [
            (False, "Of "),
            (True, size(h.raw.bytes)),
            (False, " of raw text "),
            (True, share(h.kept.bytes, h.raw.bytes)),
            (False, " was kept. "),
        ]
    if h.drawn:
        pieces += [
            (False, "Of what was kept the mixture draws "),
            (True, size(h.drawn.bytes)),
            (False, f" in {count(h.drawn.documents)} documents, copies counted once. "),
        ]
    if p and p.pretrained is not None and p.unigram is not None:
        pieces += [
            (False, "The model predicts unseen text at "),
            (True, f"{decimal(p.pretrained, 2)} bits per byte"),
            (False, f", a unigram model at {decimal(p.unigram, 2)}. "),
        ]
    if f and f.difference:
        a = f.difference.accuracy
        better = "more" if a.value >= 0 else "less"
        pieces += [
            (False, "Fine-tuned, it answers "),
            (True, f"{abs(100 * a.value):.1f} points {better}"),
            (False, " of the test right than the same model from random weights."),
        ]
    return pieces
