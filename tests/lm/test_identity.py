"""A checkpoint of another run is refused, and the message names what differs."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from lm.artifact import save_model
from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.finetune.config import FinetuneConfig
from lm.finetune.train import finetune
from lm.labelled.folder import Task, write_labelled
from lm.labelled.forms import Classification
from lm.models.gpt import GPT
from lm.objectives.causal import CausalObjective
from lm.order import in_order
from lm.pairs import Pair
from lm.pretrain import pretrain
from lm.pretraining import Pretraining
from lm.recipes.recipe import Given
from lm.stop import Interrupted
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, CharacterConfig
from lm.train.checkpoint import latest_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from lm.train.identity import SHOWN, ResumeError, differences, flat, listed
from lm.train.trainer import Trainer
from lm.train_translator import train_translator
from lm.translator_config import TranslatorConfig
from tests.lm.masked_corpus import documents, make_index
from tests.lm.test_trainer import MODEL, Copies, StopAt, trainer

Group = dict[str, Any]


def scaled(**scales: float) -> Callable[[torch.nn.Module], list[Group]]:
    """Every parameter in a group of its own, some with a rate of their own; 0 leaves one out."""

    def groups(model: torch.nn.Module) -> list[Group]:
        named = {name.replace(".", "_"): p for name, p in model.named_parameters()}
        return [
            {"params": [p], "weight_decay": 0.1, "scale": scales.get(name, 1.0)}
            for name, p in named.items()
            if scales.get(name) != 0
        ]

    return groups


class Other(CausalObjective):
    """Another objective."""


def refusal(directory: Path, **change: Any) -> str:
    """Why a checkpoint of `trainer(directory)` is refused to a trainer with that change."""
    with pytest.raises(ResumeError) as error:
        trainer(directory, **change).run()
    return str(error.value)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the trainer that all others differ from."""
    directory = tmp_path_factory.mktemp("plain")
    with pytest.raises(Interrupted):
        trainer(directory, should_stop=StopAt(2)).run()
    return directory


ADAM = OptimizerConfig(learning_rate=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"examples": Copies(fingerprint="other")}, "data was 'copies', is 'other'"),
        ({"config": {"seed": 9}}, "seed was 0, is 9"),
        ({"config": {"batch": 7}}, "batch was 6, is 7"),
        ({"config": {"clip": 0.5}}, "clip was 1.0, is 0.5"),
        ({"config": {"precision": "bf16"}}, "precision was 'fp32', is 'bf16'"),
        ({"config": {"select": "best"}}, "select was 'last', is 'best'"),
        ({"config": {"schedule": ScheduleConfig(shape="wsd")}}, "schedule.shape was 'cosine', is 'wsd'"),
        ({"config": {"schedule": ScheduleConfig(warmup_steps=5)}}, "schedule.warmup_steps was 1, is 5"),
        (
            {"config": {"optimizer": ADAM.model_copy(update={"learning_rate": 0.02})}},
            "optimizer.learning_rate was 0.01, is 0.02",
        ),
        (
            {"config": {"optimizer": ADAM.model_copy(update={"method": "muon"})}},
            "optimizer.method was 'adamw', is 'muon'; training of blocks.0.",
        ),
        ({"steps": 20}, "steps was 12, is 20"),
        ({"model": GPT(MODEL.model_copy(update={"dropout": 0.2}))}, "model.dropout was 0.1, is 0.2"),
        ({"model": GPT(MODEL.model_copy(update={"layers": 1}))}, "model.layers was 2, is 1"),
        ({"objective": Other(np.ones(40, dtype=np.int64))}, "objective was 'CausalObjective', is 'Other'"),
        ({"order": in_order}, "order was 'examples_at', is 'in_order'"),
    ],
)
def test_what_the_trainer_is_given(plain: Path, change: dict[str, Any], message: str) -> None:
    found = refusal(plain, **change)
    assert message in found
    assert found.startswith(f"{plain}/step-00000001 is of another run (")
    assert found.endswith("): use another directory")


def test_how_it_is_run_watched_and_saved_is_none_of_it(plain: Path) -> None:
    """Such a trainer goes on; here, to be told to stop at once."""
    changes = {"data_workers": 3, "micro_batch": 2, "metrics_interval": 7, "eval_interval": 5, "eval_sequences": 3}
    changes |= {"sample_interval": 0, "checkpoint_seconds": 9.0, "checkpoint_interval": 5, "keep_last": 4}
    before = latest_checkpoint(plain)
    with pytest.raises(Interrupted):
        trainer(plain, config=changes, should_stop=lambda: True).run()
    assert before is not None
    after = latest_checkpoint(plain)
    assert after is not None
    assert after.state["identity"] == before.state["identity"]


def test_evaluations_count_where_they_decide(tmp_path: Path) -> None:
    best = {"select": "best", "eval_interval": 3}
    with pytest.raises(Interrupted):
        trainer(tmp_path, config=best, should_stop=StopAt(2)).run()
    assert "(eval_interval was 3, is 4)" in refusal(tmp_path, config={**best, "eval_interval": 4})
    assert "(eval_sequences was 128, is 9)" in refusal(tmp_path, config={**best, "eval_sequences": 9})


def test_parameter_groups(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trainer(tmp_path, groups=scaled(token_embedding_weight=0.5), should_stop=StopAt(2)).run()
    name = "training of token_embedding.weight was {'scale': 0.5, 'weight_decay': 0.1}, is"
    other = refusal(tmp_path, groups=scaled(token_embedding_weight=0.25))
    assert f"({name} {{'scale': 0.25, 'weight_decay': 0.1}})" in other
    assert f"({name} None)" in refusal(tmp_path, groups=scaled(token_embedding_weight=0))
    own = refusal(tmp_path)  # to the groups that it makes itself: vectors do not decay
    assert "blocks.0.ln_1.weight was {'weight_decay': 0.1}, is {'weight_decay': 0.0}; and 13 more): use" in own
    result = trainer(tmp_path, groups=scaled(token_embedding_weight=0.5)).run()
    assert result.resumed_from == 1


def test_a_parameter_that_is_frozen(plain: Path) -> None:
    model = GPT(MODEL, seed=0)
    model.position_embedding.weight.requires_grad_(False)
    assert "(training of position_embedding.weight was {'weight_decay': 0.1}, is None)" in refusal(plain, model=model)


def test_settings_that_the_caller_names(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trainer(tmp_path, settings={"stream": {"bptt": 8}, "tokenizer": "a"}, should_stop=StopAt(2)).run()
    changed = {"stream": {"bptt": 9}, "tokenizer": "b"}
    assert "(stream.bptt was 8, is 9; tokenizer was 'a', is 'b')" in refusal(tmp_path, settings=changed)


def test_a_message_names_the_first_few() -> None:
    was, now = ({f"k{n}": n for n in range(9)}, {f"k{n}": n + 1 for n in range(9)})
    message = listed(differences(was, now))
    assert message.startswith("k0 was 0, is 1; k1 was 1, is 2; ")
    assert message.endswith(f"k{SHOWN - 1} was {SHOWN - 1}, is {SHOWN}; and {9 - SHOWN} more")
    assert differences({"a": 1}, {"a": 1, "new": 2}) == []  # an older version did not note it
    assert flat({"a": {"b": (1, 2), "c": ScheduleConfig()}})["a.c.shape"] == "cosine"
    assert flat({"a": {"b": (1, 2)}}) == {"a.b": [1, 2]}


# --- what users call -------------------------------------------------------------------------------------------------


Corpus = tuple[Any, Path]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    """A corpus, another one under the same tokenizer settings, and the first under another tokenizer."""
    texts, others = documents(8, sentences=3), documents(8, seed=1, sentences=3)
    made = {}
    for name, part, vocab in (("one", texts, 300), ("other", others, 300), ("tokenizer", texts, 280)):
        made[name] = make_index(tmp_path_factory.mktemp(name), part, ByteBPEConfig(vocab_size=vocab))
    return made


def given(corpus: Corpus, settings: dict[str, Any], **more: Any) -> Given:
    index, folder = corpus
    parsed: Any = TypeAdapter(Pretraining).validate_python({"kind": settings["model"]["kind"], **settings})
    parsed = parsed.with_vocab(index.vocab)
    train = TrainConfig(
        steps=3, batch=4, precision="fp32", optimizer=ADAM, eval_interval=0, sample_interval=0, checkpoint_seconds=0
    )
    return Given(parsed, parsed.resolve(train), index, index, folder, **more)


def pretrain_refusal(was: Given, now: Given, folder: Path) -> str:
    with pytest.raises(Interrupted):
        pretrain(replace(was, should_stop=StopAt(2)), folder / "c", folder / "m")
    with pytest.raises(ResumeError) as error:
        pretrain(now, folder / "c", folder / "m")
    return str(error.value)


SMALL = {"kind": "gpt", "layers": 1, "width": 8, "heads": 1, "context": 8}
RNN = {"kind": "rnn", "embedding": 4, "width": 6}


def test_another_corpus_or_tokenizer(corpora: dict[str, Corpus], tmp_path: Path) -> None:
    first = given(corpora["one"], {"model": SMALL})
    other = pretrain_refusal(first, given(corpora["other"], {"model": SMALL}), tmp_path / "corpus")
    assert f"data was '{corpora['one'][0].fingerprint}/8', is '{corpora['other'][0].fingerprint}/8'" in other
    message = pretrain_refusal(first, given(corpora["tokenizer"], {"model": SMALL}), tmp_path / "tokenizer")
    was, now = (corpora[name][0].tokenizer_sha256 for name in ("one", "tokenizer"))
    assert f"tokenizer was '{was}', is '{now}'" in message


def test_how_a_model_reads(corpora: dict[str, Corpus], tmp_path: Path) -> None:
    first = given(corpora["one"], {"model": RNN, "stream": {"bptt": 8}})
    for stream, message in (
        ({"bptt": 9}, "stream.bptt was 8, is 9"),
        ({"bptt": 8, "alpha": 2.0}, "(stream.alpha was 0.0, is 2.0)"),
        ({"bptt": 8, "random": True}, "stream.random was False, is True"),
        ({"bptt": 8, "reset": True}, "model.reset_token was None, is"),
    ):
        found = pretrain_refusal(first, given(corpora["one"], {"model": RNN, "stream": stream}), tmp_path)
        assert message in found


def test_other_initial_weights(corpora: dict[str, Corpus], tmp_path: Path) -> None:
    tokenizer, starts = corpora["one"][1], []
    for seed in (1, 2):
        fresh = given(corpora["one"], {"model": SMALL})
        save_model(GPT(fresh.settings.model, seed=seed), tokenizer, tmp_path / str(seed))
        starts.append(given(corpora["one"], {"model": SMALL}, init_from=tmp_path / str(seed)))
    assert "(init_from was '" in pretrain_refusal(starts[0], starts[1], tmp_path / "a")
    assert "(init_from was None, is '" in pretrain_refusal(fresh, starts[1], tmp_path / "b")


def test_a_translator(tmp_path: Path) -> None:
    pairs = [Pair("ab", "ba"), Pair("abc", "cba"), Pair("ca", "ac")]
    for name, alphabet in (("abc", "abc"), ("more", "abcd")):
        config = CharacterConfig(kind="character", vocab_size=300, min_frequency=1)
        train_tokenizer([alphabet], config, tmp_path / name)
    settings: dict[str, Any] = {"model": {"kind": "seq2seq", "embedding": 4, "width": 4}, "label_smoothing": 0.1}
    config = TrainConfig(
        steps=4, batch=2, precision="fp32", optimizer=ADAM, eval_interval=0, sample_interval=0, checkpoint_seconds=0
    )

    def train(changed: dict[str, Any], target: str = "abc", **stop: Any) -> None:
        parsed = TranslatorConfig.model_validate(settings | changed)
        source = tmp_path / "abc"
        train_translator(
            pairs, pairs, source, tmp_path / target, parsed, config, tmp_path / "c", tmp_path / "m", **stop
        )

    with pytest.raises(Interrupted):
        train({}, should_stop=StopAt(2))
    for changed, target, message in (
        ({"label_smoothing": 0.2}, "abc", "(label_smoothing was 0.1, is 0.2)"),
        ({"limits": {"source": 50}}, "abc", "(limits.source was 100, is 50)"),
        ({"average": {"checkpoints": 2, "interval": 1}}, "abc", "average.checkpoints was 1, is 2"),
        ({}, "more", "target_tokenizer was '"),
    ):
        with pytest.raises(ResumeError) as error:
            train(changed, target)
        assert message in str(error.value)


def test_fine_tuning(corpora: dict[str, Corpus], tmp_path: Path) -> None:
    fresh = given(corpora["one"], {"model": {**SMALL, "context": 16}})
    for seed in (1, 2):
        save_model(GPT(fresh.settings.model, seed=seed), corpora["one"][1], tmp_path / f"backbone{seed}")
    rows = [{"id": text, "text": text, "text_b": None, "label": label} for label, text in enumerate(("ba de", "ki lo"))]
    task = Task(name="two", ask=Classification(classes=("x", "y")), metrics=("accuracy",))
    write_labelled(tmp_path / "set", task, {"train": rows, "valid": rows})

    def train(backbone: int = 1, should_stop: Any = lambda: False, **changed: Any) -> None:
        config = FinetuneConfig.model_validate({"batch": 2, "epochs": 3, "precision": "fp32", **changed})
        model, data = tmp_path / f"backbone{backbone}", tmp_path / "set"
        finetune(data, model, config, tmp_path / "out", should_stop=should_stop)

    with pytest.raises(Interrupted):
        train(should_stop=StopAt(6))
    for changed, message in (
        ({"pooling": "extract"}, "(finetune.pooling was 'mean', is 'extract')"),
        ({"auxiliary_weight": 0.0}, "(finetune.auxiliary_weight was 0.5, is 0.0)"),
        ({"initialisation": "random"}, "(finetune.initialisation was 'pretrained', is 'random')"),
        ({"backbone": 2}, "(backbone was '"),
        ({"head_dropout": 0.0}, "(finetune.head_dropout was 0.1, is 0.0)"),
    ):
        with pytest.raises(ResumeError) as error:
            train(**changed)
        assert message in str(error.value)


def test_the_trainer_is_told_what_decides(corpora: dict[str, Corpus]) -> None:
    """Each setting of how a kind reads is part of what a checkpoint knows."""
    deciding = flat(given(corpora["one"], {"model": {**RNN}, "stream": {"bptt": 8}}).deciding)
    assert {"stream.bptt", "stream.random", "stream.alpha", "stream.beta", "tokenizer", "init_from"} == set(deciding)
    assert isinstance(Trainer.__dataclass_fields__["settings"].default_factory(), dict)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("state", lambda s: s | {"step": 10**30}, "it stands at step 1000000000000000000000000000000 of 12"),
        ("state", lambda s: s | {"step": -1}, "it stands at step -1 of 12"),
        ("state", lambda s: s | {"losses": "x"}, "losses Input should be a valid list"),
        ("state", lambda s: s | {"harm": 1}, "unexpected keyword argument 'harm'"),
        ("state", lambda s: s | {"identity": None}, "'NoneType' object"),
        ("state", lambda s: {name: value for name, value in s.items() if name != "identity"}, "no 'identity'"),
        ("model", lambda t: {name: value for name, value in t.items() if "token" not in name}, "Missing key"),
        ("model", lambda t: {name: value.flatten()[:4].clone() for name, value in t.items()}, "size mismatch"),
        ("model", lambda t: t | {"harm": torch.zeros(1)}, "Unexpected key"),
        ("optim", lambda t: {f"x{name}": value for name, value in t.items()}, "optimiser state for 'x"),
    ],
)
def test_a_checkpoint_whose_hashes_fit_but_not_its_content_is_named(
    plain: Path, tmp_path: Path, part: str, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    [(step, path)] = list_checkpoints(plain)
    found = load_checkpoint(path)
    content = {"model": found.model, "optim": found.optimizer, "state": found.state}
    content[part] = change(content[part])
    save_checkpoint(tmp_path, step, *content.values())
    with pytest.raises(ResumeError, match=re.escape(str(tmp_path)) + rf".* does not fit this run: .*{message}"):
        trainer(tmp_path).run()
