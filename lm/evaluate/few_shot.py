"""In-context learning (Brown et al. 2020): a task stands in the prompt with k solved examples; nothing is trained.

`choose`    the choice of the greatest ln p behind the prompt, normalised in one of four ways; all four are reported
`generate`  greedy text up to a stop string, scored by exact match, F1, BLEU or ROUGE-L, beside ln p of the right one
`hint`      ln p(right answer) with the hint ("TL;DR:") less ln p without it, in nats

Prompts that do not fit the context lose examples, the farthest first; that is counted, and so is a prompt that does not
even fit without any, which is then seen from its end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lm.evaluate.continuations import Continuations
from lm.evaluate.decisions import Figure, by_group, decisions_table, mean, plain, share
from lm.evaluate.metrics_answers import best, chinese_parts, scores_of
from lm.evaluate.prompts import Item, Normalise, Template, filled, prompt
from lm.evaluate.rouge import rouge_l
from lm.evaluate.shots import draw_shots
from lm.stop import ShouldStop, check, never
from lm.text_model import TextModel

NORMALISATIONS: tuple[Normalise, ...] = ("sum", "per_byte", "per_token", "unconditional")
SHARED = {"shots": pa.int32(), "dropped": pa.int32(), "near": pa.int32(), "cut": pa.bool_()}
CHOOSE = {
    **SHARED,
    "label": pa.int32(),
    "predicted": pa.int32(),
    "choices": pa.list_(pa.string()),
    "log_probs": pa.list_(pa.float64()),
    "tokens": pa.list_(pa.int32()),
    "bytes": pa.list_(pa.int32()),
    "unconditional": pa.list_(pa.float64()),
}
GENERATE = {
    **SHARED,
    "answer": pa.string(),
    "right": pa.list_(pa.string()),
    "exact": pa.float64(),
    "f1": pa.float64(),
    "log_prob": pa.float64(),
    "words": pa.int32(),
}
HINT = {**SHARED, "with_hint": pa.float64(), "without": pa.float64(), "bytes": pa.int32()}


@dataclass(frozen=True)
class Few:
    """How items are put: the template, how many examples, the seed that draws them. `language` (BCP 47) says how
    written answers are compared."""

    template: Template
    shots: int
    seed: int = 0
    begin: bool = True
    cached: bool = True
    language: str = "en"


@dataclass(frozen=True)
class _Asked:
    """An item with the examples that stand before it, and what became of these."""

    item: Item
    shots: list[Item]
    row: dict[str, Any]


def few_shot_decisions(
    model: TextModel,
    items: Sequence[Item],
    train: Sequence[Item],
    few: Few,
    progress: Callable[[int], None] = lambda n: None,
    should_stop: ShouldStop = never,
) -> pa.Table:
    """A row for each item. Examples come from `train`. Raises ValueError if there are fewer than asked for."""
    if len(train) < few.shots:
        raise ValueError(f"{few.shots} examples are to stand before each item, the training split has {len(train)}")
    scorer = Continuations(model, begin=few.begin, cached=few.cached)
    ask = {"choose": _choose, "generate": _generate, "hint": _hint}[few.template.ask]
    rows = []
    for item in items:
        check(should_stop, "asking")
        rows.append(ask(scorer, few, _placed(scorer, few, item, train)))
        progress(1)
    return decisions_table(rows, {"choose": CHOOSE, "generate": GENERATE, "hint": HINT}[few.template.ask])


def few_shot_figures(table: pa.Table, template: Template, language: str = "en") -> dict[str, Figure]:
    """The figures of a table: accuracy and its kin for `choose`, the metric for `generate`, the gain for `hint`; and
    how many prompts lost examples or were cut. `equal`: of how many items several choices are the best, so that their
    order decides, as where a model does not see back to what is asked."""
    found: dict[str, Figure] = {}
    if template.ask == "choose":
        found["accuracy"] = share(table["score"].to_numpy())
        for name in NORMALISATIONS:
            found[f"accuracy_{name}"] = share(_right(table, name))
        sizes = [len(choices) for choices in table["choices"].to_pylist()]
        found["chance"] = plain(float(np.mean([1 / size for size in sizes])), len(sizes))
        found["equal"] = plain(float(_undecided(table, template.normalise).sum()), len(sizes))
        groups = by_group(table)
        if len(groups) > 1:
            found |= {f"accuracy/{name}": each for name, each in groups.items()}
    elif template.ask == "generate":
        found[template.metric] = mean(table["score"].to_numpy())
        if template.metric == "bleu":
            found |= _bleu(table, language)
        found["exact"] = share(table["exact"].to_numpy())
        found["f1"] = mean(table["f1"].to_numpy())
        words = int(np.sum(table["words"].to_numpy()))
        nats = -float(table["log_prob"].to_numpy().sum())
        found["answer_nats_per_word"] = plain(nats / max(words, 1), words)
    else:
        gains = table["score"].to_numpy()
        found["gain_nats"] = mean(gains)
        found["likelier_with_hint"] = share((gains > 0).astype(np.float64))
        sizes_ = table["bytes"].to_numpy()
        found["gain_bits_per_byte"] = plain(float(gains.sum() / np.log(2) / sizes_.sum()), len(sizes_))
    found["examples_dropped"] = plain(float(np.sum(table["dropped"].to_numpy())), table.num_rows)
    found["prompts_cut"] = plain(float(np.sum(table["cut"].to_numpy(zero_copy_only=False))), table.num_rows)
    return found


def _placed(scorer: Continuations, few: Few, item: Item, train: Sequence[Item]) -> _Asked:
    """As many examples as fit."""
    template = few.template
    shots, near = draw_shots(train, item, few.shots, few.seed)
    answers = _answers(template, item)
    drawn = len(shots)
    while shots and not scorer.fits(prompt(template, shots, item), answers):
        shots = shots[1:]
    cut = not shots and not scorer.fits(prompt(template, [], item), answers)
    row = {
        "id": item.id,
        "group": item.group,
        "shots": len(shots),
        "dropped": drawn - len(shots),
        "near": near,
        "cut": cut,
    }
    return _Asked(item, shots, row)


def _answers(template: Template, item: Item) -> list[str]:
    texts = item.choices if template.ask == "choose" else item.answers[:1]
    return [filled(template.answer, answer=text) for text in texts]


def _choose(scorer: Continuations, few: Few, asked: _Asked) -> dict[str, Any]:
    template, item = few.template, asked.item
    answers = _answers(template, item)
    scores = scorer.score(prompt(template, asked.shots, item), answers)
    alone = scorer.alone(template.unconditional, answers)
    row = {
        "label": item.label,
        "choices": list(item.choices),
        "log_probs": [-score.nats for score in scores],
        "tokens": [score.tokens for score in scores],
        "bytes": [score.bytes for score in scores],
        "unconditional": [-score.nats for score in alone],
    }
    predicted = int(np.argmax(normalised(row, template.normalise)))
    return {**asked.row, **row, "predicted": predicted, "score": float(predicted == item.label)}


def normalised(row: dict[str, Any], by: Normalise) -> np.ndarray:
    """What decides between the choices of a row, float64 [choices]; the first of equals is chosen."""
    logs = np.array(row["log_probs"], dtype=np.float64)
    if by == "per_byte":
        return np.asarray(logs / np.array(row["bytes"]))
    if by == "per_token":
        return np.asarray(logs / np.array(row["tokens"]))
    if by == "unconditional":
        return np.asarray(logs - np.array(row["unconditional"]))
    return logs


def _right(table: pa.Table, by: Normalise) -> np.ndarray:
    return np.array([float(np.argmax(normalised(row, by)) == row["label"]) for row in _decided(table)])


def _undecided(table: pa.Table, by: Normalise) -> np.ndarray:
    """Whether another choice is as good as the best, but for rounding."""
    values = [np.sort(normalised(row, by)) for row in _decided(table)]
    return np.array([len(each) > 1 and bool(np.isclose(each[-1], each[-2], rtol=1e-9, atol=1e-9)) for each in values])


def _decided(table: pa.Table) -> list[dict[str, Any]]:
    return list(table.select(["label", "log_probs", "bytes", "tokens", "unconditional"]).to_pylist())


def _generate(scorer: Continuations, few: Few, asked: _Asked) -> dict[str, Any]:
    template, item = few.template, asked.item
    before = prompt(template, asked.shots, item)
    # A space at the end of the prompt would be a token of its own; the model writes it itself.
    text = scorer.model.generate(before.rstrip(" "), template.tokens, temperature=0.0, top_k=1, seed=0)
    answer = _until(text.strip(), template.stop)
    [right] = scorer.score(before, _answers(template, item))
    rules = scores_of(few.language, unanswerable=False)
    exact, f1 = (best(rules[name], item.answers, answer) for name in ("exact_match", "f1"))
    if template.metric == "bleu":
        score = _sentence_bleu(answer, item.answers, few.language)
    elif template.metric == "rouge_l":
        score = max(rouge_l(answer, right_one) for right_one in item.answers)
    else:
        score = exact if template.metric == "exact" else f1
    return {
        **asked.row,
        "score": score,
        "answer": answer,
        "right": list(item.answers),
        "exact": exact,
        "f1": f1,
        "log_prob": -right.nats,
        "words": max(1, len(chinese_parts(item.answers[0]) if few.language[:2] == "zh" else item.answers[0].split())),
    }


def _until(text: str, stop: Sequence[str]) -> str:
    """Before the first stop string; the beginning does not count, so that an answer may begin with a quotation mark."""
    ends = [at for each in stop if (at := text.find(each, 1)) > 0]
    return text[: min(ends)] if ends else text


def _sentence_bleu(answer: str, right: Sequence[str], language: str) -> float:
    from sacrebleu.metrics import BLEU

    bleu = BLEU(effective_order=True, tokenize=_bleu_words(language))
    return float(bleu.sentence_score(answer, list(right)).score) / 100


def _bleu_words(language: str) -> str:
    """How sacrebleu takes words: by character where texts have no spaces."""
    return {"zh": "zh", "ja": "char"}.get(language.split("-")[0], "13a")


def _bleu(table: pa.Table, language: str) -> dict[str, Figure]:
    """BLEU of the corpus, in percent; the mean of sentences is no BLEU that anybody reports."""
    from lm.evaluate.translation import corpus_scores

    right = [each[0] for each in table["right"].to_pylist()]
    scores = corpus_scores(table["answer"].to_pylist(), right, _bleu_words(language))
    return {"bleu": plain(scores["bleu"], len(right)), "chrf": plain(scores["chrf"], len(right))}


def _hint(scorer: Continuations, few: Few, asked: _Asked) -> dict[str, Any]:
    template, item = few.template, asked.item
    answers = _answers(template, item)
    [with_hint] = scorer.score(prompt(template, asked.shots, item), answers)
    [without] = scorer.score(prompt(template, asked.shots, item, hint=False), answers)
    return {
        **asked.row,
        "score": without.nats - with_hint.nats,
        "with_hint": -with_hint.nats,
        "without": -without.nats,
        "bytes": with_hint.bytes,
    }
