"""URL dedupe: what the normal form joins and what it keeps apart, and who stays."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.config import KeepConfig, UrlDedupeConfig, UrlFormConfig
from data_quality.dedupe.evidence import DUPLICATES_SCHEMA
from data_quality.dedupe.url import normalize_url, url_dedupe, url_shard
from tests.data_quality.dedupe_shards import rows, shards, verdicts

TRACKING = UrlFormConfig().tracking_parameters


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("HTTP://Example.COM/a", "http://example.com/a"),  # scheme and host: RFC 3986 section 6.2.2.1
        ("https://ex.org:443/a", "https://ex.org/a"),  # default port: 6.2.3
        ("http://ex.org", "http://ex.org/"),  # empty path: 6.2.3
        ("http://ex.org/a/./b/../c", "http://ex.org/a/c"),  # dot segments: 6.2.2.3
        ("http://ex.org/%7euser/%e4", "http://ex.org/~user/%E4"),  # escapes: 6.2.2.1 and 6.2.2.2
        ("http://ex.org/中文", "http://ex.org/%E4%B8%AD%E6%96%87"),
        ("http://bücher.example/", "http://xn--bcher-kva.example"),
        ("http://ex.org/a#part", "http://ex.org/a"),
        ("http://ex.org/a/", "http://ex.org/a"),
        ("http://ex.org//", "http://ex.org"),
        ("http://ex.org/a?utm_source=x&id=3&FBCLID=y", "http://ex.org/a?id=3"),
        ("http://ex.org/a?", "http://ex.org/a"),
        ("http://me:secret@ex.org./a", "http://ex.org/a"),
    ],
)
def test_the_same_address(left, right):
    assert normalize_url(left, TRACKING) == normalize_url(right, TRACKING) is not None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("http://ex.org/a", "https://ex.org/a"),
        ("http://ex.org/a", "http://ex.org/A"),
        ("http://ex.org/a", "http://www.ex.org/a"),
        ("http://ex.org:8080/a", "http://ex.org/a"),
        ("http://ex.org/a?id=3", "http://ex.org/a?id=4"),
        ("http://ex.org/a?x=1&y=2", "http://ex.org/a?y=2&x=1"),
        ("http://ex.org/a%2Fb", "http://ex.org/a/b"),
        ("http://ex.org/a?my_utm_source=x", "http://ex.org/a"),
    ],
)
def test_other_addresses(left, right):
    assert None not in (normalize_url(left, TRACKING), normalize_url(right, TRACKING))
    assert normalize_url(left, TRACKING) != normalize_url(right, TRACKING)


@pytest.mark.parametrize(
    "url", ["", "page.html", "/a/b", "mailto:a@b.org", "http://", "http://ex.org:99999999/", "http://[::1"]
)
def test_what_is_no_absolute_url_has_no_normal_form(url):
    assert normalize_url(url) is None


@given(st.text(max_size=40), st.text(max_size=20))
def test_normalising_twice_changes_nothing_and_nothing_crashes(path, query):
    normal = normalize_url(f"http://ex.org/{path}?{query}", TRACKING)
    if normal is not None:
        assert normalize_url(normal, TRACKING) == normal
        assert normal.isascii()
        assert urlsplit(normal).fragment == ""


@given(st.text(max_size=60))
def test_any_text_is_answered(text):
    normalize_url(text, TRACKING)


PAGES = [
    {"id": "old", "text": "short", "metadata": {"url": "http://ex.org/a?utm_source=mail"}},
    {"id": "new", "text": "a longer version of the page", "metadata": {"url": "http://ex.org/a/"}},
    {"id": "bad", "text": "the longest version of the page, but it fails the rules", "metadata": {"url": "HTTP://ex.org/a"}},
    {"id": "other", "text": "short", "metadata": {"url": "http://ex.org/b"}},
    {"id": "none", "text": "no address"},
    {"id": "broken", "text": "no address either", "metadata": {"url": "a.html"}},
]  # fmt: skip


def run(directory, documents, config=None, count=1, failing=(), listed=()):
    config = config or UrlDedupeConfig(enabled=True)
    tables = []
    for path in shards(directory / "documents", documents, count):
        tables.append(directory / path.name)
        url_shard(path, tables[-1], config.form)
    out = directory / "duplicates.parquet"
    verdict_paths = [verdicts(directory / "verdicts.parquet", failing, listed=listed)] if failing or listed else []
    counts = url_dedupe(tables, out, config, verdict_paths=verdict_paths, temp_directory=directory)
    return counts, rows(out), out.read_bytes()


def test_one_document_of_an_address_stays_by_the_keep_policy(tmp_path):
    counts, found, _ = run(tmp_path, PAGES)
    assert found == [
        {"dropped": id, "kept": "bad", "kind": "url", "jaccard": None, "family_size": 3} for id in ("new", "old")
    ]
    assert counts == {"documents": 6, "urls": 4, "url": 2, "families": 1, "largest_family": 3}


def test_a_document_that_fails_the_rules_is_kept_for_none(tmp_path):
    _, found, _ = run(tmp_path, PAGES, failing=["bad"])
    assert {row["dropped"]: row["kept"] for row in found} == {"bad": "new", "old": "new"}


def test_what_the_keep_list_names_comes_first_and_never_goes(tmp_path):
    _, found, _ = run(tmp_path / "one", PAGES, failing=["bad"], listed=["old"])
    assert {row["dropped"]: row["kept"] for row in found} == {"bad": "old", "new": "old"}
    _, found, _ = run(tmp_path / "two", PAGES, listed=["old", "new", "none"])
    assert {row["dropped"]: row["kept"] for row in found} == {"bad": "new"}


def test_the_policy_can_be_another(tmp_path):
    config = UrlDedupeConfig(keep=KeepConfig(policy="first_id"))
    assert {row["dropped"] for row in run(tmp_path, PAGES, config)[1]} == {"new", "old"}
    config = UrlDedupeConfig(keep=KeepConfig(policy="shortest"))
    assert {row["dropped"] for row in run(tmp_path, PAGES, config)[1]} == {"new", "bad"}


def test_shards_and_order_change_nothing(tmp_path):
    _, _, expected = run(tmp_path / "one", PAGES)
    for count in (2, 5):
        assert run(tmp_path / f"many{count}", PAGES[::-1], count=count)[2] == expected


def test_counts_of_a_shard_and_the_schema(tmp_path):
    [path] = shards(tmp_path, PAGES)
    counts = url_shard(path, tmp_path / "urls.parquet", UrlFormConfig())
    assert counts == {"documents": 6, "urls": 5, "malformed": 1}
    assert DUPLICATES_SCHEMA.field("jaccard").nullable


def test_a_url_that_is_no_text_is_named(tmp_path):
    [path] = shards(tmp_path, [{"id": "x", "text": "t", "metadata": {"url": ["http://ex.org"]}}])
    with pytest.raises(ValueError, match=r"document 'x' has the url .*which is no text: name another field"):
        url_shard(path, tmp_path / "urls.parquet", UrlFormConfig())


def test_a_policy_that_needs_other_tables_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keep\.policy 'oldest' is for near-duplicates only"):
        UrlDedupeConfig.model_validate({"keep": {"policy": "oldest"}})
