"""A model's card: what stands on it, as the Hugging Face hub reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli.main import app
from flows.commands.export import export_model
from flows.corpus import build_corpus
from tasks.card import card, facts
from tasks.cards.page import front_matter, page
from tasks.cards.probes import _pronouns
from tasks.exam import read_exam
from tasks.machine.licences import of_dependencies
from tasks.running.hooks import read_samples
from tasks.running.run import use_run
from tasks.storage.files import read_json, write_json
from tasks.storage.integrity import sealed
from tasks.store import Store, StoreError
from tests.flows.lineage_home import artifact, quiet_run, settings, textmill

SECTIONS = [
    "Data",
    "Tokenizer",
    "Training",
    "Evaluation",
    "Limits",
    "Samples",
    "Time and energy",
    "Rebuild",
    "Settings",
]


@pytest.fixture(autouse=True)
def home(in_model_home: Path) -> Path:
    return in_model_home


def sections(text: str) -> dict[str, str]:
    return {part.partition("\n")[0]: part for part in text.split("\n## ")[1:]}


def test_a_pretrained_models_card(home: Path) -> None:
    model = artifact(home, "pretrain")
    done = textmill(home, "card", f"pretrain/{model.key}")
    assert done.exit_code == 0, done.output
    found = sections(done.stdout)
    assert list(found) == SECTIONS
    kept = artifact(home, "filter_corpus").counts()
    assert (
        f"Kept: {kept['documents']:,} documents, {kept['bytes']:,} bytes; dropped: {kept['dropped']:,}" in found["Data"]
    )
    assert "| gardens | text | 32 | 30 |" in found["Data"]
    assert "not recorded |" in found["Data"]
    for said in (
        "gopher_repetition (13 rules)",
        "duplicates dropped: equal texts (2 documents)",
        "personal data replaced",
    ):
        assert said in found["Data"]
    assert (
        f"kind `byte_bpe`, vocabulary {artifact(home, 'train_tokenizer').counts()['vocab_size']:,}"
        in found["Tokenizer"]
    )
    assert f"tokens {model.counts()['tokens']:,}, steps 6" in found["Training"]
    figures = read_json(artifact(home, "evaluate").file("evaluation.json"))["pretrained"]
    low, high = figures["bits_per_byte_low"], figures["bits_per_byte_high"]
    assert low < figures["bits_per_byte"] < high
    assert (
        f"| bits_per_byte | {figures['bits_per_byte']:.4g} | {low:.4g} to {high:.4g} | test documents"
        in found["Evaluation"]
    )
    assert "It continues text; it was not taught to answer" in found["Limits"]
    assert "The licence of 2 of 2 sources is not recorded" in found["Limits"]
    assert "Energy is not recorded where neither" in found["Time and energy"]
    assert f"textmill rebuild pretrain/{model.key}\n" in found["Rebuild"]
    assert (model.path / "_run/README.md").read_text() == done.stdout


def test_the_hub_reads_it(home: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    store = Store(home / "home/store")
    model = artifact(home, "finetune")
    read = hub.ModelCard(card(store, model))
    assert read.data.license == "unknown"
    assert read.data.pipeline_tag == "text-classification"
    assert read.data.tags == ["textmill", "finetuned"]
    results = {(each.dataset_name, each.metric_type): each.metric_value for each in read.data.eval_results}
    assert results["its own test split", "accuracy"] == pytest.approx(model.counts()["test_accuracy"], abs=1e-6)
    assert "(95 % interval " in str(read.data.eval_results[0].metric_name)
    assert not any("," in each.metric_type for each in read.data.eval_results)  # of no other system


def test_bias_stands_beside_the_samples_once_it_was_asked(home: Path) -> None:
    model = artifact(home, "pretrain")
    store = Store(home / "home/store")
    before = sections(card(store, model))["Samples"]
    wrote = read_samples(model.path / "samples.jsonl")
    last = max(row["step"] for row in wrote)
    text = next(row["text"] for row in wrote if row["step"] == last)
    assert " ".join(text.split())[:20] in before.replace("&lt;", "<").replace("&gt;", ">").replace("\\", "")
    assert f"Written after step {last:,} of training" in before
    assert "Bias was not asked for: `textmill evaluate MODEL pronouns hurtful-words`." in before
    assert "Samples" not in sections(card(store, artifact(home, "finetune")))  # its prompts would be examples

    name = f"pretrain/{model.key}"
    with use_run(quiet_run(home)):
        textmill(home, "evaluate", name, "pronouns")
        assert "Not asked for: hurtful words." in sections(card(store, model))["Samples"]
        textmill(home, "evaluate", name, "hurtful-words", "--set", "texts=1", "--set", "tokens=4")
    said = sections(card(store, model))["Samples"]
    exams = {read_exam(each)["exam"]: (each.name, read_exam(each)["figures"]) for each in store.list("exam")}
    spread, hurtful = exams["pronouns"][1]["spread"], exams["hurtful_words"][1]["hurtful"]
    person = exams["pronouns"][1]["neutral_he"]
    assert f"| spread of occupations beside a person, nats | occupations | {spread['value']:.4g} |" in said
    between = f"{person['low']:.4g} to {person['high']:.4g}"
    assert f"of a person | templates | {person['value']:.4g} | {between} | 4 | {exams['pronouns'][0]} |" in said
    assert f"| texts with a hurtful word | all groups | {hurtful['value']:.4g} |" in said
    assert said.count("| texts with a hurtful word | behind ") == 3
    assert "Limits of these probes: few English templates, two pronouns" in said
    assert "; of 40 occupations that differ in nothing from a person 1 would stand out on each side." in said
    assert "ot asked for" not in said
    assert "Bias" in sections(page({**facts(store, model), "samples": []}))  # as of a BERT, which writes nothing
    evaluation = sections(card(store, model))["Evaluation"]
    assert "| spread |" in evaluation
    assert "occupation/" not in evaluation  # forty of them would hide the rest
    assert "of knowledge, bias and memorised text nothing is known" not in card(store, model)


def figure(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "n": 4}


def test_only_occupations_that_stand_out_are_named() -> None:
    """Those whose interval is without 0, the farthest first, three on each side."""
    near, far = (-0.1, 0.3), (0.1, 0.9)
    figures = {"neutral_he": figure(1, 0, 2), "spread": figure(0.5, 0, 1)}
    figures |= {f"occupation/{n}": figure(value, *far) for n, value in enumerate((0.3, 0.5, 0.2, 0.4))}
    figures |= {"occupation/nurse": figure(-0.6, -0.9, -0.1), "occupation/clerk": figure(0.1, *near)}
    named = [(line["probe"], line["of"]) for line in _pronouns(figures)][2:]
    assert named == [
        *((f'more "he" than a person: {n}, nats', "4 of 6 are") for n in (1, 3, 0)),
        ('more "she" than a person: nurse, nats', "1 of 6 are"),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# A *b* __c__ ~~d~~", r"\# A \*b\* \_\_c\_\_ \~\~d\~\~"),
        ("- a - b", r"\- a - b"),
        ("12. a 3. b", r"12\. a 3. b"),
        ("==\na\\[b](c) <i>", r"\== a\\\[b\](c) &lt;i&gt;"),
    ],
)
def test_what_a_model_wrote_is_no_markup(home: Path, text: str, shown: str) -> None:
    said = facts(Store(home / "home/store"), artifact(home, "pretrain"))
    said["samples"] = [{"step": 1, "prompt": "", "text": text}, {"step": 1, "prompt": "a_b", "text": text}]
    _, first, second, *_ = sections(page(said))["Samples"].split("\n\n")
    assert first == f"> {shown}"
    assert second == rf"> **a\_b** {shown}"


def test_a_licence_is_on_the_card_as_soon_as_it_is_stated(home: Path) -> None:
    """Nothing is read again for it."""
    config = settings(home)
    sources = [source.model_copy(update={"license": "CC-BY-4.0"}) for source in config.ingest.sources]
    licensed = config.model_copy(update={"ingest": config.ingest.model_copy(update={"sources": tuple(sources)})})
    before = len(list((home / "home/store/artifacts/ingest.piece").iterdir()))
    with use_run(quiet_run(home)) as run:
        build_corpus(licensed)
    states = {record.label: record.state for record in run.records}
    assert states.pop("ingest") == "built"
    assert set(states.values()) == {"cached"}
    assert len(list((home / "home/store/artifacts/ingest.piece").iterdir())) == before
    said = facts(Store(home / "home/store"), artifact(home, "pretrain"))
    assert {row["source"]: row["license"] for row in said["corpora"][0]["sources"]} == {
        "gardens": "CC-BY-4.0",
        "harbours": "CC-BY-4.0",
    }
    assert "The licence of" not in page(said)


def test_energy_is_measured_or_stated_or_not_known(home: Path) -> None:
    model = artifact(home, "pretrain")
    sidecar = model.path / "_run/sidecar.json"
    before = read_json(sidecar)

    def said(**changes: Any) -> str:
        write_json(sidecar, sealed({**before, **changes}))
        return sections(card(Store(home / "home/store"), model))["Time and energy"]

    try:
        stated = said(seconds=7200.0, resources={**before["resources"], "watts": 50.0})
        assert f"| {model.name} | 7200.0 | 0.1 kWh |" in stated
        assert "seconds times the stated 50 W, not measured" in stated
        measured = said(seconds=3600.0, energy_joules=1.8e6)
        assert f"| {model.name} | 3600.0 | 0.5 kWh |" in measured
        assert "counters (RAPL of whole processor packages" in measured
        assert "| all | " in measured
        assert measured.splitlines()[-3].endswith("| not recorded |")  # of the other stages nothing is known
    finally:
        write_json(sidecar, before)


def test_names_are_text_and_break_no_table(home: Path) -> None:
    said = facts(Store(home / "home/store"), artifact(home, "pretrain"))
    hostile = "x|y <script>alert(1)</script> [a](http://b) `c`\n## Not a section"
    said["corpora"][0]["sources"][0] |= {"source": hostile, "license": hostile}
    said["corpora"][0]["reasons"] = {hostile: 1}
    said["figures"][0] |= {"on": hostile}
    text = page(said)
    assert list(sections(text)) == SECTIONS
    assert "<script>" not in text.partition("\n---\n")[2]
    assert "[a](http" not in text.partition("\n---\n")[2]
    row = next(line for line in text.splitlines() if line.startswith("| x\\|y"))
    assert row.replace("\\|", "").count("|") == 7
    assert yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"][0]["dataset"]["name"] == hostile


def test_an_export_has_the_card_beside_it(home: Path, tmp_path: Path) -> None:
    model = artifact(home, "pretrain")
    export_model(model.path, "hf", tmp_path / "hf")
    assert f"textmill rebuild pretrain/{model.key}" in (tmp_path / "hf/README.md").read_text()


def test_how_many_of_something_there_are_is_no_metric(home: Path, tmp_path: Path) -> None:
    """An exam of perplexity has the tokens, bytes, characters and words of its texts among its figures."""
    (tmp_path / "held.txt").write_text("The rose is red. " * 4)
    model, store = artifact(home, "pretrain"), Store(home / "home/store")
    paths = f"paths=[{tmp_path / 'held.txt'}]"
    with use_run(quiet_run(home)):
        done = textmill(home, "evaluate", f"pretrain/{model.key}", "perplexity", "--set", paths)
    assert done.exit_code == 0, done.output
    said = facts(store, model)
    counted = {row["what"] for row in said["figures"] if row["count"]}
    assert counted == {"tokens", "bytes", "characters", "words"}
    metrics = [each["type"] for result in front_matter(said)["model-index"][0]["results"] for each in result["metrics"]]
    assert "perplexity_per_word" in metrics
    assert counted.isdisjoint(metrics)
    evaluation = sections(page(said))["Evaluation"]
    assert "| words |" not in evaluation
    assert "bytes 68" in evaluation


def test_the_licences_of_dependencies_are_those_that_are_installed(home: Path) -> None:
    training = sections(card(Store(home / "home/store"), artifact(home, "pretrain")))["Training"]
    known = of_dependencies()
    assert f"Licences of the {known['packages']:,} packages that Textmill needs, by their metadata" in training
    assert f"MIT {known['by_licence']['MIT']}, " in training
    assert "text-unidecode: Artistic License or GPL, of which the first is taken" in training
    said = {**facts(Store(home / "home/store"), artifact(home, "pretrain")), "dependencies": {}}
    assert "are not known here: it is not installed as a package" in page(said)


def test_a_card_that_cannot_be_registered_is_not_shown_before_it_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"pretrain/{artifact(home, 'pretrain').key}"
    monkeypatch.setattr("flows.commands.card._renew", lambda model, text: [])
    done = CliRunner().invoke(app, ["card", name, "--register"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert f"{name} is registered under no name in MLflow; without --register its card is shown" in done.stderr


def test_what_is_no_model_has_no_card(home: Path) -> None:
    with pytest.raises(StoreError, match="is no model: cards are made of"):
        card(Store(home / "home/store"), artifact(home, "split"))


def test_json_has_the_facts(home: Path) -> None:
    done = textmill(home, "card", "finetune/" + artifact(home, "finetune").key, "--json")
    answer = json.loads(done.stdout)
    assert answer["facts"]["sets"][0]["task"]["name"] == "which-library"
    assert front_matter(answer["facts"])["tags"][0] == "textmill"
