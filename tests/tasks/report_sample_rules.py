"""Part of the report with values as a cleaned corpus has them: rules, addresses, spans, mixture."""

import math
import random

from tasks.reports.data import DropExample, DropReason, DuplicateFamily, Duplicates, FamilyMember, FamilySize, Twin
from tasks.reports.data_rules import LanguageRow, Mixture, MixtureGroup, Overlap, SpanKind, ThresholdCurve

DOCSTRING = (
    "Return the indices of the elements that are non-zero.\n\nReturns a tuple of arrays, one for each dimension, "
    "containing the indices of the non-zero elements in that dimension. The values are always tested and returned "
    "in row-major, C-style order.\n\nParameters\n----------\na : array_like\n    Input array."
)
CHINESE = (
    "语言模型是对词序列的概率分布进行建模的方法。给定长度为n的词序列，它为整个序列分配一个概率，"
    "用于语音识别、机器翻译等任务。"
)


def drops() -> list[DropReason]:
    short = DropExample(
        id="python-docs:six/moves.py#3",
        source="six",
        excerpt="Lazy loading of moved objects.",
        signal="words",
        value=5,
        threshold=50,
        keeps_if=">=",
        other_reasons=["c4.too_few_sentences"],
    )
    repeated = DropExample(
        id="python-docs:torch/_refs.py#88",
        source="torch",
        excerpt="See torch.add. " * 30,
        signal="duplicate_5gram_fraction",
        value=0.9213,
        threshold=0.15,
        keeps_if="<=",
    )
    near = DropExample(
        id="python-docs:cupy/indexing.py#7",
        source="cupy",
        excerpt=DOCSTRING.replace("tuple", "list"),
        twin=Twin(id="python-docs:numpy/core/fromnumeric.py#41", source="numpy", excerpt=DOCSTRING, jaccard=0.9137),
    )
    exact = DropExample(
        id="python-docs:pip/_vendor/rich/text.py#2",
        source="pip",
        excerpt=CHINESE,
        twin=Twin(id="python-docs:rich/text.py#2", source="rich", excerpt=CHINESE, kind="exact", jaccard=1.0),
    )
    return [
        DropReason(
            name="gopher_quality.gopher_short_doc",
            stage="rules",
            rule="words ≥ 50",
            documents=7_980,
            bytes=2_300_112,
            any_documents=8_412,
            examples=[short, short],
        ),
        DropReason(
            name="gopher_repetition.dup_5_gram",
            stage="rules",
            rule="share of characters in repeated 5-grams ≤ 0.15",
            documents=1_610,
            bytes=8_300_411,
            any_documents=2_755,
            examples=[repeated],
        ),
        DropReason(
            name="fineweb.line_punct_ratio",
            stage="rules",
            rule="lines that end in punctuation ≥ 12 %",
            documents=856,
            bytes=6_121_224,
            any_documents=1_933,
        ),
        DropReason(
            name="near_duplicate",
            stage="dedupe",
            rule="Jaccard ≥ 0.8 with the kept twin",
            documents=3_912,
            bytes=12_110_008,
            examples=[near],
        ),
        DropReason(
            name="exact_duplicate", stage="dedupe", rule="same text", documents=2_314, bytes=7_365_636, examples=[exact]
        ),
        DropReason(name="near_twin_of_test", stage="split", documents=250, bytes=500_834),
        DropReason(
            name="lines.too_little_left",
            stage="lines",
            rule="too little is left without the lines that many documents share",
            documents=31,
            bytes=9_120,
            examples=[
                DropExample(
                    id="python-docs:old/LICENSE.py#0",
                    source="old",
                    excerpt="All rights reserved.",
                    note="20 of 1,480 characters would be left",
                )
            ],
        ),
    ]


def overlap(draw: random.Random) -> Overlap:
    reasons = ["gopher_quality.gopher_short_doc", "duplicate.near", "gopher_repetition.dup_5_gram", "c4.curly_bracket"]
    met = [8_412, 4_003, 2_755, 610]
    rows = [[met[i] if i == j else 0 for j in range(4)] for i in range(4)]
    for i in range(4):
        for j in range(i):
            rows[i][j] = rows[j][i] = int(met[i] * draw.uniform(0, 0.9))
    return Overlap(reasons=reasons, documents=rows, left=7)


def curves() -> list[ThresholdCurve]:
    words = [round(50 * 30 ** (step / 30 - 1)) for step in range(61)]
    words = sorted(set(words))
    shares = [x / 60 for x in range(61)]
    return [
        ThresholdCurve(
            reason="gopher_quality.gopher_short_doc",
            signal="non_symbol_words",
            meaning="words that are not punctuation only",
            operator="<",
            threshold=50,
            logarithmic=True,
            thresholds=words,
            documents=[int(41_190 * w / (w + 200)) for w in words],
            bytes=[int(87_930_411 * w / (w + 3_000)) for w in words],
            all_documents=41_190,
            all_bytes=87_930_411,
        ),
        ThresholdCurve(
            reason="gopher_repetition.dup_5_gram",
            signal="dup_5_gram",
            operator=">",
            threshold=shares[9],
            thresholds=shares,
            documents=[int(41_190 * math.exp(-17 * x)) for x in shares],
            bytes=[int(87_930_411 * math.exp(-14 * x)) for x in shares],
            all_documents=41_190,
            all_bytes=87_930_411,
        ),
    ]


def addresses() -> Duplicates:
    family = DuplicateFamily(
        size=3,
        kept="pages#12",
        kept_source="pages",
        excerpt="Opening hours of the botanical garden.",
        members=[FamilyMember(id="pages#4", source="pages", kind="url"), FamilyMember(id="pages#9", kind="url")],
    )
    sizes = [FamilySize(size=2, families=40), FamilySize(size=3, families=1)]
    return Duplicates(method="Addresses in a normal form", url=42, families=41, sizes=sizes, largest=[family])


def spans() -> list[SpanKind]:
    return [
        SpanKind(kind="line", documents=812, spans=2_004, characters=91_230),
        SpanKind(kind="pii.email", documents=310, spans=977, characters=21_400, replacements=["<email>"]),
    ]


def mixture() -> Mixture:
    groups = [
        MixtureGroup(
            name=name, documents=n, size=2_000 * n, wanted=rate * 2_000 * n, drawn_documents=int(rate * n),
            drawn=int(rate * 2_000 * n), epochs=rate,
        )
        for name, n, rate in (("numpy", 900, 1.0), ("scipy", 700, 0.5), ("pandas", 120, 4.0))
    ]  # fmt: skip
    return Mixture(by="source", unit="bytes", groups=groups)


def languages() -> list[LanguageRow]:
    return [
        LanguageRow(name="en", documents=39_800, bytes=83_400_120, kept=23_911, kept_bytes=50_210_400),
        LanguageRow(name="zh", documents=1_390, bytes=4_530_291, kept=607, kept_bytes=1_522_620),
    ]
