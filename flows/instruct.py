"""Instruction tuning: a set of conversations or pairs, a pretrained decoder, and the model that answers."""

from dataclasses import dataclass
from pathlib import Path

from prefect import flow
from pydantic import ValidationError

from flows.instruct_config import InstructConfig, shipped_instruct
from flows.loading import ConfigError
from flows.running import prefect_run
from flows.task_config import load_shipped_task
from flows.task_sets import build_task
from lm.chat.messages import BadConversation
from lm.config import GPTConfig, TrainConfig
from lm.models.modern_config import ModernConfig
from tasks.adopt import AdoptConfig, adopt_model
from tasks.files import read_json
from tasks.instruct import InstructRequest, instruct
from tasks.run import current_run
from tasks.stage import STAGES
from tasks.store import Artifact

KINDS: dict[str, type[GPTConfig] | type[ModernConfig]] = {"gpt": GPTConfig, "modern": ModernConfig}


@dataclass(frozen=True)
class Instructed:
    """The set, the model that was begun with, and the one that answers."""

    examples: Artifact
    start: Artifact
    model: Artifact


def build_instructed(config: InstructConfig) -> Instructed:
    """Every stage in order; each is found in the store or built.

    Raises:
        ConfigError: no such task, set or model, a model that cannot converse, or conversations that cannot be used.
    """
    wanted, _ = config.needed()
    examples = _labelled_set(config)
    start = _model(wanted)
    request = InstructRequest(chat=config.chat, train=_resolved(config.train, start, wanted))
    try:
        made = instruct(request, label=f"instruct {config.name}", examples=examples, model=start)
    except BadConversation as error:
        raise ConfigError(f"{config.name}: conversations that cannot be learned:\n{error}") from error
    return Instructed(examples, start, made)


def _labelled_set(config: InstructConfig) -> Artifact:
    if config.task is None:
        assert config.data is not None
        return current_run().store.resolve(config.data)
    return build_task(load_shipped_task(config.task, config.limits, "chat", "generation"))


def _model(name: str) -> Artifact:
    folder = Path(name)
    if folder.is_dir():
        try:
            return adopt_model(AdoptConfig.of(folder))
        except FileNotFoundError as error:
            raise ConfigError(f"model: {folder} is no model's folder: {error.filename} is not there") from error
    if name in STAGES:
        raise ConfigError(
            f"model: {name!r} is a stage, and its newest artifact changes with every run; name one, as"
            f" `textmill ls {name}` lists them, or an alias or a folder"
        )
    return current_run().store.resolve(name)


def _resolved(train: TrainConfig, start: Artifact, name: str) -> TrainConfig:
    """Every `auto` that depends on machine and model replaced."""
    described = read_json(start.file("config.json"))
    if (kind := described.get("kind")) not in KINDS:
        raise ConfigError(f"{name}: a model of kind {kind!r} cannot learn to converse; {' and '.join(KINDS)} can")
    try:
        model = KINDS[kind].model_validate(described)
    except ValidationError as error:
        raise ConfigError(f"{name}: {error}") from error
    return train.resolve_for(model.width, model.vocab, model.context)


@flow(name="instruct", flow_run_name="instruct {config.name}", persist_result=False)
def instruct_flow(config: InstructConfig = shipped_instruct()) -> dict[str, str]:  # noqa: B008
    """Teach a model to answer; what is up to date is reused."""
    with prefect_run("instruct", config):
        made = build_instructed(config)
    return {"examples": made.examples.name, "model": made.model.name}
