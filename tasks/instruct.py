"""Instruct: teach a pretrained decoder to converse, from a labelled set of conversations or of pairs."""

from typing import Any

from lm.chat.config import ChatConfig
from lm.config import StrictModel, TrainConfig
from tasks.pretrain import UNSEEN_IN_RESULT, register
from tasks.running.hooks import training, write_result
from tasks.stage import Work, stage
from tasks.store import Artifact

REGISTERED_NAME = "textmill-instructed"


class InstructRequest(StrictModel):
    """What is learned of conversations and how, every `auto` resolved."""

    chat: ChatConfig
    train: TrainConfig

    def key_material(self) -> dict[str, Any]:
        """Without what changes how a training is watched and saved, and not what it ends in."""
        return self.model_dump(mode="json", exclude={"train": set(UNSEEN_IN_RESULT)})


@stage(version=1, libraries=("torch", "tokenizers", "jinja2", "sacrebleu"))
def instruct(work: Work, config: InstructRequest, *, examples: Artifact, model: Artifact) -> None:
    """Train on the answers; the artifact is a model folder with a chat template, and results, samples and answers."""
    from lm.chat.train import instruct as run

    with training(work, config.train.device) as (hooks, should_stop):
        result = run(
            examples.path,
            model.path,
            config.chat,
            config.train,
            work.scratch / "checkpoints",
            work.directory,
            hooks=hooks,
            should_stop=should_stop,
        )
    write_result(work, result)
    work.counts |= {f"train_{name}": number for name, number in result["train"].items()}
    work.counts |= {
        f"{split}_{name}": result[split][name]
        for split in ("valid", "test")
        for name in ("bits_per_byte", *COMPARED)
        if name in result.get(split, {})
    }
    work.counts["untrained_bits_per_byte"] = result["untrained"]["bits_per_byte"]
    register(work, REGISTERED_NAME, {**config.chat.model_dump(), "tokens": result["tokens"]})


COMPARED = ("exact_match", "rouge_l", "bleu", "chrf")
"""What is said of answers beside the true ones."""
