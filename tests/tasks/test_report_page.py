"""The report page: what it shows, what it never does, and what it does without."""

import base64
import hashlib
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tasks.reports.data import (
    Amount,
    Command,
    ConfidentError,
    DropExample,
    DropReason,
    DuplicateFamily,
    Duplicates,
    FamilyMember,
    FineTuning,
    FunnelPart,
    FunnelStep,
    Headline,
    LengthHistogram,
    LineageNode,
    Point,
    Pretraining,
    ReportData,
    Sample,
    SkipExample,
    SkipReason,
    SourceRow,
    StageRow,
    Twin,
)
from tasks.reports.data_rules import LanguageRow, Mixture, MixtureGroup, Overlap, SpanKind, ThresholdCurve
from tasks.reports.format import fit, size
from tasks.reports.page import LIMITS, TITLES, render_report
from tasks.running.visible import visible
from tests.tasks.report_sample import sample_report
from tests.tasks.report_sample_rules import CHINESE

ATTACKS = [
    "<script>alert(1)</script>",
    "</style><style>body{background:url(http://evil.example/x)}</style>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</blockquote></title></svg><svg/onload=alert(1)>",
    "<!--",
    "a\u202egnp.exe\u2066 \x00\x1b[31m\x07\u200b\ufeff\x85",
]
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page, its visible text, and whether every element is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def full() -> str:
    return render_report(sample_report())


def hostile(attack: str) -> ReportData:
    """A report with one foreign string in every place that takes text."""
    amount = Amount(documents=3, bytes=30, tokens=9)
    example = DropExample(
        id=attack,
        source=attack,
        excerpt=attack,
        signal=attack,
        value=1.5,
        threshold=2.0,
        keeps_if=attack,
        note=attack,
        other_reasons=[attack],
        twin=Twin(id=attack, source=attack, excerpt=attack, jaccard=0.9),
    )
    family = DuplicateFamily(
        size=9, kept=attack, kept_source=attack, excerpt=attack, members=[FamilyMember(id=attack, source=attack)]
    )
    curve = ThresholdCurve(
        reason=attack,
        signal=attack,
        meaning=attack,
        operator=attack,
        threshold=2,
        thresholds=[1, 2],
        documents=[1, 2],
        bytes=[1, 2],
        all_documents=3,
        all_bytes=3,
    )
    group = MixtureGroup(name=attack, documents=1, size=1, wanted=1, drawn_documents=1, drawn=1, epochs=1)
    sample = sample_report().finetuning
    assert sample is not None
    renamed = {
        "labels": [f"{attack}{i}" for i in range(len(sample.labels))],
        "systems": [s.model_copy(update={"name": attack}) for s in sample.systems],
        "classes": [c.model_copy(update={"label": attack}) for c in sample.classes],
        "errors": [ConfidentError(id=attack, text=attack, label=attack, predicted=attack, probability=0.9)],
        "settings": {attack: attack},
    }
    return ReportData(
        headline=Headline(run=attack, date=attack, config=attack),
        funnel=[FunnelStep(name=attack, note=attack, out=amount, parts=[FunnelPart(name=attack, amount=amount)])] * 2,
        drops=[DropReason(name=attack, stage=attack, rule=attack, documents=3, examples=[example])],
        skips=[SkipReason(reason=attack, records=1, examples=[SkipExample(file=attack, line=2, detail=attack)])],
        sources=[SourceRow(name=attack, raw_documents=1, raw_bytes=1, kept_documents=1, kept_bytes=1)],
        lengths=[LengthHistogram(unit=attack, edges=[1, 10, 100], raw=[1, 2], kept=[1, 1])],
        overlap=Overlap(reasons=[f"{attack}{i}" for i in (1, 2)], documents=[[2, 1], [1, 1]]),
        curves=[curve],
        languages=[LanguageRow(name=attack, documents=1, bytes=1, kept=1, kept_bytes=1)],
        addresses=Duplicates(method=attack, url=1, largest=[family]),
        duplicates=Duplicates(method=attack, largest=[family]),
        spans=[SpanKind(kind=attack, documents=1, spans=1, characters=1, replacements=[attack])],
        mixture=Mixture(by=attack, unit=attack, groups=[group]),
        pretraining=Pretraining(
            model=attack,
            heldout=attack,
            samples=[Sample(step=1, prompt=attack, text=attack)],
            settings={attack: attack},
        ),
        finetuning=FineTuning.model_validate(sample.model_copy(update=renamed).model_dump()),
        stages=[StageRow(name=attack, state=attack, key=attack)],
        environment={attack: attack},
        lineage=[
            LineageNode(key=attack + str(i), stage=attack, digest=attack, inputs=[attack], note=attack) for i in (1, 2)
        ],
        commands=[Command(command=attack, says=attack)],
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_foreign_text_stays_text(attack: str) -> None:
    page = Page(render_report(hostile(attack)))
    harmless = Page(render_report(hostile("harmless")))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert visible(attack) in page.text
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")]
        assert attributes.get("href", "#") == "#" + (attributes.get("href") or "#")[1:]


def test_no_text_is_a_template() -> None:
    assert "49" not in Page(render_report(ReportData(headline=Headline(run="{{ 7 * 7 }}")))).text


def test_acting_characters_become_signs() -> None:
    assert visible("a\u202eb\x00\x1bc\r\nd\te") == "a⟨U+202E⟩b␀␛c\nd\te"
    html = render_report(hostile(ATTACKS[-1]))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]", html)
    html.encode("utf-8")


def test_loads_nothing_and_runs_nothing(full: str) -> None:
    page = Page(full)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "use", "image"}
    assert not re.search(r"https?://|\ssrc=|@import|url\(|\sstyle=|javascript:", full)
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_policy_allows_its_own_style_sheet(full: str) -> None:
    style = re.search(r"<style>(.*?)</style>", full, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in full


def test_every_section_is_there(full: str) -> None:
    for name, title in TITLES.items():
        assert f'<h2 id="{name}">{title}</h2>' in full
        assert f'<a href="#{name}">' in full
    text = Page(full).text
    for words in (
        "88.4\u202fMB",
        "13.9\u202fM",
        "+12.0",
        "0.914",
        "kept if ≥ 50",
        "broken UTF-8",
        "38 more",
        "λ = 0.5",
        "20 of 1,480 characters would be left",
        "7 rarer reasons are not shown",
        "now 50",
        "<email>",
        "4.00",
    ):
        assert words in text, words
    assert len(full.encode()) < 400_000


@pytest.mark.parametrize("section", [name for name in ReportData.model_fields if name != "headline"])
def test_each_section_may_be_absent(full: str, section: str) -> None:
    default = ReportData.model_fields[section].get_default(call_default_factory=True)
    html = render_report(sample_report().model_copy(update={section: default}))
    Page(html)
    heading = {"commands": None, "environment": None}.get(section, section)
    if heading:
        assert f'id="{heading}"' not in html
        assert f'href="#{heading}"' not in html
    assert len(html) < len(full)


@pytest.mark.parametrize(
    "section", [name for name in ReportData.model_fields if name not in ("headline", "environment", "commands")]
)
def test_each_section_may_stand_alone(section: str) -> None:
    data = ReportData(headline=Headline(run="alone")).model_copy(update={section: getattr(sample_report(), section)})
    html = render_report(data)
    Page(html)
    assert f'id="{section}"' in html


def test_nothing_to_report() -> None:
    page = Page(render_report(ReportData(headline=Headline(run="empty"))))
    assert "left nothing to report" in page.text


def test_sections_with_nothing_in_them() -> None:
    data = ReportData(
        headline=Headline(run="bare", raw=Amount(), kept=Amount()),
        funnel=[FunnelStep(name="read", out=Amount())] * 3,
        drops=[DropReason(name="none", documents=0)],
        sources=[SourceRow(name="one", raw_documents=0, raw_bytes=0, kept_documents=0, kept_bytes=0)],
        lengths=[LengthHistogram(edges=[1, 2], raw=[0]), LengthHistogram(edges=[1, 2, 3], raw=[1])],
        overlap=Overlap(reasons=["one"], documents=[[3]]),
        curves=[
            ThresholdCurve(
                reason="one",
                signal="words",
                operator="<",
                threshold=1,
                thresholds=[1],
                documents=[0],
                bytes=[0],
                all_documents=0,
                all_bytes=0,
            )
        ],
        languages=[LanguageRow(name="en", documents=1, bytes=0, kept=0, kept_bytes=0)],
        addresses=Duplicates(url=0),
        duplicates=Duplicates(),
        spans=[SpanKind(kind="line", documents=0, spans=0, characters=0)],
        mixture=Mixture(by="source", unit="bytes"),
        pretraining=Pretraining(train=[Point(step=0, value=math.nan)], valid=[Point(step=5, value=2.0)]),
        finetuning=FineTuning(labels=["one"], confusion=[[1]]),
        stages=[StageRow(name="ingest")],
        lineage=[LineageNode(key="a", stage="ingest", inputs=["source"])],
    )
    html = render_report(data)
    Page(html)
    assert "nan" not in Page(html).text.split()


def test_diverged_training_is_drawn_as_far_as_it_is_finite() -> None:
    values = [4.0, 3.0, math.inf, math.nan]
    data = Pretraining(
        valid=[Point(step=i, value=v) for i, v in enumerate(values)], untrained=math.nan, pretrained=math.nan
    )
    html = render_report(ReportData(headline=Headline(run="diverged"), pretraining=data))
    assert not re.search(r'="[^"]*\b(nan|inf)\b', html)


def test_equal_data_gives_equal_bytes() -> None:
    program = (
        "import sys; from tests.tasks.report_sample import sample_report; "
        "from tasks.reports.page import render_report; "
        "sys.stdout.buffer.write(render_report(sample_report()).encode())"
    )
    root = Path(__file__).parents[2]
    other = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, check=True).stdout
    assert other == render_report(ReportData.model_validate_json(sample_report().model_dump_json())).encode()


def test_size_is_bounded_whatever_the_data() -> None:
    long = "x<&\"'" * 40_000
    sample = sample_report()
    assert sample.duplicates is not None
    assert sample.pretraining is not None
    assert sample.finetuning is not None
    example = DropExample(id="i", excerpt=long, twin=Twin(id="t", excerpt=long))
    family = DuplicateFamily(size=999, kept="k", excerpt=long, members=[FamilyMember(id=str(i)) for i in range(500)])
    error = ConfidentError(id="i", text=long, label="a", predicted="b", probability=0.9)
    data = sample.model_copy(
        update={
            "drops": [DropReason(name=f"r{i}", documents=i, examples=[example] * 9) for i in range(300)],
            "skips": [
                SkipReason(reason=f"s{i}", records=i, examples=[SkipExample(file=long, detail=long)] * 50)
                for i in range(300)
            ],
            "sources": [
                SourceRow(name=f"s{i}", raw_documents=2, raw_bytes=9, kept_documents=1, kept_bytes=3)
                for i in range(5_000)
            ],
            "overlap": Overlap(
                reasons=[f"r{i}" for i in range(300)], documents=[[i + j for j in range(300)] for i in range(300)]
            ),
            "curves": [*sample.curves] * 50,
            "languages": [LanguageRow(name=f"l{i}", documents=1, bytes=9, kept=1, kept_bytes=3) for i in range(5_000)],
            "spans": [SpanKind(kind=f"k{i}", documents=1, spans=1, characters=1) for i in range(5_000)],
            "mixture": Mixture(
                by="source",
                unit="bytes",
                groups=[
                    MixtureGroup(name=f"g{i}", documents=1, size=1, wanted=1, drawn_documents=1, drawn=1, epochs=1)
                    for i in range(5_000)
                ],
            ),
            "duplicates": sample.duplicates.model_copy(update={"largest": [family] * 200}),
            "pretraining": sample.pretraining.model_copy(
                update={
                    "train": [Point(step=i, value=1 + 1 / (i + 1)) for i in range(200_000)],
                    "samples": [Sample(step=i, prompt=str(i % 7), text=long) for i in range(500)],
                }
            ),
            "finetuning": sample.finetuning.model_copy(update={"errors": [error] * 500}),
            "stages": [StageRow(name=f"stage {i}", seconds=i) for i in range(3_000)],
            "lineage": [LineageNode(key=f"k{i}", stage="s", inputs=[f"k{i - 1}"]) for i in range(3_000)],
        }
    )
    html = render_report(data)
    assert len(html.encode()) < 3_000_000
    assert f"{5_000 - LIMITS.sources} more" in html
    assert f"{5_000 - LIMITS.languages} more" in html
    assert f"{5_000 - LIMITS.groups} more" in html


def test_chinese_is_shown_and_measured_as_wide() -> None:
    drop = DropReason(name="规则", documents=1, examples=[DropExample(id="文档#1", source="维基", excerpt=CHINESE)])
    data = ReportData(headline=Headline(run="中文语料"), drops=[drop])
    html = render_report(data)
    assert CHINESE in html
    assert "<title>中文语料" in html
    assert len(fit(CHINESE, 120)) < len(fit("a" * 100, 120))


def test_many_sources_are_summed_not_lost() -> None:
    rows = [
        SourceRow(name=f"s{i:03d}", raw_documents=1, raw_bytes=1000 + i, kept_documents=1, kept_bytes=500)
        for i in range(200)
    ]
    html = render_report(ReportData(headline=Headline(run="many"), sources=rows))
    assert "s199" in html
    assert "s169" not in html
    assert "170 more" in html
    assert size(sum(r.raw_bytes for r in rows[:170])) in html


def test_one_source_needs_no_sum() -> None:
    row = SourceRow(name="only", raw_documents=2, raw_bytes=10, kept_documents=1, kept_bytes=5)
    html = render_report(ReportData(headline=Headline(run="one"), sources=[row]))
    assert "1 source by size" in html
    assert "more</td>" not in html


def test_the_page_on_reading_it_knows_every_section() -> None:
    """docs/howto/read-the-report.md: in the order of the page, each by its title, and nothing that is not there."""
    text = (Path(__file__).parents[2] / "docs/howto/read-the-report.md").read_text(encoding="utf-8")
    told = [
        title for line in re.findall(r"^- (.*)$", text, re.MULTILINE) for title in re.findall(r"\*\*(.+?)\*\*", line)
    ]
    assert told == list(TITLES.values())
    shown = Page(render_report(sample_report())).text.lower()
    assert [title for title in told if title.lower() not in shown] == []
    assert "wrong, and sure of it" in shown
