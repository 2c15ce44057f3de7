"""What a stage was asked is written down whole: every kind of model can be asked for again with it."""

from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import BaseModel, TypeAdapter

from flows.config.finetune import load_tuning
from flows.config.instruct import load_instruct
from flows.config.ladder import load_model_config
from flows.config.loading import CONFIGS, ConfigError
from flows.config.rungs import NgramRung, VectorsRung
from tasks.finetune import FinetuneRequest
from tasks.instruct import InstructRequest
from tasks.lineage.recipe import import_stages
from tasks.pretrain import PretrainRequest
from tasks.stage import STAGES, Keyed

MODELS = sorted(path for path in (CONFIGS / "models").glob("*.yaml") if path.name != "base.yaml")


def again(stage: str, config: Any) -> BaseModel:
    """A configuration as `tasks.lineage.recipe` reads it back from a sidecar or a manifest."""
    import_stages()
    noted = config.model_dump(mode="json")
    made: BaseModel = TypeAdapter(get_type_hints(STAGES[stage].build)["config"]).validate_python(noted)
    return made


def material(config: BaseModel) -> Any:
    return config.key_material() if isinstance(config, Keyed) else config.model_dump(mode="json")


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_of_every_shipped_kind(path: Path) -> None:
    config = load_model_config(path)
    for rung in config.rungs().values():
        if isinstance(rung, NgramRung | VectorsRung):
            stage, request = ("ngram" if isinstance(rung, NgramRung) else "word_vectors"), rung.settings()
        else:
            settings = rung.pretraining(config.tokenizer.train.vocab_size)
            trained = settings.resolve(rung.trained_with(config.train))
            stage, request = "pretrain", PretrainRequest(settings=settings, train=trained)
        found = again(stage, request)
        assert found == request
        assert material(found) == material(request)


def test_every_stage_says_what_it_is_asked() -> None:
    """A configuration of its own type in its signature: with that it is read back."""
    import_stages()
    ours = [stage for stage in STAGES.values() if stage.build.__module__.startswith("tasks.")]
    assert len(ours) > 50
    for stage in ours:
        assert "config" in get_type_hints(stage.build), stage.name
        TypeAdapter(get_type_hints(stage.build)["config"]).json_schema(mode="serialization")


@pytest.mark.parametrize("path", sorted((CONFIGS / "finetune").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_fine_tuning_of_every_shipped_kind(path: Path) -> None:
    try:
        settings = load_tuning(path, {"model": "m", "task": "sst-2"}).settings
    except ConfigError as error:
        pytest.fail(str(error))
    request = FinetuneRequest(settings=settings)
    assert again("finetune", request) == request


def test_an_instruction_tuning() -> None:
    config = load_instruct(CONFIGS / "instruct" / "chat.yaml", {"model": "m"})
    request = InstructRequest(chat=config.chat, train=config.train)
    assert again("instruct", request) == request
