"""Shingles against datatrove's normal form written again in plain Python."""

import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.dedupe.shingles import EXPANDS, normal_form_table, shingle_text, shingle_texts
from tests.data_quality.dedupe_oracle import WORDS, shingle_set, true_jaccard


def jaccard(left: str, right: str, **options: object) -> float:
    a, b = (set(shingle_text(text, **options).tolist()) for text in (left, right))  # type: ignore[arg-type]
    return len(a & b) / len(a | b)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("The Quick brown fox", "the QUICK, brown -- fox!"),
        ("naïve café", "naive cafe"),
        ("cafe\u0301 au lait", "café au lait"),
        ("in 1997 there were 3,141 of them", "in 2026 there were 12 of them"),
        ("version 3.11 and ٣٫٥ more", "version 0 and 7 more"),
        ("soft\u00adhyphen zero\u200dwidth", "softhyphen zerowidth"),
        ("한국어 문장", "한국어 문장"),  # composed and decomposed Hangul
        ("ΟΔΟΣ μεγάλη", "οδος μεγαλη"),
        ("tabs\tand\nnew lines", "tabs and new   lines"),
        ("天地玄黃，宇宙洪荒。", "天地玄黃宇宙洪荒"),
    ],
)
def test_equal_normal_forms_give_equal_shingles(left: str, right: str) -> None:
    assert shingle_text(left).tolist() == shingle_text(right).tolist()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("one two", "two one"),
        ("onetwo", "one two"),
        ("version 1.2.3", "version 1.2"),  # one decimal mark only, as in datatrove: 0 0 and 0
        ("a1b", "ab"),
        ("", "!"),
        ("!!!", "???"),
        ("天地", "地天"),
        ("zero\u200bwidth", "zerowidth"),
    ],
)
def test_different_normal_forms_give_different_shingles(left: str, right: str) -> None:
    assert shingle_text(left).tolist() != shingle_text(right).tolist()


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cn")), max_size=60))
def test_shingles_of_any_text_are_as_many_as_in_plain_python(text: str) -> None:
    for size in (1, 2, 5):
        assert len(shingle_text(text, size=size)) == len(shingle_set(text, size))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from("Aa éÉ.,;-1٣ 天が가한й\u0301\u200b\n"), max_size=30).map("".join), st.data())
def test_similarity_of_any_two_texts_is_that_of_plain_python(text: str, data: st.DataObject) -> None:
    other = data.draw(st.permutations(list(text)).map("".join))
    for size in (1, 2, 3):
        assert jaccard(text, other, size=size) == true_jaccard(text, other, size)


def test_code_points_are_read_as_in_plain_python() -> None:
    assigned = [code for code in range(0x32000) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")]
    ideographs = [code for code in assigned if "CJK UNIFIED" in unicodedata.name(chr(code), "")]
    others = sorted(set(assigned) - set(ideographs))
    rng = random.Random(1)
    for code in others[:5_000] + rng.sample(others, 5_000) + rng.sample(ideographs, 200):
        text = f"a{chr(code)}b{chr(code)}"
        assert len(shingle_text(text, size=1)) == len(shingle_set(text, 1)), hex(code)


def test_a_code_point_never_becomes_more_units_than_it_has_bytes() -> None:
    table, _ = normal_form_table()
    for code in np.flatnonzero(table >> 24 == EXPANDS).tolist():
        assert (table[code] & 3) <= len(chr(code).encode())


@pytest.mark.parametrize(
    "sentence",
    [
        "我们都是好朋友们",
        "私はきのう東京へ行きました",
        "สวัสดีครับ",
        "သူတို့ပန်းခြံသို့သွားမည်",
        "យើងនឹងទៅដើរលេង",
        "ພວກເຮົາຈະໄປຍ່າງຫຼິ້ນ",
    ],
)
def test_an_unspaced_sentence_is_never_one_word(sentence: str) -> None:
    assert len(shingle_text(sentence, size=2)) > 3


def test_a_spacing_mark_is_no_word_but_part_of_its_letter() -> None:
    assert len(shingle_text("ကာသာ", size=1)) == 2
    assert len(shingle_text("ការ", size=1)) == 2
    assert shingle_text("ကာ").tolist() != shingle_text("က").tolist() != shingle_text("ကး").tolist()
    assert len(shingle_text("a ာ", size=1)) == 2  # of no letter at all


def test_a_korean_sentence_is_its_words() -> None:
    assert len(shingle_text("나는 어제 서울에 갔다", size=1)) == 4


def test_a_text_shorter_than_a_shingle_is_one_shingle() -> None:
    for text in ("", " ", "!", "one", "one two three four", "天地玄黃"):
        assert len(shingle_text(text)) == 1
    assert shingle_text("one two")[0] != shingle_text("one three")[0]
    assert len(shingle_text("one two three four five")) == 1
    assert len(shingle_text("one two three four five six")) == 2


def test_characters() -> None:
    text = "Ab, 12 c天"
    normal = "ab 0 c天"
    for size in (1, 2, 3, 13):
        grams = {normal[i : i + size] for i in range(max(1, len(normal) - size + 1))}
        assert len(shingle_text(text, unit="character", size=size)) == len(grams)
    assert shingle_text("Ab,  C", unit="character").tolist() == shingle_text("ab c", unit="character").tolist()
    assert jaccard("한글", "한글", unit="character", size=2) == 1


def test_a_batch_is_its_texts_one_by_one() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(40))) for _ in range(50)]
    raw = "".join(texts).encode()
    offsets = np.cumsum([0] + [len(text.encode()) for text in texts])
    hashes, ends = shingle_texts(np.frombuffer(raw, dtype=np.uint8), offsets)
    for text, start, end in zip(texts, np.concatenate([[0], ends]), ends, strict=False):
        assert hashes[start:end].tolist() == shingle_text(text).tolist()
        assert (np.diff(hashes[start:end].astype(object)) > 0).all()


def test_hashes_are_the_same_on_every_machine() -> None:
    assert shingle_text("").tolist() == [16125043466793272905]
    assert shingle_text("The quick brown fox jumps over 13 dogs").tolist() == [
        5377739275989409715,
        6472484858713770360,
        8222171728389826160,
        11883728365055026544,
    ]


def test_numbers_are_alike_unless_they_are_kept() -> None:
    one, other = "Release 3.0.9 fixes 12 bugs in 2020.", "Release 2.2.15 fixes 7 bugs in 2019."
    assert jaccard(one, other) == 1.0
    assert jaccard(one, other, numbers="keep", size=1) == 4 / 13  # four words; of nine numbers none is shared
    assert jaccard("９ May", "9 may", numbers="keep") == 1.0
    assert jaccard("x9", "x8", numbers="keep", unit="character", size=1) == 1 / 3
