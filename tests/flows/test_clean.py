"""`textmill clean`: a folder of documents in, a clean corpus out, without a server."""

import errno
import json
import random
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.sources.base import NAME_THE_COLUMN
from flows.cli.main import main
from flows.commands.clean import clean, clean_config
from flows.commands.init import init_config
from flows.commands.why import describe, why
from flows.config.loading import CONFIGS, ConfigError
from tasks.profile import GateClosed
from tasks.reports.format import size
from tasks.running import pool
from tasks.storage.disk import DiskFull
from tasks.storage.shared import open_store
from tasks.store import StoreError
from tests.tasks.tiny_corpus import ADDRESS, write_documents

QUICK = {"resources.workers": "1", "resources.threads": "1"}
CLEAN_CONFIGS = sorted(CONFIGS.glob("clean-*.yaml"))


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    write_documents(tmp_path / "documents")
    yield tmp_path / "documents"
    pool.shut_down()


@pytest.fixture
def run(documents: Path, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    def run(file: Path | None = None, **overrides: str) -> tuple[dict[str, Any], Path]:
        given = {name.replace("__", "."): value for name, value in overrides.items()}
        config = clean_config([str(documents)], file, QUICK | given, None)
        return clean(config, str(tmp_path / "out"), quiet=True), tmp_path / "out"

    return run


def ids(out: Path, view: str) -> dict[str, dict[str, Any]]:
    return {
        row["id"]: row for path in sorted((out / view).glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    }


def test_the_folder_holds_every_document_once_and_says_why(run: Any) -> None:
    manifest, out = run(rules__rulesets="[gopher_quality]", lines__enabled="true", substring__enabled="true")
    kept, dropped = ids(out, "kept"), ids(out, "dropped")
    assert not kept.keys() & dropped.keys()
    assert len(kept) + len(dropped) == manifest["documents"]["read"]
    assert manifest["documents"]["kept"] == len(kept)
    [short] = [row for id, row in dropped.items() if id.endswith("short.txt")]
    assert short["reason"] == "gopher_quality.gopher_short_doc"
    assert short["non_symbol_words"] < 50
    assert ADDRESS not in short["text"]
    twins = [row for row in dropped.values() if row["reason"].startswith("duplicate.")]
    assert {row["reason"] for row in twins} == {"duplicate.exact", "duplicate.near"}
    assert all(row["twin"] in kept for row in twins)
    assert "<html" in (out / "report.html").read_text(encoding="utf-8")[:200]
    loaded = datasets.load_dataset("parquet", data_files=str(out / "kept" / "*.parquet"), split="train")
    assert set(loaded["id"]) == set(kept)


@pytest.mark.parametrize("dropped", [True, False])
def test_the_folder_can_be_loaded_where_all_of_a_file_was_kept_or_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropped: bool
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    lines = [f'{{"id": "{name}", "text": "Roses want sun, says gardener {name} of the town."}}' for name in "abc"]
    (tmp_path / "one.jsonl").write_text("\n".join(lines))
    (tmp_path / "two.jsonl").write_text("\n".join(lines).replace('"id": "', '"id": "copy-'))
    chosen = QUICK | {"rules.rulesets": "[gopher_quality]" if dropped else "[]"}
    config = clean_config([str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")], None, chosen, None)
    clean(config, str(tmp_path / "out"), quiet=True)
    view, empty = ("dropped", "kept") if dropped else ("kept", "dropped")
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "out" / view / "*.parquet"), split="train")
    assert set(loaded["id"]) == set(ids(tmp_path / "out", view))
    assert [path.name for path in sorted((tmp_path / "out" / empty).iterdir())] == ["00000.parquet", "00001.parquet"]
    assert len(pq.read_table(tmp_path / "out" / empty)) + len(loaded) == 6


def test_the_manifest_has_every_file_and_its_hash(run: Any) -> None:
    import hashlib

    _, out = run()
    files = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert {entry["path"] for entry in files} | {"manifest.json"} == {
        str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()
    }
    for entry in files:
        assert hashlib.sha256((out / entry["path"]).read_bytes()).hexdigest() == entry["sha256"]


def test_steps_can_be_left_out(run: Any) -> None:
    _, out = run(
        exact__enabled="false", near_dedupe__enabled="false", rules__enabled="false", pii__enabled="false",
        normalize__enabled="false",
    )  # fmt: skip
    assert not ids(out, "dropped")
    assert any(ADDRESS in row["text"] for row in ids(out, "kept").values())


@pytest.mark.parametrize("config", CLEAN_CONFIGS, ids=lambda path: path.stem)
def test_one_ruleset_of_a_shipped_configuration_can_be_run_alone(documents: Path, config: Path) -> None:
    for name in clean_config([str(documents)], config, {}, None).rules.rulesets:
        assert clean_config([str(documents)], config, {"rules.rulesets": f"[{name}]"}, None).rules.rulesets == (name,)


def test_a_mixture_says_how_often_each_document_is_drawn(run: Any) -> None:
    _, out = run(rules__rulesets="[]", mixture__enabled="true", mixture__budget="5000")
    kept, dropped = ids(out, "kept"), ids(out, "dropped")
    assert kept
    assert all(row["copies"] >= 1 for row in kept.values())
    left_out = [row for row in dropped.values() if row["reason"] == "mixture.not_drawn"]
    assert len(left_out) > 10
    assert all(row["words"] > 0 for row in left_out)  # their signals are there too


def test_with_a_mixture_manifest_report_and_why_say_the_same(run: Any) -> None:
    mixture = {"mixture__enabled": "true", "mixture__budget": "5000", "mixture__weights": "{documents-gardens-text: 2}"}
    manifest, out = run(**mixture, rules__rulesets="[]")
    kept, dropped = ids(out, "kept"), ids(out, "dropped")
    left_out = sorted(id for id, row in dropped.items() if row["reason"] == "mixture.not_drawn")
    documents = manifest["documents"]
    assert (documents["kept"], documents["dropped"]) == (len(kept), len(dropped))
    assert documents["not_drawn"] == len(left_out) > 10
    assert documents["before_mixture"] == len(kept) + len(left_out) == manifest["profile"]["whole"]["kept"]
    sizes = sum(len(row["text"].encode()) for row in kept.values())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f'<dt>drawn by the mixture</dt><dd class="big">{size(sizes)}</dd>' in page
    assert f'>{len(kept)} documents</dd><dd class="sub">copies counted once</dd>' in page
    [drawn] = open_store().list("mixture")
    weights = {"documents-gardens-text": 2, "documents-harbours-text": 1}
    for id in left_out[:2] + left_out[-2:]:
        source = id.partition(":")[0]
        said = f"({source}: weight {weights[source]}, budget 5,000 bytes)"
        assert f"\n  kept by the rules and dedupe; not drawn by {drawn.name} {said}\n" in describe(why(id, str(out)))
    id, row = next(iter(kept.items()))
    times = "1 time" if row["copies"] == 1 else f"{row['copies']} times"
    assert f"  kept; split: not split yet\n  drawn {times} by {drawn.name}\n" in describe(why(id, str(out)))


def test_a_folder_is_asked_about_its_own_mixture_alone(documents: Path, tmp_path: Path) -> None:
    drawing = {"mixture.enabled": "true", "mixture.weights": "{documents-gardens-text: 3, documents-harbours-text: 3}"}
    budget = {**drawing, "mixture.budget": "5000"}
    for name, given in (("all", {}), ("thrice", drawing), ("few", budget)):
        config = clean_config([str(documents)], None, QUICK | {"rules.rulesets": "[]", **given}, None)
        manifest = clean(config, str(tmp_path / name), quiet=True)
        assert ("before_mixture" in manifest["documents"]) == (name != "all")
    dropped = ids(tmp_path / "few", "dropped")
    left_out = next(id for id, row in dropped.items() if row["reason"] == "mixture.not_drawn")
    assert why(left_out, str(tmp_path / "all"))["mixtures"] == []
    assert "drawn by the mixture" not in (tmp_path / "all" / "report.html").read_text(encoding="utf-8")
    [thrice] = why(left_out, str(tmp_path / "thrice"))["mixtures"]
    assert (thrice["copies"], thrice["weight"], thrice["budget"]) == (3, 3, None)
    [few] = why(left_out, str(tmp_path / "few"))["mixtures"]
    assert (few["copies"], few["group"], few["unit"]) == (0, left_out.partition(":")[0], "bytes")
    said = describe(why(left_out, None)).splitlines()  # of the corpus, from which both drew
    assert said[2] == "  kept; split: not split yet"
    assert sorted(line.split(" by ")[0] for line in said[3:5]) == ["  drawn 3 times", "  not drawn"]


def test_running_again_replaces_the_folder_and_builds_nothing(run: Any, tmp_path: Path) -> None:
    first, _ = run()
    before = sorted(path.name for path in (tmp_path / "home" / "store" / "artifacts").iterdir())
    again, _ = run()
    assert again == first
    assert sorted(path.name for path in (tmp_path / "home" / "store" / "artifacts").iterdir()) == before
    assert not list(tmp_path.glob(".out.*"))


@pytest.mark.parametrize("url", [False, True])
def test_where_gates_are_asked_for_a_folder_that_would_move_too_far_stays(
    documents: Path, tmp_path: Path, url: bool
) -> None:
    out = f"file://{tmp_path}/out" if url else str(tmp_path / "out")

    def cleaned(**given: str) -> Any:
        settings = QUICK | {"rules.rulesets": "[gopher_quality]", **given}
        return clean(clean_config([str(documents)], None, settings, None), out, quiet=True)

    asked = {"gates.enabled": "true", "gates.source_size": "null"}
    assert not clean_config([str(documents)], None, {"gates.source_size": "null"}, None).gates.enabled
    first = cleaned(**asked)  # there is nothing to compare it with
    assert cleaned(**asked) == first
    stricter = {"rules.thresholds": "{gopher_quality.gopher_short_doc: 100000}"}
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    with pytest.raises(GateClosed, match=r"out stays as it is(.|\n)*the share of documents that are kept went from"):
        cleaned(**asked, **stricter)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    if url:  # a writer was killed that had begun to replace it
        note = {"made_by": "textmill clean", "former": json.loads(before)}
        (tmp_path / "out" / "uploading.json").write_text(json.dumps(note))
        (tmp_path / "out" / "manifest.json").unlink()
    else:
        (tmp_path / "out").rename(tmp_path / ".out.former")
    with pytest.raises(GateClosed, match="kept went from"):
        cleaned(**asked, **stricter)
    assert cleaned(**stricter)["documents"]["kept"] == 0


@pytest.mark.parametrize("file", CLEAN_CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_run(run: Any, file: Path) -> None:
    manifest, _ = run(file)
    assert manifest["documents"]["read"] > 50


def test_the_folder_of_a_cleaning_killed_between_its_renames_is_not_lost(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = run()
    before = ids(out, "kept")
    out.rename(tmp_path / ".out.former")
    (tmp_path / ".out.partial").mkdir()

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("flows.commands.clean.export", full)
    with pytest.raises(DiskFull, match=f"the clean folder could not write below {tmp_path}. What is finished is kept"):
        run()
    assert ids(out, "kept") == before
    assert not list(tmp_path.glob(".out.*"))


@pytest.fixture
def command(documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`textmill clean` as it is typed."""

    def command(*given: str) -> None:
        quick = [f"--set={key}={value}" for key, value in QUICK.items()]
        monkeypatch.setattr(sys, "argv", ["textmill", "clean", *given, "--out", str(tmp_path / "out"), *quick])
        main()

    monkeypatch.setattr("atexit.register", lambda function: function)
    return command


@pytest.mark.parametrize("fault", [ValueError("bad"), RuntimeError("bad"), pa.ArrowInvalid("bad"), RecursionError()])
def test_a_fault_of_the_program_shows_its_traceback(
    fault: Exception, command: Any, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise fault

    monkeypatch.setattr("data_quality.judge.judge", fail)
    with pytest.raises(type(fault)) as caught:
        command(str(documents))
    assert caught.value is fault


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ('{"body": "no text"}', {}, "1 missing_column"),
        ("broken", {"ingest.sources.0.on_bad_input": "error"}, "a.jsonl, line 1: invalid_json"),
        (
            '{"text": "one"}',
            {"rules.signals.custom": "[{name: own, function: 'no_such_module:f'}]"},
            "signals.custom: cannot load no_such_module:f",
        ),
        (
            '{"text": "one"}',
            {"mixture.enabled": "true", "mixture.weights": "{x: 1}"},
            "mixture.weights names the source 'x', which no kept document has",
        ),
        ('{"id": 1, "text": "one"}\n{"id": 1, "text": "two"}', {"ingest.sources.0.id_column": "id"}, "occur more than"),
        ('{"text": "one"}', {"rules.keep.ids_file": "no-such-list"}, "the list no-such-list cannot be read"),
        ('{"text": "one"}', {"rules.rulesets": "[gopher]"}, "unknown ruleset 'gopher'"),
        ('{"text": "one"}', {"pii.style": "hashed"}, "needs a secret key of at least 16 bytes"),
    ],
)
def test_faults_of_the_input_and_of_own_signals_are_one_line(
    text: str,
    settings: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    (tmp_path / "a.jsonl").write_text(text + "\n")
    source = {"ingest.sources": json.dumps([{"format": "jsonl", "paths": [str(tmp_path / "a.jsonl")]}])}
    given = [f"--set={key}={value}" for key, value in (QUICK | source | settings).items()]
    monkeypatch.setattr(sys, "argv", ["textmill", "clean", "--out", str(tmp_path / "out"), *given])
    monkeypatch.setattr("atexit.register", lambda function: function)
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 1
    assert message in " ".join(capsys.readouterr().err.split()).partition("error: ")[2]


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_read(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    config = clean_config([str(tmp_path / "documents")], None, QUICK, None)
    with pytest.raises(ConfigError, match=r"file/out cannot be written \(.+\): choose another --out"):
        clean(config, str(tmp_path / "file" / "out"), quiet=True)
    assert not list(tmp_path.glob("home/store/artifacts/*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["documents", "file", "home"]


def test_a_place_that_may_not_be_read_is_one_line_and_no_traceback(
    command: Any, documents: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*given: Any, **named: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/locked/corpus")

    monkeypatch.setattr("flows.commands.inputs.survey", refuse)  # root, as whom tests may run, is refused nothing
    with pytest.raises(SystemExit) as status:
        command(str(documents))
    assert status.value.code == 1
    assert capsys.readouterr().err == "error: /locked/corpus: Permission denied\n"


def test_what_is_not_read_is_counted_and_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "one"}\n{"text": 5}\n{"text": ""}\nbroken\nbroken, too\n{"t": ""}\n')
    (folder / "picture.png").write_bytes(b"")
    quick = [f"--set={key}={value}" for key, value in QUICK.items()]
    monkeypatch.setattr(sys, "argv", ["textmill", "clean", str(folder), "--out", str(tmp_path / "out"), *quick])
    monkeypatch.setattr("atexit.register", lambda function: function)
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 0
    shown = capsys.readouterr().out
    assert (
        "5 files or records skipped: 2 invalid json, 1 empty document, 1 missing column, 1 not text\n    a.j" in shown
    )
    assert f"there are: 't'\n    a.jsonl, line 2: not_text: the text is a int\n    {NAME_THE_COLUMN}\n" in shown
    assert f"{folder}: files that cannot be read by their names are left out: 1 .png" in caplog.messages
    skipped = json.loads((tmp_path / "out" / "manifest.json").read_text())["skipped"]
    assert list(skipped.items()) == [
        ("invalid_json", 2),
        ("empty_document", 1),
        ("missing_column", 1),
        ("not_text", 1),
    ]


def test_a_folder_inside_of_what_is_read_is_refused(
    documents: Path, monkeypatch: pytest.MonkeyPatch, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = clean_config([str(documents)], None, QUICK, None)
    with pytest.raises(ConfigError, match=r"documents/new/clean is inside of .*documents, and the next cleaning would"):
        clean(config, str(documents / "new" / "clean"), quiet=True, inputs=[str(documents)])
    with pytest.raises(ConfigError, match=r"gardens/clean is inside of .*gardens, and"):
        clean(config, str(documents / "gardens" / "clean"), quiet=True)
    for read in (f"file://{documents}", f"{documents}/**/*.txt"):
        with pytest.raises(ConfigError, match=r"documents/new/clean is inside of .*, and the next cleaning would"):
            clean(config, str(documents / "new" / "clean"), quiet=True, inputs=[read])
    assert not (documents / "new").exists()
    monkeypatch.chdir(documents.parent)  # its sources are the folders in it
    with pytest.raises(SystemExit):
        command(".")
    assert f"error: {documents.parent}/out is inside of ., and the next" in capsys.readouterr().err


def test_a_configuration_of_the_whole_mill_is_told_from_one_of_clean(documents: Path, tmp_path: Path) -> None:
    file = tmp_path / "textmill.yaml"
    file.write_text(init_config(documents), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"textmill\.yaml is a configuration of `textmill run`: leave out model, pretrain"
    ):
        clean_config([], file, QUICK, None)


def test_entries_of_lists_that_match_nothing_are_counted_and_named(
    command: Any, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = ("--set", "rules.drop.ids=[nosuch]", "--set", "rules.keep.sources=[published-*, documents-*]")
    with pytest.raises(SystemExit):
        command(str(documents), *lists)
    shown = capsys.readouterr()
    assert re.search(r"judge .* documents · [0-9]+ passed · 2 unmatched\n", shown.err)
    assert (
        "  warning: no document matches 2 of the entries of the keep- and the drop-list:\n"
        "    rules.drop.ids: nosuch\n    rules.keep.sources: published-*\n"
        "    the sources of these documents are documents-"
    ) in shown.out
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["unmatched"] == {
        "entries": 2,
        "examples": [
            {"list": "list.drop", "field": "id", "entry": "nosuch"},
            {"list": "list.keep", "field": "source", "entry": "published-*"},
        ],
    }


def test_what_is_not_ours_is_not_replaced(run: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds something that `textmill clean` did not write"):
        run()
    assert (tmp_path / "out" / "thesis.tex").exists()


def test_a_bucket_is_cleaned(documents: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["textmill", "clean", bucket, "--out", str(tmp_path / "out"), "--set", "rules.enabled=false"]
    )
    lines = [json.dumps({"content": f"The {n}. of the texts is that."}) for n in range(9)]
    fsspec.filesystem("s3").pipe(f"{bucket}/deep/below/a.jsonl", "\n".join(lines).encode())
    with pytest.raises(SystemExit, match="0"):
        main()
    assert len(ids(tmp_path / "out", "kept")) + len(ids(tmp_path / "out", "dropped")) == 9


def test_what_goes_for_its_address_takes_no_twin_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    draw = random.Random(4)
    base, other = (["".join(draw.choices("aeiklmnorst", k=6)) for _ in range(count)] for count in (200, 300))
    documents = {
        "gone": (" ".join([*base, "and", "a", "few", "more"]), "https://example.org/a"),
        "stays": (" ".join(other), "https://example.org/a"),
        "twin": (" ".join(base), "https://example.org/b"),
    }
    lines = [json.dumps({"id": id, "text": text, "url": url}) for id, (text, url) in documents.items()]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    settings = QUICK | {"rules.enabled": "false", "url.enabled": "true"}
    clean(clean_config([str(tmp_path / "in.jsonl")], None, settings, None), str(tmp_path / "out"), quiet=True)
    assert set(ids(tmp_path / "out", "kept")) == {"stays", "twin"}
    [gone] = ids(tmp_path / "out", "dropped").values()
    assert (gone["id"], gone["reason"], gone["twin"], gone["jaccard"]) == ("gone", "duplicate.url", "stays", None)
    assert "in favour of stays (the same address)" in describe(why("gone", None))


def test_why_says_that_a_list_keeps_and_that_a_twin_goes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    words = [f"word{number} of" for number in range(8)]
    texts = {"a": " ".join(words), "b": " ".join(words), "listed": "Short, too.", "fine": "word and the of " * 40}
    lines = [json.dumps({"id": id, "text": text}) for id, text in texts.items()]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    settings = QUICK | {"rules.rulesets": "[gopher_quality]", "rules.keep": "{ids: [listed, fine]}"}
    clean(clean_config([str(tmp_path / "in.jsonl")], None, settings, None), str(tmp_path / "out"), quiet=True)
    assert set(ids(tmp_path / "out", "kept")) == {"listed", "fine"}
    said = describe(why("listed", None))
    assert "  kept (list.keep); split: not split yet\n  although\n    gopher_quality.gopher_short_doc: " in said
    assert "non_symbol_words = 2 < 50" in said
    assert "  kept (list.keep); split: not split yet\n  word and the of" in describe(why("fine", None))
    twins = [describe(why(id, None)) for id in "ab"]
    assert [said for said in twins if "in favour of" in said] == []
    assert any("like a, which is dropped, too (Jaccard 1.000)" in said for said in twins)


@pytest.mark.parametrize("step", ["lines", "substring"])
def test_why_says_how_much_a_step_left_and_who_else_has_the_rest(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    draw = random.Random(5)
    shared = "\n".join(" ".join("".join(draw.choices("aeiklmnorst", k=6)) for _ in range(12)) for _ in range(6))
    lines = [json.dumps({"id": id, "text": f"This one is of {id} alone.\n{shared}"}) for id in ("ant", "bee", "cow")]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    settings = QUICK | {"rules.enabled": "false", "near_dedupe.enabled": "false", f"{step}.enabled": "true"}
    settings |= {f"{step}.min_left_characters": "100"}
    if step == "lines":
        settings |= {"lines.min_documents": "3", "lines.min_share": "null"}
    clean(clean_config([str(tmp_path / "in.jsonl")], None, settings, None), str(tmp_path / "out"), quiet=True)
    answer = why("bee", None)
    assert answer["reason"] == f"{step}.too_little_left"
    [left] = answer["too_little_left"]
    [row] = left["elsewhere"]
    assert (row["other"], left["min_characters"]) == ("ant", 100)
    assert left["left"] + row["characters"] == left["characters"]
    said = describe(answer)
    counted = f"{left['left']} of {left['characters']} characters stay, 100 and a share of {left['min_share']:g}"
    assert f"    {step}.too_little_left: {counted} are wanted\n" in said
    assert f"      {row['characters']} of those that go stand in ant\n" in said


def test_a_corpus_is_found_by_the_folder_that_was_written_of_it(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict, loose = ({"rules.rulesets": name} for name in ("[gopher_quality]", "[]"))
    for name, rules in (("strict", strict), ("loose", loose), ("strict", strict)):  # the last one from the store
        clean(clean_config([str(documents)], None, QUICK | rules, None), str(tmp_path / name), quiet=True)
    [short] = [id for id in ids(tmp_path / "strict", "dropped") if id.endswith("short.txt")]
    assert why(short, None)["kept"]  # in the newest
    assert not why(short, str(tmp_path / "strict"))["kept"]
    assert why(short, str(tmp_path / "loose"))["kept"]
    key = next((tmp_path / "home" / "store" / "artifacts" / "filter_corpus").iterdir()).name
    monkeypatch.chdir(tmp_path)
    (tmp_path / "documents" / "manifest.json").write_text("{}")
    store = open_store()
    store.set_alias("documents", store.resolve(f"filter_corpus/{key}"))
    assert why(short, "documents")["corpus"] == f"filter_corpus/{key[:12]}"  # the folder is none of a cleaning
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(StoreError, match=r"strict was written of filter_corpus/\w{12}, which is not in the store at "):
        why(short, "strict")


def test_personal_data_leaves_the_metadata_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    address = "canary.bird@aviary.example"
    lines = [json.dumps({"id": f"d{n}", "text": "It is a text. " * (30 * n + 1), "author": address}) for n in range(2)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    source = {"format": "jsonl", "name": "in", "paths": [str(tmp_path / "in.jsonl")], "metadata_columns": ["author"]}
    settings = QUICK | {"pii.enabled": "true", "rules.rulesets": "[gopher_quality]"}
    settings["ingest.sources"] = json.dumps([{**source, "id_column": "id"}])
    clean(clean_config([], None, settings, None), str(tmp_path / "out"), quiet=True)
    rows = [*ids(tmp_path / "out", "kept").values(), *ids(tmp_path / "out", "dropped").values()]
    assert [row["metadata"] for row in rows] == ['{"author":"<email>"}'] * 2
    assert address not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def on_an_earlier_corpus() -> str:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "dedupe.md").read_text()
    return page[page.index("## Against an earlier corpus") :]


def command_of_the_page(number: int) -> str:
    return on_an_earlier_corpus().split("```bash\n")[number].split("```")[0]


def run_from_page(command: str, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> None:
    quick = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), *quick])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code or 0) == code


def test_the_page_on_an_earlier_corpus_runs(documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    published, new = tmp_path / "published", tmp_path / "new"
    published.mkdir()
    new.mkdir()
    paths = sorted(path for path in documents.rglob("*.txt") if path.stat().st_size > 400)
    text = paths[0].read_text()
    (published / "one.txt").write_text(text)
    (published / "short.txt").write_text("Too short for every rule.\n")
    (new / "copy.txt").write_text(text)
    (new / "near.txt").write_text(text + "\nAnd one more line.\n")
    (new / "other.txt").write_text(paths[1].read_text())
    run_from_page(command_of_the_page(1), monkeypatch)
    exec(on_an_earlier_corpus().split("```python\n")[1].split("```")[0], {})
    assert pq.read_table("new.parquet")["id"].to_pylist() == ["new-text:other.txt"]
    dropped = ids(tmp_path / "both", "dropped")
    assert {id: (row["reason"], row["twin"]) for id, row in dropped.items()} == {
        "new-text:copy.txt": ("duplicate.exact", "published-text:one.txt"),
        "new-text:near.txt": ("duplicate.near", "published-text:one.txt"),
    }
    assert "published-text:short.txt" in ids(tmp_path / "both", "kept")


def test_an_earlier_corpus_with_columns_of_sources_and_ids_is_told_by_the_command_on_the_page(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other, *_ = sorted(path.read_text() for path in documents.rglob("*.txt") if path.stat().st_size > 400)
    for folder, texts in (("published", ["Too short for every rule.", one]), ("new", [one, other])):
        Path(folder).mkdir()
        rows = [{"id": f"d{number}", "source": "wire", "text": text} for number, text in enumerate(texts)]
        Path(folder, "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_from_page(command_of_the_page(1), monkeypatch, code=1)
    new, published = (f"{tmp_path}/{folder}/a.jsonl" for folder in ("new", "published"))
    assert f"id 'd1': {new}, line 2 and {published}, line 2\n" in capsys.readouterr().err
    run_from_page(command_of_the_page(2), monkeypatch)
    assert "warning" not in capsys.readouterr().out
    assert set(ids(tmp_path / "both", "kept")) == {"published:a.jsonl#1", "published:a.jsonl#2", "new:a.jsonl#2"}
    assert ids(tmp_path / "both", "dropped")["new:a.jsonl#1"]["twin"] == "published:a.jsonl#2"
