"""What learns and what does not: frozen layers, linear probes, low-rank adapters, layer-wise rates, waking layers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lm.finetune.artifact import ADAPTERS, load_finetuned
from lm.finetune.backbone import open_backbone
from lm.finetune.config import FinetuneConfig, LoRAConfig
from lm.finetune.freeze import learning_count, task_groups, task_layers
from lm.finetune.lora import merge_adapters
from lm.finetune.predictions import read_predictions
from lm.finetune.run import answer
from lm.finetune.train import Built, build, finetune
from lm.models.gpt import GPT
from lm.stop import Interrupted
from lm.train.checkpoint import latest_checkpoint
from lm.train.hooks import Hooks
from tests.lm.finetune_cases import ASKS, backbone_folder, examples, write_set

QUICK: dict[str, Any] = {
    "epochs": 2,
    "batch": 8,
    "learning_rate": 3e-3,
    "evaluations": 2,
    "device": "cpu",
    "precision": "fp32",
    "checkpoint_interval": 1,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root: Path = tmp_path_factory.mktemp("backbones")
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = backbone_folder(root / name, name)
        return made[name]

    return folder


def built(folder: Path, name: str = "pairs", **values: Any) -> Built:
    pretrained, tokenizer = open_backbone(folder)
    config = FinetuneConfig(**values).resolve(pretrained.settings)
    return build(ASKS[name][0], True, pretrained, tokenizer, config)


def changed(folder: Path, tuned: Path, vocab: int) -> set[str]:
    """Which tensors of the backbone are not as they were (of tables of tokens, the old rows)."""
    before = load_file(folder / "model.safetensors")
    after = load_file(tuned / "model.safetensors")
    now = {name.removeprefix("backbone.model."): t for name, t in after.items() if name.startswith("backbone.model.")}
    assert set(now) == set(before)
    return {name for name, t in before.items() if not torch.equal(now[name][: len(t)] if t.dim() else now[name], t)}


# --- freezing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt", "bert"])
@pytest.mark.parametrize("freeze", [0, 1, 2, "all"])
def test_the_lower_layers_stay_to_the_bit(folders: Any, kind: str, freeze: Any, tmp_path: Path) -> None:
    config = FinetuneConfig(freeze=freeze, **QUICK)
    data = write_set(tmp_path / "data", "pairs", test=0)
    result = finetune(data, folders(kind), config, tmp_path / "out")
    vocab = open_backbone(folders(kind))[0].vocab
    moved = {".".join(name.split(".")[:2]) for name in changed(folders(kind), tmp_path / "out", vocab)}
    blocks = {f"blocks.{n}" for n in range(2)}
    assert moved & blocks == {0: blocks, 1: {"blocks.1"}, 2: set(), "all": set()}[freeze]
    assert ("token_embedding.weight" in moved) == (freeze == 0)
    new = load_file(tmp_path / "out/model.safetensors")["backbone.model.token_embedding.weight"][vocab:]
    begun = built(folders(kind), freeze=freeze).model.backbone.model.token_embedding.weight[vocab:]  # type: ignore[union-attr, index]
    assert len(new) == (3 if kind == "gpt" else 0)
    if kind == "gpt":
        assert torch.equal(new, begun) == (freeze == "all")
    assert result["learning"] < result["parameters"] or (freeze, kind) == (0, "gpt")


def test_checkpoints_hold_what_learns_alone(folders: Any, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", "pairs", test=0)
    seen: dict[str, set[str]] = {}

    class Done(Exception):
        pass

    def look(step: int, path: Path) -> None:
        raise Done

    for name, values in {"all": {}, "probe": {"freeze": "all"}, "lora": {"lora": LoRAConfig()}}.items():
        with pytest.raises(Done):
            finetune(
                data, folders("bert"), FinetuneConfig(**QUICK, **values), tmp_path / name, Hooks(on_checkpoint=look)
            )
        checkpoint = latest_checkpoint(tmp_path / name / "checkpoints")
        assert checkpoint is not None
        seen[name] = set(checkpoint.model)
    head = {"head.linear.weight", "head.linear.bias"}
    assert seen["probe"] == head
    head |= {"head.pooler.weight", "head.pooler.bias"}
    assert head < seen["lora"]
    assert all(name.endswith((".a", ".b")) for name in seen["lora"] - head)
    assert "backbone.model.blocks.0.attention.qkv.weight" in seen["all"]
    assert not any(name.startswith("backbone.model.transform") for name in seen["all"])  # of pretraining alone


def test_a_linear_probe_reads_features_that_do_not_change(folders: Any) -> None:
    made = built(folders("bert"), freeze="all", dropout=0.5, head_dropout=0, pooling="mean")
    assert [name for name, p in made.model.named_parameters() if p.requires_grad] == [
        "head.linear.weight",
        "head.linear.bias",
    ]
    assert learning_count(made.model) == sum(p.numel() for p in made.model.head.parameters())
    batch = made.form.items(examples("pairs", 4)).batch(np.arange(4))
    made.model.train()
    assert torch.equal(made.model(batch)[0], made.model(batch)[0])


def test_more_layers_than_there_are_cannot_be_frozen(folders: Any) -> None:
    with pytest.raises(ValueError, match="freeze is 3, but the model has 2 layers; `all` freezes every one"):
        built(folders("gpt"), freeze=3)
    assert len(task_layers(built(folders("gpt"), freeze=2).model)) == 2  # the new rows, and the head


# --- adapters --------------------------------------------------------------------------------------------------------

EVERY = ("q", "k", "v", "out", "expand", "contract")


@pytest.mark.parametrize("kind", ["gpt", "modern", "bert", "albert", "xlnet", "transformer_xl"])
@pytest.mark.parametrize("matrices", [("q", "v"), EVERY])
def test_merged_equals_unmerged(folders: Any, kind: str, matrices: Any) -> None:
    made = built(folders(kind), lora=LoRAConfig(rank=3, alpha=6, matrices=matrices), pooling="mean", dropout=0)
    model, batch = made.model.eval(), made.form.items(examples("pairs", 5)).batch(np.arange(5))
    plain = built(folders(kind), pooling="mean", dropout=0).model.eval()
    assert torch.equal(model(batch)[0], plain(batch)[0])  # B is 0 at first
    for name, p in model.named_parameters():
        if name.endswith(".b"):
            with torch.no_grad():
                p.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    adapted = model(batch)[0]
    assert not torch.allclose(adapted, plain(batch)[0], atol=1e-3)
    merge_adapters(model)
    torch.testing.assert_close(model(batch)[0], adapted, atol=1e-6, rtol=0)
    assert set(model.state_dict()) == set(plain.state_dict())


def test_adapters_are_the_papers_sum_on_the_rows_that_are_meant(folders: Any) -> None:
    """W + alpha / r B A on queries and values; keys as they were."""
    made = built(folders("gpt"), lora=LoRAConfig(rank=2, alpha=8))
    gpt = made.model.backbone.model
    assert isinstance(gpt, GPT)
    module: Any = gpt.blocks[0].attention.qkv
    adapter, original = module.parametrizations.weight[0], module.parametrizations.weight.original
    assert (tuple(adapter.a.shape), tuple(adapter.b.shape)) == ((2, 2, 32), (2, 32, 2))
    with torch.no_grad():
        adapter.b.normal_(generator=torch.Generator().manual_seed(0))
    q, k, v = (module.weight - original).split(32)
    torch.testing.assert_close(q, 4 * adapter.b[0] @ adapter.a[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(v, 4 * adapter.b[1] @ adapter.a[1], atol=1e-6, rtol=0)
    assert not k.any()
    learns = {name for name, p in made.model.named_parameters() if p.requires_grad}
    assert {n for n in learns if not n.endswith((".a", ".b"))} == {
        "backbone.model.token_embedding.weight",  # the rows of new tokens
        "head.linear.weight",
        "head.linear.bias",
    }
    per_layer = 2 * (2 * 32 + 32 * 2)
    assert learning_count(made.model) == 2 * per_layer + 3 * 32 + 2 * 32 + 2


def test_an_adapted_model_is_saved_merged_with_its_adapters_beside(folders: Any, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", "pairs")
    config = FinetuneConfig(lora=LoRAConfig(rank=4), **QUICK)
    result = finetune(data, folders("bert"), config, tmp_path / "out")
    moved = changed(folders("bert"), tmp_path / "out", 0)
    assert moved == {f"blocks.{n}.attention.qkv.weight" for n in range(2)}
    adapters = load_file(tmp_path / "out" / ADAPTERS)
    assert sum(t.numel() for t in adapters.values()) == 2 * 2 * (4 * 64 + 64 * 4)
    assert result["learning"] == sum(t.numel() for t in adapters.values()) + 64 * 64 + 64 + 2 * 64 + 2
    model, form, _, _, _ = load_finetuned(tmp_path / "out")
    said = answer(model, form, form.items(examples("pairs", 14, 2)))
    rows = read_predictions(tmp_path / "out/predictions.parquet", "test").rows
    np.testing.assert_allclose([a["probabilities"] for a in said], [r["probabilities"] for r in rows], atol=1e-6)


def test_a_killed_run_with_adapters_ends_in_the_same_bits(folders: Any, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", "pairs")
    config = FinetuneConfig(lora=LoRAConfig(rank=4), dropout=0.1, **QUICK)
    finetune(data, folders("gpt"), config, tmp_path / "whole")
    polls = 0

    def now_and_then() -> bool:
        nonlocal polls
        polls += 1
        return polls % 7 == 0

    for _ in range(9):
        try:
            finetune(data, folders("gpt"), config, tmp_path / "stopped", should_stop=now_and_then)
            break
        except Interrupted:
            continue
    for name in ("model.safetensors", ADAPTERS, "predictions.parquet", "metrics.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert polls > 7


def test_a_model_without_such_matrices_takes_no_adapters(folders: Any) -> None:
    with pytest.raises(ValueError, match="lora: a model of kind 'rnn' has no matrices q, v"):
        built(folders("rnn"), lora=LoRAConfig())


# --- rates and waking ------------------------------------------------------------------------------------------------


def test_layers_learn_at_falling_rates(folders: Any) -> None:
    made = built(folders("bert"), layer_factor=2.0)
    groups = task_groups(made.model, FinetuneConfig(layer_factor=2.0, weight_decay=0.1))
    assert sorted({g["scale"] for g in groups}) == [0.125, 0.25, 0.5, 1.0]
    by_id = {id(p): g for g in groups for p in g["params"]}
    names = {name: by_id.get(id(p)) for name, p in made.model.named_parameters() if p.requires_grad}
    assert all(names.values())
    assert names["backbone.model.blocks.0.expand.weight"]["scale"] == 0.25  # type: ignore[index]
    assert names["head.linear.bias"] == by_id[id(made.model.head.linear.bias)]
    assert names["head.linear.bias"]["weight_decay"] == 0  # type: ignore[index]


def test_layers_wake_one_by_one_and_a_resumed_run_does_too(folders: Any, tmp_path: Path) -> None:
    """After an epoch the head alone has moved."""
    data = write_set(tmp_path / "data", "pairs", test=0)
    values = {**QUICK, "epochs": 3, "evaluations": 3}
    one = FinetuneConfig(unfreeze_epochs=1.0, **{**values, "epochs": 1, "evaluations": 1})
    finetune(data, folders("bert"), one, tmp_path / "one")
    assert not changed(folders("bert"), tmp_path / "one", 0)
    config = FinetuneConfig(unfreeze_epochs=1.0, layer_factor=2.6, schedule="stlr", **values)
    finetune(data, folders("bert"), config, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(step: int, _: int) -> None:
        if step == 7:
            raise Killed

    with pytest.raises(Killed):
        finetune(data, folders("bert"), config, tmp_path / "killed", Hooks(on_progress=kill))
    finetune(data, folders("bert"), config, tmp_path / "killed")
    for name in ("model.safetensors", "metrics.json"):
        assert (tmp_path / f"killed/{name}").read_bytes() == (tmp_path / f"whole/{name}").read_bytes()
    # what learns is what may wake, whenever a run ends
    first, last = (json.loads((tmp_path / f"{name}/metrics.json").read_text()) for name in ("one", "whole"))
    assert first["learning"] == last["learning"]
