"""Hugging Face GPT-2 folders, both ways, and model folders of our own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm.artifact import load_model, save_model
from lm.generate import generate
from lm.interop.gpt2 import export_gpt2, import_gpt2
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.tokenizer import encode_documents, load_tokenizer

TEXTS = ["the model learns", " 模型 café\n\n", "a  b 😀"]


@pytest.fixture
def model(tokenizer_dir: Path, request: pytest.FixtureRequest) -> GPT:
    """A GPT-2, or what a test asks for."""
    size = {"layers": 2, "width": 16, "heads": 2, "context": 12, "norm": getattr(request, "param", "pre")}
    vocab = load_tokenizer(tokenizer_dir).get_vocab_size()
    model = GPT(GPTConfig(**size, vocab=vocab, dropout=0.2), seed=3)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return model.eval()


@pytest.fixture
def exported(tmp_path: Path, model: GPT, tokenizer_dir: Path) -> Path:
    export_gpt2(model, tokenizer_dir, tmp_path / "hf")
    return tmp_path / "hf"


def same_weights(a: GPT, b: GPT) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("model", ["pre", "post"], indirect=True)
def test_round_trip(model: GPT, exported: Path) -> None:
    back, tokenizer = import_gpt2(exported)
    assert back.config == model.config
    assert same_weights(back, model)
    assert tokenizer.get_vocab_size() == model.config.vocab


@pytest.mark.parametrize("model", ["pre", "post"], indirect=True)
def test_an_export_loads_in_a_process_without_textmill(
    model: GPT, exported: Path, tokenizer_dir: Path, stranger: Callable[..., str]
) -> None:
    script = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(folder)
ids = [tokenizer(t)["input_ids"] for t in texts]
tokens = torch.tensor([[1, 2, 3]])
answer = model.generate(tokens, max_new_tokens=8, do_sample=False, pad_token_id=0, eos_token_id=None)
print(json.dumps({"ids": ids, "back": [tokenizer.decode(i) for i in ids],
  "missing": sorted(report["missing_keys"]), "unexpected": sorted(report["unexpected_keys"]),
  "logits": model(tokens).logits.tolist(), "greedy": answer[0].tolist()}))
"""
    got = json.loads(stranger(script, str(exported), json.dumps(TEXTS), folder=exported).splitlines()[-1])
    assert got["missing"] == got["unexpected"] == []
    assert torch.allclose(torch.tensor(got["logits"]), model(torch.tensor([[1, 2, 3]])), atol=1e-4)
    assert got["greedy"] == [1, 2, 3, *generate(model, [1, 2, 3], 8, temperature=0)]
    assert got["ids"] == [i.tolist() for i in encode_documents(load_tokenizer(tokenizer_dir), TEXTS)]
    assert got["back"] == TEXTS


def test_old_names_half_precision_buffers_and_stored_heads_are_read(model: GPT, exported: Path) -> None:
    weights = {k.removeprefix("transformer."): v.half() for k, v in load_file(exported / "model.safetensors").items()}
    weights["h.0.attn.bias"] = torch.ones(1, 1, 12, 12)
    weights["lm_head.weight"] = weights["wte.weight"].clone()
    save_file(weights, exported / "model.safetensors")
    back, _ = import_gpt2(exported)
    assert back.token_embedding.weight.dtype == torch.float32
    tokens = torch.tensor([[1, 2, 3]])
    assert torch.allclose(back.eval()(tokens), model(tokens), atol=0.05)


def test_sharded_weights_are_read(model: GPT, exported: Path) -> None:
    weights = load_file(exported / "model.safetensors")
    names = sorted(weights)
    parts = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    for file, keys in parts.items():
        save_file({k: weights[k] for k in keys}, exported / file)
    (exported / "model.safetensors").unlink()
    index = {"weight_map": {k: file for file, keys in parts.items() for k in keys}}
    (exported / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same_weights(import_gpt2(exported)[0], model)
    index["weight_map"][names[0]] = "../outside.safetensors"
    (exported / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="files outside the folder"):
        import_gpt2(exported)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "llama", "model_type is 'llama', not 'openai-gpt' or 'gpt2'"),
        ("activation_function", "relu", "activation_function is 'relu'"),
        ("n_inner", 17, "n_inner is 17"),
        ("tie_word_embeddings", False, "tie_word_embeddings is False"),
    ],
)
def test_what_is_not_gpt2_is_refused(exported: Path, key: str, value: object, message: str) -> None:
    config = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ValueError, match=message):
        import_gpt2(exported)


def test_broken_weights_are_named(exported: Path) -> None:
    weights = load_file(exported / "model.safetensors")
    missing = {k: v for k, v in weights.items() if not k.endswith("ln_f.bias")}
    save_file(missing, exported / "model.safetensors")
    with pytest.raises(ValueError, match=r"the weights lack ln_f\.bias"):
        import_gpt2(exported)
    save_file({**weights, "transformer.extra": torch.zeros(1)}, exported / "model.safetensors")
    with pytest.raises(ValueError, match="GPT-2 does not have: extra"):
        import_gpt2(exported)
    save_file({**weights, "lm_head.weight": torch.zeros(2, 2)}, exported / "model.safetensors")
    with pytest.raises(ValueError, match="its output head is not its embedding"):
        import_gpt2(exported)
    (exported / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="pickled weights are never read"):
        import_gpt2(exported)


def test_our_own_folder_round_trips(tmp_path: Path, model: GPT, tokenizer_dir: Path) -> None:
    save_model(model, tokenizer_dir, tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    loaded, _ = load_model(tmp_path / "m")
    assert loaded.config == model.config
    assert same_weights(loaded, model)
    assert not loaded.training
    assert (tmp_path / "m/tokenizer.json").read_bytes() == (tokenizer_dir / "tokenizer.json").read_bytes()
    save_model(model, tokenizer_dir, tmp_path / "again")
    for file in (tmp_path / "m").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_load_model_reads_hugging_face_folders_too(model: GPT, exported: Path) -> None:
    loaded, _ = load_model(exported)
    assert same_weights(loaded, model)


def test_folders_that_hold_no_model_are_refused(tmp_path: Path, model: GPT, tokenizer_dir: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model there"):
        load_model(tmp_path)
    save_model(model, tokenizer_dir, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "kind": "bert"}))
    with pytest.raises(ValueError, match="not a 'gpt' model: 'bert'"):
        load_model(tmp_path)
