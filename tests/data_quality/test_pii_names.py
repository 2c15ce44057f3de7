"""Names without personal data: equal names stay equal, different ones different, and nothing is left to find."""

from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.config import DocumentList, IngestConfig, PiiConfig
from data_quality.errors import UsageError
from data_quality.ingest import ingest_piece
from data_quality.pieces import list_pieces
from data_quality.pii import find_pii
from data_quality.pii_names import Pseudonyms
from data_quality.sources.base import BadInput

ALL = PiiConfig()
PERSONAL = [
    "<4711@mail.example.org>",
    "jane@example.org",
    "2001:db9::ff00:42:8329",
    "host 8.8.8.8.txt",
    "+1 212 555 1234",
    "4111111111111111",
]


def test_a_name_keeps_what_is_not_personal() -> None:
    named = Pseudonyms(ALL)("mails/jane@example.org.mbox#3")
    assert named.startswith("mails/<email:")
    assert named.endswith(">#3")


@pytest.mark.parametrize("name", PERSONAL)
def test_nothing_is_left_to_find_and_what_stands_there_is_stable(name: str) -> None:
    named = Pseudonyms(ALL)(name)
    assert not find_pii(named, ALL)
    assert named == Pseudonyms(ALL)(name) != name
    assert named == Pseudonyms(ALL)(named)


@pytest.mark.parametrize(
    "name", ["", "text:a/b.txt#12", "ham/00001.7c53336b37003a92", "2026-11-26T10:00:00Z", "名前/三"]
)
def test_other_names_stay(name: str) -> None:
    assert Pseudonyms(ALL)(name) == name


@given(st.lists(st.tuples(st.sampled_from(PERSONAL), st.text("ab/#", max_size=3)), unique=True, min_size=2, max_size=6))
def test_different_names_stay_different(parts: list[tuple[str, str]]) -> None:
    named = [Pseudonyms(ALL)(f"{rest} {name}") for name, rest in parts]
    assert all(one != other for one, other in combinations(named, 2))


def test_a_key_changes_what_stands_there_and_a_category_can_be_switched_off() -> None:
    hashed = PiiConfig(style="hashed")
    one, other = (Pseudonyms(hashed, key * 16)("jane@example.org") for key in (b"a", b"b"))
    assert len({one, other, Pseudonyms(ALL)("jane@example.org")}) == 3
    assert Pseudonyms(PiiConfig(email=False))("jane@example.org") == "jane@example.org"
    with pytest.raises(UsageError, match="needs a secret key"):
        Pseudonyms(hashed)


def test_lists_name_documents_as_the_source_does() -> None:
    listed = DocumentList(ids=("jane@example.org", "plain", "*@example.org"), sources=("jane@example.org",))
    named = Pseudonyms(ALL)
    jane = named("jane@example.org")
    assert listed.named(named) == DocumentList(ids=(jane, "plain", "*@example.org"), sources=(jane,))


def test_ids_sources_and_files_are_named_as_they_are_read(tmp_path: Path) -> None:
    source = {"format": "jsonl", "paths": [str(tmp_path)], "id_column": "id", "source_column": "sender"}
    file = tmp_path / "jane@example.org.jsonl"
    file.write_text('{"id": "jane@example.org/1", "sender": "jane@example.org", "text": "one"}\nbroken\n')
    [piece] = list_pieces(IngestConfig.model_validate({"sources": [source]}))
    named = Pseudonyms(ALL)
    ingest_piece(piece, tmp_path / "out", named=named)
    tables = {name: pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("00000", "skipped", "files")}
    assert tables["00000"]["id"].to_pylist() == [named("jane@example.org/1")]
    assert tables["00000"]["source"].to_pylist() == [named("jane@example.org")]
    for name in ("skipped", "files"):
        assert tables[name]["file"].to_pylist() == [named(file.name)]
    strict = piece.model_copy(update={"source": piece.source.model_copy(update={"on_bad_input": "error"})})
    with pytest.raises(BadInput, match=r"^jane@example\.org\.jsonl, line 2: invalid_json"):  # to whoever has the file
        ingest_piece(strict, tmp_path / "strict", named=named)
