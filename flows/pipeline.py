"""The whole mill: from raw text to a fine-tuned model and a report."""

from prefect import flow

from flows.config.named_file import FromFile
from flows.config.pipeline import PipelineConfig, quickstart
from flows.corpus import build_corpus
from flows.pretrain import build_pretrained, build_tokens
from flows.quickstart_finetune import build_finetuned
from flows.running import prefect_run
from tasks.report import ReportConfig, report
from tasks.store import Artifact


def build_all(config: PipelineConfig) -> dict[str, Artifact | list[Artifact]]:
    """Every stage in order; each is found in the store or built."""
    corpus = build_corpus(config)
    tokens = build_tokens(config, corpus)
    pretrained = build_pretrained(config, corpus, tokens)
    made: dict[str, Artifact | list[Artifact]] = {
        **vars(corpus),
        "mixture": tokens.mixture,
        "tokenizer": tokens.tokenizer,
        "tokens": tokens.tokens,
        "model": pretrained.model,
        "evaluation": pretrained.evaluation,
    }
    if config.task is not None:
        made |= vars(build_finetuned(config, config.task, corpus, pretrained))
    return {**made, "report": report(ReportConfig(name=config.name), label="report", **made)}


@flow(name="textmill", flow_run_name="{config.name}", persist_result=False)
def textmill_pipeline(config: FromFile[PipelineConfig] = quickstart()) -> dict[str, str]:  # noqa: B008
    """From raw text to a fine-tuned model and a report; every stage is resumable, unchanged ones are reused."""
    with prefect_run("textmill", config):
        made = build_all(config)
    return {name: artifact.name for name, artifact in made.items() if isinstance(artifact, Artifact)}
