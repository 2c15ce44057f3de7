"""Examples of masked language models: frames, masks by epoch, Chinese words; and what the objective makes of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lm.evaluate.masked import masked_figures
from lm.masked_examples import IGNORE, MaskedExamples
from lm.masking import Masked
from lm.masking_config import MASKING_PRESETS, MaskingConfig, SegmentsConfig
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.objectives.masked import MaskedObjective
from lm.order import numbered_by_epoch
from lm.special_tokens import special_ids, special_tokens
from lm.tokenizer import load_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordPieceConfig
from lm.tokens import build_index
from lm.train.objective import combine, step_totals
from tests.lm.masked_corpus import ROBERTA, documents, make_index, make_similar

CHINESE = [
    "我们在北京学习语言模型。天安门很大！",
    "语言模型学习北京的数据。我们很大。",
    "数据在北京。学习模型！我们？",
] * 12
WORDS = ["我们", "在", "北京", "学习", "语言", "模型", "天安门", "很", "大", "的", "数据"]


def segment(text: str) -> list[str]:
    """The longest known word first."""
    words = []
    while text:
        word = max((w for w in WORDS if text.startswith(w)), key=len)
        words.append(word)
        text = text[len(word) :]
    return words


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    index, folder = make_index(tmp_path_factory.mktemp("corpus"), documents(60))
    return index, load_tokenizer(folder)


def make(corpus: Any, masking: MaskingConfig | None = None, **segments: Any) -> MaskedExamples:
    settings = SegmentsConfig(**{"length": 64, "passes": 2} | segments)
    masking = masking or MaskingConfig()
    index, tokenizer = corpus
    similar = make_similar(index, tokenizer) if masking.hidden_by == "similar" else None
    return MaskedExamples(index, tokenizer, masking, settings, 0, similar=similar)


def whole(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Tokens as they were before masking."""
    tokens = batch["tokens"].clone()
    row, column = torch.nonzero(batch["targets"] != IGNORE, as_tuple=True)
    tokens[row, batch["positions"][row, column]] = batch["targets"][row, column]
    return tokens


def test_pairs_stand_in_their_frame(corpus: Any) -> None:
    examples, special = make(corpus), special_tokens(corpus[1])
    batch = examples.batch(np.arange(len(examples)))
    tokens = whole(batch)
    for row in range(len(examples)):
        ids, length = tokens[row].tolist(), int(batch["real"][row].sum())
        assert ids[0] == special.cls
        assert [i for i in range(length) if ids[i] == special.sep][1] == length - 1
        second = ids.index(special.sep) + 1
        assert batch["segments"][row].tolist() == [0] * second + [1] * (length - second) + [0] * (len(ids) - length)
        assert ids[length:] == [special.pad] * (len(ids) - length)
        assert int(batch["pair"][row]) in (0, 1)
    asked = batch["targets"] != IGNORE
    at = batch["positions"][torch.nonzero(asked)[:, 0], :]
    assert at.max() < 64
    assert not np.isin(batch["targets"][asked].numpy(), list(special_ids(corpus[1]))).any()


@pytest.mark.parametrize("name", MASKING_PRESETS)
@pytest.mark.parametrize("pairs", ["nsp", "sop", "none"])
def test_special_tokens_are_never_asked_nor_put_in_place(corpus: Any, name: str, pairs: str) -> None:
    masking = MASKING_PRESETS[name].model_copy(update={"chinese_words": False})
    examples = make(corpus, masking, pairs=pairs)
    batch, special = examples.batch(np.arange(len(examples))), special_tokens(corpus[1])
    tokens, asked = whole(batch), batch["targets"] != IGNORE
    ids = sorted(special_ids(corpus[1]) - {corpus[1].token_to_id("[UNK]")})
    assert not np.isin(batch["targets"][asked].numpy(), ids).any()
    changed = tokens != batch["tokens"]
    allowed = [special.mask] if masking.hidden_by == "mask" else []
    assert np.isin(batch["tokens"][changed].numpy(), ids).sum() == np.isin(batch["tokens"][changed], allowed).sum()
    if masking.hidden_by == "similar":
        assert special.mask not in batch["tokens"]
    if masking.boundary:
        assert (batch["span_low"][asked] >= 1).all()
        assert (batch["positions"] < batch["span_high"])[asked].all()


def test_all_text_is_read_once_in_full_sentences(corpus: Any) -> None:
    examples = make(corpus, pairs="none")
    tokens = whole(examples.batch(np.arange(len(examples)))).numpy()
    counts = np.bincount(tokens.flatten(), minlength=examples.index.vocab)
    expected = examples.index.token_counts()
    text = examples.ordinary
    assert np.array_equal(counts[text], expected[text])


def test_dynamic_masks_differ_between_epochs_and_static_ones_come_again(corpus: Any) -> None:
    dynamic, static = make(corpus), make(corpus, MASKING_PRESETS["bert"])
    count = len(dynamic)
    numbers = np.arange(20)

    def masks(examples: MaskedExamples, epoch: int) -> list[list[int]]:
        return [examples.example(n + epoch * count)[0].positions.tolist() for n in numbers]

    assert masks(dynamic, 0) == masks(dynamic, 0)
    assert sum(a == b for a, b in zip(masks(dynamic, 0), masks(dynamic, 2), strict=True)) < 3
    assert masks(static, 0) == masks(static, 2)  # passes: 2
    assert masks(static, 0) != masks(static, 1)
    same_text = [whole(dynamic.batch(numbers + epoch * count)) for epoch in (0, 2)]
    assert torch.equal(*same_text)
    order = numbered_by_epoch(0, 2 * count, count, 7)
    assert sorted(order[:count].tolist()) == list(range(count))
    assert sorted(order[count:].tolist()) == list(range(count, 2 * count))


def test_examples_are_a_function_of_number_and_seed_whatever_the_batch(corpus: Any) -> None:
    examples, again = make(corpus), make(corpus)
    assert examples.fingerprint == again.fingerprint
    for number in (3, 77, 200):
        a, b = examples.example(number), again.example(number)
        assert all(np.array_equal(x, y) for x, y in zip(a[0], b[0], strict=True))
    other = MaskedExamples(*corpus, MaskingConfig(), SegmentsConfig(length=64, passes=2), 1)
    assert other.fingerprint != examples.fingerprint
    assert make(corpus, MaskingConfig(rate=0.2)).fingerprint != examples.fingerprint


def test_chinese_masks_cover_whole_segmented_words(tmp_path: Path) -> None:
    index, folder = make_index(tmp_path, CHINESE, WordPieceConfig(kind="wordpiece", vocab_size=200, min_frequency=1))
    tokenizer = load_tokenizer(folder)
    masking = MaskingConfig(unit="word", chinese_words=True, rate=0.4)
    examples = MaskedExamples(index, tokenizer, masking, SegmentsConfig(length=32, pairs="none"), 0, segment)
    several = 0
    for number in range(len(examples)):
        masked, _, _ = examples.example(number)
        ids = masked.tokens.copy()
        ids[masked.positions] = masked.targets
        text = [tokenizer.id_to_token(int(i)) for i in ids]
        starts, run = [], ""
        for place, name in enumerate([*text, "[SEP]"]):  # cut by the plainest means: run by run of Chinese characters
            if "\u4e00" <= name[0] <= "\u9fff":
                run += name
                continue
            for word in segment(run):
                starts.append((place - len(run), word))
                run = run[len(word) :]
        for begin, word in starts:
            hit = set(range(begin, begin + len(word))) & set(masked.positions.tolist())
            assert len(hit) in (0, len(word)), word
            several += len(hit) > 1
    assert several > 20
    with pytest.raises(ValueError, match="needs a function that cuts Chinese"):
        MaskedExamples(index, tokenizer, masking, SegmentsConfig(), 0)


def test_roberta_reads_byte_level_tokens(tmp_path: Path) -> None:
    index, folder = make_index(tmp_path, documents(20), ROBERTA)
    tokenizer = load_tokenizer(folder)
    assert special_tokens(tokenizer) == (1, 0, 2, 3)
    examples = MaskedExamples(index, tokenizer, MaskingConfig(), SegmentsConfig(length=64, pairs="none"), 0)
    batch = examples.batch(np.arange(4))
    assert (batch["tokens"][:, 0] == 0).all()
    assert not batch["segments"].any()


def test_what_cannot_be_masked_is_named(tmp_path: Path, corpus: Any) -> None:
    index, folder = make_index(tmp_path, documents(5), ByteBPEConfig(vocab_size=300))
    with pytest.raises(ValueError, match="no token that hides another"):
        MaskedExamples(index, load_tokenizer(folder), MaskingConfig(), SegmentsConfig(), 0)
    (tmp_path / "lone").mkdir()
    lone, folder = make_index(tmp_path / "lone", ["", *documents(1)])
    with pytest.raises(ValueError, match="1 documents with text"):
        MaskedExamples(lone, load_tokenizer(folder), MaskingConfig(), SegmentsConfig(), 0)
    (tmp_path / "blank").mkdir()
    blank = build_index([tmp_path / "lone/shard"], lambda ids: np.array([0, 0]))
    with pytest.raises(ValueError, match="hold no text"):
        MaskedExamples(blank, load_tokenizer(folder), MaskingConfig(), SegmentsConfig(), 0)


CONFIG = BertConfig(
    layers=2, width=16, heads=2, context=64, vocab=300, dropout=0.0, boundary_head=True, boundary_width=4
)


def test_losses_are_those_of_the_equations(corpus: Any) -> None:
    examples = make(corpus, MASKING_PRESETS["spanbert"])
    model, objective = Bert(CONFIG, seed=0).double(), MaskedObjective(pair=True, boundary=True)
    batch = examples.batch(np.arange(6))
    losses, counts = objective.losses(model, batch), objective.counts(batch)
    hidden, logits = [], []
    for row in range(6):  # one example at a time, without padding
        n = int(batch["real"][row].sum())
        hidden.append(model.hidden_states(batch["tokens"][row : row + 1, :n], batch["segments"][row : row + 1, :n]))
        logits.append(model.masked_logits(hidden[-1]))
    mlm = sbo = pair = torch.zeros((), dtype=torch.float64)
    for row in range(6):
        for at, target, low, high in zip(
            *(batch[k][row] for k in ("positions", "targets", "span_low", "span_high")), strict=True
        ):
            if target != IGNORE:
                mlm = mlm - logits[row][0, at].log_softmax(-1)[target]
                scores = model.boundary_logits(hidden[row][0, low - 1], hidden[row][0, high], at - low)
                sbo = sbo - scores.log_softmax(-1)[target]
        pair = pair + F.cross_entropy(model.pair_logits(hidden[row]), batch["pair"][row : row + 1])
    for name, expected in (("mlm", mlm), ("sbo", sbo), ("pair", pair)):
        assert torch.allclose(losses.terms[name].total, expected, atol=1e-8), name
        assert losses.terms[name].count == counts[name]
    assert counts["pair"] == 6
    assert objective.tokens(batch) == int(batch["real"].sum())


def test_accumulated_gradients_are_those_of_the_large_batch(corpus: Any) -> None:
    examples, objective = make(corpus, MASKING_PRESETS["spanbert"]), MaskedObjective(pair=True, boundary=True)

    def gradient(*cuts: list[int]) -> torch.Tensor:
        model = Bert(CONFIG, seed=0).double()
        batches = [examples.batch(np.array(cut)) for cut in cuts]
        totals = step_totals(objective, batches)
        for batch in batches:
            combine(objective.losses(model, batch), totals).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    assert torch.allclose(gradient([0, 1, 2, 3, 4]), gradient([0, 1], [2], [3, 4]), atol=1e-12)


def test_a_masked_token_does_not_leak_into_its_own_prediction(corpus: Any) -> None:
    """Other tokens under the masks, and the model sees the same: only those that were left as they are show."""
    examples = make(corpus)
    kept_at_all = 0
    for number in range(30):
        masked, _, _ = examples.example(number)
        ids = masked.tokens.copy()
        ids[masked.positions] = masked.targets
        text, units = np.isin(ids, examples.ordinary), np.ones(len(ids), dtype=bool)

        def seen(ids: np.ndarray, text: np.ndarray = text, units: np.ndarray = units, seed: int = number) -> Masked:
            return examples.mask(ids, text, units, np.random.default_rng(seed))

        first = seen(ids)
        kept = first.tokens[first.positions] == first.targets
        other = ids.copy()
        other[first.positions[~kept]] = (first.targets[~kept] + 1) % 295 + 5
        assert (other != ids).sum() == (~kept).sum()
        assert np.array_equal(seen(other).tokens, first.tokens)
        kept_at_all += int(kept.sum())
    assert kept_at_all > 5


def test_figures_count_every_prediction_once(corpus: Any) -> None:
    examples = make(corpus)
    model = Bert(CONFIG, seed=0)
    figures = masked_figures(model, examples, limit=50, batch=7)
    batch = examples.batch(np.arange(50))
    assert figures["predictions"] == int((batch["targets"] != IGNORE).sum())
    assert figures["pairs"] == 50
    with torch.no_grad():
        losses = MaskedObjective(pair=True, boundary=False).losses(model.eval(), batch)
    assert figures["masked_loss"] == pytest.approx(float(losses.terms["mlm"].total / figures["predictions"]), rel=1e-5)
    assert figures["pair_loss"] == pytest.approx(float(losses.terms["pair"].total / 50), rel=1e-5)
    with torch.no_grad():  # a model that always says the commonest token is right as often as that is asked for
        model.bias[7] = 1e6
    targets = batch["targets"][batch["targets"] != IGNORE]
    assert masked_figures(model, examples, 50)["masked_accuracy"] == pytest.approx(float((targets == 7).float().mean()))
    assert masked_figures(model, make(corpus, pairs="none"), 20).keys() == {
        "masked_loss",
        "masked_accuracy",
        "predictions",
    }
