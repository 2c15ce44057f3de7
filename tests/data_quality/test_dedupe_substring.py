"""Exact substrings against a suffix array and against brute force; nothing long comes twice in what is left."""

import random
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydivsufsort import divsufsort, kasai

from data_quality.config import KeepConfig, SubstringConfig, WindowConfig
from data_quality.dedupe import repeats, windows
from data_quality.dedupe.matches import Match, cover
from data_quality.dedupe.substring import substring_spans
from data_quality.dedupe.windows import tokenize, window_hashes, window_shard
from data_quality.spans import Edit, apply_edits, merge_edits
from tests.data_quality.dedupe_shards import duplicates, rows, shards, texts, verdicts

HAN = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
PATTERN = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+|([^\w\s]|_)\1*")


def config(tokens, **changes):
    first = KeepConfig(policy="first_id")
    return SubstringConfig(
        **{"window": WindowConfig(tokens=tokens), "min_left_characters": 0, "keep": first, **changes}
    )


def run(directory, documents, tried, count=1, failing=(), dropped=None, threads=1):
    """(spans, leftovers, counts) over `count` shards."""
    directory.mkdir(exist_ok=True)
    paths = shards(directory / "documents", documents, count)
    tables = [directory / f"windows-{path.name}" for path in paths]
    for path, table in zip(paths, tables, strict=True):
        window_shard(path, table, tried.window)
    out, left = directory / "spans.parquet", directory / "left.parquet"
    more = {}
    if failing:
        more["verdict_paths"] = [verdicts(directory / "verdicts.parquet", failing)]
    if dropped:
        more["duplicate_paths"] = [duplicates(directory / "duplicates.parquet", dropped)]
    counts = substring_spans(paths, tables, out, left, tried, temp_directory=directory, threads=threads, **more)
    return rows(out), rows(left), counts


def edits_of(spans, id):
    return merge_edits(Edit(span["start"], span["end"]) for span in spans if span["id"] == id)


def left_of(documents, spans):
    return {d["id"]: apply_edits(d["text"], edits_of(spans, d["id"])) for d in documents}


def pieces(text, edits):
    """What is left of a text, cut where something went."""
    at = 0
    for start, end, _ in edits:
        yield text[at:start]
        at = end
    yield text[at:]


def words_of(text):
    return [match.group() for match in PATTERN.finditer(text)]


def covered_by_suffix_array(documents, size, within):
    """{id: numbers of the tokens to remove}, by a suffix array over all documents in order of their ids."""
    ordered = sorted(documents, key=lambda document: document["id"])
    ids: dict[str, int] = {}
    data, owners = [], []
    for document in ordered:
        tokens = [ids.setdefault(word, len(ids) + 1) for word in document["text"].split()]
        data += [*tokens, 0]
        owners += [(document["id"], place) for place in range(len(tokens) + 1)]
    assert len(ids) < 255
    values = np.array(data, dtype=np.uint8)
    suffixes = divsufsort(values)
    common = kasai(values, suffixes)  # common[i]: of suffixes i and i + 1
    gone = {document["id"]: set() for document in documents}
    group = [int(suffixes[0])]
    for number in range(1, len(suffixes) + 1):
        if number < len(suffixes) and common[number - 1] >= size:
            group.append(int(suffixes[number]))
            continue
        first = min(group)
        if 0 not in data[first : first + size] and first + size <= len(data):
            for at in group:
                id, place = owners[at]
                if at != first and (within or id != owners[first][0]):
                    gone[id] |= set(range(place, place + size))
        group = [int(suffixes[number])] if number < len(suffixes) else []
    return gone


def generated(rng, documents=12, words=8, length=60):
    """Documents of few words, so that runs come again by chance, within documents too."""
    return [
        {"id": f"d{n:02d}", "text": " ".join(f"w{rng.randrange(words)}" for _ in range(rng.randrange(length)))}
        for n in range(documents)
    ]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**9), st.integers(2, 6), st.booleans())
def test_the_same_tokens_go_as_by_one_suffix_array_over_the_corpus(tmp_path_factory, seed, size, within):
    documents = generated(random.Random(seed))
    spans, _, counts = run(tmp_path_factory.mktemp("s"), documents, config(size, within_document=within))
    assert counts["unequal"] == 0
    expected = covered_by_suffix_array(documents, size, within)
    for document in documents:
        starts, _, _ = tokenize(document["text"])
        edits = edits_of(spans, document["id"])
        gone = {n for n, at in enumerate(starts) if any(start <= at < end for start, end, _ in edits)}
        assert gone == expected[document["id"]]


def test_spans_that_begin_and_end_alike_are_in_the_order_of_what_they_equal(tmp_path):
    documents = []
    for n in range(50):
        r, s, t, u, v = (f"{letter}{n}" for letter in "rstuv")
        documents += [
            {"id": f"a{n:02d}", "text": f"one {r} {s} {t} {u} {v}. two"},
            {"id": f"b{n:02d}", "text": f"three.{r} {s} {t} {u} {v} four"},
            # ". r s t u v" is b's, "r s t u v ." is a's; cut between words, both are "s t u"
            {"id": f"c{n:02d}", "text": f"five six.{r} {s} {t} {u} {v}.seven eight"},
        ]
    spans, _, _ = run(tmp_path, documents, config(6), threads=2)
    assert [(span["id"], span["other"]) for span in spans] == [
        (f"c{n:02d}", f"{other}{n:02d}") for n in range(50) for other in "ab"
    ]
    assert len({(span["id"], span["start"], span["end"]) for span in spans}) == 50


def mixed(rng):
    """Copied runs of English, code, addresses and Chinese between own text."""
    shared = [
        " ".join(rng.choice(["the", "cat", "sat", "on", "a", "mat.", "x=f(1);", "me@ex.org"]) for _ in range(30)),
        "".join(rng.choice(HAN + "，。") for _ in range(40)),
        "-----\n\n" + " ".join(f"{rng.randrange(99)}:{rng.randrange(60)}" for _ in range(15)),
    ]
    documents = []
    for n in range(8):
        parts = []
        for _ in range(rng.randrange(1, 5)):
            source = rng.choice(shared)
            at = rng.randrange(len(source))
            parts.append(source[at : at + rng.randrange(20, 120)])
            parts.append("".join(rng.choice("abcdefgh \n.") for _ in range(rng.randrange(12))))
        documents.append({"id": f"d{n}", "text": "".join(parts)})
    return documents


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([5, 9]), st.booleans())
def test_what_is_left_holds_no_long_run_twice_and_each_span_is_true(tmp_path_factory, seed, size, within):
    documents = mixed(random.Random(seed))
    text = {document["id"]: document["text"] for document in documents}
    spans, _, _ = run(tmp_path_factory.mktemp("s"), documents, config(size, within_document=within))
    seen: dict[tuple[str, ...], str] = {}
    for document in documents:
        for piece in pieces(document["text"], edits_of(spans, document["id"])):
            tokens = words_of(piece)
            for at in range(len(tokens) - size + 1):
                key = tuple(tokens[at : at + size])
                assert key not in seen if within else seen.get(key, document["id"]) == document["id"]
                seen[key] = document["id"]
    for span in spans:
        assert (span["kind"], span["replacement"]) == ("substring", "")
        gone = "".join(text[span["id"]][span["start"] : span["end"]].split())
        beside = "".join(text[span["other"]][span["other_start"] :].split())
        assert gone
        assert beside.startswith(gone)


def test_a_run_of_fifty_tokens_goes_and_one_of_forty_nine_stays(tmp_path):
    run_of = [f"word{n}" for n in range(50)]
    documents = texts("Alpha " + " ".join(run_of) + " omega", "Beta " + " ".join(run_of) + " psi")
    spans, _, counts = run(tmp_path / "50", documents, config(50))
    assert left_of(documents, spans) == {"a": documents[0]["text"], "b": "Beta psi"}
    assert counts | {"removed": 0} == {
        "documents": 2, "characters": sum(len(d["text"]) for d in documents), "windows": 6, "groups": 1, "hits": 1,
        "matches": 1, "unequal": 0, "spans": 1, "edited": 1, "removed": 0, "too_little_left": 0,
        "solved": 2,
    }  # fmt: skip
    del run_of[20]
    documents = texts("Alpha " + " ".join(run_of) + " omega", "Beta " + " ".join(run_of) + " psi")
    assert run(tmp_path / "49", documents, config(50))[0] == []


def test_white_space_is_nothing_and_a_letter_is_much(tmp_path):
    same = "one two three\nfour   five six seven"
    documents = texts(f"x {' '.join(same.split())} y", f"z\n\n{same}\n\nw", f"v {same.replace('one', 'One')} u")
    spans, _, _ = run(tmp_path, documents, config(7))
    assert left_of(documents, spans) == {
        "a": "x one two three four five six seven y",
        "b": "z\n\nw",
        "c": documents[2]["text"],
    }


def test_a_larger_break_behind_stays(tmp_path):
    documents = texts("one two three four five", "Said: one two three four five\n\nNext paragraph.")
    spans, _, _ = run(tmp_path, documents, config(5))
    assert left_of(documents, spans)["b"] == "Said: \n\nNext paragraph."


def test_a_chinese_sentence_is_cut_between_its_characters(tmp_path):
    documents = texts(f"前言{HAN[:12]}后记", f"另一篇{HAN[:12]}文章")
    spans, _, _ = run(tmp_path, documents, config(12))
    assert left_of(documents, spans)["b"] == "另一篇文章"


def test_addresses_and_numbers_are_left_whole(tmp_path):
    same = "of the second meeting at 10:46:"
    documents = texts(f"minutes {same}12 in Rome", f"notes {same}57 in Bern")
    spans, _, _ = run(tmp_path, documents, config(9))
    assert left_of(documents, spans)["b"] == "notes 10:46:57 in Bern"


def test_a_chunk_too_long_to_be_a_word_is_cut_inside(tmp_path):
    chunk = "/".join("abcdefghijklmnopqrst")
    documents = texts(f"see {chunk}", f"see1{chunk}2")
    spans, _, _ = run(tmp_path, documents, config(10))
    assert len(left_of(documents, spans)["b"]) < 10


def test_the_keep_policy_says_who_keeps_it(tmp_path):
    same = " ".join(f"word{n}" for n in range(10))
    documents = texts(f"short {same}", f"the longer one of the two {same}")
    spans, _, _ = run(tmp_path / "1", documents, config(10, keep=KeepConfig(policy="longest")))
    assert {(span["id"], span["other"]) for span in spans} == {("a", "b")}
    spans, _, _ = run(tmp_path / "2", documents, config(10, keep=KeepConfig(policy="shortest")))
    assert {(span["id"], span["other"]) for span in spans} == {("b", "a")}


def test_documents_that_go_anyway_take_no_part(tmp_path):
    same = " ".join(f"word{n}" for n in range(10))
    documents = texts(*(f"{name} {same}" for name in ("first", "second", "third")))
    assert {s["other"] for s in run(tmp_path / "1", documents, config(10))[0]} == {"a"}
    spans, _, counts = run(tmp_path / "2", documents, config(10), failing=["a"])
    assert ([(s["id"], s["other"]) for s in spans], counts["documents"]) == ([("c", "b")], 2)
    assert run(tmp_path / "3", documents, config(10), failing=["a"], dropped={"b": "c"})[0] == []


def test_repetition_inside_a_document_is_an_option(tmp_path):
    verse = " ".join(f"word{n}" for n in range(10))
    documents = texts(f"{verse} between {verse} end")
    assert run(tmp_path / "1", documents, config(10))[0] == []
    spans, _, _ = run(tmp_path / "2", documents, config(10, within_document=True))
    assert left_of(documents, spans)["a"] == f"{verse} between end"


def test_an_endless_repetition_is_few_spans(tmp_path):
    documents = texts("la " * 1000)
    spans, _, _ = run(tmp_path, documents, config(10, within_document=True))
    assert len(left_of(documents, spans)["a"].split()) == 1
    assert len(spans) <= 101


def test_shards_order_and_groups_change_nothing(tmp_path):
    documents = generated(random.Random(5), documents=40)
    tried = config(5, min_left_characters=40, keep=KeepConfig())
    run(tmp_path / "1", documents, tried)
    expected = [(tmp_path / "1" / name).read_bytes() for name in ("spans.parquet", "left.parquet")]
    small = tried.model_copy(update={"group_bytes": 1 << 10})
    shuffled = random.Random(6).sample(documents, len(documents))
    for number, (tried_documents, count) in enumerate([(shuffled, 1), (documents, 7)]):
        folder = tmp_path / f"again{number}"
        _, _, counts = run(folder, tried_documents, small, count=count)
        assert counts["groups"] > 10
        assert [(folder / name).read_bytes() for name in ("spans.parquet", "left.parquet")] == expected


def test_too_little_left(tmp_path):
    same = " ".join(f"word{n}" for n in range(10))
    documents = texts(f"alpha {same}", f"beta {same}", f"gamma {same}")
    _, left, counts = run(tmp_path, documents, config(10, min_left_characters=6))
    assert left == [
        {"id": "b", "reason": "substring.too_little_left", "characters": len(documents[1]["text"]), "left": 5}
    ]
    assert counts["too_little_left"] == 1


def test_an_equal_hash_of_other_text_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "window_hashes", lambda text, tokens: np.full(1, 7, dtype=np.uint64))
    spans, _, counts = run(tmp_path, texts("one two three", "four five six"), config(3))
    assert (spans, counts["unequal"]) == ([], 1)


matches = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=12).map(
    lambda found: [Match(0, start, start + length, 1, start) for start, length in sorted(found)]
)


@given(matches)
def test_the_cover_is_complete_and_lean(found):
    chosen = list(cover(found))
    assert {n for m in chosen for n in range(m.start, m.end)} == {n for m in found for n in range(m.start, m.end)}
    for before, after in zip(chosen, chosen[2:], strict=False):
        assert before.end < after.start or before.end == after.start  # no third one over the same token


TOKENS = [
    ("Don't stop: 3.14 naïve cafe\u0301s", ["Don", "'", "t", "stop", ":", "3", ".", "14", "naïve", "cafe\u0301s"]),
    ("=====\n----x__y", ["=====", "----", "x", "__", "y"]),
    ("我喜欢NLP。ありがとう", ["我", "喜", "欢", "NLP", "。", "あ", "り", "が", "と", "う"]),
    ("안녕하세요 세계", ["안녕하세요", "세계"]),
    ("ที่นี่", ["ที่", "นี่"]),
    ("ปี๒๕๖๖", ["ปี", "๒๕๖๖"]),
    ("သို့သွားမည်။", ["သို့", "သွား", "မ", "ည်", "။"]),
    ("នៅទីនេះ", ["នៅ", "ទី", "នេះ"]),
    ("ຍ່າງຫຼິ້ນ", ["ຍ່", "າ", "ງ", "ຫຼິ້", "ນ"]),
    (" \t\n", []),
]


@pytest.mark.parametrize(("text", "expected"), TOKENS)
def test_tokens(text, expected):
    starts, ends, _ = tokenize(text)
    assert [text[start:end] for start, end in zip(starts, ends, strict=True)] == expected


@given(st.text(alphabet="ab .\n中", max_size=40), st.integers(2, 5))
def test_windows_are_equal_if_and_only_if_their_tokens_are(text, size):
    starts, ends, _ = tokenize(text)
    tokens = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    runs = [tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)]
    hashes = window_hashes(text, size).tolist()
    assert len(hashes) == len(runs)
    assert len(set(hashes)) == len(set(runs)) == len(set(zip(hashes, runs, strict=True)))


@given(st.text())
def test_any_text_has_tokens_that_cover_all_but_its_white_space(text):
    starts, ends, _ = tokenize(text)
    assert "".join(text[start:end] for start, end in zip(starts, ends, strict=True)) == "".join(text.split())


def test_tables_of_other_documents_are_refused(tmp_path):
    paths = shards(tmp_path / "d", texts("one two three", "one two three"))
    table = tmp_path / "windows.parquet"
    window_shard(paths[0], table, WindowConfig(tokens=3))
    out = (tmp_path / "spans.parquet", tmp_path / "left.parquet")
    with pytest.raises(ValueError, match=r"holds windows of 3 tokens.*, the config says 4 tokens"):
        substring_spans(paths, [table], *out, config(4), temp_directory=tmp_path)
    with pytest.raises(ValueError, match="holds windows of nothing of the kind"):
        substring_spans(paths, paths, *out, config(3), temp_directory=tmp_path)
    with pytest.raises(ValueError, match="documents have 2 rows, the tables of windows 4: give one table for each"):
        substring_spans(paths, [table, table], *out, config(3), temp_directory=tmp_path)
    with pytest.raises(ValueError, match="4 documents have 2 ids, 'a' is one that comes twice"):
        substring_spans(paths * 2, [table] * 2, *out, config(3), temp_directory=tmp_path)
    other = shards(tmp_path / "e", [{"id": "x", "text": "one two three"}, {"id": "a", "text": "one two three"}])
    with pytest.raises(ValueError, match="row 2 has the windows of document 'b', which no shard of documents has"):
        substring_spans(other, [table], *out, config(3), temp_directory=tmp_path)


def test_windows_may_be_cut_into_other_shards_than_the_texts(tmp_path):
    documents = generated(random.Random(3), documents=30)
    expected, _, _ = run(tmp_path / "1", documents, config(5))
    texts_in, windows_in = shards(tmp_path / "texts", documents, 2), shards(tmp_path / "cut", documents[::-1], 5)
    for path in windows_in:
        window_shard(path, path.with_suffix(".windows"), WindowConfig(tokens=5))
    tables = [path.with_suffix(".windows") for path in windows_in]
    out = (tmp_path / "spans.parquet", tmp_path / "left.parquet")
    substring_spans(texts_in, tables, *out, config(5), temp_directory=tmp_path)
    assert rows(out[0]) == expected != []


def test_nothing_is_left_behind(tmp_path):
    run(tmp_path, texts("one two three", "one two three"), config(3))
    assert not [path for path in tmp_path.iterdir() if "dedupe-" in path.name or path.suffix == ".tmp"]
    assert repeats.BYTES_PER_WINDOW == 36
    assert pq.read_metadata(tmp_path / "spans.parquet").num_rows == 1
