"""Every shipped study runs from end to end as with `--smoke`, on tiny models and data in the real ones' places."""

import random
from collections import Counter
from pathlib import Path

import pytest

from flows.config.loading import CONFIGS
from flows.config.study import StudyConfig, load_study
from flows.study import build_study
from lm.artifact import save_model
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.tokenizer import load_tokenizer
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import read_json
from tasks.store import Store
from tests.flows.exam_data import lines, records, squad
from tests.lm.feature_cases import feature_folder
from tests.lm.finetune_cases import EVERY, backbone_folder, tagged, tokenizer_folder

SHIPPED = sorted((CONFIGS / "studies").glob("*.yaml"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Untrained ones, by the names that studies give them."""
    root = tmp_path_factory.mktemp("models")
    made = {"bert": backbone_folder(root / "bert", "bert"), "gpt": root / "gpt"}
    tokenizer = tokenizer_folder(root / "bytes", wordpiece=False)
    size = {"layers": 4, "width": 16, "heads": 2, "context": 48}  # as many as are frozen
    vocab = load_tokenizer(tokenizer).get_vocab_size()
    save_model(GPT(GPTConfig(**size, vocab=vocab), seed=7), tokenizer, made["gpt"])
    made |= {kind: feature_folder(root / kind, kind) for kind in ("elmo", "word2vec")}
    return {name: str(folder) for name, folder in made.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty examples of each task, as the real files have them."""
    root, draw = tmp_path_factory.mktemp("data"), random.Random(3)
    labelled = root / "labelled"

    def text(size: int = 8) -> str:
        return " ".join(draw.choices(EVERY, k=size))

    for split, count in (("train", 40), ("dev", 20)):
        moods = [{"text": text(), "label": n % 2} for n in range(count)]
        records(labelled / f"sentiment_en/sst2/{split}.jsonl.zst", moods)
        reviews = [{"text": "".join(draw.choices("房间很好早餐一般服务差", k=9)), "label": n % 2} for n in range(count)]
        records(labelled / f"sentiment_zh/chnsenticorp_htl/{split}.jsonl.zst", reviews)
        names = []
        for row in tagged(count, len(split)):
            tags = [tag.replace("B-", "I-") for tag in row["tags"]]  # no two of a kind touch
            names.append("".join(f"{word} NN X {tag}\n" for word, tag in zip(row["words"], tags, strict=True)))
        lines(labelled / f"ner_en/conll2003/{split}.conll.gz", names)
    judged = ("ENTAILMENT", "NEUTRAL", "CONTRADICTION")
    for split in ("train", "trial"):
        pairs = [f"{split}{n}\t{text()}\t{text()}\t{1 + n % 5}.0\t{judged[n % 3]}" for n in range(40)]
        head = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment"
        lines(labelled / f"nli_en/sick/{split}.tsv.gz", [head, *pairs])
    for name in ("new_wiki", "amazon_reviews"):
        squad(labelled / f"qa_en/squad_shifts/{name}_v1.0.json.gz", name, [f"{n} {text(15)}" for n in range(40)])
    return root


def smoke(path: Path, models: dict[str, str]) -> StudyConfig:
    study = load_study(path)
    wanted = {system.model for system in study.systems.values() if system.model is not None}
    return study.model_copy(update={"models": {name: models[name] for name in wanted}}).smoke()


@pytest.mark.heavy
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_runs(
    path: Path, models: dict[str, str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTMILL_DATA", str(data))
    study = smoke(path, models)
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        made = build_study(study)
        before = len(run.records)
        assert build_study(study).report == made.report
        assert {record.state for record in run.records[before:]} == {"cached"}
    rows = read_json(made.report.file("study.json"))["rows"]
    asked = Counter((row["task"], row["system"]) for row in rows)
    wanted = {
        (name.removeprefix("local/"), system)
        for name in study.tasks
        for system, of in study.systems.items()
        if of.tasks is None or name in of.tasks
    }
    assert set(asked) == wanted
    assert set(asked.values()) == {len(study.labels)}
    assert all(0 <= row["low"] <= row["mean"] <= row["high"] <= 1 for row in rows)
    for task in {row["task"] for row in rows}:
        assert made.report.file(f"{task}.svg").stat().st_size > 500
    base = [row for row in rows if row["against"] is None]
    assert {row["system"] for row in base} == {study.baseline}  # every other one is compared with something


def test_a_study_is_cut_to_one_of_its_tasks() -> None:
    for task in ("local/sst-2", "local/conll-2003"):
        study = load_study(CONFIGS / "studies/labels.yaml", {"tasks": f"[{task}]"})
        assert study.tasks == (task,)
        assert "bag of words" in study.systems
