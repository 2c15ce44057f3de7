"""What is wrong with a set before anything is learned from it: equal examples within and across its splits,
contradictions, empty fields, labels that one split lacks. Nothing is changed here."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from lm.labelled.cut import flat, input_texts, normal
from lm.labelled.examples import Example
from lm.labelled.forms import AnyForm, Chat, Generation, QuestionAnswering, Regression, Tagging

Splits = Mapping[str, Sequence[Example]]
OPEN_ENDED = (Generation, Chat)
"""Forms in which one text may rightly become several."""

NEAR_LABEL = 0.1  # of the range of a regression: labels further apart than this contradict each other


class Twin(NamedTuple):
    """An example that equals or resembles another. `same` says whether both have one answer; `jaccard` is 1 for equal
    ones."""

    split: str
    id: str
    other_split: str
    other: str
    kind: str  # "exact", "near"
    jaccard: float
    same: bool


class Contradiction(NamedTuple):
    """Examples of one split that show the same and are answered differently."""

    split: str
    ids: tuple[str, ...]
    answers: tuple[str, ...]
    text: str


def input_key(form: AnyForm, example: Example) -> str:
    """What an example shows, in normal form: examples with one key are equal."""
    return "\x1e".join(input_texts(form, example))


def answer(form: AnyForm, example: Example) -> str:
    """What an example is answered with, as text that can be compared and read."""
    if "tags" in example:
        return " ".join(example["tags"])
    if "choices" in example:
        return str(example["choices"][example["label"]])
    if "answers" in example:
        return " | ".join(sorted({normal(text) for text in example["answers"]})) or "(none)"
    if "target" in example:
        return normal(example["target"])
    if "messages" in example:
        return normal(example["messages"][-1]["content"])
    label = example["label"]
    return f"{label:g}" if isinstance(form, Regression) else str(form.classes[label])  # type: ignore[union-attr]


def agree(form: AnyForm, one: Example, other: Example) -> bool:
    """Whether two examples that show the same do not contradict each other."""
    if isinstance(form, OPEN_ENDED):
        return True
    if isinstance(form, Regression):
        return bool(abs(one["label"] - other["label"]) <= NEAR_LABEL * (form.high - form.low))
    if isinstance(form, QuestionAnswering):
        ours, theirs = ({normal(text) for text in example["answers"]} for example in (one, other))
        return bool(ours & theirs) or not (ours or theirs)
    return answer(form, one) == answer(form, other)


def all_agree(form: AnyForm, group: Sequence[Example]) -> bool:
    """Whether no two of several contradict each other. Two that agree with a third need not agree: 1.0 and 1.8 are both
    near 1.4."""
    if isinstance(form, OPEN_ENDED):
        return True
    if isinstance(form, Regression):
        least, most = (chosen(group, key=lambda example: example["label"]) for chosen in (min, max))
        return agree(form, least, most)
    different = list({answer(form, example): example for example in group}.values())
    return all(agree(form, one, other) for one, other in combinations(different, 2))


def same_answer(form: AnyForm, one: Example, other: Example) -> bool:
    """Whether two are answered alike; of texts that may become several, whether both became the same."""
    return answer(form, one) == answer(form, other) if isinstance(form, OPEN_ENDED) else agree(form, one, other)


def by_key(form: AnyForm, examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Examples that show the same, together, in their order."""
    found: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        found[input_key(form, example)].append(example)
    return dict(found)


def duplicates(form: AnyForm, split: str, examples: Sequence[Example]) -> list[Twin]:
    """Every example that says again what an earlier one of its split says, with that one."""
    twins = []
    for group in by_key(form, examples).values():
        kept: list[Example] = []
        for example in group:
            first = next((other for other in kept if same_answer(form, other, example)), None)
            if first is None:
                kept.append(example)
            else:
                twins.append(Twin(split, example["id"], split, first["id"], "exact", 1.0, True))
    return twins


def contradictions(form: AnyForm, split: str, examples: Sequence[Example]) -> list[Contradiction]:
    """Examples that show the same and have answers of which two do not agree."""
    found = []
    for group in by_key(form, examples).values():
        if all_agree(form, group):
            continue
        answers = tuple(answer(form, example) for example in group)
        found.append(Contradiction(split, tuple(example["id"] for example in group), answers, excerpt(form, group[0])))
    return found


def overlaps(form: AnyForm, split: str, examples: Sequence[Example], other_split: str, others: Splits) -> list[Twin]:
    """Examples of a split that show what one of another split shows, with the first of these."""
    held = by_key(form, others[other_split])
    twins = []
    for example in examples:
        group = held.get(input_key(form, example))
        if group:
            same = any(same_answer(form, example, other) for other in group)
            twins.append(Twin(split, example["id"], other_split, group[0]["id"], "exact", 1.0, same))
    return twins


def shared_texts(form: AnyForm, train: Sequence[Example], held: Sequence[Example]) -> dict[str, int]:
    """For each column that is shown: how many held-out examples have a text there that training shows somewhere."""
    shown = {normal(flat(example[name])) for example in train for name in _text_columns(form)}
    return {
        name: sum(bool(text) and text in shown for text in (normal(flat(example[name])) for example in held))
        for name in _text_columns(form)
    }


def _text_columns(form: AnyForm) -> tuple[str, ...]:
    return tuple(name for name in form.inputs if name not in ("choices", "messages"))


def empty_fields(form: AnyForm, split: str, examples: Sequence[Example]) -> Iterator[tuple[str, str, str]]:
    """(split, id, column) of every text that is empty or white space; a second text that no example has, and one of
    context and question, may be."""
    paired = any(example.get("text_b") is not None for example in examples)
    for example in examples:
        for name in form.columns:
            value = example[name]
            if name in ("label", "starts", "answers") or (name == "text_b" and not paired):
                continue
            if name in ("context", "question") and "choices" in example:
                value = example["context"] + example["question"]
            parts = value if isinstance(value, list) else [value]
            texts = [part["content"] if isinstance(part, dict) else part or "" for part in parts]
            if not texts or not all(map(str.strip, texts)):
                yield split, example["id"], name


def labels_of(form: AnyForm, example: Example) -> list[str]:
    """The labels of an example whose balance is of interest: its class, its spans' kinds, whether it has an answer."""
    if isinstance(form, Tagging):
        return [tag[2:] if form.spans else tag for tag in example["tags"] if not form.spans or tag[:2] == "B-"]
    if isinstance(form, QuestionAnswering):
        return ["answered" if example["answers"] else "no answer"]
    if isinstance(form, OPEN_ENDED):
        return []
    if isinstance(form, Regression):
        width = (form.high - form.low) / 5
        low = form.low + width * min(4, int((example["label"] - form.low) / width))
        return [f"{low:g}..{low + width:g}"]
    if "choices" in example:
        return [f"choice {example['label']}"]
    return [answer(form, example)]


def balance(form: AnyForm, splits: Splits) -> dict[str, dict[str, int]]:
    """How often each label stands in each split; by label, then by split."""
    counts = {
        split: Counter(label for example in examples for label in labels_of(form, example))
        for split, examples in splits.items()
    }
    named: list[str] = sorted({label for count in counts.values() for label in count})
    if hasattr(form, "classes"):
        named = list(form.classes)
    elif isinstance(form, Tagging):
        named = list(dict.fromkeys(tag[2:] if form.spans else tag for tag in form.tags if tag != "O" or not form.spans))
    return {label: {split: counts[split][label] for split in splits} for label in named}


def one_sided(table: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    """Labels of a `balance`: `unseen` in training though held-out parts have them, `train_only`, and `nowhere`."""
    held = {label: sum(count for split, count in row.items() if split != "train") for label, row in table.items()}
    train = {label: row.get("train", 0) for label, row in table.items()}
    return {
        "unseen": [label for label in table if held[label] and not train[label]],
        "train_only": [label for label in table if train[label] and not held[label]],
        "nowhere": [label for label in table if not train[label] and not held[label]],
    }


def excerpt(form: AnyForm, example: Example, length: int = 160) -> str:
    """The beginning of what an example shows, for people."""
    text = " ⇥ ".join(" ".join(part.split()) for name in form.inputs if (part := flat(example[name])))
    return text if len(text) <= length else text[: length - 1] + "…"
