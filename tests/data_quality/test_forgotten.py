"""Which pieces may hold what is to be forgotten, and that it is left out where they are read."""

from typing import Any

import pytest

from data_quality.config import IngestConfig, PiiConfig
from data_quality.forgotten import Forgotten
from data_quality.ingest import ingest_piece
from data_quality.pieces import Piece, leave_out, list_pieces
from data_quality.pii_names import Pseudonyms
from tests.data_quality.ingesting import write

RECORDS = b'{"id": "r1", "text": "one", "from": "a"}\n{"id": "r2", "text": "two", "from": "b"}\n'


def pieces(tmp_path: Any, *sources: dict[str, Any]) -> dict[str, Piece]:
    found = list_pieces(IngestConfig.model_validate({"sources": list(sources)}))
    return {piece.source.name: piece for piece in found}


@pytest.fixture
def texts(tmp_path: Any) -> dict[str, Any]:
    write(tmp_path / "texts/a.txt", b"alpha")
    write(tmp_path / "texts/b.txt", b"beta")
    return {"format": "text", "name": "texts", "paths": [str(tmp_path / "texts")]}


@pytest.fixture
def records(tmp_path: Any) -> dict[str, Any]:
    write(tmp_path / "records.jsonl", RECORDS)
    columns = {"id_column": "id", "source_column": "from"}
    return {"format": "jsonl", "name": "records", "paths": [str(tmp_path / "records.jsonl")], **columns}


def left_out(made: dict[str, Piece], **forgotten: Any) -> dict[str, Forgotten | None]:
    return {piece.source.name: piece.forgotten for piece in leave_out(made.values(), Forgotten(**forgotten))}


def test_only_what_a_piece_may_hold_is_in_its_key(
    tmp_path: Any, texts: dict[str, Any], records: dict[str, Any]
) -> None:
    made = pieces(tmp_path, texts, records)
    assert left_out(made) == {"texts": None, "records": None}
    assert left_out(made, ids=("texts:a.txt",)) == {"texts": Forgotten(ids=("texts:a.txt",)), "records": None}
    assert left_out(made, ids=("texts:c.txt",)) == {"texts": None, "records": None}
    assert left_out(made, ids=("r1",)) == {"texts": None, "records": Forgotten(ids=("r1",))}
    assert left_out(made, sources=("texts",))["texts"] == Forgotten(sources=("texts",))
    # a record names its source itself: any may be it
    assert left_out(made, sources=("b",)) == {"texts": None, "records": Forgotten(sources=("b",))}
    [changed] = leave_out([made["texts"]], Forgotten(ids=("texts:a.txt",)))
    assert changed.key_material != made["texts"].key_material
    assert {**changed.key_material, "forgotten": None} == {**made["texts"].key_material, "forgotten": None}


@pytest.mark.parametrize(
    ("forgotten", "kept"),
    [
        ({"ids": ("r1",)}, ["r2"]),
        ({"sources": ("b",)}, ["r1"]),
        ({"sources": ("records",)}, []),
        ({"ids": ("records:records.jsonl",)}, []),  # all of a file
        ({"ids": ("r",)}, ["r1", "r2"]),
    ],
)
def test_reading_leaves_it_out_and_says_so(
    tmp_path: Any, records: dict[str, Any], forgotten: dict[str, Any], kept: list[str]
) -> None:
    import pyarrow.parquet as pq

    strict = {**records, "on_bad_input": "error"}  # to be forgotten is no fault
    [piece] = leave_out(pieces(tmp_path, strict).values(), Forgotten(**forgotten))
    result = ingest_piece(piece, tmp_path / "out")
    shards = [tmp_path / "out" / shard["name"] for shard in result["shards"]]
    assert [id for shard in shards for id in pq.read_table(shard)["id"].to_pylist()] == kept
    skipped = pq.read_table(tmp_path / "out/skipped.parquet").to_pylist()
    gone = [name for name in ("r1", "r2") if name not in kept]
    assert [(row["reason"], row["detail"], row["line"]) for row in skipped] == [
        ("forgotten", name, int(name[1])) for name in gone
    ]


def test_a_record_of_a_file_is_named_by_its_number(tmp_path: Any, records: dict[str, Any]) -> None:
    plain = {name: value for name, value in records.items() if name != "id_column"}
    [piece] = leave_out(pieces(tmp_path, plain).values(), Forgotten(ids=("records:records.jsonl#2",)))
    assert ingest_piece(piece, tmp_path / "out")["documents"] == 1


JANE = "jane@example.org"


@pytest.mark.parametrize("given", ["as the source has it", "as the corpus writes it"])
@pytest.mark.parametrize(
    ("forgotten", "kept"),
    [
        ({"ids": (f"{JANE}/1",)}, ["two", "alpha"]),
        ({"sources": (JANE,)}, ["one", "alpha"]),
        ({"ids": (f"mails:{JANE}.jsonl",)}, ["alpha"]),
        ({"ids": (f"texts:{JANE}/a.txt",)}, ["one", "two"]),
    ],
)
def test_names_with_personal_data_may_be_given_in_either_form(
    tmp_path: Any, given: str, forgotten: dict[str, Any], kept: list[str]
) -> None:
    import pyarrow.parquet as pq

    named = Pseudonyms(PiiConfig())
    write(tmp_path / f"mails/{JANE}.jsonl", f'{{"id": "{JANE}/1", "text": "one", "from": "a"}}\n'.encode())
    with (tmp_path / f"mails/{JANE}.jsonl").open("a") as file:
        file.write(f'{{"id": "{JANE}/2", "text": "two", "from": "{JANE}"}}\n')
    write(tmp_path / f"texts/{JANE}/a.txt", b"alpha")
    mails = {"format": "jsonl", "name": "mails", "paths": [str(tmp_path / "mails")]}
    texts = {"format": "text", "name": "texts", "paths": [str(tmp_path / "texts")]}
    made = pieces(tmp_path, {**mails, "id_column": "id", "source_column": "from"}, texts)
    wanted = Forgotten(**forgotten)
    wanted = wanted if given == "as the source has it" else wanted.named(named)
    found = []
    for number, piece in enumerate(leave_out(made.values(), wanted, named)):
        assert JANE not in str(piece.key_material.get("forgotten"))
        result = ingest_piece(piece, tmp_path / f"{number}", named=named)
        for shard in result["shards"]:
            found += pq.read_table(tmp_path / f"{number}" / shard["name"])["text"].to_pylist()
    assert found == kept
