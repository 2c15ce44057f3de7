"""`textmill rebuild`: everything again from the sources, what differs first, and why."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.commands.rebuild import describe, reasons, rebuild
from flows.config.loading import ConfigError
from tasks.lineage.recipe import Step, recipe
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.stage import STAGES, Stage
from tasks.storage.integrity import checksum_of
from tasks.storage.shared import open_store
from tasks.store import Artifact, Store, StoreError
from tests.flows.exam_home import make_store
from tests.flows.lineage_home import artifact, built_home, quiet_run, textmill
from tests.flows.test_card_kinds import adapted, answering, taken_in, translating
from tests.tasks import stages
from tests.tasks.stages import NumbersConfig, numbers, squares, total

pytestmark = pytest.mark.heavy

ONE = Resources(workers=1, threads=1)


def again(name: str, **options: bool) -> dict[str, Any]:
    return rebuild(name, ONE, **{"go_on": False, "keep": False, "quiet": True, **options})


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_home(tmp_path_factory, "rebuild")


def test_a_fine_tuned_model_comes_out_the_same_from_its_sources(quickstart: Path) -> None:
    model = artifact(quickstart, "finetune")
    done = textmill(quickstart, "rebuild", f"finetune/{model.key}", "--workers", "1", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["equal"]
    made = {row["stage"]: row["rebuilt"] for row in answer["stages"]}
    assert next(iter(made)) == "ingest"
    assert list(made)[-1] == "finetune"
    assert {"normalize", "filter_corpus", "split", "train_tokenizer", "tokenize", "pretrain", "labelled"} < made.keys()
    assert made["finetune"] == model.digest
    assert not (quickstart / "home/rebuild" / model.key[:12]).exists()  # nothing is left of what is as it was


@pytest.mark.parametrize(
    ("make", "stages"),
    [
        (answering, {"ingest", "pretrain", "labelled_set", "instruct"}),
        (adapted, {"ingest", "train_tokenizer", "pretrain", "labelled", "finetune"}),  # the model below is a BERT
        (taken_in, {"adopt_model"}),
    ],
)
def test_other_kinds_come_out_the_same(quickstart: Path, make: Callable[[Path], Artifact], stages: set[str]) -> None:
    with use_run(quiet_run(quickstart)):
        model = make(quickstart)
    answer = again(model.name)
    assert answer["equal"], answer["first"]
    made = [row["stage"] for row in answer["stages"]]
    assert stages <= set(made)
    assert made[-1] == model.stage
    assert ("how those were made is not known here" in describe(answer)) == (make is taken_in)


def test_what_has_no_record_is_not_rebuilt_and_it_is_said_why(chain: list[Artifact], tmp_path: Path) -> None:
    """A copy; a name that is in another store. The folder in the store itself is the artifact."""
    copy = tmp_path / "copy"
    shutil.copytree(chain[0].path, copy)
    with pytest.raises(ConfigError, match=f"^{copy} is a folder, which does not say how .* where the store is that it"):
        again(str(copy))
    with pytest.raises(StoreError, match=r"no artifact is called 'gone'.*; a model is rebuilt where the store is"):
        again("gone")
    assert again(str(chain[0].path))["artifact"] == f"numbers/{chain[0].key}"


def test_a_changed_or_lost_source_is_named_with_its_digests(quickstart: Path) -> None:
    documents = (quickstart / "documents").resolve()
    changed, lost = documents / "gardens/03.txt", documents / "harbours/04.txt"
    before = {path: path.read_bytes() for path in (changed, lost)}
    changed.write_text("Another text.")
    lost.unlink()
    try:
        done = textmill(quickstart, "rebuild", "tokenizer-tiny", "--workers", "1")
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    assert done.exit_code == 1
    assert "the first that differs is ingest/" in done.stdout
    assert f"gardens:03.txt changed: its SHA-256 was {sha(before[changed])}, is {sha(b'Another text.')}" in done.stdout
    assert f"harbours:04.txt is no longer at {lost} (it had the SHA-256 {sha(before[lost])})" in done.stdout
    assert "DIFFERS  ingest/" in done.stdout
    assert "stages behind it were not built" in done.stdout


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def chain(home: Path) -> Iterator[list[Artifact]]:
    with use_run(Run(Store(home / "store"), ONE, Display(quiet=True))):
        config = NumbersConfig(count=3)
        source = numbers(config)
        squared = squares(config, source=source)
        yield [source, squared, total(config, source=squared)]


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """`squares` has a new version, which writes something else."""

    def cubes(work: Any, config: NumbersConfig, *, source: Artifact) -> None:
        stages.squares.build(work, config, source=source)
        (work.directory / "more.json").write_text("{}")

    monkeypatch.setitem(STAGES, "squares", dataclasses.replace(squares, version=2, build=cubes))


def test_other_code_is_the_reason_and_what_is_behind_waits(chain: list[Artifact], other_code: None) -> None:
    answer = again(chain[-1].name)
    first = answer["first"]
    assert [row["equal"] for row in answer["stages"]] == [True, False]
    assert first["stage"] == "squares"
    assert first["why"] == ["the stage's code: version 1 then, 2 now"]
    assert first["files"] == ["more.json"]
    assert answer["not_built"] == 1
    assert "in more.json" in describe(answer)
    assert Path(answer["store"]).exists()  # so that one can look
    assert again(chain[0].name)["store"] is None


def test_another_machine_of_a_shared_store_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_code: None
) -> None:
    """It has no part of what the first machine built until it compares them."""
    monkeypatch.setenv("TEXTMILL_STORE", f"file://{tmp_path / 'shared'}")
    with monkeypatch.context() as before:
        before.setenv("TEXTMILL_HOME", str(tmp_path / "first"))
        before.setitem(STAGES, "squares", squares)
        with use_run(Run(open_store(), ONE, Display(quiet=True))):
            squared = squares(NumbersConfig(count=3), source=numbers(NumbersConfig(count=3)))
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "second"))
    answer = again(f"squares/{squared.key}")
    assert answer["first"]["why"] == ["the stage's code: version 1 then, 2 now"]
    assert answer["first"]["files"] == ["more.json"]


def test_going_on_says_which_input_differed(chain: list[Artifact], other_code: None) -> None:
    answer = again(chain[-1].name, go_on=True, keep=True)
    assert [row["stage"] for row in answer["stages"]] == ["numbers", "squares", "total"]
    assert answer["stages"][2]["equal"]  # the sum is that of the same squares
    assert answer["first"]["stage"] == "squares"
    assert answer["not_built"] == 0


def test_machine_packages_and_libraries_are_reasons(chain: list[Artifact], tmp_path: Path) -> None:
    before = chain[1]
    step = recipe(Store(before.path.parents[2]), before)[-1]

    def made_on(**changes: Any) -> Step:
        manifest = before.manifest()
        manifest["libraries"] = changes.pop("libraries", {})
        manifest["environment"] = {**manifest["environment"], **changes}
        step = Step(before, {})
        step.__dict__["manifest"] = manifest
        return step

    now = dataclasses.replace(before)
    assert reasons(step, now)[0].startswith("nothing that is recorded is other than it was")
    packages = {**before.manifest()["environment"]["packages"], "torch": "1.0", "pyarrow": "0.1"}
    found = reasons(made_on(processor="Abacus 2000", machine="sparc", threads=9, packages=packages), now)
    assert [line.partition(" then")[0] for line in found if "package" in line] == [
        "package pyarrow 0.1",
        "package torch 1.0",
    ]
    assert any(line.startswith("processor Abacus 2000 then, ") for line in found)
    assert any(line.startswith("kind of machine sparc then, ") for line in found)
    assert "threads 9 then, 1 now" in found
    found = reasons(made_on(libraries={"ftfy": "1.0"}), now)
    assert found == ["library ftfy 1.0 then, None now"]


def test_an_interrupted_rebuild_goes_on_and_a_finished_one_begins_anew(
    chain: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(work: Any, config: NumbersConfig, *, source: Artifact) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(STAGES, "total", Stage("total", 1, (), killed))
        with pytest.raises(KeyboardInterrupt):
            again(chain[-1].name)
    store = Store(chain[0].path.parents[2].parent / "rebuild" / chain[-1].key[:12] / "store")
    [first] = store.list("numbers")
    built = (first.path / "manifest.json").stat().st_mtime_ns
    assert again(chain[-1].name, keep=True)["equal"]
    assert (first.path / "manifest.json").stat().st_mtime_ns == built
    assert again(chain[-1].name, keep=True)["equal"]
    assert (first.path / "manifest.json").stat().st_mtime_ns > built


def test_a_collected_input_is_stood_for_by_its_content_or_said_to_be_gone(chain: list[Artifact]) -> None:
    store = Store(chain[0].path.parents[2])
    source, squared, _ = chain
    with use_run(Run(store, ONE, Display(quiet=True))):
        other = numbers(NumbersConfig(count=3, factor=1))
    assert other.key == source.key
    copy = source.path.with_name("f" * 32)
    source.path.rename(copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["key"] = copy.name
    manifest["checksum"] = checksum_of(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert [step.artifact.key for step in recipe(store, squared)] == [copy.name, squared.key]
    shutil.rmtree(copy)
    with pytest.raises(StoreError, match=f"was made from numbers/{source.key[:12]}, which was collected"):
        recipe(store, squared)


def test_counted_and_embedded_models_are_rebuilt(home: Path) -> None:
    make_store(home)
    for name in ("three", "vectors"):
        answer = again(name)
        assert answer["equal"], answer["first"]


def test_a_translator_is_rebuilt_from_its_pairs(home: Path) -> None:
    with use_run(Run(Store(home / "store"), ONE, Display(quiet=True))):
        model = translating(home)
    assert again(model.name)["equal"]
    (home / "pairs.tsv").write_text("another\tein anderer\n")
    answer = again(model.name)
    assert answer["first"]["stage"] == "pairs"
    assert "pairs.tsv changed: its SHA-256 was" in answer["first"]["why"][0]
