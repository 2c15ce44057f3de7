"""The registered champion against its challenger: compared on documents that neither has read, promoted if it wins."""

from typing import Any

from prefect import flow
from prefect.exceptions import Pause

from flows.config.champion import ChampionConfig
from flows.config.loading import ConfigError
from flows.config.named_file import FromFile
from flows.exam import take
from flows.exam_lineage import lineage_of
from flows.running import prefect_run
from flows.servers import services
from flows.servers.approval import approved
from tasks.contest import contest, read_contest
from tasks.contest_documents import HELD_OUT, contest_documents
from tasks.exams.config import Perplexity
from tasks.running.prefect_text import cell, page
from tasks.running.run import Run, note_stopped
from tasks.stage import sound_file
from tasks.storage.shared import open_store
from tasks.store import Artifact
from tasks.tracking.champions import NoContest, Pair, Version, note_outcome, promote, versions

ARTIFACT = "champion"
"""Key of the markdown artifact in Prefect; its versions are the contests so far."""


@flow(name="champion", flow_run_name="champion of {config.model}", persist_result=False)
def champion_flow(config: FromFile[ChampionConfig] = ChampionConfig()) -> dict[str, str]:  # noqa: B008
    """Compare the registered champion with its challenger and promote the challenger by alias if it wins.

    A flow run that waits for approval is `Suspended`: its process ends, and when it is resumed a new one goes through
    the same stages, all cached, to the answer.
    """
    services.ensure("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient()
    with prefect_run("champion", config) as run:
        pair = _pair(client, config, run)
        made = compare_pair(config, pair, run) if pair and pair.champion else None
        found = read_contest(made) if made else None
    if pair is None:
        return _told(config, f"{config.challenger!r} and {config.champion!r} are the same version: nothing to compare")
    text = described(config, pair, found)
    if found is not None and not found["wins"]:
        return _ended(client, config, pair, text, f"kept the champion: {found['reason']}")
    noted = ""
    if config.approval.required:
        try:
            answer = approved(page(text), config.approval.timeout_hours)
        except Pause:
            raise  # it is asked, and this process ends as it should
        except BaseException as error:
            note_stopped(run, error)
            raise
        noted = _why(answer.note)
        if not answer.approve:
            return _ended(client, config, pair, text, f"kept the champion: promotion was refused{noted}")
    if not promote(client, config.model, config.champion, pair):
        moved = f"kept the champion: {config.champion!r} was given to another version meanwhile{noted}"
        return _ended(client, config, pair, text, moved)
    open_store(config.resources.store).set_alias(config.name, pair.challenger.artifact)
    why = found["reason"] if found else "there was no champion"
    return _ended(client, config, pair, text, f"promoted version {pair.challenger.number}: {why}{noted}")


def _pair(client: Any, config: ChampionConfig, run: Run) -> Pair | None:
    try:
        return versions(client, run.store, config.model, config.champion, config.challenger, run.flow_run_id)
    except NoContest as error:
        raise ConfigError(str(error)) from error


def compare_pair(config: ChampionConfig, pair: Pair, run: Run) -> Artifact:
    """The contest of two versions, as an artifact: the same two on the same documents are compared once.

    Raises:
        ConfigError: the lineage of one of them does not say what it has read.
        TooFewHeldOut: they share too few test documents.
    """
    assert pair.champion is not None
    challenger, champion = pair.challenger.artifact, pair.champion.artifact
    read = [training for model in (challenger, champion) for training in lineage_of(run.store, model, config.name)[0]]
    read = list({(training.corpus.key, training.split.key): training for training in read}.values())
    held = contest_documents(
        config.held_out,
        label="held-out documents",
        corpus=read[0].corpus,
        corpora=[training.corpus for training in read],
        split=[training.split for training in read],
    )
    asked = Perplexity(name="held-out", paths=(str(sound_file(held, HELD_OUT)),))
    return contest(config.contest, champion=take(champion, asked), challenger=take(challenger, asked))


def described(config: ChampionConfig, pair: Pair, found: dict[str, Any] | None) -> str:
    """The contest as markdown, for the dialog in which it is approved and for the artifact."""

    def line(who: str, version: Version | None) -> str:
        if version is None:
            return f"| {who} | none | | |"
        bits = f"{found['bits_per_byte'][who]:.4f}" if found else ""
        return f"| {who} | {version.number} | `{version.artifact.name}` | {bits} |"

    rows = [line("champion", pair.champion), line("challenger", pair.challenger)]
    table = "| | version | artifact | bits per byte |\n|---|---|---|---|\n" + "\n".join(rows)
    if found is None:
        return f"{table}\n\nThere is no champion of `{config.model}` yet: the challenger takes the place."
    on = f"{found['documents']:,} documents ({found['bytes']:,} bytes) that neither model has read"
    return f"{table}\n\nOn {on}: {found['reason']}."


def _why(note: str) -> str:
    return f" ({note})" if note else ""


def _ended(client: Any, config: ChampionConfig, pair: Pair, text: str, outcome: str) -> dict[str, str]:
    note_outcome(client, config.model, pair.challenger.number, outcome)
    return _told(config, outcome, text)


def _told(config: ChampionConfig, outcome: str, text: str = "") -> dict[str, str]:
    """Show the outcome in Prefect and return it."""
    from prefect.artifacts import create_markdown_artifact

    shown, about = page(f"**{outcome}**\n\n{text}"), cell(f"The champion of {config.model}")
    create_markdown_artifact(shown, key=ARTIFACT, description=about)
    return {"outcome": outcome}
