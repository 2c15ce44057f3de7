"""Instruction tuning: a set of conversations or pairs, a pretrained decoder, and the model that answers."""

from dataclasses import dataclass

from prefect import flow
from pydantic import ValidationError

from flows.config.instruct import InstructConfig, shipped_instruct
from flows.config.loading import ConfigError
from flows.config.named_file import FromFile
from flows.pretrain import named_model
from flows.running import prefect_run
from flows.task_sets import labelled_set_of
from lm.chat.messages import BadConversation
from lm.config import TrainConfig
from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import ModernConfig
from tasks.instruct import InstructRequest, instruct
from tasks.stage import sound_file
from tasks.storage.files import read_json
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
    examples = labelled_set_of(config, "chat", "generation")
    start = named_model(wanted, "model")
    request = InstructRequest(chat=config.chat, train=_resolved(config.train, start, wanted))
    try:
        made = instruct(request, label=f"instruct {config.name}", examples=examples, model=start)
    except BadConversation as error:
        raise ConfigError(f"{config.name}: conversations that cannot be learned:\n{error}") from error
    return Instructed(examples, start, made)


def _resolved(train: TrainConfig, start: Artifact, name: str) -> TrainConfig:
    """Every `auto` that depends on machine and model replaced."""
    described = read_json(sound_file(start, "config.json"))
    if (kind := described.get("kind")) not in KINDS:
        raise ConfigError(f"{name}: a model of kind {kind!r} cannot learn to converse; {' and '.join(KINDS)} can")
    try:
        model = KINDS[kind].model_validate(described)
    except ValidationError as error:
        raise ConfigError(f"{name}: {error}") from error
    return train.resolve_for(model.width, model.vocab, model.context)


@flow(name="instruct", flow_run_name="instruct {config.name}", persist_result=False)
def instruct_flow(config: FromFile[InstructConfig] = shipped_instruct()) -> dict[str, str]:  # noqa: B008
    """Teach a model to answer; what is up to date is reused."""
    with prefect_run("instruct", config):
        made = build_instructed(config)
    return {"examples": made.examples.name, "model": made.model.name}
