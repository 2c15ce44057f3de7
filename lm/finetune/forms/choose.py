"""The form of a task for a backbone."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer

from lm.config import StrictModel
from lm.finetune.config import FinetuneConfig
from lm.finetune.features.words import Words
from lm.finetune.forms.base import Example, Reader, TaskForm
from lm.finetune.forms.choice import ChoiceForm
from lm.finetune.forms.questions import QuestionForm
from lm.finetune.forms.tagging import TaggingForm
from lm.finetune.forms.text import ClassificationForm, RegressionForm
from lm.finetune.framing import framing_of, new_tokens
from lm.finetune.kinds import context_of, kind_of
from lm.labelled.forms import Classification, Form, MultipleChoice, QuestionAnswering, Regression, Tagging

LONGEST = 30
"""Tokens of an answer where nothing says how long answers are."""
FEWEST = 8
"""Tokens that a sequence must have room for."""


def texts_of(ask: Form, pairs: bool) -> int:
    """How many texts stand in one sequence; `pairs`: whether examples have a second text."""
    if isinstance(ask, Classification | Regression):
        return 2 if pairs else 1
    return 1 if isinstance(ask, Tagging) else 2


def form_of(
    ask: Form,
    config: FinetuneConfig,
    settings: StrictModel,
    vocab: int,
    tokenizer: Tokenizer | Words,
    class_weights: Sequence[float] = (),
    threshold: float = 0.0,
    pairs: bool = False,
) -> TaskForm:
    """The form of what a task asks.

    Args:
        config: resolved (`FinetuneConfig.resolve`).
        settings, vocab: of the backbone; its vocabulary before new tokens came.
        threshold: of questions that may have no answer.
        pairs: whether examples have a second text.

    Raises ValueError for a form that no head learns, one that such a model cannot learn, and for too few tokens.
    """
    context = context_of(settings)
    limit = min(config.max_tokens or context, context)
    framing = framing_of(settings, tokenizer, vocab)
    least = FEWEST if isinstance(ask, QuestionAnswering | MultipleChoice) else framing.around(1) + 1
    if limit < least:
        raise ValueError(f"max_tokens is {limit}: a sequence of this task needs at least {least}")
    if kind_of(settings).features and isinstance(ask, QuestionAnswering | MultipleChoice):
        raise ValueError(
            f"a model of kind {settings.kind!r} gives features of words for labels, numbers and tags; for a task of"  # type: ignore[attr-defined]
            f" form {ask.form} take a model that reads two texts together, such as a gpt or bert"
        )
    reader, causal = Reader(tokenizer, framing, limit), kind_of(settings).causal
    if isinstance(ask, Classification):
        return ClassificationForm(ask, reader, bool(config.both_orders), class_weights, pairs)
    if isinstance(ask, Regression):
        return RegressionForm(ask, reader, bool(config.both_orders), pairs)
    if isinstance(ask, MultipleChoice):
        return ChoiceForm(reader)
    if isinstance(ask, Tagging):
        return TaggingForm(ask, reader, config.stride, config.scored_piece == "last", causal, class_weights)
    if isinstance(ask, QuestionAnswering):
        lengths = {"max_question": config.max_question, "max_answer": config.max_answer or LONGEST}
        return QuestionForm(ask, reader, config.stride, **lengths, causal=causal, threshold=threshold)
    raise ValueError(
        f"a task of form {ask.form!r} is learned by the language model itself, not by a head on it: `textmill instruct`"  # type: ignore[attr-defined]
        " teaches a decoder to answer, `textmill train-translator` an encoder-decoder"
    )


def weights_of(ask: Form, config: FinetuneConfig, examples: Sequence[Example]) -> list[float]:
    """The weight of each class in the loss, from `FinetuneConfig.class_weights`; none: all the same.

    Raises ValueError for weights of a form that has no classes, or another number of them.
    """
    wanted = config.class_weights
    if wanted == "none":
        return []
    if not isinstance(ask, Classification | Tagging):
        raise ValueError("class_weights are for classification and tagging; this task has no classes")
    classes = ask.classes if isinstance(ask, Classification) else ask.tags
    if wanted != "balanced":
        if len(wanted) != len(classes):
            raise ValueError(
                f"class_weights has {len(wanted)} weights for {len(classes)} classes: {', '.join(classes)}"
            )
        return list(wanted)
    counts = Counter(_classes(ask, examples))
    total = sum(counts.values())
    return [total / (len(classes) * counts[name]) if counts[name] else 0.0 for name in classes]


def _classes(ask: Classification | Tagging, examples: Sequence[Example]) -> Iterable[str]:
    if isinstance(ask, Classification):
        return (ask.classes[e["label"]] for e in examples)
    return (tag for e in examples for tag in e["tags"])


__all__ = ["form_of", "new_tokens", "texts_of", "weights_of"]
