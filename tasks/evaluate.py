"""Evaluate: the language model on test documents, and the fine-tuned systems against each other."""

import json
from typing import Literal

from pydantic import Field

from lm.config import StrictModel, TrainConfig
from tasks.finetune import METRICS
from tasks.pretrain import register, split_index
from tasks.stage import NoConfig, Work, stage
from tasks.storage.files import read_json
from tasks.store import Artifact

REGISTERED_NAME = "textmill-finetuned"


class EvaluateConfig(StrictModel):
    """How much of the test documents is scored, and where and in which precision."""

    sequences: int = Field(512, ge=1, description="Sequences of the test documents that are scored.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: that of pretraining.")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="`auto`: that of pretraining.")

    def resolve(self, train: TrainConfig) -> "EvaluateConfig":
        """Replace every `auto` by what pretraining (already resolved) uses."""
        own = {name: getattr(self, name) for name in ("device", "precision")}
        return self.model_copy(update={n: getattr(train, n) if value == "auto" else value for n, value in own.items()})


class ScoreConfig(EvaluateConfig):
    """The same, and how the model was taught to read packed documents."""

    document_mask: bool = Field(
        False, exclude_if=lambda on: not on, description="Documents of a sequence do not see one another."
    )


@stage(version=2, libraries=("torch",))
def evaluate(
    work: Work, config: ScoreConfig, *, model: Artifact, tokens: Artifact, split: Artifact, tokenizer: Artifact
) -> None:
    """Bits per byte on held-out test documents: the model, the same model untrained, and token frequencies alone."""
    import torch

    from lm.artifact import load_model
    from lm.evaluate.perplexity import bits_per_byte, ratio_interval, unigram_bits_per_byte
    from lm.models.gpt import GPT
    from lm.packing import PackedSequences
    from lm.tokenizer import token_byte_lengths

    torch.set_num_threads(work.resources.threads)
    trained, loaded_tokenizer = load_model(model.path)
    untrained = GPT(trained.config, seed=0).to(config.device)
    trained.to(config.device)
    test = PackedSequences(split_index(tokens, split, "test"), trained.config.context, config.document_mask)
    lengths = token_byte_lengths(loaded_tokenizer)
    limit = min(config.sequences, len(test))
    with (
        torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"),
        work.graceful_stop() as should_stop,
    ):
        each: list[tuple[float, int]] = []
        figures = {
            "pretrained": bits_per_byte(trained, test, lengths, limit, should_stop=should_stop, each=each),
            "untrained": bits_per_byte(untrained, test, lengths, limit, should_stop=should_stop),
        }
    if (interval := ratio_interval(each)) is not None:
        figures["pretrained"] |= dict(zip(("bits_per_byte_low", "bits_per_byte_high"), interval, strict=True))
    counts = split_index(tokens, split, "train").token_counts()
    figures["unigram"] = unigram_bits_per_byte(counts, test, lengths, limit)
    (work.directory / "evaluation.json").write_text(json.dumps(figures, indent=1))
    work.counts["sequences"] = limit
    work.counts |= {f"{name}_bits_per_byte": value["bits_per_byte"] for name, value in figures.items()}
    rows = [{"model": name, **{k: round(v, 4) for k, v in value.items()}} for name, value in figures.items()]
    work.table("bits-per-byte", rows, f"Held-out text: {limit} sequences of {trained.config.context} tokens")


@stage(version=2)
def compare(
    work: Work, config: NoConfig, *, pretrained: list[Artifact], scratch: list[Artifact], baseline: Artifact
) -> None:
    """Accuracy of each system over its seeds, and the difference that pretraining makes, by a paired bootstrap. Of the
    pretrained the one that is best on dev is registered in MLflow."""
    from lm.finetune.predictions import PREDICTIONS_FILE
    from lm.finetune.predictions import compare as compare_predictions

    files = {
        "pretrained": [a.file(PREDICTIONS_FILE) for a in pretrained],
        "scratch": [a.file(PREDICTIONS_FILE) for a in scratch],
        "bag of words": [baseline.file(PREDICTIONS_FILE)],
    }
    comparison = {
        "pretrained - scratch": compare_predictions(files["pretrained"], files["scratch"]),
        "pretrained - bag of words": compare_predictions(files["pretrained"], files["bag of words"]),
    }
    (work.directory / "comparison.json").write_text(json.dumps(comparison, indent=1))
    best = max(pretrained, key=on_dev)
    register(work, REGISTERED_NAME, best.manifest()["config"], best)
    for name, result in comparison.items():
        work.counts[name] = result["difference"]["value"]
    work.table("differences", [{"systems": n, **r["difference"]} for n, r in comparison.items()], "Test accuracy")


def on_dev(run: Artifact) -> float:
    """What a fine-tuning reached on dev, by its task's first metric."""
    result = read_json(run.file(METRICS))
    return float(result["valid"][result["metric"]])
