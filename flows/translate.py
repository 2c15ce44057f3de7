"""Translators: pairs of texts in, a model that turns one text into the other out; and the use of one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from rich.console import Console
from rich.progress import Progress

from flows.config.loading import ConfigError
from flows.config.named_file import FromFile
from flows.config.task import load_shipped_task
from flows.config.translation import PairsSection, TranslationConfig, shipped_translation
from flows.running import prefect_run
from flows.task_sets import build_task
from tasks.store import Artifact
from tasks.translation import (
    PairSource,
    PairsRequest,
    PairTokenizerConfig,
    TranslatorRequest,
    pair_tokenizer,
    pairs,
    train_translator,
)


@dataclass(frozen=True)
class Translation:
    """What a run leaves."""

    pairs: Artifact
    source: Artifact
    target: Artifact
    model: Artifact


def build_translation(config: TranslationConfig) -> Translation:
    """Every stage in order; each is found in the store or built.

    Raises:
        ConfigError: a file that is not there, or a task that cannot be used.
    """
    made = pairs_of(config.pairs)
    own = config.tokenizers
    source = pair_tokenizer(
        PairTokenizerConfig(side="both" if own.shared else "source", train=own.train),
        label="tokenizer" if own.shared else "source tokenizer",
        pairs=made,
    )
    target = source
    if not own.shared:
        wanted = PairTokenizerConfig(side="target", train=own.target or own.train)
        target = pair_tokenizer(wanted, label="target tokenizer", pairs=made)
    translator, train_config = config.resolved()
    request = TranslatorRequest(translator=translator, train=train_config, rouge_l=_asks_for_rouge_l(config.pairs))
    model = train_translator(request, label=config.translator.model.kind, pairs=made, source=source, target=target)
    return Translation(made, source, target, model)


def pairs_of(given: PairsSection) -> Artifact:
    """The pairs: of files, or of a task, whose labelled set has the same files and columns."""
    if given.task is not None:
        limits = {} if given.max_pairs is None else dict.fromkeys(("train", "valid"), given.max_pairs)
        return build_task(load_shipped_task(given.task, limits, "generation"))
    assert given.train is not None
    try:
        train = PairSource.of(given.train.paths(), given.train.fields)
        valid = None if given.valid is None else PairSource.of(given.valid.paths(), given.valid.fields)
    except FileNotFoundError as error:
        raise ConfigError(f"{error.filename}: no such file") from error
    kept = given.model_dump(include={"valid_fraction", "salt", "max_pairs", "license"})
    return pairs(PairsRequest(train=train, valid=valid, **kept))


def _asks_for_rouge_l(given: PairsSection) -> bool:
    return given.task is not None and "rouge_l" in load_shipped_task(given.task, {}, "generation").task().metrics


@flow(name="translator", flow_run_name="translator {config.name}", persist_result=False)
def translator_flow(config: FromFile[TranslationConfig] = shipped_translation()) -> dict[str, str]:  # noqa: B008
    """Train a translator on pairs of texts; what is up to date is reused."""
    with prefect_run("translator", config):
        made = build_translation(config)
    return {"pairs": made.pairs.name, "model": made.model.name}


def translate_file(folder: Path, path: Path, beam: int, alpha: float, quiet: bool) -> dict[str, Any]:
    """Translate a text file line by line with the model of a folder; an empty line stays one.

    Returns model, kind and `lines`: source and translation of each.

    Raises:
        ConfigError: no such model or file, or text that is not UTF-8.
    """
    from lm.translator import load_translator
    from lm.translator_config import SearchConfig

    try:
        translator = load_translator(folder)
        text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
        texts = [line.removesuffix("\r") for line in text.split("\n")]
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        raise ConfigError(f"{path}: line {line} is not UTF-8: {error.reason}") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file" if error.errno else str(error)) from error
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error
    if texts and not texts[-1]:
        texts.pop()  # what follows the last line feed
    wanted = [number for number, text in enumerate(texts) if text.strip()]
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("translating", total=len(wanted))
        found = translator.translate(
            [texts[number] for number in wanted],
            SearchConfig(beam=beam, alpha=alpha),
            progress=lambda count: progress.advance(task, count),
        )
    lines = [""] * len(texts)
    for number, text in zip(wanted, found, strict=True):
        lines[number] = text
    rows = [{"source": text, "translation": line} for text, line in zip(texts, lines, strict=True)]
    return {"model": str(folder), "kind": translator.model.config.kind, "lines": rows}
