"""A report with values as a quickstart run has them, for the tests of the page and for looking at it."""

import math
import random

from tasks.reports.data import (
    Amount,
    ClassScore,
    Command,
    ConfidentError,
    Difference,
    DuplicateFamily,
    Duplicates,
    FamilyMember,
    FamilySize,
    FineTuning,
    FunnelPart,
    FunnelStep,
    Headline,
    Interval,
    LengthHistogram,
    LineageNode,
    Point,
    Pretraining,
    ReportData,
    Sample,
    SeedScore,
    SkipExample,
    SkipReason,
    SourceRow,
    StageRow,
    System,
)
from tests.tasks.report_sample_rules import (
    CHINESE,
    DOCSTRING,
    addresses,
    curves,
    drops,
    languages,
    mixture,
    overlap,
    spans,
)

PACKAGES = ["numpy", "scipy", "pandas", "torch", "sympy", "matplotlib", "networkx", "sqlalchemy"]
SYLLABLES = ["array", "return", "index", "the", "of", "para", "meter", "value", "func", "tion", "type", "list", "key"]


def sample_report(seed: int = 0) -> ReportData:
    """Every section filled."""
    draw = random.Random(seed)
    return ReportData(
        headline=Headline(
            run="quickstart · calm-heron",
            date="2026-11-22 03:00 UTC",
            config="configs/quickstart.yaml",
            raw=Amount(documents=41_236, bytes=88_412_903),
            kept=Amount(documents=24_518, bytes=51_733_020, tokens=13_904_117),
            seconds=634.2,
        ),
        funnel=_funnel(),
        drops=drops(),
        overlap=overlap(draw),
        curves=curves(),
        skips=_skips(),
        sources=_sources(draw),
        lengths=[_lengths(draw, "characters", 7.1), _lengths(draw, "words", 5.2)],
        languages=languages(),
        addresses=addresses(),
        duplicates=_duplicates(),
        spans=spans(),
        mixture=mixture(),
        pretraining=_pretraining(draw),
        finetuning=_finetuning(draw),
        stages=_stages(),
        environment={
            "machine": "2 cores, 24 GiB, Linux 6.1 x86_64",
            "python": "3.11.9",
            "torch": "2.13.0 (2 threads, bf16)",
            "textmill": "0.1.0 at 63ee3ea",
        },
        lineage=_lineage(),
        commands=[
            Command(command="textmill show model-4f1c0a9d", says="manifest, counts and lineage of the model"),
            Command(command="textmill why docs:numpy/core.py#12", says="why a document was dropped, or where it went"),
            Command(command="textmill generate pretrained --prompt 'Return the'", says="let the model write"),
        ],
    )


def _funnel() -> list[FunnelStep]:
    def amount(documents: int, size: int, tokens: int | None = None) -> Amount:
        return Amount(documents=documents, bytes=size, tokens=tokens)

    parts = [
        ("train", 22_801, 48_120_774),
        ("valid", 486, 1_021_300),
        ("test", 981, 2_090_112),
        ("excluded", 250, 500_834),
    ]
    return [
        FunnelStep(
            name="read", note="python-docs: docstrings of 212 installed packages", out=amount(41_236, 88_412_903)
        ),
        FunnelStep(name="normalise", note="NFC, line ends, white space", out=amount(41_190, 87_930_411)),
        FunnelStep(name="rules", note="Gopher quality and repetition, C4, FineWeb", out=amount(30_744, 71_208_664)),
        FunnelStep(name="dedupe", note="exact, then verified near-duplicates", out=amount(24_518, 51_733_020)),
        FunnelStep(
            name="split",
            note="by hash of the document; near-twins of test documents excluded",
            out=amount(24_518, 51_733_020),
            parts=[FunnelPart(name=n, amount=amount(d, b)) for n, d, b in parts],
        ),
        FunnelStep(
            name="tokens",
            note="byte-level BPE, 8,192 entries",
            into=amount(22_801, 48_120_774),
            out=amount(22_801, 48_120_774, 12_933_518),
        ),
    ]


def _skips() -> list[SkipReason]:
    return [
        SkipReason(
            reason="broken UTF-8",
            records=12,
            files=4,
            bytes=90_211,
            examples=[
                SkipExample(
                    file="site-packages/old/latin1.py",
                    line=812,
                    detail="byte 0xe9 at offset 41: invalid continuation byte",
                ),
            ],
        ),
        SkipReason(reason="empty file", records=133, files=133),
    ]


def _sources(draw: random.Random) -> list[SourceRow]:
    names = PACKAGES + [f"package-{i:03d}" for i in range(60)]
    rows = []
    for rank, name in enumerate(names, 1):
        raw = int(18_000_000 / rank**1.1)
        kept = int(raw * draw.uniform(0.25, 0.9))
        rows.append(
            SourceRow(
                name=name,
                raw_documents=raw // 2100 + 1,
                raw_bytes=raw,
                rules=Amount(documents=(raw - kept) // 4200, bytes=(raw - kept) // 2),
                duplicates=Amount(documents=(raw - kept) // 8400, bytes=(raw - kept) // 4),
                other=Amount(documents=0, bytes=0),
                kept_documents=kept // 2100,
                kept_bytes=kept,
            )
        )
    return rows


def _lengths(draw: random.Random, unit: str, centre: float) -> LengthHistogram:
    n = 36
    edges = [10 ** (1 + 4 * i / n) for i in range(n + 1)]
    raw = [int(2400 * math.exp(-(((math.log(e) - centre) / 1.5) ** 2)) * draw.uniform(0.85, 1.1)) for e in edges[:-1]]
    kept = [int(r * min(0.9, max(0.0, (math.log(e) - centre + 2.4) / 3))) for r, e in zip(raw, edges[:-1], strict=True)]
    return LengthHistogram(
        unit=unit,
        edges=edges,
        raw=raw,
        kept=kept,
        raw_median=math.exp(centre - 0.2),
        kept_median=math.exp(centre + 0.3),
    )


def _duplicates() -> Duplicates:
    members = [
        FamilyMember(id=f"python-docs:pkg{i}/LICENSE.py#0", source=f"pkg{i}", jaccard=0.99 - i / 100) for i in range(6)
    ]
    sizes = [FamilySize(size=s, families=int(2600 / s**2.2) + 1) for s in (2, 3, 4, 5, 6, 7, 9, 12, 20, 31, 88)]
    largest = [
        DuplicateFamily(
            size=88,
            kept="python-docs:scipy/_lib/doc.py#0",
            kept_source="scipy",
            excerpt="Licensed under the Apache License, Version 2.0.",
            members=members,
        ),
        DuplicateFamily(
            size=31, kept="python-docs:zh/模型.md#1", kept_source="zh", excerpt=CHINESE, members=members[:2]
        ),
        DuplicateFamily(
            size=20,
            kept="python-docs:numpy/core.py#41",
            kept_source="numpy",
            excerpt=DOCSTRING,
            members=[FamilyMember(id="b", kind="exact", jaccard=1.0)],
        ),
    ]
    return Duplicates(
        method="MinHash with 14 bands of 8 rows over 5-word shingles, every candidate verified at 0.8",
        exact=2_314,
        near=3_912,
        families=2_877,
        sizes=sizes,
        largest=largest,
    )


def _pretraining(draw: random.Random) -> Pretraining:
    def bits(step: int) -> float:
        return 1.52 + 2.05 * math.exp(-step / 130) + 0.45 * math.exp(-step / 900)

    steps = 1500
    train = [Point(step=s, value=bits(s) + draw.gauss(0, 0.045)) for s in range(1, steps + 1)]
    valid = [Point(step=s, value=bits(s) + 0.03) for s in range(0, steps + 1, 125)]
    rate = [
        Point(step=s, value=1e-3 * min(1.0, s / 100) * (0.55 + 0.45 * math.cos(math.pi * s / steps)))
        for s in range(0, steps + 1, 10)
    ]
    speed = [
        Point(step=s, value=21_400 + draw.gauss(0, 500) - (3000 if s < 20 else 0)) for s in range(10, steps + 1, 10)
    ]

    def babble(step: int) -> str:
        if step == 0:
            return "".join(draw.choice("äq�x7 Zk\n(’ûpW_e") for _ in range(180))
        return " ".join("".join(draw.sample(SYLLABLES, draw.randint(1, 3))) for _ in range(20 + step // 60)) + "."

    samples = [
        Sample(step=s, prompt=prompt, text=" " + babble(s))
        for s in (0, 125, 250, 500, 750, 1000, 1500)
        for prompt in ("Return the", "Parameters\n----------\n")
    ]
    return Pretraining(
        model="GPT-2 architecture, 4 layers of width 256",
        parameters=5_258_240,
        tokens_seen=24_576_000,
        heldout="the test split (2.09 MB)",
        pretrained=1.683,
        untrained=3.981,
        unigram=2.874,
        train=train,
        valid=valid,
        learning_rate=rate,
        tokens_per_second=speed,
        samples=samples,
        settings={
            "optimizer": "AdamW, betas 0.9 and 0.95, weight decay 0.1 on matrices",
            "schedule": "cosine, 100 steps warm-up",
            "batch": "64 × 256 tokens",
            "seed": "1337",
        },
    )


def _finetuning(draw: random.Random) -> FineTuning:
    n = len(PACKAGES)
    confusion = [
        [draw.randint(92, 128) if i == j else max(0, int(draw.gauss(3, 4))) for j in range(n)] for i in range(n)
    ]
    rows = [sum(row) for row in confusion]
    classes = [ClassScore(label=p, f1=confusion[i][i] / rows[i] - 0.01, items=rows[i]) for i, p in enumerate(PACKAGES)]

    def system(name: str, role: str, values: list[float]) -> System:
        mean = sum(values) / len(values)
        seeds = [SeedScore(seed=i, accuracy=v) for i, v in enumerate(values)]
        return System.model_validate(
            {
                "name": name,
                "role": role,
                "seeds": seeds,
                "macro_f1": mean - 0.01,
                "accuracy": Interval(value=mean, low=mean - 0.021, high=mean + 0.021),
            }
        )

    return FineTuning(
        task="Which library does this paragraph document?",
        train_items=9_210,
        dev_items=1_004,
        test_items=1_022,
        majority=0.214,
        interval_method="95 %, bootstrap over test items and seeds",
        systems=[
            system("pretrained", "pretrained", [0.861, 0.853, 0.868]),
            system("from scratch", "scratch", [0.741, 0.729, 0.752]),
            system("bag of words", "baseline", [0.803]),
        ],
        difference=Difference(
            first="pretrained",
            second="from scratch",
            accuracy=Interval(value=0.12, low=0.097, high=0.143),
            p_value=0.0002,
        ),
        labels=PACKAGES,
        confusion=confusion,
        confusion_note="Sum over one run's test items, seed 0",
        classes=classes,
        errors=[
            ConfidentError(
                id=f"python-docs:{p}/x.py#{i}", text=DOCSTRING, label=p, predicted="numpy", probability=0.998 - i / 500
            )
            for i, p in enumerate(PACKAGES[1:7])
        ],
        auxiliary_weight=0.5,
        settings={"epochs": "3", "learning rate": "3e-4", "batch": "32"},
    )


def _stages() -> list[StageRow]:
    rows = [
        ("ingest", "built", 21.4, 410, 29.1e6),
        ("normalize", "built", 14.9, 380, 28.8e6),
        ("signals", "resumed", 38.2, 655, 4.1e6),
        ("filter", "cached", 0.02, 300, 0.9e6),
        ("signatures", "built", 17.3, 520, 33.0e6),
        ("dedupe", "built", 9.8, 890, 1.2e6),
        ("split", "built", 3.1, 402, 0.4e6),
        ("tokenizer", "built", 12.7, 1010, 0.6e6),
        ("tokens", "built", 16.0, 440, 27.0e6),
        ("pretrain", "built", 311.5, 1630, 84.0e6),
        ("finetune", "built", 151.9, 1480, 63.2e6),
        ("evaluate", "built", 22.1, 960, 0.2e6),
    ]
    return [
        StageRow(
            name=n,
            state=s,
            seconds=t,
            build_seconds=28.4 if s == "cached" else None,
            peak_bytes=m << 20,
            disk_bytes=int(d),
            key=f"{i:02x}9f3b7c2d4e5a60",
        )
        for i, (n, s, t, m, d) in enumerate(rows)
    ]


def _lineage() -> list[LineageNode]:
    edges = {
        "ingest": ["source:python-docs"],
        "normalize": ["ingest"],
        "signals": ["normalize"],
        "filter": ["signals"],
        "signatures": ["normalize"],
        "dedupe": ["signatures", "filter"],
        "split": ["dedupe", "normalize"],
        "tokenizer": ["split"],
        "tokens": ["split", "tokenizer"],
        "pretrain": ["tokens", "tokenizer"],
        "finetune": ["pretrain", "split"],
        "evaluate": ["finetune", "pretrain", "tokens"],
    }
    notes = {
        "ingest": "41,236 documents",
        "dedupe": "6,226 dropped",
        "tokens": "12,933,518 tokens",
        "pretrain": "5.26 M parameters",
    }
    return [
        LineageNode(
            key=f"{name}-4f1c0a9d{i:02x}",
            stage=name,
            digest=f"{i * 7919:08x}" * 8,
            note=notes.get(name),
            inputs=[
                f"{parent}-4f1c0a9d{list(edges).index(parent):02x}" if parent in edges else parent for parent in inputs
            ],
        )
        for i, (name, inputs) in enumerate(edges.items())
    ]
