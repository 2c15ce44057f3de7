"""The scaling study: models of many sizes and budgets, laws through their losses, a larger model predicted first."""

from dataclasses import dataclass

from prefect import flow

from flows.config.named_file import FromFile
from flows.config.scaling import GridConfig, ScalingConfig, SizeConfig, shipped_scaling
from flows.corpus import Corpus, build_corpus
from flows.pretrain import Tokens, tokens_under
from flows.running import prefect_run
from lm.hardware import resolve_device, resolve_precision
from tasks.losses import LossesConfig, losses
from tasks.pretrain import PretrainRequest, pretrain
from tasks.scaling import PredictionConfig, predict_loss, scaling_table, size_and_data
from tasks.stage import NoConfig
from tasks.store import Artifact
from tasks.subset import SubsetConfig, subset


@dataclass(frozen=True)
class Trained:
    """A model, and what it says of text."""

    model: Artifact
    figures: Artifact
    factor: float = 1.0


@dataclass(frozen=True)
class Scaling:
    """What a study made; the last three only when it was to go beyond its prediction."""

    runs: list[Trained]
    prediction: Artifact
    target: Trained | None = None
    table: Artifact | None = None
    grid: Artifact | None = None


class ScalingRuns:
    """The corpus and the tokens that all models of a study share, and how one of them is trained."""

    def __init__(self, config: ScalingConfig) -> None:
        self.config = config
        self.corpus: Corpus = build_corpus(config)
        self.tokens: Tokens = tokens_under(None, config, self.corpus)
        self.mixture = {"mixture": self.tokens.mixture[0]} if self.tokens.mixture else {}
        given = config.evaluate.resolve(config.train)
        device = resolve_device(given.device)
        precision = resolve_precision(given.precision, device)
        self.asked = {"sequences": given.sequences, "device": device, "precision": precision}

    def request(self, size: SizeConfig, tokens: int, factor: float = 1.0) -> PretrainRequest:
        """What is trained for one size and budget."""
        rung = self.config.rung(size, factor)
        settings = rung.pretraining(self.config.tokenizer.train.vocab_size)
        return PretrainRequest(
            settings=settings, train=settings.resolve(rung.trained_with(self.config.trained_for(tokens)))
        )

    def train(self, label: str, request: PretrainRequest, **further: Artifact) -> Artifact:
        """A model by the `pretrain` stage: found in the store, gone on with, or begun."""
        split, tokens = self.corpus.split, self.tokens
        given = {**self.mixture, **further}
        return pretrain(
            request, label=label, init_from=[], tokens=tokens.tokens, split=split, tokenizer=tokens.tokenizer, **given
        )

    def ask(self, label: str, model: Artifact, request: PretrainRequest, **further: Artifact) -> Artifact:
        """Its loss on held-out text, and on its own if that is named."""
        settings = request.settings
        mask = getattr(settings, "document_mask", False)
        wanted = LossesConfig(**self.asked, context=settings.tokens_per_example, document_mask=mask)
        split, tokens = self.corpus.split, self.tokens.tokens
        return losses(wanted, label=f"loss: {label}", model=model, tokens=tokens, split=split, **further)

    def run(self, size: SizeConfig, tokens: int) -> Trained:
        """One size on one budget, at the factor of the learning rate that is best on validation text."""
        name = f"{size.layers}x{size.width} on {tokens:,}"
        tried = []
        for factor in self.config.factors:
            label = name if len(self.config.factors) == 1 else f"{name} at {factor:g}"
            request = self.request(size, tokens, factor)
            tried.append((self.train(label, request), factor, request))
        model, factor, request = min(tried, key=lambda found: found[0].counts()["valid_bits_per_byte"])
        return Trained(model, self.ask(name, model, request), factor)


def build_scaling(config: ScalingConfig, predict_only: bool = False) -> Scaling:
    """Every stage in order, small models first; each is found in the store or built.

    With `predict_only` nothing is trained that the prediction does not rest on.
    """
    shared = ScalingRuns(config)
    sizes = sorted(config.sizes, key=config.body)
    runs = [shared.run(size, tokens) for size in sizes for tokens in sorted(config.budgets)]
    factor = runs[-1].factor
    request = shared.request(config.target, config.target.tokens or max(config.budgets), factor)
    wanted = PredictionConfig(
        target=request.settings,
        tokens=config.target_tokens(),
        count=config.count,
        huber=config.huber,
        confidence=config.confidence,
        resamples=config.resamples,
    )
    models, figures = [run.model for run in runs], [run.figures for run in runs]
    prediction = predict_loss(wanted, models=models, figures=figures)
    if predict_only:
        return Scaling(runs, prediction)
    label = f"target {config.target.layers}x{config.target.width}"
    model = shared.train(label, request, prediction=prediction)
    target = Trained(model, shared.ask(label, model, request), factor)
    table = scaling_table(NoConfig(), prediction=prediction, target=target.model, figures=target.figures)
    return Scaling(runs, prediction, target, table, build_grid(shared, config.grid, factor) if config.grid else None)


def build_grid(shared: ScalingRuns, config: GridConfig, factor: float) -> Artifact:
    """Every size on every text, at the factor of the learning rate that was best for the largest size and budget."""
    cells: list[tuple[Trained, Artifact]] = []
    for text in sorted(config.texts):
        part = subset(
            SubsetConfig(tokens=text), label=f"text of {text:,}", tokens=shared.tokens.tokens, split=shared.corpus.split
        )
        for size in config.sizes:
            label = f"{size.layers}x{size.width}, text of {text:,}"
            request = shared.request(size, config.tokens, factor)
            model = shared.train(label, request, mixture=part)
            cells.append((Trained(model, shared.ask(label, model, request, mixture=part)), part))
    trained = [cell for cell, _ in cells]
    return size_and_data(
        NoConfig(),
        models=[cell.model for cell in trained],
        figures=[cell.figures for cell in trained],
        subsets=[part for _, part in cells],
    )


@flow(name="scaling", flow_run_name="scaling {config.name}", persist_result=False)
def scaling_flow(
    config: FromFile[ScalingConfig] = shipped_scaling(),  # noqa: B008
    predict_only: bool = False,
) -> dict[str, str]:
    """Fit laws of loss against parameters, data and compute, predict a larger model and then train it."""
    with prefect_run("scaling", config):
        made = build_scaling(config, predict_only)
    further = {"target": made.target and made.target.model, "table": made.table, "grid": made.grid}
    return {"prediction": made.prediction.name} | {name: found.name for name, found in further.items() if found}
