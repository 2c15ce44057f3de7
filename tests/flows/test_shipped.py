"""Every shipped configuration runs, all stages, with data and budget cut down by `--smoke`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.config.ladder import load_model_config
from flows.config.loading import CONFIGS
from flows.config.pipeline import load_config
from flows.config.rungs import BertRung, VectorsRung
from flows.ladder import build_models
from flows.pipeline import build_all
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store

PIPELINES = sorted(
    path
    for path in CONFIGS.glob("*.yaml")
    if not path.name.startswith(("clean-", "ladder", "scaling", "quickstart-small"))
)  # those: test_clean.py, test_ladder.py, test_scaling.py, and the last one .ci/run, uncut
MODELS = sorted(path for path in (CONFIGS / "models").glob("*.yaml") if path.name != "base.yaml")


@pytest.mark.heavy
@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_it_runs_to_the_report(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        build_all(load_config(path).smoke())
    pool.shut_down()
    assert (run.records[-1].artifact.path / "report.html").stat().st_size > 10_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One for all models: they have their corpus, and most their tokens, in common."""
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXTMILL_HOME", str(root))
        yield Store(root / "store")
    pool.shut_down()


@pytest.mark.heavy
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_is_trained_and_scored(path: Path, store: Store) -> None:
    config = load_model_config(path).smoke()
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        [model], scored = build_models(config)
    counts = model.counts()
    assert counts["parameters"] > 0
    if isinstance(config.model, VectorsRung):
        assert counts["loss"] > 0
    elif isinstance(config.model, BertRung):
        assert 0 <= counts["valid_masked_accuracy"] <= 1
    else:
        assert scored[0].counts()["bits_per_byte"] > 0
