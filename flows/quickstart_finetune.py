"""Fine-tuning: the pretrained model against random weights and a bag of words, over several seeds."""

from dataclasses import dataclass

from data_quality.config import LabelledConfig
from flows.config.pipeline import PipelineConfig
from flows.corpus import Corpus
from flows.pretrain import Pretrained
from tasks.evaluate import compare
from tasks.finetune import FinetuneRequest, bag_of_words, finetune
from tasks.labelled import labelled
from tasks.stage import NoConfig
from tasks.store import Artifact


@dataclass(frozen=True)
class Finetuned:
    """The runs of each system, in the order of the seeds, and their comparison."""

    examples: Artifact
    pretrained: list[Artifact]
    scratch: list[Artifact]
    baseline: Artifact
    comparison: Artifact


def build_finetuned(config: PipelineConfig, task: LabelledConfig, corpus: Corpus, model: Pretrained) -> Finetuned:
    """Build the labelled set from the corpus's own split, then run every system and seed."""
    examples = labelled(task, corpus=corpus.kept, split=corpus.split)
    settings = config.finetune.settings.resolve(model.settings)
    runs: dict[str, list[Artifact]] = {"pretrained": [], "random": []}
    for seed in config.finetune.seeds:
        for initialisation, made in runs.items():
            one = FinetuneRequest(settings=settings.model_copy(update={"seed": seed, "initialisation": initialisation}))
            label = f"finetune {initialisation} seed {seed}"
            made.append(finetune(one, label=label, examples=examples, model=model.model))
    baseline = bag_of_words(config.finetune.baseline, examples=examples)
    comparison = compare(NoConfig(), pretrained=runs["pretrained"], scratch=runs["random"], baseline=baseline)
    return Finetuned(examples, runs["pretrained"], runs["random"], baseline, comparison)
