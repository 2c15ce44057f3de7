"""Personal data in metadata: gone from every value, with the rest of the JSON as it was."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.config import PiiConfig
from data_quality.documents import Document, ShardWriter, canonical_metadata
from data_quality.pii import find_pii
from data_quality.pii_metadata import pii_metadata_shard, redact_metadata

ALL = PiiConfig()
CARD = 4111111111111111


@pytest.mark.parametrize(
    ("value", "redacted"),
    [
        ("Jane <jane@example.org>", "Jane <<email>>"),
        ("电话：010-62770334", "电话：<phone>"),
        ("line\ncall (212) 555-1234", "line\ncall <phone>"),
        ("ａｂｃ＠ｅｘａｍｐｌｅ．ｃｏｍ", "<email>"),
        ("2001:db9::ff00:42:8329", "<ip>"),
        ("from host 8.8.8.8", "from host <ip>"),
        (CARD, "<credit_card>"),
        ({"deep": ["x", {"to": "a@example.org"}]}, {"deep": ["x", {"to": "<email>"}]}),
    ],
)
def test_it_leaves_every_kind_of_value(value: object, redacted: object) -> None:
    metadata = canonical_metadata({"value": value, "kept": 1})
    assert json.loads(redact_metadata(metadata, ALL)) == {"value": redacted, "kept": 1}


@pytest.mark.parametrize(
    ("field", "value", "redacted"),
    [
        ("phone", "2125551234", "<phone>"),
        ("tel", "0301234567", "<phone>"),
        ("mobile", 13812345678, "<cn_mobile>"),
        ("mobile_phone", ["13812345678", "none"], ["<cn_mobile>", "none"]),
        ("电话", "01062770334", "<phone>"),
        ("version", "11.22.33.44", "11.22.33.44"),
        ("isbn", "0306406152", "0306406152"),
        ("records", "2125551234", "2125551234"),
    ],
)
def test_the_name_of_a_field_says_what_its_value_is(field: str, value: object, redacted: object) -> None:
    assert json.loads(redact_metadata(canonical_metadata({field: value}), ALL)) == {field: redacted}


def test_names_of_fields_hold_none_and_no_two_come_to_one() -> None:
    metadata = canonical_metadata({"a@b.example": 1, "c@d.example": {"e@f.example": 2}, "plain": 3})
    first, second, plain = json.loads(redact_metadata(metadata, ALL)).items()
    assert [name[:7] for name, _ in (first, second)] == ["<email:", "<email:"]
    assert first[0] != second[0]
    assert plain == ("plain", 3)
    assert "@" not in redact_metadata(metadata, ALL)


@pytest.mark.parametrize("value", ["2026-11-25T10:00:00Z", 1234567, 3.14159265, True, None, "a @ b", ["1.2.3"]])
def test_other_values_stay_as_they_are(value: object) -> None:
    metadata = canonical_metadata({"value": value})
    assert redact_metadata(metadata, ALL) == metadata


def test_a_category_that_is_switched_off_stays(tmp_path: Path) -> None:
    metadata = canonical_metadata({"to": "a@example.org", "tel": "+1 212 555 1234"})
    assert json.loads(redact_metadata(metadata, PiiConfig(phone=False))) == {"to": "<email>", "tel": "+1 212 555 1234"}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["a@example.org", "+1 212 555 1234", "::1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_what_comes_out_is_json_with_the_same_keys_and_nothing_to_find(metadata: dict[str, object]) -> None:
    before = canonical_metadata(metadata)
    after = redact_metadata(before, ALL)
    assert after == canonical_metadata(json.loads(after))
    assert json.loads(after).keys() == json.loads(before).keys()
    for value in json.loads(after).values():
        if isinstance(value, str):
            assert not find_pii(value, ALL)
    if not any(find_pii(f"{name}: {value}", ALL) for name, value in metadata.items()):
        assert after == before


def test_the_table_has_only_the_documents_that_change(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "in", 10, 1 << 20) as writer:
        for id, metadata in (("a", {"to": "a@example.org"}), ("b", {"n": 1}), ("c", {})):
            writer.add(Document(id=id, text="Text.", source="s", language=None, metadata=metadata))
    out = tmp_path / "metadata.parquet"
    assert pii_metadata_shard(tmp_path / "in" / "00000.parquet", out, ALL) == {"metadata": 1}
    assert pq.read_table(out).to_pylist() == [{"id": "a", "metadata": '{"to":"<email>"}'}]
