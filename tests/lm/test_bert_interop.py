"""Hugging Face folders of BERT, RoBERTa and ALBERT, both ways."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm.artifact import load_torch, save_model
from lm.interop.bert import export_bert, import_bert
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.tokenizer import encode_documents, load_tokenizer
from tests.lm.masked_corpus import ROBERTA, documents, make_index
from tests.lm.small_bert import KIN, jittered

TEXTS = ["Bakilo lode. Muna po?", "sa sa ri tu"]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    wordpiece, bytes_ = (tmp_path_factory.mktemp(name) for name in ("wordpiece", "bytes"))
    made = {"bert": make_index(wordpiece, documents(20))[1], "roberta": make_index(bytes_, documents(20), ROBERTA)[1]}
    return made | {"albert": made["bert"]}


def model_of(kind: str, tokenizers: dict[str, Path], **settings: object) -> Bert:
    vocab = load_tokenizer(tokenizers[kind]).get_vocab_size()
    extra = {"embedding": 6} if kind == "albert" else {}
    size = {"layers": 2, "width": 12, "heads": 3, "context": 20, "vocab": vocab, "feed_forward": 17}
    return jittered(BertConfig(**(size | KIN[kind] | extra | settings)))


def same_weights(a: Bert, b: Bert) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("kind", KIN)
def test_round_trip_stores_the_embedding_once(kind: str, tokenizers: dict[str, Path], tmp_path: Path) -> None:
    model = model_of(kind, tokenizers)
    export_bert(model, tokenizers[kind], tmp_path)
    back, tokenizer = import_bert(tmp_path)
    assert back.config == model.config
    assert same_weights(back, model)
    assert tokenizer.get_vocab_size() == model.config.vocab
    assert not [name for name in load_file(tmp_path / "model.safetensors") if "decoder" in name]


SCRIPT = """
import json, sys, torch
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer
answers = []
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    found = tokenizer(json.loads(sys.argv[1]), return_tensors="pt", padding=True, return_token_type_ids=False)
    paired = AutoModelForPreTraining.from_pretrained(folder)(**found)
    answers.append({"ids": found["input_ids"].tolist(), "mask": tokenizer.mask_token_id,
        "logits": model(**found).logits.tolist(), "missing": sorted(report["missing_keys"]),
        "again": paired[0].tolist(), "pair": paired[1].tolist() if len(paired) > 1 else None})
print(json.dumps(answers))
"""


def test_exports_load_in_a_process_without_textmill(
    tokenizers: dict[str, Path], tmp_path: Path, stranger: Callable[..., str]
) -> None:
    models = {kind: model_of(kind, tokenizers) for kind in KIN}
    for kind, model in models.items():
        export_bert(model, tokenizers[kind], tmp_path / kind)
    said = stranger(SCRIPT, json.dumps(TEXTS), *(str(tmp_path / kind) for kind in KIN), folder=tmp_path)
    for (kind, model), got in zip(models.items(), json.loads(said.splitlines()[-1]), strict=True):
        tokenizer = load_tokenizer(tokenizers[kind])
        expected = [ids.tolist() for ids in encode_documents(tokenizer, TEXTS)]
        names = ("<s>", "</s>", "<mask>") if kind == "roberta" else ("[CLS]", "[SEP]", "[MASK]")
        begin, end, mask = (tokenizer.token_to_id(name) for name in names)
        assert got["missing"] == []
        assert got["mask"] == mask
        for row, text in enumerate(expected):
            ids = [begin, *text, end]
            assert got["ids"][row][: len(ids)] == ids
            hidden = model.hidden_states(torch.tensor([ids]))
            ours = model.masked_logits(hidden)[0]
            for logits in (got["logits"], got["again"]):
                assert torch.allclose(ours, torch.tensor(logits[row][: len(ids)]), atol=1e-4)
            if model.config.pair_head:
                assert torch.allclose(model.pair_logits(hidden)[0], torch.tensor(got["pair"][row]), atol=1e-4)


def test_old_names_and_copies_of_the_decoder_are_read(tokenizers: dict[str, Path], tmp_path: Path) -> None:
    model = model_of("bert", tokenizers)
    export_bert(model, tokenizers["bert"], tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in weights.items()
    }
    old["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(20)[None]
    save_file(old, tmp_path / "model.safetensors")
    assert same_weights(import_bert(tmp_path)[0], model)
    old["cls.predictions.decoder.weight"] += 1
    save_file(old, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="its decoder is not its embedding"):
        import_bert(tmp_path)


def test_broken_weights_are_named(tokenizers: dict[str, Path], tmp_path: Path) -> None:
    export_bert(model_of("bert", tokenizers), tokenizers["bert"], tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({**weights, "bert.extra": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"bert does not have: bert\.extra"):
        import_bert(tmp_path)
    del weights["bert.encoder.layer.1.attention.self.key.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lack bert\.encoder\.layer\.1\.attention\.self\.key\.bias"):
        import_bert(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="pickled weights are never read"):
        import_bert(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "llama", "model_type is 'llama', none of bert, roberta, albert"),
        ("hidden_act", "relu", "hidden_act is 'relu'"),
        ("position_embedding_type", "relative_key", "position_embedding_type is 'relative_key'"),
        ("tie_word_embeddings", False, "tie_word_embeddings is False"),
    ],
)
def test_what_is_none_of_them_is_refused(
    tokenizers: dict[str, Path], tmp_path: Path, key: str, value: object, message: str
) -> None:
    export_bert(model_of("bert", tokenizers), tokenizers["bert"], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ValueError, match=message):
        import_bert(tmp_path)


def test_what_hugging_face_does_not_have_is_not_exported(tokenizers: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="embedding and shared_layers go together"):
        export_bert(model_of("bert", tokenizers, embedding=5), tokenizers["bert"], tmp_path)
    with pytest.raises(ValueError, match="first position is that behind padding, 1; position_offset is 2"):
        export_bert(model_of("roberta", tokenizers), tokenizers["bert"], tmp_path)
    bare = model_of("bert", tokenizers, pair_head=False, boundary_head=True)
    export_bert(bare, tokenizers["bert"], tmp_path)
    back, _ = import_bert(tmp_path)
    assert not back.config.pair_head
    assert torch.equal(back.eval()(torch.arange(9)[None]), bare(torch.arange(9)[None]))


def test_our_own_folder_round_trips(tokenizers: dict[str, Path], tmp_path: Path) -> None:
    model = model_of("albert", tokenizers, boundary_head=True)
    save_model(model, tokenizers["albert"], tmp_path)
    loaded, _ = load_torch(tmp_path, Bert)
    assert loaded.config == model.config
    assert same_weights(loaded, model)
