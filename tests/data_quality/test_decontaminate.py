"""Decontamination: what brute force finds is found, whatever its case and punctuation, and shown with its evidence."""

import gzip
import json
import random
import unicodedata
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.benchmarks import Item, list_files, read_items
from data_quality.config import BenchmarkConfig, DecontaminateConfig
from data_quality.decontaminate import (
    DOCUMENTS_SCHEMA,
    Index,
    build_index,
    contamination_shard,
    normal_words,
    row_hashes,
)
from data_quality.documents import Document, ShardWriter
from data_quality.sources import parquet_pages
from data_quality.spans import SPANS_SCHEMA
from data_quality.words import split_words
from tests.data_quality import parquet_by_hand as hand
from tests.data_quality.test_sources_parquet_limits import zeros
from tests.peak import forget_peak, peak

ENGLISH = (
    "The ferry left the old harbour before dawn, carrying forty crates of salted fish and one very "
    "seasick inspector of weights."
)
CHINESE = "渡轮在黎明之前离开了旧港口，载着四十箱咸鱼和一位晕船的检查员。"
THAI = "เรือข้ามฟากออกจากท่าเรือเก่าก่อนรุ่งสางพร้อมปลาเค็มสี่สิบลังและผู้ตรวจการที่เมาคลื่น"
BURMESE = "ကူးတို့သင်္ဘောသည်မိုးမလင်းမီဆိပ်ကမ်းဟောင်းမှငါးခြောက်သေတ္တာလေးဆယ်တင်၍ဆိပ်ကမ်းသစ်သို့ထွက်ခွာသွားသည်။"
KHMER = "កប៉ាល់ចម្លងបានចាកចេញពីកំពង់ផែចាស់មុនពេលថ្ងៃរះដោយដឹកត្រីប្រៃសែសិបកេស។"
LAO = "ເຮືອຂ້າມຟາກອອກຈາກທ່າເຮືອເກົ່າກ່ອນຮຸ່ງສາງພ້ອມປາເຄັມສີ່ສິບລັງແລະຜູ້ກວດການໜຶ່ງຄົນ"
SHORT = "Which river flows through the capital of Austria?"
TINY = "Yes, of course."
PROSE = "Gardeners who plant in autumn often find that roots grow better in cool and wet soil than they do in spring. "


def index_of(items: list[Item], folder: Path, **changes: int) -> Index:
    folder.mkdir(parents=True, exist_ok=True)
    build_index(items, folder, DecontaminateConfig(**changes))
    return Index(folder)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    items = [Item("quiz", str(n), text) for n, text in enumerate([ENGLISH, CHINESE, SHORT, TINY])]
    return index_of(items, tmp_path / "index")


def shared(index: Index, text: str) -> list[tuple[str, str]]:
    """(item, its words in the document) of every match."""
    words = normal_words(text)
    return [(index.ids[m.item], " ".join(words[m.start : m.end])) for m in index.matches(text)]


def test_words_are_those_of_the_library_without_case_and_punctuation() -> None:
    text = "“Don't” re-enter  the ＡＢＣ room: 2008!"
    expected = []
    for word in split_words(text):
        folded = "".join(c for c in unicodedata.normalize("NFKC", word).lower() if c.isalnum())
        expected += [folded] if folded else []
    assert normal_words(text) == expected
    assert normal_words("北京2008年!") == ["北", "京", "2008", "年"]  # whatever stands around them
    assert normal_words("한국어를 배운다.") == ["한국어를", "배운다"]


@pytest.mark.parametrize(
    ("document", "item"),
    [
        (f"{PROSE}{ENGLISH} {PROSE}", "0"),
        (f"{PROSE}{ENGLISH.upper().replace(',', ' --').replace(' ', chr(10), 3)}", "0"),
        (f"前言说明。{CHINESE}以及其他。", "1"),
        (f"前言说明。{CHINESE.replace('，', '、').replace('黎明', '黎 明')}", "1"),
        (f"{PROSE} WHICH RIVER flows, through the capital of Austria {PROSE}", "2"),
    ],
)
def test_a_planted_item_is_found(index: Index, document: str, item: str) -> None:
    [(found, words)] = shared(index, document)
    assert found == item
    assert words == " ".join(normal_words([ENGLISH, CHINESE, SHORT][int(item)]))


@pytest.mark.parametrize(
    ("item", "before", "behind"),
    [
        (THAI, "ข่าววันนี้", "จบข่าว"),
        (BURMESE, "သတင်း", "ပြီးပါပြီ"),
        (KHMER, "ព័ត៌មានថ្ងៃនេះ", "ចប់"),
        (LAO, "ຂ່າວມື້ນີ້", "ຈົບຂ່າວ"),
    ],
)
def test_an_item_without_spaces_is_found_inside_a_sentence(tmp_path: Path, item: str, before: str, behind: str) -> None:
    index = index_of([Item("quiz", "0", item)], tmp_path)
    [(_, words)] = shared(index, f"{PROSE}{before}{item}{behind} {PROSE}")
    assert words.split() == normal_words(item)
    row = 3 * 13
    assert len(words.split()) > row
    letters = [place for place, character in enumerate(item) if character.isalnum()]
    assert len(shared(index, before + item[: letters[row]] + behind)) == 1
    assert shared(index, before + item[: letters[row - 1]] + "x" + behind) == []


def test_a_thai_item_has_to_have_three_letters_for_a_word(tmp_path: Path) -> None:
    letters = [place for place, character in enumerate(THAI) if character.isalnum()]
    short, long = THAI[: letters[23]], THAI[: letters[24]]
    items = [Item("quiz", "0", short), Item("quiz", "1", long)]
    assert build_index(items, tmp_path, DecontaminateConfig()) == {"items": 2, "too_short": 1, "grams": 1}
    assert shared(Index(tmp_path), f"ก{long}ก") == [("1", " ".join(normal_words(long)))]


def test_one_word_changed_in_the_middle_leaves_the_rows_around_it(tmp_path: Path) -> None:
    text = " ".join(f"word{n}" for n in range(40))
    index = index_of([Item("quiz", "0", text)], tmp_path)
    found = [words.split() for _, words in shared(index, text.replace("word20", "other"))]
    assert [(row[0], row[-1]) for row in found] == [("word0", "word19"), ("word21", "word39")]


def test_what_just_is_not_shared(index: Index) -> None:
    words = ENGLISH.split()
    assert shared(index, " ".join(words[:12])) == []
    assert shared(index, " ".join(words[:13])) == [("0", " ".join(normal_words(" ".join(words[:13]))))]
    assert shared(index, CHINESE[:12]) == []
    assert shared(index, "Which river flows through the capital of Hungary?") == []
    assert shared(index, TINY * 5) == []
    assert shared(index, "") == []


ALPHABET = st.lists(st.sampled_from(["red", "Green", "blue,", "天", "地"]), max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("AB"), ALPHABET), min_size=1, max_size=4), ALPHABET)
def test_brute_force_finds_the_same(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[str, list[str]]], document: list[str]
) -> None:
    """Rows of four words or three characters, compared word by word without a hash."""
    made = [Item(name, str(number), " ".join(words)) for number, (name, words) in enumerate(items)]
    text = " ".join(document)
    words = normal_words(text)
    covered: dict[str, set[int]] = {}
    for item in made:
        theirs = normal_words(item.text)
        han = sum(word in "天地" for word in theirs)
        size = min(len(theirs), 3 if 2 * han > len(theirs) else 4)
        if len(theirs) < 2:
            continue
        rows = [theirs[at : at + size] for at in range(len(theirs) - size + 1)]
        for at in range(len(words) - size + 1):
            if words[at : at + size] in rows:
                covered.setdefault(item.benchmark, set()).update(range(at, at + size))
    if any(
        all(len(normal_words(i.text)) < 2 for i in made if i.benchmark == name) for name in {i.benchmark for i in made}
    ):
        return
    index = index_of(made, tmp_path_factory.mktemp("index"), words=4, characters=3, minimum=2)
    found: dict[str, set[int]] = {}
    for match in index.matches(text):
        places = set(range(match.start, match.end))
        assert not places & found.setdefault(index.benchmarks[match.item], set())
        found[index.benchmarks[match.item]] |= places
    assert found == covered


def test_an_equal_hash_is_not_enough(tmp_path: Path, index: Index) -> None:
    """An index whose item holds other words under the same hashes, as a collision would have it, finds nothing."""
    folder = tmp_path / "index"
    items = pq.read_table(folder / "items.parquet")
    wrong = pa.array([["other"] * len(words) for words in items["words"].to_pylist()], items.schema.field("words").type)
    pq.write_table(items.set_column(2, "words", wrong), folder / "items.parquet")
    assert shared(index, ENGLISH) != []
    assert shared(Index(folder), ENGLISH) == []


def test_row_hashes_see_every_word_and_its_place() -> None:
    words = np.array([1, 2, 3, 1, 2, 4, 2, 1, 3], dtype=np.uint64)
    rows = row_hashes(words, 2).tolist()
    assert len(rows) == 8
    assert rows[0] == rows[3]
    assert len(set(rows)) == 7
    assert row_hashes(words, 10).shape == (0,)


def test_a_shard_becomes_spans_and_documents(tmp_path: Path, index: Index) -> None:
    texts = {"a": PROSE, "b": f"{PROSE}({ENGLISH}) {CHINESE}", "c": SHORT}
    with ShardWriter(tmp_path / "in") as writer:
        for id, text in texts.items():
            writer.add(Document(id=id, text=text, source="s"))
    spans, documents = tmp_path / "spans.parquet", tmp_path / "documents.parquet"
    counts = contamination_shard(tmp_path / "in" / "00000.parquet", spans, documents, index)
    assert counts == {"documents": 3, "contaminated": 2, "spans": 3}
    table = pq.read_table(spans)
    assert table.schema.equals(SPANS_SCHEMA)
    assert [(row["id"], row["other"], texts[row["id"]][row["start"] : row["end"]]) for row in table.to_pylist()] == [
        ("b", "quiz#0", ENGLISH.rstrip(".")),
        ("b", "quiz#1", CHINESE.rstrip("。")),
        ("c", "quiz#2", SHORT.rstrip("?")),
    ]
    found = pq.read_table(documents)
    assert found.schema.equals(DOCUMENTS_SCHEMA)
    b, c = found.to_pylist()
    assert b["reasons"] == c["reasons"] == ["contaminated.quiz"]
    assert b["covered"] == len(normal_words(ENGLISH + CHINESE))
    assert b["share"] == b["covered"] / len(normal_words(texts["b"]))
    assert c["share"] == 1.0


def test_order_of_items_decides_nothing_but_the_item_named(tmp_path: Path) -> None:
    items = [Item("quiz", str(n), text) for n, text in enumerate([ENGLISH, CHINESE, SHORT, f"{PROSE} {ENGLISH}"])]
    mixed = items[:]
    random.Random(1).shuffle(mixed)
    text = f"{CHINESE} {ENGLISH} {SHORT}"
    one, two = index_of(items, tmp_path / "one"), index_of(mixed, tmp_path / "two")
    assert [match[:2] for match in one.matches(text)] == [match[:2] for match in two.matches(text)]


def test_a_benchmark_of_yes_and_no_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="benchmark tiny: no item has 8 words"):
        build_index([Item("tiny", "0", TINY), Item("quiz", "0", ENGLISH)], tmp_path, DecontaminateConfig())


def items_of(folder: Path, **settings: object) -> list[tuple[str, str]]:
    benchmark = BenchmarkConfig(name="quiz", paths=(str(folder),), **settings)  # type: ignore[arg-type]
    return [(item.id, item.text) for file in list_files((benchmark,), None) for item in read_items(file)]


def test_every_format_gives_its_texts(tmp_path: Path) -> None:
    record = {"question": "q", "label": 1, "choices": ["a", "b"], "none": None}
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress((json.dumps(record) + "\n\n" + json.dumps({"x": "y"})).encode())
    )
    (tmp_path / "b.json").write_text(json.dumps([record]))
    (tmp_path / "c.csv").write_text('question,answer\n"a, b",c\n')
    (tmp_path / "d.tsv").write_text('question\tanswer\n"a\tb\n')
    (tmp_path / "e.txt").write_text("one\ntwo\n")
    pq.write_table(pa.table({"q": ["p"], "n": [1]}), tmp_path / "f.parquet")
    assert items_of(tmp_path) == [
        ("a.jsonl.gz:1/question", "q"),
        ("a.jsonl.gz:1/choices.0", "a"),
        ("a.jsonl.gz:1/choices.1", "b"),
        ("a.jsonl.gz:3/x", "y"),
        ("b.json:1/0.question", "q"),
        ("b.json:1/0.choices.0", "a"),
        ("b.json:1/0.choices.1", "b"),
        ("c.csv:2/question", "a, b"),
        ("c.csv:2/answer", "c"),
        ("d.tsv:2/question", '"a'),
        ("d.tsv:2/answer", "b"),
        ("e.txt:1", "one"),
        ("e.txt:2", "two"),
        ("f.parquet:1/q", "p"),
    ]
    assert items_of(tmp_path / "b.json", columns=("choices",)) == [
        ("b.json:1/0.choices.0", "a"),
        ("b.json:1/0.choices.1", "b"),
    ]
    assert items_of(tmp_path / "d.tsv", header=False)[0] == ("d.tsv:1/1", "question")


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', (), r"a\.jsonl.*: line 2 is no JSON"),
        ("a.jsonl", b'{"a": "b"}\n', ("question",), r"a\.jsonl has none of the columns question"),
        ("a.txt", b"caf\xe9\n", (), r"benchmark 'quiz': .*a\.txt.*utf-8"),
        ("a.jsonl.gz", gzip.compress(b'{"a": "b"}\n' * 9999)[:-20], (), r"a\.jsonl\.gz.*truncated"),
        ("a.parquet", b"PAR1", (), r"benchmark 'quiz': .*a\.parquet"),
        ("a.doc", b"", (), r"a\.doc: its name ends in none of \.jsonl"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, columns: tuple[str, ...], message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        items_of(tmp_path / name, columns=columns)


def test_a_benchmark_that_is_a_bomb_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text of a megabyte many times, and a page of zeros."""
    monkeypatch.setattr(parquet_pages, "BATCH_BYTES", 16 << 20)
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", 16 << 20)
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2_000, np.int32)), ["x" * (1 << 20)])
    pq.write_table(pa.table({"q": texts}).replace_schema_metadata(), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 2_000
    (tmp_path / "b.parquet").write_bytes(hand.parquet([[zeros(150 << 20)]], hand.ZSTD))
    [a, b] = list_files((BenchmarkConfig(name="quiz", paths=(str(tmp_path),)),), None)
    before = forget_peak()
    assert [len(item.text) for item in islice(read_items(a), 50)] == [1 << 20] * 50
    with pytest.raises(ValueError, match=r"benchmark 'quiz': .*b\.parquet: too_long: after 0 rows: "):
        list(read_items(b))
    assert peak() - before < 150 << 10


def test_two_benchmarks_of_one_name_are_refused() -> None:
    quiz = {"name": "quiz", "paths": ["a"]}
    with pytest.raises(ValueError, match="two benchmarks are named quiz"):
        DecontaminateConfig.model_validate({"benchmarks": [quiz, quiz]})
