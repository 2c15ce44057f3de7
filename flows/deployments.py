"""The flows that run by themselves, beside the whole pipeline: what `prefect.yaml` schedules.

What they do is in the other files. They stand apart because Prefect works out the form of a flow's parameters when the
flow is defined, a tenth of a second each: a pipeline that is all cached does not wait for the other four, and
`textmill clean` imports no Prefect at all.
"""

from datetime import date
from typing import Any

from prefect import flow
from prefect.states import Completed

from flows.commands.gc import sweep
from flows.config.garbage import GarbageConfig
from flows.config.named_file import FromFile
from flows.config.pipeline import PipelineConfig, quickstart
from flows.corpus import build_corpus
from flows.pretrain import build_pretrained, build_tokens
from flows.quickstart_finetune import build_finetuned
from flows.refresh import follow_up
from flows.running import prefect_run
from tasks.running.secret_blocks import open_store_with


@flow(name="corpus-refresh", flow_run_name="corpus {config.name}", persist_result=False)
def corpus_refresh(config: FromFile[PipelineConfig] = quickstart(), until: date | None = None) -> dict[str, str]:  # noqa: B008
    """Read the sources again, bring the corpus and its tokens up to date, and pretrain if enough has changed.

    With `until` the corpus of that day is made instead, of the files whose path names no later date; no model follows.
    """
    if until is not None:
        config = config.model_copy(update={"ingest": config.ingest.model_copy(update={"until": until})})
    with prefect_run("corpus-refresh", config):
        corpus = build_corpus(config)
        tokens = build_tokens(config, corpus)
        followed = follow_up(config, corpus, tokens)
    return {"corpus": corpus.kept.name, "split": corpus.split.name, "tokens": tokens.tokens.name, **followed}


@flow(name="pretrain", flow_run_name="pretrain {config.name}", persist_result=False)
def pretrain_flow(config: FromFile[PipelineConfig] = quickstart()) -> dict[str, str]:  # noqa: B008
    """Train the language model on the corpus as it now is; what is up to date is reused."""
    with prefect_run("pretrain", config):
        corpus = build_corpus(config)
        pretrained = build_pretrained(config, corpus, build_tokens(config, corpus))
    return {"model": pretrained.model.name, "evaluation": pretrained.evaluation.name}


@flow(name="finetune", flow_run_name="finetune {config.name}", persist_result=False)
def finetune_flow(config: FromFile[PipelineConfig] = quickstart()) -> dict[str, str]:  # noqa: B008
    """Fine-tune the current pretrained model on the configured task; what is up to date is reused."""
    if config.task is None:
        raise ValueError("the configuration has no `task`: there is nothing to fine-tune on")
    with prefect_run("finetune", config):
        corpus = build_corpus(config)
        pretrained = build_pretrained(config, corpus, build_tokens(config, corpus))
        finetuned = build_finetuned(config, config.task, corpus, pretrained)
    return {"comparison": finetuned.comparison.name, "models": ", ".join(a.name for a in finetuned.pretrained)}


@flow(name="gc", persist_result=False)
def gc_flow(config: FromFile[GarbageConfig] = GarbageConfig()) -> Any:  # noqa: B008
    """Remove from the store what no alias and none of the last runs needs, as `textmill gc --delete` does.

    It opens no run of its own: a run every night would soon be all of the last runs.
    """
    swept = sweep(open_store_with(config.resources), config.keep_runs, config.grace_hours, delete=True)
    removed = {"removed": len(swept.found), "bytes": swept.bytes}
    return Completed(message=f"{removed['removed']} removed, {removed['bytes']:,} bytes", data=removed)
