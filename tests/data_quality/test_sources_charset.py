import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.sources import charset
from tests.data_quality.ingesting import ingest, write

CHINESE = "自然语言处理是人工智能的一个重要方向，研究人与计算机之间用自然语言通信的理论和方法。"
TRADITIONAL = "自然語言處理是人工智慧的一個重要方向，研究人與電腦之間用自然語言通信的理論和方法。"
JAPANESE = "自然言語処理は、人間が日常的に使っている自然言語をコンピュータに処理させる技術です。"
KOREAN = "자연어 처리는 인간의 언어 현상을 컴퓨터와 같은 기계를 이용해서 모사할 수 있도록 연구하는 분야이다."
RUSSIAN = "Обработка естественного языка это общее направление искусственного интеллекта."
GERMAN = "Die Verarbeitung natürlicher Sprache beschäftigt sich mit Größen, für die es schöne Übungen gibt."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "gb18030"),
        (CHINESE, "gbk"),
        (CHINESE, "utf-8"),
        (TRADITIONAL, "big5"),
        (TRADITIONAL, "gb18030"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (KOREAN, "euc_kr"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (GERMAN, "cp1252"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (CHINESE, "utf-32"),
    ],
)
def test_undeclared_bytes_come_out_right(text, encoding):
    assert charset.decode((text * 3).encode(encoding))[0] == text * 3


@pytest.mark.parametrize(
    ("label", "written_in", "text"),
    [
        ("gb2312", "gb18030", CHINESE + "喆镕€"),  # none of the three is in GB 2312
        ("GBK", "gb18030", CHINESE + "𠀀"),
        ("big5", "big5hkscs", TRADITIONAL + "嘅咗"),
        ("iso-8859-1", "cp1252", GERMAN + "„“…"),
        ("latin-1", "utf-8", GERMAN),  # declared wrongly, and valid UTF-8
        ("utf-8", "gb18030", CHINESE * 3),  # declared wrongly, and not valid
        ("gb2312", "utf-8", CHINESE * 3),
        ("no-such-charset", "utf-8", CHINESE),
    ],
)
def test_declared_labels_mean_what_browsers_take_them_for(label, written_in, text):
    page = f'<html><head><meta charset="{label}"></head><body>'.encode() + text.encode(written_in)
    assert charset.decode(page, html=True)[0].endswith(text)
    assert charset.decode(text.encode(written_in), http_charset=label)[0] == text


def test_the_order_is_mark_header_meta():
    body = "é".encode()
    meta = b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">'
    assert charset.decode(codecs.BOM_UTF8 + meta + body, "gbk", html=True)[1] == "utf-8"
    latin = meta + b"\xe9"
    assert charset.decode(latin, "windows-1252", html=True)[1] == "cp1252"
    assert charset.decode(latin, None, html=True)[1] == "cp1251"
    assert charset.decode(b'<?xml version="1.0" encoding="koi8-r"?><p>\xc1', None, html=True)[1] == "koi8-r"
    assert charset.meta_charset(b'<meta charset="utf-16">') == "utf-8"  # it could be read as ASCII


def test_a_declared_codec_that_is_no_character_encoding_is_ignored():
    for label in ("rot13", "base64", "utf-7", "unicode_escape", "idna", "", "\0", "x" * 1000, "mbcs"):
        assert charset.known_encoding(label) is None


def test_one_bad_byte_is_replaced_and_many_are_refused():
    text, encoding = charset.decode((CHINESE * 30).encode("gb18030") + b"\xff" + CHINESE.encode("gb18030"), "gbk")
    assert (encoding, text.count("\ufffd")) == ("gb18030", 1)
    with pytest.raises(UnicodeError, match=r"looks like .*, but \d+ of \d+ characters are invalid"):
        charset.decode(bytes(range(128, 256)) * 5 + b"\xff\xfe\x81" * 300, "utf-8")


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-8-sig", "utf-16", "utf-32", "big5"])
@pytest.mark.parametrize("ascii_before", [0, 700_000])
def test_auto_in_text_csv_and_jsonl(tmp_path, encoding, ascii_before):
    text = TRADITIONAL if encoding == "big5" else CHINESE
    padding = "plain ascii line\n" * (ascii_before // 17)
    write(tmp_path / "a.txt", (padding + text + "\n").encode(encoding))
    out = ingest(tmp_path / "1", {"format": "text", "paths": [str(tmp_path / "a.txt")], "encoding": "auto"})
    assert [t.strip() for t in out.texts] == [(padding + text).strip()]
    write(tmp_path / "a.jsonl.gz", (f'{{"text": "{text}"}}\n' * 2).encode(encoding))
    out = ingest(tmp_path / "2", {"format": "jsonl", "paths": [str(tmp_path / "a.jsonl.gz")], "encoding": "auto"})
    assert out.texts == [text] * 2
    write(tmp_path / "a.csv", f"text,n\n{text},1\n".encode(encoding))
    out = ingest(tmp_path / "3", {"format": "csv", "paths": [str(tmp_path / "a.csv")], "encoding": "auto"})
    assert out.texts == [text]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"])
def test_what_is_a_byte_order_mark_at_the_start_is_damage_further_on(mark, tmp_path):
    before, after = b"A line of plain English text. " * 9, b" And more of the same.\n"
    text, encoding = charset.decode(before + mark + after)
    assert encoding in ("cp1252", "utf-8")
    assert text.startswith(before.decode())
    assert text.endswith(after.decode())
    lines = [b'{"text": "line %d"}\n' % number for number in range(20)]
    write(tmp_path / "a.jsonl", b"".join([*lines[:9], mark + b"\n", *lines[9:]]))
    out = ingest(tmp_path / "1", {"format": "jsonl", "paths": [str(tmp_path / "a.jsonl")], "encoding": "auto"})
    assert out.texts == [f"line {number}" for number in range(20)]
    assert [row["line"] for row in out.skipped] == [10]
    write(tmp_path / "a.txt", before + mark + after)
    [whole] = ingest(tmp_path / "2", {"format": "text", "paths": [str(tmp_path / "a.txt")], "encoding": "auto"}).texts
    assert before.decode().strip() in whole


def test_auto_a_bad_byte_costs_its_own_line(tmp_path):
    good = (CHINESE + "\n").encode("gb18030")
    write(tmp_path / "a.txt", good * 20 + b"\xff bad \xff\n" + good)
    out = ingest(
        tmp_path, {"format": "text", "document": "line", "paths": [str(tmp_path / "a.txt")], "encoding": "auto"}
    )
    assert out.texts == [CHINESE] * 21
    assert [(row["line"], row["reason"]) for row in out.skipped] == [(21, "bad_encoding")]


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_as_a_stream(chunks):
    try:
        b"".join(charset.auto_utf8(iter(chunks)))
    except UnicodeError:
        assert b"".join(chunks)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in b"".join(chunks)


@given(st.binary(max_size=300), st.sampled_from([None, "gbk", "utf-8", "utf-16", "shift_jis", "hz", "iso2022_kr"]))
def test_any_bytes_are_text_or_refused(data, label):
    try:
        text, _ = charset.decode(data, label, html=True)
    except UnicodeError:
        return
    text.encode()
