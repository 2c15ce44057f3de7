"""Fine-tuning: the pretrained model against random weights and a bag of words, over several seeds."""

from dataclasses import dataclass

from prefect import flow

from data_quality.config import LabelledConfig
from flows.config import PipelineConfig, quickstart
from flows.corpus import Corpus, build_corpus
from flows.pretrain import Pretrained, build_pretrained, build_tokens
from flows.running import prefect_run
from tasks.evaluate import CompareConfig, compare
from tasks.finetune import FinetuneRequest, bag_of_words, finetune
from tasks.labelled import labelled
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
    comparison = compare(CompareConfig(), pretrained=runs["pretrained"], scratch=runs["random"], baseline=baseline)
    return Finetuned(examples, runs["pretrained"], runs["random"], baseline, comparison)


@flow(name="finetune", flow_run_name="finetune {config.name}", persist_result=False)
def finetune_flow(config: PipelineConfig = quickstart()) -> dict[str, str]:  # noqa: B008
    """Fine-tune the current pretrained model on the configured task; what is up to date is reused."""
    if config.task is None:
        raise ValueError("the configuration has no `task`: there is nothing to fine-tune on")
    with prefect_run("finetune", config):
        corpus = build_corpus(config)
        pretrained = build_pretrained(config, corpus, build_tokens(config, corpus))
        finetuned = build_finetuned(config, config.task, corpus, pretrained)
    return {"comparison": finetuned.comparison.name, "models": ", ".join(a.name for a in finetuned.pretrained)}
