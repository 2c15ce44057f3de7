import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import HtmlSource
from data_quality.extract import MAX_NESTING, TooComplex, extract_html
from data_quality.html_limits import measure_html
from data_quality.sources import html
from data_quality.sources.base import BadInput, InputError, Record, Skip
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.test_sources_streams import ref

PROSE = (
    "Albedo is the fraction of sunlight that a surface reflects. It is measured on a scale from zero, for a black body "
    "that absorbs all incident radiation, to one, for a body that reflects all of it."
)
PAGE = f"""<!DOCTYPE html><html lang="en"><head><title> Albedo &amp;
 light </title><style>p {{ color: red }}</style><script>var a = "<p>no</p>";</script></head>
<body><nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>
<main><h1>Albedo</h1><p>{PROSE}</p><p>Second paragraph, <b>bold</b> and&nbsp;on.</p>
<ul><li>first</li><li>second</li></ul><pre>code  line 1
  line 2</pre></main>
<footer><p>Copyright 2024. All rights reserved. <a href="/privacy">Privacy</a></p></footer></body></html>"""


def source(path, **options):
    return {"format": "html", "paths": [str(path)], **options}


def test_main_content_and_title(tmp_path):
    write(tmp_path / "in/a.html", PAGE.encode())
    write(tmp_path / "in/sub/b.htm.gz", PAGE.encode("utf-16"))
    out = ingest(tmp_path, source(tmp_path / "in"))
    assert list(out.documents) == ["html:a.html", "html:sub/b.htm.gz"]
    for document in out.documents.values():
        assert document.metadata["title"] == "Albedo & light"
        assert PROSE in document.text
        assert "Second paragraph, bold and" in document.text
        assert "  • first\n  • second" in document.text
        assert "code  line 1\n  line 2" in document.text
        for boilerplate in ("About us", "Copyright", "color", "var a"):
            assert boilerplate not in document.text


ITEMS = "<ul><li>A whole sentence stands here.</li><li>And <a href=x>another</a> one.<ul><li>Inner</li></ul></li></ul>"
MENU = "<ul><li><a href=a>Home</a></li><li><a href=b>About us</a></li></ul>"


@pytest.mark.parametrize(
    ("around", "kept"),
    [
        ("{}", True),
        ("<main>{}</main>", True),
        ("<div><article>{}</article></div>", True),
        ("<div><div><div><div>{}</div></div></div></div>", True),
        ("<header>{}</header>", False),
        ("<div><nav>{}</nav></div>", False),
        ("<aside><div>{}</div></aside>", False),
    ],
)
def test_lists_of_text_stay_wherever_they_stand_and_menus_go(around, kept):
    page = f"<html><body><h1>Title</h1>{around.format(f'<p>{PROSE}</p>{MENU}{ITEMS}')}<p>{PROSE}</p></body></html>"
    text = extract_html(page).text
    assert ("  • A whole sentence stands here.\n  • And another one.\n    • Inner" in text) == kept
    assert "Home" not in text


def test_navigation_of_known_generators_and_a_page_of_nothing_else():
    docbook = f'<div class="navheader"><a href="x">Prev</a></div><h1>Title</h1><p>{PROSE}</p>'
    assert extract_html(docbook).text == f"Title\n\n{PROSE}"
    assert "Prev" in extract_html(docbook, main_content=False).text
    assert extract_html("<nav><a href=x>Only</a> <a href=y>links</a></nav>").text == "Only links"


def test_the_whole_page_on_request(tmp_path):
    write(tmp_path / "a.html", PAGE.encode())
    (text,) = ingest(tmp_path, source(tmp_path / "a.html", main_content=False)).texts
    assert "About us" in text
    assert "Copyright 2024" in text
    assert "var a" not in text


@pytest.mark.parametrize("encoding", ["gb18030", "big5"])
def test_chinese_pages_in_their_encodings(tmp_path, encoding):
    text = "自然語言處理是人工智慧的一個重要方向，研究人與電腦之間用自然語言通信的理論和方法。" * 3
    for name, head in {"declared": f'<meta charset="{encoding}">', "undeclared": ""}.items():
        write(tmp_path / f"in/{name}.html", f"<html><head>{head}<title>標題</title></head><p>{text}".encode(encoding))
    out = ingest(tmp_path, source(tmp_path / "in"))
    assert out.texts == [text, text]
    assert {document.metadata["title"] for document in out.documents.values()} == {"標題"}


@pytest.mark.parametrize(
    ("name", "page", "reason", "detail"),
    [
        ("a.html", b"<div>" * 60_000, "too_nested", "elements nested 60000 deep; max_nesting is 512"),
        ("a.html", b"<p>" * 513 + b"x", None, ""),  # unclosed paragraphs do not nest
        ("a.html", b"<i>" * 513 + b"x", "too_nested", "elements nested 513 deep"),
        ("a.html", b"<i>" * 512 + b"x", None, ""),
        ("a.html", b"<font size=1>" * 400 + b"<p>x</p>" * 6000, "too_nested", "would become 24"),
        ("a.html", b"<p " + b"a=1 " * 50_000 + b">x", "too_nested", "would take 25000000 steps"),
        ("a.html", b"<div>" * 500 + b"<i>x</i>" * 43_000, "too_nested", "would take 2"),
        ("a.html", b"<p title='" + b"a=1 " * 50_000 + b"'>x", None, ""),
        ("a.html", b"<html><body><h1>T</h1>" + b"<ul><li>x" * 505 + b"deep text", None, ""),
        ("a.html", b"<svg>" + b"<path d='M 0 0'/>" * 600 + b"</svg>x", None, ""),
        ("a.html", b"<path/>" * 513 + b"x", "too_nested", "nested 513 deep"),
        ("a.html.gz", b"<p>" + b"x" * 400_000, "too_long", "400003 bytes; max_record_bytes is 350000"),
        ("a.html", b"", "empty_file", "no record in it"),
        ("a.html", b"<html><script>1</script></html>", "empty_document", "no text"),
        ("a.html", b"\x81\xff\xfe\x8d" * 30, "bad_encoding", "characters are invalid"),
    ],
)
def test_limits_are_counted_skips_that_say_what_was_wrong(tmp_path, name, page, reason, detail):
    write(tmp_path / name, page)
    options = source(tmp_path / name, max_record_bytes=350_000)
    out = ingest(tmp_path, options)
    assert out.reasons == ([reason] if reason else [])
    if reason:
        assert detail in out.skipped[0]["detail"]
    if reason in ("too_nested", "too_long", "bad_encoding"):
        with pytest.raises(BadInput, match=rf"^{name}: {reason}: "):
            ingest(tmp_path / "strict", {**options, "on_bad_input": "error"})


def test_a_parser_builds_no_deeper_page_than_was_measured():
    # resiliparse's tree as the oracle; stray end tags, upper case, attributes and custom elements among them.
    from resiliparse.parse.html import HTMLTree

    def depth(node):
        deepest, stack = 0, [(node, 0)]
        while stack:
            node, level = stack.pop()
            deepest = max(deepest, level)
            stack += [(child, level + 1) for child in node.child_nodes if child.tag[:1] != "#"]
        return deepest

    for page in (
        "<div></i>" * 300,
        "<DIV class='a>b'>" * 200 + "</DIV>" * 100 + "<x-y>" * 50,
        "<ul><li>" * 150,
        "<table><tr><td>" * 100,
        "<b><p>" * 90,
        "<a><div>" * 120,
    ):
        measured, _, _ = measure_html(page.encode())
        assert depth(HTMLTree.parse(page).body) <= 4 * measured, page[:20]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                "<p>",
                "<div>",
                "</div>",
                "<table>",
                "<a",
                "href=x>",
                "<!--",
                "-->",
                "<script>",
                "</b>",
                "<b>",
                "&#0;",
                "&amp;",
                "中文",
                "\x00",
                "<svg>",
                "x",
            ]
        )
    ).map(lambda parts: "".join(parts).encode()),
    st.booleans(),
)
def test_any_bytes_are_read_or_refused(tmp_path, data, main_content):
    (tmp_path / "a.html").write_bytes(data)
    config = HtmlSource(format="html", paths=("a",), main_content=main_content)
    for item in html.read(ref(tmp_path / "a.html"), config):
        assert isinstance(item, Record | Skip)


def test_a_lone_surrogate_or_null_in_the_text_is_no_crash():
    assert extract_html("<p>a\0b &#xD800; &#0;</p>").text.encode()
    with pytest.raises(TooComplex, match=f"max_nesting is {MAX_NESTING}"):
        extract_html("<div>" * 513)


def test_a_truncated_file_is_recorded(tmp_path):
    path = write(tmp_path / "a.html.gz", PAGE.encode())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="truncated"):
        list(html.read(ref(path), HtmlSource(format="html", paths=("a",))))
