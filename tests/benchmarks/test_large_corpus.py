"""The recipe of a larger corpus: what differs between two copies, and what stays as it is."""

import random
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks._other_words import (
    BAND,
    LONG_WORD,
    alphabet,
    characters,
    in_other_words,
    ranked_characters,
)
from benchmarks.large_corpus import generate
from data_quality.documents import Document
from data_quality.stop_words import STOP_WORDS

STOP = ("the", "of", "and", "to", "that", "with", "have", "be")
HAN = "春夏秋冬山水花草鸟虫鱼石风雨雪云天地东西南北高低长短红黄蓝白黑绿"


def vocabulary(count: int = 3000) -> list[str]:
    draw = random.Random(5)
    syllables = [a + b for a in "bcdfglmnprst" for b in ("a", "e", "i", "o", "u", "an", "er", "in")]
    return sorted({"".join(draw.choices(syllables, k=draw.randint(3, 5))) for _ in range(count)})


def documents(count: int = 120) -> list[Document]:
    """Prose of long words and stop words; every tenth text comes twice, every tenth again with another end."""
    draw, words = random.Random(2), vocabulary()
    made = []
    for number in range(count):
        text = " ".join(draw.choice(STOP if draw.random() < 0.4 else words) for _ in range(80))
        if number % 3 == 0:
            text = "".join(draw.choice(HAN) for _ in range(120)) + "。"
        if number % 10 == 1:
            text = made[-1].text
        if number % 10 == 2:
            text = made[-2].text[:-20] + " an end"
        made.append(Document(id=f"d/{number}", text=text, source="s", metadata={}))
    return made


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split() if " " in text else list(text)
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


@pytest.fixture(scope="module")
def ranked() -> str:
    return ranked_characters(Counter("".join(document.text for document in documents())))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    generate(folder, gigabytes(3.5), 1, iter(documents()))
    return folder


def gigabytes(copies: float) -> float:
    return copies * sum(len(document.text.encode()) for document in documents()) / 1e9


def texts(path: Path) -> dict[str, str]:
    table = pq.read_table(path)
    return dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))


def test_a_copy_is_the_same_whoever_writes_it(corpus: Path, tmp_path: Path) -> None:
    generate(tmp_path, gigabytes(3.5), 2, iter(documents()))
    names = sorted(path.name for path in corpus.glob("copy-*"))
    assert names == sorted(path.name for path in tmp_path.glob("copy-*"))
    assert len(names) == 4
    for name in names:
        assert (corpus / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_first_copy_is_the_corpus_and_the_last_one_a_part_of_a_copy(corpus: Path) -> None:
    *whole, part = sorted(corpus.glob("copy-*"))
    assert texts(whole[0]) == {f"0/{document.id}": document.text for document in documents()}
    last = texts(part)
    assert 0.3 * len(documents()) < len(last) < 0.7 * len(documents())
    assert {identity.split("/")[0] for identity in last} == {"3"}


def test_another_size_leaves_no_part_of_the_former_one(tmp_path: Path) -> None:
    first = generate(tmp_path, gigabytes(1.5), 1, iter(documents()))
    second = generate(tmp_path, gigabytes(2.0), 1, iter(documents()))
    assert [path.name for path in sorted(tmp_path.glob("copy-*"))] == ["copy-00000.parquet", "copy-00001.parquet"]
    assert first < second == sum(len(t.encode()) for path in tmp_path.glob("copy-*") for t in texts(path).values())


def test_copies_share_hardly_a_long_word_and_no_shingle() -> None:
    words = [word for word in vocabulary() if len(word) >= LONG_WORD]
    written = [{in_other_words(word, copy) for word in words} for copy in range(6)]
    for one in range(6):
        assert len(written[one]) == len(set(words))  # two words never become one
        for other in range(one):
            assert len(written[one] & written[other]) < 0.01 * len(words)


def test_lengths_short_words_capitals_and_signs_stay() -> None:
    text = "The Harbours, of 1907: HTTP-requests <b>and</b> naïveté “quoted” to crane-drivers.\n\tBe it so!"
    for copy in range(1, 30):
        written = in_other_words(text, copy)
        assert len(written.encode()) == len(text.encode())
        for before, after in zip(text, written, strict=True):
            assert (before.isalpha(), before.isupper(), before in "aeiouyAEIOUY") == (
                after.isalpha(),
                after.isupper(),
                after in "aeiouyAEIOUY",
            )
        for word in ("The", "of", "HTTP", "<b>and</b>", "naïveté", "to", "crane", "Be it so!", "1907:"):
            assert word in written
        assert "Harbours" not in written


def test_who_resembles_whom_stays_in_every_copy_and_no_copy_resembles_another(corpus: Path) -> None:
    first, second = (texts(corpus / f"copy-0000{copy}.parquet") for copy in (1, 2))
    for number in range(0, len(documents()), 10):
        original, double, nearly = (f"d/{number + k}" for k in range(3))
        assert first[f"1/{original}"] == first[f"1/{double}"] != second[f"2/{double}"]
        real = {document.id: document.text for document in documents()}
        assert jaccard(first[f"1/{original}"], first[f"1/{nearly}"]) == jaccard(real[original], real[nearly])
        assert jaccard(first[f"1/{original}"], second[f"2/{original}"]) < 0.2


def test_chinese_characters_change_places_with_such_as_are_as_common() -> None:
    stop = "".join(STOP_WORDS["zh"])
    counted = {chr(0x4E00 + n): 9_999 - n for n in range(5 * BAND)} | dict.fromkeys(stop, 10**6)
    ranked = ranked_characters(counted)
    assert len(ranked) > 4 * BAND
    assert not set(ranked) & set(stop)
    for copy in (1, 2, 77):
        table = characters(copy, ranked)
        assert sorted(table) == list(range(0x4E00, 0xA000))
        for rank, character in enumerate(ranked):
            other = chr(table[ord(character) - 0x4E00])
            assert ranked.index(other) // BAND == rank // BAND
    assert in_other_words(ranked[:5], 1, ranked) != in_other_words(ranked[:5], 2, ranked)
    assert in_other_words(stop, 9, ranked) == stop


def test_a_text_of_short_words_stands_in_the_first_copy_alone(tmp_path: Path) -> None:
    short = Document(id="short", text="It is so and so it is, as we all know by now. " * 5, source="s", metadata={})
    generate(tmp_path, (2 * len(short.text) + gigabytes(2.0) * 1e9) / 1e9, 1, iter([*documents(), short]))
    assert "0/short" in texts(tmp_path / "copy-00000.parquet")
    assert "1/short" not in texts(tmp_path / "copy-00001.parquet")


def test_there_are_more_alphabets_than_shifts() -> None:
    assert len({alphabet(copy).tobytes() for copy in range(500)}) == 500
