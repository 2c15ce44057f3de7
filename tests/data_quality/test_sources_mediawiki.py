import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import MediaWikiSource
from data_quality.sources import mediawiki
from data_quality.sources.base import BadInput, InputError, Record, Skip
from data_quality.sources.wikitext import LinkPrefixes, plain_text
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.test_sources_streams import ref

# As Special:Export and the dumps write it (https://www.mediawiki.org/xml/export-0.11.xsd).
HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.mediawiki.org/xml/export-0.11/ \
http://www.mediawiki.org/xml/export-0.11.xsd" version="0.11" xml:lang="zh">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>zhwiki</dbname>
    <base>https://zh.wikipedia.org/wiki/Wikipedia:%E9%A6%96%E9%A1%B5</base>
    <generator>MediaWiki 1.43.0-wmf.1</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="-2" case="first-letter">Media</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Talk</namespace>
      <namespace key="6" case="first-letter">文件</namespace>
      <namespace key="14" case="first-letter">分类</namespace>
    </namespaces>
  </siteinfo>
"""
TAIL = "</mediawiki>\n"


def article(id, title, text, ns=0, extra="", model="wikitext"):
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"""  <page>
    <title>{title}</title>
    <ns>{ns}</ns>
    <id>{id}</id>
{extra}    <revision>
      <id>{id}99</id>
      <parentid>7</parentid>
      <timestamp>2024-05-06T07:08:09Z</timestamp>
      <contributor><username>Someone</username><id>5</id></contributor>
      <comment>text</comment>
      <origin>{id}99</origin>
      <model>{model}</model>
      <format>text/x-wiki</format>
      <text bytes="{len(text.encode())}" sha1="x" xml:space="preserve">{escaped}</text>
      <sha1>x</sha1>
    </revision>
  </page>
"""


def source(path, **options):
    return {"format": "mediawiki", "paths": [str(path)], **options}


@pytest.mark.parametrize("name", ["a.xml", "a.xml.gz", "a.xml.zst", "a.xml.bz2"])
def test_articles_without_redirects_and_other_namespaces(tmp_path, name):
    dump = (
        HEAD
        + article(12, "数学 &amp; 逻辑", "'''数学'''是[[研究|研究]]数量的学科。[[文件:a.png|thumb|图]][[分类:数学]]")
        + article(13, "Maths", "#REDIRECT [[数学]]", extra='    <redirect title="数学" />\n')
        + article(14, "Talk:数学", "talk", ns=1)
        + article(15, "模型", "{}", model="json")
        + TAIL
    ).encode()
    write(tmp_path / name, dump)
    out = ingest(tmp_path, source(tmp_path / name, on_bad_input="error"))
    (document,) = out.documents.values()
    assert (document.id, document.text) == ("mediawiki:zhwiki/12", "数学是研究数量的学科。")
    assert document.metadata == {
        "title": "数学 & 逻辑",
        "date": "2024-05-06T07:08:09Z",
        "url": "https://zh.wikipedia.org/wiki/数学_&_逻辑",
    }
    assert [(row["record"], row["reason"]) for row in out.skipped] == [
        (2, "redirect"),
        (3, "other_namespace"),
        (4, "other_content_type"),
    ]


def test_namespaces_can_be_chosen_and_the_last_revision_counts(tmp_path):
    twice = article(14, "Talk:A", "old text", ns=1).replace(
        "  </page>", "    <revision><id>2</id><timestamp>t</timestamp><text>new text</text></revision>\n  </page>"
    )
    write(tmp_path / "a.xml", (HEAD + article(12, "A", "main") + twice + TAIL).encode())
    out = ingest(tmp_path, source(tmp_path / "a.xml", namespaces=[1]))
    assert out.texts == ["new text"]


def test_a_huge_page_is_skipped_and_the_next_read(tmp_path):
    write(tmp_path / "a.xml", (HEAD + article(1, "A", "x" * 5000) + article(2, "B", "text") + TAIL).encode())
    out = ingest(tmp_path, source(tmp_path / "a.xml", max_record_bytes=1000))
    assert out.texts == ["text"]
    assert [(row["record"], row["reason"], row["detail"]) for row in out.skipped] == [
        (1, "too_long", "5000 bytes; max_record_bytes is 1000")
    ]


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>\n'


@pytest.mark.parametrize(
    ("tail", "reason", "detail"),
    [
        ("<page><title>cut", "invalid_xml", "no element found"),
        ("<page></wrong>", "invalid_xml", "mismatched tag"),
        ("<page>&undefined;</page>" + TAIL, "invalid_xml", "undefined entity"),
        ("<a>" * 40, "too_nested", "XML elements nested more than 32 deep"),
        ("<page a='" + "x" * 6_000_000, "invalid_xml", "a tag of more than 4194304 bytes"),
    ],
)
def test_broken_xml_keeps_the_pages_before_it(tmp_path, tail, reason, detail):
    write(tmp_path / "a.xml", (HEAD + article(1, "A", "text") + tail).encode())
    out = ingest(tmp_path, source(tmp_path / "a.xml"))
    assert out.texts == ["text"]
    assert [row["reason"] for row in out.skipped] == [reason]
    assert detail in out.skipped[0]["detail"]
    with pytest.raises(BadInput, match=rf"^a\.xml: {reason}: "):
        ingest(tmp_path / "strict", source(tmp_path / "a.xml", on_bad_input="error"))


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (LAUGHS + HEAD + TAIL, "a document type declaration"),
        ("<rss><page/></rss>", "the root element is 'rss': not a MediaWiki export"),
        ("plain text", "syntax error"),
    ],
)
def test_files_that_are_no_dump(tmp_path, data, detail):
    write(tmp_path / "a.xml", data.encode())
    out = ingest(tmp_path, source(tmp_path / "a.xml"))
    assert out.reasons == ["invalid_xml"]
    assert detail in out.skipped[0]["detail"]


def test_memory_does_not_grow_with_the_dump(tmp_path):
    code = """
import hashlib, sys
from data_quality.config import MediaWikiSource
from data_quality.sources import mediawiki
from data_quality.sources.base import FileRef
from tests.peak import forget_peak, peak
path = sys.argv[1]
ref = FileRef(path="a", uri=path, sha256=hashlib.file_digest(open(path, "rb"), "sha256").hexdigest(), bytes=1)
reading = mediawiki.read(ref, MediaWikiSource(format="mediawiki", paths=("a",), max_record_bytes=100_000))
next(reading)
before = forget_peak()
print(1 + sum(1 for _ in reading), (peak() - before) // 1024)
"""
    pages = "".join(article(n, f"A{n}", "text " * 1000) for n in range(100))
    write(tmp_path / "a.xml", (HEAD + pages * 8 + article(1, "A", "x" * 40_000_000) + TAIL).encode())
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.xml")], capture_output=True, text=True)
    count, grown = map(int, done.stdout.split())
    assert count == 801
    assert grown < 30


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150, deadline=None
)
@given(
    st.binary(max_size=200).map(lambda data: HEAD.encode() + data)
    | st.binary(max_size=100)
    | st.lists(
        st.sampled_from(["<page>", "</page>", "<ns>0</ns>", "<ns>", "<revision>", "<text>", "</text>", "x"])
    ).map(lambda parts: (HEAD + "".join(parts)).encode())
)
def test_any_bytes_are_read_or_refused(tmp_path, data):
    (tmp_path / "a.xml").write_bytes(data)
    try:
        for item in mediawiki.read(ref(tmp_path / "a.xml"), MediaWikiSource(format="mediawiki", paths=("a",))):
            assert isinstance(item, Record | Skip)
    except InputError as error:
        if error.reason != "invalid_xml":
            raise


@pytest.mark.parametrize(
    ("markup", "plain"),
    [
        ("'''Bold''' and ''italic'' and '''''both'''''", "Bold and italic and both"),
        ("[[Link]], [[target|label]], [[a]]s, [[:File:x.png]]", "Link, label, as, File:x.png"),
        ("[[File:x.png|thumb|A [[caption]] {{with}} more]]text[[Category:C]]", "text"),
        ("[[fr:Lien]][[zh-min-nan:x]]text [[wikt:word|word]]", "text word"),
        ("one{{cite|a=[[b]]|{{inner}}}} two", "one two"),
        ("{{lang|fr|bonjour}}, {{convert|5|km|mi}}, {{lang-de|Wort}}, {{nowrap|a b}}", "bonjour, 5 km, Wort, a b"),
        ("before\n{| class=x\n! head\n|-\n| cell {{t}} || [[a]]\n{| \n| inner\n|}\n|}\nafter", "before\nafter"),
        ("text<ref name=a>note [[x]]</ref> and<ref name=b /> more<ref>unclosed", "text and moreunclosed"),
        ("a<!-- hidden -->b<!-- never closed", "ab"),
        ("<nowiki>[[not]] ''a'' {{link}}</nowiki>", "[[not]] ''a'' {{link}}"),
        ("where <math>x_{i} = \\frac{a}{b}</math> is", "where $x_{i} = \\frac{a}{b}$ is"),
        ("<math>a^2 &lt; b</math> <nowiki>&lt;ref&gt;</nowiki> &lt;", "$a^2 < b$ <ref> <"),
        ("<pre>a &lt; b &amp;&amp; c; d</pre>", "a < b && c; d"),
        ("<syntaxhighlight>x &lt;&lt; 1;</syntaxhighlight>", "x &lt;&lt; 1;"),
        ("[http://a.org label] [http://a.org] http://b.org", "label http://b.org"),
        ("== Title ==\ntext\n== Empty ==\n=== Empty too ===\n== Last ==\n{{reflist}}", "Title\n\ntext"),
        ("== A ==\n=== B ===\ntext", "A\n\nB\n\ntext"),
        ("* one\n** two\n# three\n: indented\n; term", "- one\n- two\n- three\nindented\nterm"),
        ("Foo ({{IPA|x}}) bar (, 1950) baz（；）", "Foo bar (1950) baz"),
        ("line<br/>break<div>block</div>", "line\nbreak\nblock"),
        ("&amp;lt;&nbsp;&eacute;&#20013;", "&lt; é中"),
        ("-{zh-hans:软件; zh-hant:軟體;}-和-{字}-", "软件和字"),
        ("__NOTOC__ text __init__", "text __init__"),
        ("{{unclosed and text goes on", "unclosed and text goes on"),
        ("text }} ]] |} ends", "text |} ends"),
        ("|row of a lost table\n----\ntext", "text"),
        ("", ""),
    ],
)
def test_markup(markup, plain):
    assert plain_text(markup) == plain


def test_namespaces_of_the_wiki_are_known():
    assert plain_text("[[文件:a|图]]x[[分类:b]]", LinkPrefixes.of({"文件", "分类"})) == "x"


MARKS = (
    *(
        "{{",
        "}}",
        "[[",
        "]]",
        "{|",
        "|}",
        "\n",
        "|",
        "'",
        "''",
        "=",
        "==",
        "<ref>",
        "</ref>",
        "<!--",
        "-->",
        "<nowiki>",
    ),
    *("<nowiki>", "a", " ", ":", "*", "-{", "}-", "(", ","),
)


@given(st.lists(st.sampled_from(MARKS)))
def test_any_markup_gives_text(parts):
    assert "\n\n\n" not in plain_text("".join(parts))


@pytest.mark.parametrize("mark", [*MARKS, "{{a|", "[[a|", "<ref ", "[http://a ", "== a\n", "{|\n", "<br ", "{{[["])
def test_repeated_markup_takes_linear_time(mark):
    plain_text(mark * 20_000)  # pytest-timeout ends what does not come back
