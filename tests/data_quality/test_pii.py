"""Personal data: what is found and what just is not, replaced the same way everywhere, in linear time."""

import ipaddress
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.config import PiiConfig
from data_quality.documents import Document, ShardWriter
from data_quality.pii import CATEGORIES, PLACEHOLDERS, find_pii, key_fingerprint, pii_shard
from data_quality.pii_checks import is_card, is_cn_id, is_iban, is_luhn
from data_quality.spans import SPANS_SCHEMA, Edit, apply_edits

ALL = PiiConfig()
KEY = b"a key that only the tests know"


def found(text: str, config: PiiConfig = ALL) -> list[tuple[str, str]]:
    return [(span.category, text[span.start : span.end]) for span in find_pii(text, config)]


FOUND = [
    ("email", "Write to {} today.", "jane.doe+list@mail.example.co.uk"),
    ("email", "<a href=mailto:{}>", "o'neil@example.com"),
    ("email", "邮箱：{}，谢谢", "zhang_san@example.cn"),
    ("email", "联系{}。", "ａｂｃ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
    ("email", "({})", "jürgen@müller.de"),
    ("email", "Message-Id: <{}>", "p05@[66.149.49.6]"),
    ("email", "{}.", "root@xn--bcher-kva.example"),
    ("phone", "call {} now", "(212) 555-1234"),
    ("phone", "or {},", "212-555-1234"),
    ("phone", "or {};", "1-800-758-8084"),
    ("phone", "or {}", "212.555.1234 ext. 77"),
    ("phone", "office {} or", "+1 212 555 1234"),
    ("phone", "office {} or", "+353-1-7161987"),
    ("phone", "office {} or", "+44 (0)20 7946 0958"),
    ("phone", "Paris {}.", "01 23 45 67 89"),
    ("phone", "Berlin {}.", "(030) 12345678"),
    ("phone", "Wien {}.", "01/5123456"),
    ("phone", "Phone: {}", "555-1234"),
    ("phone", "电话：{}。", "62751234"),
    ("phone", "北京{}转", "010-62751234"),
    ("phone", "北京{}或", "（０１０）６２７５１２３４"),
    ("phone", "深圳{}", "0755-82345678"),
    ("cn_mobile", "手机{}。", "13812345678"),
    ("cn_mobile", "手机{}", "+86 138 1234 5678"),
    ("cn_mobile", "手机{}", "138-1234-5678"),
    ("cn_mobile", "Mobile: {}", "13951228561"),
    ("ip", "from {} by", "66.231.133.63"),
    ("ip", "from [{}]", "18.29.0.27"),
    ("ip", "ping {}", "8.8.8.8"),
    ("ip", "at ({}) too", "1.1.1.1"),
    ("ip", "at {}/64", "2001:4860:4860::8888"),
    ("credit_card", "card {}.", "4111 1111 1111 1111"),
    ("credit_card", "card {}.", "5555555555554444"),
    ("credit_card", "card {}.", "3782-822463-10005"),
    ("iban", "IBAN {}", "DE89 3704 0044 0532 0130 00"),
    ("iban", "to {}.", "GB82WEST12345698765432"),
    ("iban", "to {}.", "MT84MALT011000012345MTLCAST001S"),
    ("cn_id", "身份证号{}。", "11010519491231002X"),
    ("cn_id", "身份证：{}", "130503670401001"),
    ("us_ssn", "SSN {}", "123-45-6789"),
]

NOT_FOUND = [
    "logo@2x.png and user@1000.service and @decorator and a @ b and x@localhost",
    "released 2002-08-22 12:45:10, again on 22/08/2002 and 20020822",
    "ISBN 0-201-53082-1 and ISBN 978-3-16-148410-0",
    "version 52.12.34.4 and v2.64.18.3, libc-2.3.120.4, OID 1.3.6.1.4.1.311",
    "12.1.1.3. RAID levels, see section 14.5.4.3",
    "1.1.1.1 Scope, version 8.8.8.8, host 1.1.1.1.1",
    "192.168.0.1 127.0.0.1 fe80::1 ::1 192.0.2.55 std::vector a::b dead::beef 12:34:56",
    "0.4111111111111111 4111 1111 1111 1112 3.14159265358979",
    "1 234 567 890 12 345 678 901\n10.5 20.25 30.125 40.0625",
    "id 130503670401001 and 11010519491231002Y and 110105194912310021",
    "DE89 3704 0044 0532 0130 01",
    "000-12-3456 123-00-4567 666-12-3456 1123-45-6789",
    "00000000 7f 45 4c 46 01 02 03 04 05 06 07 08",
    "911-555-1234 is no area, 212 555 1234 has no sign of a telephone",
    "call me in 2002-08-22, phone 3.1415926",
    "vruntime=14589605367 [ns], with ESMTP id 15116294106, 224.0.0.251",
    "订单号 138123456789，价格 13812.345678",
    "@@ -123,45 +678,90 @@ +1234",
]


@pytest.mark.parametrize(("category", "frame", "value"), FOUND)
def test_found_alone_and_in_its_place(category: str, frame: str, value: str) -> None:
    assert found(frame.format(value)) == [(category, value)]
    switched_off = found(frame.format(value), ALL.model_copy(update={category: False}))
    assert category not in [other for other, _ in switched_off]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_not_found(text: str) -> None:
    assert found(text) == []


def test_private_addresses_when_asked_for() -> None:
    everything = PiiConfig(public_ips_only=False)
    assert found("at 192.168.0.1 and fe80::1", everything) == [("ip", "192.168.0.1"), ("ip", "fe80::1")]


def test_overlapping_categories_give_one_span_that_covers_both() -> None:
    text = "page 212-555-1234@pager.example.com"
    assert found(text) == [("email", "212-555-1234@pager.example.com")]


@pytest.mark.parametrize("category", CATEGORIES)
def test_what_is_put_in_place_is_not_found_again(category: str) -> None:
    assert [s for s in find_pii(f"a <{category}> b", ALL)] == []
    again = find_pii(f"a {PLACEHOLDERS[category]} b", PiiConfig(style="placeholder"))
    assert all(span.replacement == PLACEHOLDERS[category] for span in again)


def test_hashed_replacements_depend_on_key_and_value_alone() -> None:
    config = PiiConfig(style="hashed")
    text = "Ann@example.com, ann@example.com, bob@example.com, 212-555-1234, 212.555.1234"
    first, same, other, phone, same_phone = (span.replacement for span in find_pii(text, config, KEY))
    assert first == same != other
    assert phone == same_phone
    assert first.startswith("<email:")
    assert "example" not in first
    assert find_pii("bob@example.com", config, KEY)[0].replacement == other
    assert find_pii("bob@example.com", config, KEY[::-1])[0].replacement != other
    assert key_fingerprint(KEY) != key_fingerprint(KEY[::-1])


@pytest.mark.parametrize("key", [None, b"short"])
def test_hashing_without_a_good_key_is_refused(key: bytes | None) -> None:
    with pytest.raises(ValueError, match="TEXTMILL_PII_KEY"):
        find_pii("x", PiiConfig(style="hashed"), key)


@given(st.integers(0, 10**18))
def test_luhn_agrees_with_its_definition(number: int) -> None:
    """Exactly one last digit is right, and the textbook's sum says which."""
    right = [d for d in range(10) if is_luhn(f"{number}{d}")]
    doubled = [sum(divmod(2 * int(c), 10)) for c in str(number)[::-1][::2]]
    plain = [int(c) for c in str(number)[::-1][1::2]]
    assert right == [-(sum(doubled) + sum(plain)) % 10]


@given(st.sampled_from(["4111111111111111", "11010519491231002X", "DE89370400440532013000"]), st.data())
def test_one_wrong_digit_fails_the_check(number: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([i for i, c in enumerate(number) if c.isdigit()]))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != number[place]]))
    changed = number[:place] + digit + number[place + 1 :]
    check = {16: is_card, 18: is_cn_id, 22: is_iban}[len(number)]
    assert check(number)
    assert not check(changed)


@given(st.ip_addresses(v=4))
def test_ipv4_agrees_with_ipaddress(address: ipaddress.IPv4Address) -> None:
    assert bool(found(f"from [{address}] by")) == (address.is_global and not address.is_multicast)


PIECES = st.sampled_from(
    [*"@.- ()+1x汉１\n", "12", "345", "6789", "a@b.de", "::", ":f", "DE89", "tel "],
)


@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=60).map("".join)))
def test_spans_are_ascending_disjoint_and_within_the_text(text: str) -> None:
    spans = find_pii(text, ALL)
    assert all(0 <= s.start < s.end <= len(text) for s in spans)
    left = apply_edits(text, [Edit(s.start, s.end, s.replacement) for s in spans])
    assert all(f"<{s.category}>" in left for s in spans)


def test_long_and_hostile_texts_end() -> None:
    """Half a megabyte of what each pattern likes to try: quadratic time would take hours, not the limit's seconds."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from data_quality.config import PiiConfig
from data_quality.pii import find_pii
pieces = [*"1@:", "1 ", "1-", "1.", "(1", "+1 ", "0 ", "a@", "@a.", "a.", "a-", "::", "f:", "DE89", "AA11 ", "1/", "00",
          "4111 ", "1(((", "a@a.", "a@" + "b-" * 40, "tel ", "phone 1 ", "1 .", "\\u00a0", "x1", "138", "a@1."]
for piece in pieces:
    find_pii(piece * (500_000 // len(piece)), PiiConfig(public_ips_only=False))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_shard_becomes_a_table_of_spans(tmp_path: Path) -> None:
    texts = {"a": "Write to ann@example.com or 212-555-1234.", "b": "Nothing here.", "c": "手机13812345678"}
    with ShardWriter(tmp_path / "in") as writer:
        for id, text in texts.items():
            writer.add(Document(id=id, text=text, source="s"))
    out = tmp_path / "spans.parquet"
    counts = pii_shard(tmp_path / "in" / "00000.parquet", out, ALL)
    table = pq.read_table(out)
    assert table.schema.equals(SPANS_SCHEMA)
    rows = [(row["id"], row["kind"], texts[row["id"]][row["start"] : row["end"]]) for row in table.to_pylist()]
    assert rows == [
        ("a", "pii.email", "ann@example.com"),
        ("a", "pii.phone", "212-555-1234"),
        ("c", "pii.cn_mobile", "13812345678"),
    ]
    assert counts["documents"] == 3
    assert counts["with_pii"] == 2
    assert (counts["email"], counts["phone"], counts["cn_mobile"], counts["ip"]) == (1, 1, 1, 0)


def test_a_table_without_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pq.read_table(_one(tmp_path)).drop(["text"]), path)
    with pytest.raises(ValueError, match="no column text; this is not a documents shard"):
        pii_shard(path, tmp_path / "out.parquet", ALL)


def _one(folder: Path) -> Path:
    with ShardWriter(folder / "one") as writer:
        writer.add(Document(id="a", text="b", source="s"))
    return folder / "one" / "00000.parquet"
