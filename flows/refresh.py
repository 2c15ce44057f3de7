"""After a refresh of the corpus: is another model to be pretrained, and if so, who does it?"""

from typing import Any

from flows.config.loading import ConfigError
from flows.config.pipeline import PipelineConfig
from flows.corpus import Corpus
from flows.pretrain import Tokens, build_pretrained, pretrained_alias
from tasks.change import ChangeConfig, corpus_change, read_decision
from tasks.running.run import current_run
from tasks.store import Artifact

DEPLOYMENT = "pretrain/pretrain"
STARTED_BY = "started by nightly-corpus"
"""A tag of the flow runs that a refresh starts."""


def decide_pretraining(config: PipelineConfig, corpus: Corpus) -> Artifact | None:
    """The decision, with its figures, as an artifact; None if the configuration leaves none to be made.

    Compared is with what the *last model* has read, not with last night's corpus: changes that are small every night
    add up.
    """
    above = config.refresh.pretrain_above
    if above is None or config.ingest.until is not None:  # nobody trains on the past unasked
        return None
    return corpus_change(
        ChangeConfig(above=above), label="pretrain?", corpus=corpus.kept, split=corpus.split, read=_last_read(config)
    )


def _last_read(config: PipelineConfig) -> list[Artifact]:
    """Corpus and split of the model that this configuration trained last; empty if there is none any more."""
    store = current_run().store
    model = store.aliased(pretrained_alias(config.name))
    found = []
    for artifact, name in ((model, "tokens"), (model, "split")):
        entries = artifact.manifest()["inputs"].get(name, []) if artifact else []
        found.append(store.find(entries[0]["stage"], entries[0]["key"]) if entries else None)
    tokens, split = found
    if tokens is None or split is None:
        return []
    [entry] = tokens.manifest()["inputs"]["corpus"]
    corpus = store.find(entry["stage"], entry["key"])
    return [] if corpus is None else [corpus, split]


def follow_up(config: PipelineConfig, corpus: Corpus, tokens: Tokens) -> dict[str, str]:
    """Decide, and pretrain if that is the decision. Inside the run of a refresh.

    A refresh that a deployment runs starts the deployment `pretrain`, so that training waits for its own workers and
    limits; one from a terminal trains in the same process.

    Returns:
        What a flow returns of it: decision, its reason, `outcome` (the same in words), and the model or the flow run
        that makes it.
    """
    decision = decide_pretraining(config, corpus)
    if decision is None:
        return {}
    said = read_decision(decision)
    does = "pretraining" if said["pretrain"] else "no pretraining"
    made = {"decision": decision.name, "reason": said["reason"], "outcome": f"{does}: {said['reason']}"}
    if not said["pretrain"]:
        return made
    if _deployed():
        return made | {"pretraining": start_pretraining(config)}
    return made | {"model": build_pretrained(config, corpus, tokens).model.name}


def start_pretraining(config: PipelineConfig) -> str:
    """Schedule a run of the deployment `pretrain` with this configuration, now. Returns its flow run id.

    A refresh that is retried starts no second one: the flow run that asks is the key.

    Raises:
        ConfigError: there is no such deployment.
    """
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    run = current_run()
    try:
        started: Any = run_deployment(
            DEPLOYMENT,
            parameters={"config": config.model_dump(mode="json")},
            timeout=0,
            tags=[STARTED_BY],
            idempotency_key=f"refresh-{run.flow_run_id}",
            as_subflow=False,  # it outlives the refresh
        )
    except ObjectNotFound as error:
        raise ConfigError(
            f"the corpus has changed, and there is no deployment {DEPLOYMENT!r} to pretrain on it: `textmill up` "
            "deploys it (prefect.yaml)"
        ) from error
    run.display.line(f"pretraining starts as flow run {started.name}")
    return str(started.id)


def _deployed() -> bool:
    """Whether a worker runs this flow for a deployment."""
    from prefect import runtime

    return bool(runtime.deployment.id)
