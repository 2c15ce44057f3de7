"""Fine-tune: one run (initialisation, seed) is one artifact, so that a study resumes run by run."""

from typing import Any

from lm.config import StrictModel
from lm.finetune.config import BaselineConfig, FinetuneConfig
from tasks.labelled import SPLITS
from tasks.pretrain import UNSEEN_IN_RESULT, register
from tasks.stage import Work, stage
from tasks.store import Artifact
from tasks.training import training

REGISTERED_NAME = "textmill-finetuned"


class FinetuneRequest(StrictModel):
    """One fine-tuning run, every `auto` resolved."""

    settings: FinetuneConfig

    def key_material(self) -> dict[str, Any]:
        """Without what changes how a training is watched and saved, and not what it ends in."""
        settings = self.settings.model_dump(mode="json")
        return {name: value for name, value in settings.items() if name not in UNSEEN_IN_RESULT}


@stage(version=1, libraries=("torch",))
def finetune(work: Work, config: FinetuneRequest, *, examples: Artifact, model: Artifact) -> None:
    """Train a classifier on a pretrained model, or on random weights of its size, and predict dev and test."""
    from lm.finetune.train import finetune as run

    train, valid, test = (examples.file(f"{name}.parquet") for name in SPLITS)
    checkpoints = work.scratch / "checkpoints"
    with training(work) as (hooks, should_stop):
        result = run(train, valid, test, model.path, config.settings, work.directory, hooks, should_stop, checkpoints)
    work.counts |= {
        "steps": result["steps"],
        "parameters": result["parameters"],
        "valid_accuracy": result["valid"]["accuracy"],
        "test_accuracy": result["test"]["accuracy"],
        "test_macro_f1": result["test"]["macro_f1"],
    }
    if config.settings.initialisation == "pretrained":
        register(work, REGISTERED_NAME, config.settings.model_dump())


@stage(version=1, libraries=("scikit-learn",))
def bag_of_words(work: Work, config: BaselineConfig, *, examples: Artifact) -> None:
    """The baseline that any model must beat: tf-idf words and logistic regression."""
    from lm.finetune.baseline import bag_of_words as run

    train, valid, test = (examples.file(f"{name}.parquet") for name in SPLITS)
    result = run(train, valid, test, config, work.directory)
    work.counts |= {
        "features": result["features"],
        "valid_accuracy": result["valid"]["accuracy"],
        "test_accuracy": result["test"]["accuracy"],
        "test_macro_f1": result["test"]["macro_f1"],
    }
