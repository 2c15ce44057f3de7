"""`textmill score`: how surprising a model finds a file, line by line or as one text."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from flows.config.loading import ConfigError

if TYPE_CHECKING:
    from lm.texts.base import Score
    from lm.texts.bert import BertText

LINES_AT_ONCE = 256


def score_file(folder: Path, path: Path, whole: bool, quiet: bool) -> dict[str, Any]:
    """Score a text file by the model of a folder.

    Args:
        whole: the file is one text; else each line that is not blank is.
        quiet: no progress bar.

    Returns tokens, bytes, nats, bits_per_byte (None for a model that gives bytes no probability, or some of this text
    none), perplexity_per_token (without the spelling of unknown words; None likewise), and `lines`: line (its number),
    tokens, bytes and log_prob (natural) of each text. Of a masked language model, which scores no text, tokens, bytes,
    pseudo_log_likelihood (`within_word_l2r` of `lm.evaluate.pseudo_likelihood`), pseudo_perplexity_per_token, its
    exponential as Salazar et al. 2020 have it (section 2.3), and the pseudo_log_likelihood of each line.

    Raises:
        ConfigError: no such model or file, text that is not UTF-8, or nothing to score.
    """
    from lm.evaluate.report import perplexity_of
    from lm.text_model import open_model
    from lm.texts.bert import BertText

    try:
        model = open_model(folder)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(str(error)) from error
    scores, said, masked = model.score, "log_prob", False
    if isinstance(model, BertText):
        scores, said, masked = partial(_pseudo_scores, model), "pseudo_log_likelihood", True
    lines: list[dict[str, Any]] = []
    nats: list[float] = []
    spelling: list[float] = []
    try:
        size = path.stat().st_size
        with Progress(console=Console(stderr=True), disable=quiet, transient=True) as progress:
            task = progress.add_task("scoring", total=size)
            texts = texts_of(path, whole)
            while batch := list(islice(texts, LINES_AT_ONCE)):
                for (number, text), score in zip(batch, scores([text for _, text in batch]), strict=True):
                    found = {"tokens": score.tokens, "bytes": score.bytes, said: _finite(-score.nats)}
                    lines.append({"line": number, **found})
                    nats.append(score.nats)
                    spelling.append(score.spelling_nats)
                    progress.advance(task, len(text.encode()) + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ConfigError:
        raise
    except ValueError as error:  # of the model
        raise ConfigError(f"{folder}: {error}") from error
    tokens = sum(line["tokens"] for line in lines)
    if not tokens:
        raise ConfigError(f"{path}: there is no text to score")
    written = sum(line["bytes"] for line in lines)
    whole_nats, without_spelling = math.fsum(nats), math.fsum(nats) - math.fsum(spelling)
    counted = {
        "model": str(folder),
        "kind": model.kind,
        "texts": len(lines),
        "tokens": tokens,
        "bytes": written,
    }
    perplexity = perplexity_of(without_spelling / tokens)
    if masked:
        pseudo = {"pseudo_log_likelihood": -whole_nats, "pseudo_perplexity_per_token": perplexity}
        return {**counted, **pseudo, "lines": lines}
    return {
        **counted,
        "nats": _finite(whole_nats),
        "bits_per_byte": _finite(whole_nats / math.log(2) / written) if written else None,
        "perplexity_per_token": perplexity,
        "lines": lines,
    }


def _pseudo_scores(model: "BertText", texts: list[str]) -> "list[Score]":
    """The pseudo-likelihood of each text, written as what its tokens cost."""
    from lm.texts.base import Score

    found = zip(texts, model.pseudo_log_likelihood(texts), strict=True)
    return [Score(len(each), -float(each.sum()), len(text.encode())) for text, each in found]


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def texts_of(path: Path, whole: bool, blank: bool = False) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of each line, or of the whole file; of blank lines only where asked for.

    Raises:
        ConfigError: text that is not UTF-8, naming the line.
    """
    if whole:
        yield 1, _decoded(path, 1, path.read_bytes()).replace("\r\n", "\n")  # as every reader of text has it
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = _decoded(path, number, line).strip()
            if text or blank:
                yield number, text


def _decoded(path: Path, number: int, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = number + data.count(b"\n", 0, error.start)
        raise ConfigError(f"{path}: line {line} is not UTF-8: {error.reason} ({data[error.start]:#04x})") from error
    return text.removeprefix("\ufeff") if number == 1 else text
