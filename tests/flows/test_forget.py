"""`textmill forget`: marked, left out by the next refresh, found in all that was made, retired, collected."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_quality import ingest as reading
from data_quality.config import IngestConfig
from flows.cli import main as cli
from flows.commands.export import export_model
from flows.commands.forget import describe_retired
from flows.commands.rebuild import rebuild
from flows.config.loading import ConfigError
from flows.corpus import build_corpus
from flows.pretrain import build_tokens, named_model
from tasks.ingest import fingerprinted, ingest
from tasks.lineage.forgotten import ask, standing
from tasks.running.run import Resources, use_run
from tasks.storage.exports import note_export
from tasks.store import Artifact, Store
from tests.flows.lineage_home import (
    KEPT,
    PIN,
    TRAINED,
    TWIN,
    artifact,
    built_home,
    copied,
    quiet_run,
    settings,
    textmill,
)

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_home(tmp_path_factory, "forget")


@pytest.fixture
def home(built: Path, tmp_path: Path) -> Path:
    """A copy of the home; the documents are the same."""
    return copied(built, tmp_path)


def refresh(home: Path) -> dict[str, Artifact]:
    with use_run(quiet_run(home)) as run:
        corpus = build_corpus(settings(home))
        tokens = build_tokens(settings(home), corpus)
        states = {record.label: record.state for record in run.records}
    return {"raw": corpus.raw, "kept": corpus.kept, "tokenizer": tokens.tokenizer, "states": states}  # type: ignore[dict-item]


def kept(home: Path) -> list[str]:
    """The ids that the next refresh keeps."""
    with use_run(quiet_run(home)):
        return ids(build_corpus(settings(home)).kept)


def read(home: Path) -> list[str]:
    """The ids that the next refresh would read."""
    config = settings(home)
    with use_run(quiet_run(home)):
        return ids(ingest(fingerprinted(config.ingest, config.max_files)))


def ids(artifact: Artifact) -> list[str]:
    return sorted(id for shard in artifact.shards() for id in pq.read_table(shard.path)["id"].to_pylist())


def said(home: Path, *arguments: str) -> dict[str, Any]:
    done = textmill(home, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def holding(home: Path, id: str) -> set[str]:
    """Stages of everything in the store with a table that has the document's id in a column of ids."""
    found = set()
    for table in (home / "home/store/artifacts").rglob("*.parquet"):
        columns = [
            name for name in ("id", "document", "twin", "kept", "dropped") if name in pq.read_schema(table).names
        ]
        values = pq.read_table(table, columns=columns)
        if any(id in map(str, values[name].to_pylist()) for name in columns):
            found.add(table.relative_to(home / "home/store/artifacts").parts[0])
    return found


def test_the_whole_way(home: Path) -> None:
    before, pinned = artifact(home, "ingest"), artifact(home, "train_tokenizer")
    export_model(artifact(home, "pretrain").path, "hf", home / "exported")
    Store(home / "home/store").set_alias("champion", artifact(home, "finetune"))
    url = "s3://somewhere/clean"
    note_export(Store(home / "home/store"), artifact(home, "filter_corpus"), "clean", url)
    marked = said(home, "forget", TRAINED, "--why", "ticket 7")
    assert marked["documents"] == 1
    assert {row["artifact"].partition("/")[0] for row in marked["models"]} == {"bag_of_words", "finetune", "pretrain"}
    [exported] = [row["exports"] for row in marked["models"] if row["artifact"].startswith("pretrain/")]
    assert exported == [str(home / "exported")]
    assert "to be forgotten by the next refresh" in textmill(home, "why", TRAINED).stdout

    made = refresh(home)
    assert ids(made["raw"]) == [id for id in ids(before) if id != TRAINED]
    assert made["tokenizer"].key != pinned.key  # it had learned from it: the pin moves
    why = textmill(home, "why", TRAINED)
    assert why.exit_code == 0, why.output
    assert "forgotten: request" in why.stdout
    assert "ticket 7" in why.stdout
    assert set(refresh(home)["states"].values()) == {"cached"}

    with pytest.raises(ConfigError, match="it is not built again; run its flow"):
        rebuild("pretrain", Resources(), go_on=False, keep=False, quiet=True)
    retired = said(home, "forget", "--retire")
    assert retired["aliases"] == ["champion"]
    assert retired["told"].startswith("MLflow does not answer")
    places = {row["place"] for row in retired["remains"]}
    assert {str(artifact(home, "pretrain").path), str(home / "exported")} <= places
    assert retired["remains"][0] == {"place": url, "bytes": None}
    sizes = [row["bytes"] for row in retired["remains"][1:]]
    assert sizes == sorted(sizes, reverse=True)
    in_words = describe_retired(retired)
    assert f"still on disk ({sum(sizes):,} bytes, and 1 elsewhere)" in in_words
    assert f"         unknown  {url}" in in_words
    with use_run(quiet_run(home)), pytest.raises(ConfigError, match="was retired: it learned from documents"):
        named_model(artifact(home, "pretrain").name, "model")

    done = textmill(home, "gc", "--delete", "--grace-hours", "0")
    assert done.exit_code == 0, done.output
    assert holding(home, TRAINED) == set()
    assert Store(home / "home/store").aliased(PIN) is not None
    [entry] = json.loads(textmill(home, "forget", "--list", "--json").stdout)
    assert entry["on_disk"] == 0
    traced = said(home, "trace", TRAINED)
    assert entry["request"] in traced["request"]
    assert [traced[kind] for kind in ("models", "tokenizers", "figures", "data")] == [[]] * 4
    assert entry["derived"] == entry["retired"] > 15


def test_near_twins_are_pointed_out_and_can_go_with_it(home: Path) -> None:
    """What was dropped in favour of a forgotten document would come back in its place."""
    [one] = {TWIN, KEPT, "harbours:copy.txt"} & set(ids(artifact(home, "filter_corpus")))
    others = {TWIN, KEPT, "harbours:copy.txt", "gardens:nearly.txt"} - {one}
    answer = said(home, "forget", one)
    assert {twin["id"] for twin in answer["twins"]} == others
    assert {twin["id"]: twin["jaccard"] for twin in answer["twins"]}[min(others - {"gardens:nearly.txt"})] == 1.0
    assert len(others & set(kept(home))) == 1
    answer = said(home, "forget", one, "--with-twins")
    assert answer["documents"] == 4
    assert answer["twins"] == []
    assert not {one, *others} & set(kept(home))


def test_a_dropped_document_retires_no_model(home: Path) -> None:
    [one] = {TWIN, KEPT, "harbours:copy.txt"} & set(ids(artifact(home, "filter_corpus")))
    dropped = min({TWIN, KEPT} - {one})
    answer = said(home, "forget", dropped)
    assert answer["models"] == answer["tokenizers"] == []
    with pytest.raises(ConfigError, match="it is not built again; run its flow"):
        rebuild("pretrain", Resources(), go_on=False, keep=False, quiet=True)  # it would read the document once more
    made = refresh(home)
    assert made["states"]["train_tokenizer (pinned)"] == "cached"  # type: ignore[index]
    assert dropped not in ids(made["raw"])


def test_a_source_a_file_and_a_list(home: Path, tmp_path: Path) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("gardens:01.txt\n\n  gardens:02.txt\n", encoding="utf-8-sig")  # as Windows writes it
    assert said(home, "forget", "--file", str(listed))["ids"] == ["gardens:01.txt", "gardens:02.txt"]
    marked = said(home, "forget", "--source", "harbours")
    assert marked["documents"] == 26
    left = read(home)
    assert not [id for id in left if id.startswith("harbours:")]
    assert "gardens:01.txt" not in left
    found = len(marked["models"] + marked["tokenizers"] + marked["figures"] + marked["data"])
    one = said(home, "forget", "harbours:01.txt")
    listed_now = {row["request"]: row for row in json.loads(textmill(home, "forget", "--list", "--json").stdout)}
    assert listed_now[marked["request"]]["derived"] == found  # although the later one is about some of the same
    assert listed_now[one["request"]]["derived"] > 0
    for request in (one["request"], marked["request"]):
        said(home, "forget", "--withdraw", request)
    listed_now = {row["request"]: row for row in json.loads(textmill(home, "forget", "--list", "--json").stdout)}
    assert (listed_now[marked["request"]]["derived"], listed_now[marked["request"]]["stands"]) == (found, False)
    assert len([id for id in read(home) if id.startswith("harbours:")]) == 26
    assert "withdrawn" in textmill(home, "forget", "--list").stdout


def test_what_was_found_when_it_was_marked_is_retired_though_the_way_to_it_is_gone(home: Path) -> None:
    marked = said(home, "forget", "--source", "harbours")
    artifacts = home / "home/store/artifacts"
    for stage in ("ingest", "ingest.piece"):
        shutil.rmtree(artifacts / stage)
    retired = said(home, "forget", "--retire")
    assert marked["models"]
    assert {row["artifact"] for row in retired["models"]} == {row["artifact"] for row in marked["models"]}
    assert PIN in retired["aliases"]


def test_only_pieces_that_hold_it_are_read_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records with ids of their own may be anywhere; what was read of other files is taken over, with the same result
    as when it is read."""
    folder = home / "records"
    folder.mkdir()
    for name in "abc":
        lines = [json.dumps({"id": f"{name}{n}", "text": f"record {n} of {name} says a few words"}) for n in range(4)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    source = {"format": "jsonl", "name": "records", "paths": [str(folder)], "id_column": "id"}
    config = IngestConfig.model_validate({"sources": [source], "piece_bytes": 1})
    opened: list[str] = []
    run = quiet_run(home)
    run.resources = Resources(workers=1, threads=1, runner="threads")
    with use_run(run):
        first = ingest(fingerprinted(config))
        ask(Store(home / "home/store"), ["b2"], [], "")
        original = reading.ingest_piece

        def noting(piece: Any, directory: Path, **named: Any) -> Any:
            opened.extend(file.path for file in piece.files)
            return original(piece, directory, **named)

        monkeypatch.setattr(reading, "ingest_piece", noting)
        second = ingest(fingerprinted(config))
        assert opened == ["b.jsonl"]  # one range of it
        assert ids(second) == [id for id in ids(first) if id != "b2"]
        shutil.rmtree(home / "home/store/artifacts/ingest")
        shutil.rmtree(home / "home/store/artifacts/ingest.piece")
        anew = ingest(fingerprinted(config))
        assert set(opened) == {"a.jsonl", "b.jsonl", "c.jsonl"}
        assert (anew.key, anew.digest) == (second.key, second.digest)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name documents (ID..., --file, --source), or one of"),
        (("a", "--retire"), "or one of --retire"),
        (("gardens:0.txt",), "no reading of sources in this store holds 'gardens:0.txt': write whole ids"),
        (("--source", "meadows"), "no source is called meadows"),
        (("--file", "/no/such/list"), "/no/such/list: No such file or directory"),
        (("--withdraw", "yesterday"), "no request 'yesterday' stands; there are: none"),
        (("--retire",), "nothing is to be forgotten"),
    ],
)
def test_what_cannot_be_done_is_said_and_marks_nothing(
    home: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(home / "home"))
    monkeypatch.setattr(sys, "argv", ["textmill", "forget", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert message in capsys.readouterr().err
    assert standing(Store(home / "home/store")) == []


def test_what_was_never_read_can_be_kept_out(home: Path, built: Path) -> None:
    assert said(home, "forget", "gardens:later.txt", "--unseen")["documents"] == 0
    documents = home / "documents"
    documents.unlink()
    shutil.copytree(built / "documents", documents)
    (documents / "gardens/later.txt").write_text((documents / "gardens/00.txt").read_text() + " And more of it.")
    found = read(home)
    assert "gardens:later.txt" not in found
    assert "gardens:00.txt" in found
