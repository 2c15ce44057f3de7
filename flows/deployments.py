"""The flows that run by themselves, beside the whole pipeline: what `prefect.yaml` schedules.

What they do is in the other files. They stand apart because Prefect works out the form of a flow's parameters when the
flow is defined, a tenth of a second each: a pipeline that is all cached does not wait for the other three, and
`textmill clean` imports no Prefect at all.
"""

from prefect import flow

from flows.config import PipelineConfig, quickstart
from flows.corpus import build_corpus
from flows.pretrain import build_pretrained, build_tokens
from flows.quickstart_finetune import build_finetuned
from flows.running import prefect_run


@flow(name="corpus-refresh", flow_run_name="corpus {config.name}", persist_result=False)
def corpus_refresh(config: PipelineConfig = quickstart()) -> dict[str, str]:  # noqa: B008
    """Read the sources again and bring the corpus, and the tokens under its tokenizer, up to date."""
    with prefect_run("corpus-refresh", config):
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
    return {"corpus": corpus.kept.name, "split": corpus.split.name, "tokens": tokens.tokens.name}


@flow(name="pretrain", flow_run_name="pretrain {config.name}", persist_result=False)
def pretrain_flow(config: PipelineConfig = quickstart()) -> dict[str, str]:  # noqa: B008
    """Train the language model on the corpus as it now is; what is up to date is reused."""
    with prefect_run("pretrain", config):
        corpus = build_corpus(config)
        pretrained = build_pretrained(config, corpus, build_tokens(config, corpus))
    return {"model": pretrained.model.name, "evaluation": pretrained.evaluation.name}


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
