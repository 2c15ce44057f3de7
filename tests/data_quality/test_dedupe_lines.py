"""Boilerplate lines against counting in plain Python; thresholds that fire and just do not; Chinese; invariance."""

import random
from collections import defaultdict
from math import ceil

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from data_quality.config import BoilerplateConfig, LineTableConfig
from data_quality.dedupe import line_counters
from data_quality.dedupe.evidence import create_leftovers, leftovers_among
from data_quality.dedupe.lines import boilerplate_spans, find_boilerplate, iter_lines, line_shard, long_enough
from data_quality.spans import Edit, apply_edits, merge_edits
from tests.data_quality.dedupe_shards import duplicates, rows, shards, texts

FOOTER = "To unsubscribe write to the list owner."
MENU = "首页 新闻 体育 财经 论坛 登录"


def run(directory, documents, config, count=1, dropped=None):
    """(text left by id, spans, leftovers, counts of the whole corpus)."""
    directory.mkdir(exist_ok=True)
    paths = shards(directory / "documents", documents, count)
    tables = [directory / path.name for path in paths]
    for path, table in zip(paths, tables, strict=True):
        line_shard(path, table, config.table)
    more = [duplicates(directory / "duplicates.parquet", dropped)] if dropped else []
    found = directory / "boilerplate.parquet"
    counts = find_boilerplate(tables, found, config, duplicate_paths=more, temp_directory=directory)
    spans, leftovers = [], []
    for table in tables:
        out, left = table.with_suffix(".spans"), table.with_suffix(".left")
        for name, value in boilerplate_spans([table], found, out, left, config).items():
            counts[f"spans.{name}"] = counts.get(f"spans.{name}", 0) + value
        spans += rows(out)
        leftovers += rows(left)
    spans.sort(key=lambda span: (span["id"], span["start"]))
    left = {document["id"]: document["text"] for document in documents}
    for id in left:
        edits = merge_edits(Edit(span["start"], span["end"]) for span in spans if span["id"] == id)
        left[id] = apply_edits(left[id], edits)
    return left, spans, sorted(leftovers, key=lambda row: row["id"]), counts


def config(**changes):
    table = LineTableConfig(**{k: changes.pop(k) for k in list(changes) if k in LineTableConfig.model_fields})
    return BoilerplateConfig(enabled=True, table=table, **{"min_share": None, "min_left_characters": 0, **changes})


def test_a_line_goes_from_the_number_on_and_not_just_below(tmp_path):
    documents = texts(*(f"Own text number {n} of many.\n{FOOTER}\n" for n in range(5)))
    left, spans, _, counts = run(tmp_path / "fires", documents, config(min_documents=5))
    assert left == {d["id"]: f"Own text number {n} of many.\n" for n, d in enumerate(documents)}
    assert [span["kind"] for span in spans] == ["line"] * 5
    assert [(span["other"], span["other_start"]) for span in spans] == [(None, None)] + [("a", 27)] * 4
    assert counts["boilerplate"] == 1
    assert counts["spans.removed"] == 5 * (len(FOOTER) + 1)
    left, spans, _, counts = run(tmp_path / "not", documents, config(min_documents=6))
    assert (spans, counts["boilerplate"]) == ([], 0)


def test_a_share_of_the_source_fires_and_not_just_below(tmp_path):
    documents = texts(*([FOOTER] * 3), *(f"Something else altogether, number {n}" for n in range(7)))
    for share, least, expected in ((0.3, 3, 1), (0.31, 3, 0), (0.3, 4, 0)):
        tried = config(min_share=share, min_share_documents=least)
        assert run(tmp_path / f"{share}-{least}", documents, tried)[3]["boilerplate"] == expected


def test_sources_are_counted_apart_unless_the_scope_is_the_corpus(tmp_path):
    documents = [*texts(FOOTER, FOOTER, source="one"), {"id": "z", "text": FOOTER, "source": "two"}]
    assert run(tmp_path / "1", documents, config(min_documents=3))[3]["boilerplate"] == 0
    assert run(tmp_path / "2", documents, config(min_documents=3, scope="corpus"))[3]["boilerplate"] == 1


def test_a_document_counts_once_however_often_it_repeats_a_line(tmp_path):
    documents = texts(f"{FOOTER}\n" * 10, FOOTER)
    assert run(tmp_path / "1", documents, config(min_documents=3))[3]["boilerplate"] == 0
    left, _, _, _ = run(tmp_path / "2", documents, config(min_documents=2))
    assert left == {"a": "", "b": ""}


def test_the_first_occurrence_may_stay(tmp_path):
    documents = texts(f"One.\n{FOOTER}\nTwo.\n{FOOTER}", FOOTER)
    left, spans, _, _ = run(tmp_path, documents, config(min_documents=2, keep_first=True))
    assert left == {"a": f"One.\n{FOOTER}\nTwo.\n", "b": ""}
    assert {(span["other"], span["other_start"]) for span in spans} == {("a", 5)}


def test_dropped_copies_do_not_make_their_lines_boilerplate(tmp_path):
    documents = texts(*["A whole page of text.\nIts second line is this."] * 4)
    kept = {"b": "a", "c": "a", "d": "a"}
    assert run(tmp_path / "1", documents, config(min_documents=3))[3]["boilerplate"] == 2
    _, spans, _, counts = run(tmp_path / "2", documents, config(min_documents=3), dropped=kept)
    assert (counts["documents"], counts["boilerplate"], spans) == (1, 0, [])


@pytest.mark.parametrize(
    ("option", "left", "right"),
    [
        ("ignore_case", "Read our Privacy Policy here", "READ OUR PRIVACY POLICY HERE"),
        ("ignore_digits", "You are on page 1 of this thread", "You are on page 7 of this thread"),
        ("ignore_white_space", "Copyright   the authors 2020", "Copyright the\tauthors 2020"),
    ],
)
def test_what_is_ignored_is_ignored_and_nothing_else(tmp_path, option, left, right):
    off = {"ignore_case": False, "ignore_digits": False, "ignore_white_space": False}
    documents = texts(left, f"  {right} ")
    for on in (True, False):
        tried = config(min_documents=2, **{**off, option: on})
        assert run(tmp_path / str(on), documents, tried)[3]["boilerplate"] == on


def test_chinese_lines_go_like_any_other(tmp_path):
    documents = texts(*(f"{MENU}\n第{n}篇文章的正文。\n" for n in "一二三"))
    left, _, _, _ = run(tmp_path, documents, config(min_documents=3))
    assert left["b"] == "第二篇文章的正文。\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("abcdefghijklmnop", True),
        ("abcdefghijklmno", False),
        ("=" * 40, False),
        ("== Section 1234567890 ==", False),
        ("版权所有违者必究", True),
        ("版权所有违者必", False),
        ("로그인하고계속하세", True),
    ],
)
def test_only_lines_with_enough_letters_count(line, expected):
    assert long_enough(line, LineTableConfig()) == expected


def test_paragraphs_end_at_blank_lines(tmp_path):
    notice = "This notice has two lines\nand is the same everywhere."
    documents = texts(f"First text.\n\n{notice}\n\n\nMore.", f"{notice}\n \nSecond text.")
    left, spans, _, _ = run(tmp_path, documents, config(min_documents=2, unit="paragraph"))
    assert left == {"a": "First text.\n\nMore.", "b": "Second text."}
    assert {span["kind"] for span in spans} == {"paragraph"}


@given(st.text(alphabet="ab \n\t中", max_size=40), st.sampled_from(["line", "paragraph"]))
def test_lines_cover_all_that_is_not_blank_and_do_not_overlap(text, unit):
    at = 0
    for start, end, body in iter_lines(text, unit):
        assert at <= start < end <= len(text)
        assert not text[at:start].strip()
        assert text[start:end].strip() == body != ""
        at = end
    assert not text[at:].strip()


def test_a_document_with_too_little_left_is_dropped_and_one_with_enough_is_not(tmp_path):
    documents = texts(f"{FOOTER}\n12345678", f"{FOOTER}\n123456789", "tiny")
    _, _, leftovers, counts = run(tmp_path / "1", documents, config(min_documents=2, min_left_characters=9))
    expected = {"id": "a", "reason": "lines.too_little_left", "characters": len(FOOTER) + 9, "left": 8}
    assert leftovers == [expected]
    assert counts["spans.too_little_left"] == 1
    share = 8.5 / (len(FOOTER) + 9)
    _, _, leftovers, _ = run(tmp_path / "2", documents, config(min_documents=2, min_left_share=share))
    assert leftovers == [expected]


@pytest.mark.parametrize(("share", "dropped"), [(0.55, []), (0.5500001, ["a", "b"])])
def test_exactly_the_least_share_is_enough(tmp_path, share, dropped):
    """0.55 * 100 is above 55 in floating point."""
    common = "x" * 44  # which leaves with its line end
    documents = texts(f"{common}\n{'1' * 55}", f"{common}\n{'2' * 55}")
    _, _, leftovers, _ = run(tmp_path, documents, config(min_documents=2, min_left_share=share))
    assert [row["id"] for row in leftovers] == dropped
    edited = pa.table({"id": ["a", "b"], "characters": [100, 100], "gone": [45, 45]})
    kept = {"min_characters": 0, "min_share": share}
    assert leftovers_among(edited, "few", **kept)["id"].to_pylist() == dropped
    with duckdb.connect() as sql:
        sql.register("edited", edited)
        sql.execute('CREATE TABLE spans AS SELECT id, 0 AS "start", gone AS "end" FROM edited')
        create_leftovers(sql, "few", documents="SELECT id, characters AS chars FROM edited", **kept)
        assert [id for (id,) in sql.execute("SELECT id FROM leftovers ORDER BY id").fetchall()] == dropped


def test_a_shard_without_documents_has_no_boilerplate(tmp_path):
    left, spans, leftovers, counts = run(tmp_path, [], config(min_documents=2))
    assert (left, spans, leftovers, counts["spans.documents"]) == ({}, [], [], 0)


def by_hand(documents, tried):
    """What is left of each document, counted with sets of strings."""
    holders = defaultdict(set)
    sizes = defaultdict(int)
    for document in documents:
        sizes[document["source"]] += 1
        for line in document["text"].split("\n"):
            if sum(c.isalpha() for c in line) >= tried.table.min_letters:
                holders[document["source"], " ".join(line.lower().split())].add(document["id"])
    gone = set()
    for (source, line), ids in holders.items():
        share = max(tried.min_share_documents, ceil(tried.min_share * sizes[source]))
        if len(ids) >= min(tried.min_documents, share):
            gone.add((source, line))
    left = {}
    for document in documents:
        kept = [
            line
            for line in document["text"].split("\n")
            if (document["source"], " ".join(line.lower().split())) not in gone
        ]
        left[document["id"]] = [line for line in kept if line.strip()]
    return left


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6))
def test_as_counted_by_hand_whatever_shards_and_ranges(tmp_path_factory, seed):
    rng = random.Random(seed)
    directory = tmp_path_factory.mktemp("lines")
    common = [f"Common line {'abcdefgh'[n] * (n + 1)}" for n in range(8)]
    documents = [
        {
            "id": f"d{n}",
            "source": rng.choice("st"),
            "text": "\n".join(rng.choice([*common, "x", "", " COMMON   line a"]) for _ in range(rng.randrange(6))),
        }
        for n in range(30)
    ]
    tried = config(min_letters=6, min_documents=8, min_share=0.3, min_share_documents=2)
    left, spans, _, _ = run(directory / "1", documents, tried)
    assert {id: [line for line in text.split("\n") if line.strip()] for id, text in left.items()} == by_hand(
        documents, tried
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_counters, "_MOST_SLOTS", 2)  # then nothing is ruled out beforehand
        assert run(directory / "2", rng.sample(documents, 30), tried, count=4)[1] == spans


def test_the_presets_remove_every_second_copy(tmp_path):
    documents = texts("Call 555 1234 now\nBody one", "CALL 555 9876 NOW\nBody two", "Call 555 1234 now\nBody one")
    for name, expected in (("cc_net", ["a"]), ("dolma", ["a", "b"])):
        left, _, _, _ = run(tmp_path / name, documents, BoilerplateConfig.model_validate({"preset": name}))
        assert [id for id, text in left.items() if "555" in text] == expected


def test_a_share_that_could_never_decide_is_refused():
    with pytest.raises(ValidationError, match="min_share_documents is 10, more than min_documents 5"):
        BoilerplateConfig(min_documents=5)
