"""The ladder's table: what each model says of the same test tokens, and what it cost to make."""

from typing import Any

from pydantic import Field

from lm.config import StrictModel
from tasks.evaluate import ScoreConfig
from tasks.pretrain import split_index
from tasks.running.journal import JOURNAL, read_events
from tasks.running.sampler import JOURNAL_SECONDS
from tasks.stage import Work, sidecar, stage
from tasks.storage.files import read_json, write_json
from tasks.store import RUN_DIRECTORY, Artifact

FIGURES = "figures.json"
BOARD = "leaderboard.json"
REPORT = "report.html"
CARRIED = "carried_bits_per_byte"
SAMPLE_TOKENS = 60


class HeldOutConfig(ScoreConfig):
    """What is scored, and what is written."""

    context: int = Field(description="Tokens of a test sequence.")
    prompt: str = Field("", description="What the sample goes on from.")


@stage(version=3, libraries=("torch", "tokenizers"))
def held_out(
    work: Work, config: HeldOutConfig, *, model: Artifact, tokens: Artifact, split: Artifact, corpus: Artifact
) -> None:
    """Bits per byte of a model of any kind on the test documents, and a sample of what it writes.

    Every sequence is scored from nothing, all that models with a window can do; for a model that carries a state also
    with the state carried from sequence to sequence, which is how it was trained.
    """
    import torch

    from lm.evaluate.words import perplexity_per_word
    from lm.packing import PackedSequences
    from lm.text_model import open_model
    from lm.texts.stateful import StatefulText

    torch.set_num_threads(work.resources.threads)
    opened = open_model(model.path, config.device)
    test = PackedSequences(split_index(tokens, split, "test"), config.context, config.document_mask)
    limit = min(config.sequences, len(test))
    with (
        torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"),
        work.graceful_stop() as should_stop,
    ):
        figures = opened.bits_per_byte(test, limit, should_stop)
        if isinstance(opened, StatefulText):
            carried = opened.carried_bits_per_byte(test, limit, should_stop)
            figures[CARRIED] = work.counts[CARRIED] = carried["bits_per_byte"]
        sample = opened.generate(config.prompt, SAMPLE_TOKENS, temperature=0.8, top_k=50, seed=0)
    figures["perplexity_per_word"] = perplexity_per_word(figures["bits_per_byte"], bytes_per_word(corpus, split))
    write_json(work.directory / FIGURES, {**figures, "kind": opened.kind, "sample": sample})
    work.counts |= {"sequences": limit, "bits_per_byte": figures["bits_per_byte"]}


def bytes_per_word(corpus: Artifact, split: Artifact) -> float:
    """UTF-8 bytes of the test documents for each of their words (`lm.evaluate.words` says what is one)."""
    import pyarrow.parquet as pq

    from lm.evaluate.words import word_count

    test = set(pq.read_table(split.file("split.parquet"), filters=[("split", "=", "test")])["id"].to_pylist())
    size = words = 0
    for shard in corpus.shards():
        for batch in pq.ParquetFile(shard.path).iter_batches(columns=["id", "text"]):
            rows = zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True)
            texts = [text for id, text in rows if id in test]
            size += sum(len(text.encode()) for text in texts)
            words += word_count(texts)
    return size / max(words, 1)


class LeaderboardConfig(StrictModel):
    """What the table is called, and the names of the models, in the order of the inputs."""

    title: str
    names: tuple[str, ...]


@stage(version=4)
def leaderboard(work: Work, config: LeaderboardConfig, *, models: list[Artifact], figures: list[Artifact]) -> None:
    """Write leaderboard.json, leaderboard.md and report.html, the best model first.

    A leaf: nothing is made from it, so it may read the seconds of the models, which differ between two runs.
    """
    from tasks.pages.ladder_page import ladder_page

    rows = [_row(*each) for each in zip(config.names, models, figures, strict=True)]
    rows.sort(key=lambda row: (row["bits_per_byte"], row["model"]))
    write_json(work.directory / BOARD, rows)
    (work.directory / "leaderboard.md").write_text(_markdown(rows), encoding="utf-8")
    asked, scored = figures[0].manifest()["config"], read_json(figures[0].file(FIGURES))
    page = ladder_page(config.title, rows, asked["prompt"], int(scored["tokens"]), int(scored["bytes"]))
    (work.directory / REPORT).write_text(page, encoding="utf-8")
    for path in ("leaderboard.md", REPORT):
        work.journal.write("file", path=path, directory="leaderboard")
    work.counts |= {f"{row['model']}_bits_per_byte": row["bits_per_byte"] for row in rows}
    shown = [{name: value for name, value in row.items() if name != "sample"} for row in rows]
    work.table("leaderboard", shown, "Held-out text under every model, the best first")


def read_board(artifact: Artifact) -> list[dict[str, Any]]:
    """The rows of a leaderboard, the best model first."""
    rows: list[dict[str, Any]] = read_json(artifact.file(BOARD))
    return rows


def _row(name: str, model: Artifact, found: Artifact) -> dict[str, Any]:
    figures, counts, seconds = read_json(found.file(FIGURES)), model.counts(), _seconds(model)
    return {
        "model": name,
        "kind": figures["kind"],
        "bits_per_byte": figures["bits_per_byte"],
        CARRIED: figures.get(CARRIED),
        "perplexity_per_token": figures["perplexity_per_token"],
        "perplexity_per_word": figures["perplexity_per_word"],
        "parameters": counts["parameters"],
        "tokens": counts["tokens"],
        "seconds": seconds,
        "tokens_per_second": counts["tokens"] / seconds,
        "peak_bytes": sidecar(model)["peak_process_bytes"],
        "artifact": model.name,
        "sample": figures["sample"],
    }


def _seconds(model: Artifact) -> float:
    """How long a model took to make; in several attempts, to the five seconds in which its journal notes usage."""
    last = float(sidecar(model)["seconds"])
    journal = model.path / RUN_DIRECTORY / JOURNAL
    events = [event for _, event in read_events(journal)]
    if sum(event["event"] == "start" for event in events) == 1:
        return last
    noted = sum(event.get("key") == "system/cpu_utilization_percentage" for event in events)
    return max(last, JOURNAL_SECONDS * noted)


def _or_nothing(bits: float | None) -> str:
    return "" if bits is None else f"{bits:.4f}"


def _markdown(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| model | bits per byte | with the state carried | perplexity per word | parameters | tokens read | tokens/s"
        " | seconds | memory, MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['model']} | {row['bits_per_byte']:.4f} | {_or_nothing(row[CARRIED])} | "
            f"{row['perplexity_per_word']:,.1f} | "
            f"{row['parameters']:,} | {row['tokens']:,} | {row['tokens_per_second']:,.0f} | {row['seconds']:.1f} | "
            f"{row['peak_bytes'] / 1e6:,.0f} |"
        )
    samples = [f"\n**{row['model']}**\n\n    " + row["sample"].replace("\n", "\n    ") for row in rows]
    return "\n".join(
        [*lines, "", "What each writes, temperature 0.8, the 50 likeliest tokens, one seed:", *samples, ""]
    )
