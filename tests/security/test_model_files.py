"""Model files that someone made with intent: headers, tokenizers, configurations and arrays that ask for the moon."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.artifact import load_model, load_torch, save_model
from lm.damaged import DamagedFile
from lm.interop.folders import read_weights as read_folder
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.ngram.build import build_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import load_ngram
from lm.tokenizer import encode_documents, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.tokenizers.panics import TokenizerFault
from lm.train.checkpoint import CorruptCheckpoint, load_checkpoint, save_checkpoint
from lm.weights import read_weights

TEXTS = ["the harbour was quiet and the boats lay in a row", "a captain came home with three letters"] * 5


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bpe")
    train_tokenizer(TEXTS, ByteBPEConfig(vocab_size=280), folder)
    return folder


@pytest.fixture
def gpt(bpe: Path, tmp_path: Path) -> Path:
    vocab = load_tokenizer(bpe).get_vocab_size()
    save_model(GPT(GPTConfig(layers=1, width=8, heads=2, context=16, vocab=vocab), 1), bpe, tmp_path / "gpt")
    return tmp_path / "gpt"


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype: str = "F32", shape: tuple[Any, ...] = (1,), offsets: tuple[Any, ...] = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HEADERS = {
    "a length beyond the file": safetensors({}, length=2**40),
    "the largest length": safetensors({}, length=2**64 - 1),
    "a length of a hundred megabytes": safetensors({}, length=100_000_000),
    "no header": b"\0" * 8,
    "nothing": b"",
    "no JSON": safetensors(b"{'a': 1}"),
    "nested deep": safetensors(b'{"a":' * 50_000),
    "a list": safetensors([]),
    "overlapping": safetensors({"a": tensor(offsets=(0, 4)), "b": tensor(offsets=(0, 4))}, b"\0" * 4),
    "a hole": safetensors({"a": tensor(offsets=(0, 4)), "b": tensor(offsets=(8, 12))}, b"\0" * 12),
    "ends before it begins": safetensors({"a": tensor(offsets=(4, 0))}, b"\0" * 4),
    "beyond the data": safetensors({"a": tensor(offsets=(0, 4_000_000_000))}, b"\0" * 4),
    "a shape larger than its data": safetensors({"a": tensor(shape=(2**40,))}, b"\0" * 4),
    "a shape that overflows": safetensors({"a": tensor(shape=(2**33, 2**33))}, b"\0" * 4),
    "a negative shape": safetensors({"a": tensor(shape=(-1,))}, b"\0" * 4),
    "an unknown type": safetensors({"a": tensor(dtype="PICKLE")}, b"\0" * 4),
    "data that nothing names": safetensors({}, b"\0" * 64),
    "a pickle": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_safetensors(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(HEADERS[name])
    with pytest.raises(DamagedFile, match=r"model\.safetensors: no safetensors file, or a damaged one"):
        read_weights(path)


def test_weights_of_another_type_are_no_weights(gpt: Path) -> None:
    path = gpt / "model.safetensors"
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    header["ln_f.bias"]["dtype"] = "I32"
    path.write_bytes(safetensors(header, content[8 + size :]))
    with pytest.raises(DamagedFile, match=r"ln_f\.bias is of torch\.int32, not of real numbers"):
        load_model(gpt)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("layers", 10**9, "layers is 1,000,000,000, but only"),
        ("width", 10**7, "width is 10,000,000, but only"),
        ("vocab", 2**62, "vocab is 4,611,686,018,427,387,904, but only"),
        ("context", 10**12, "but only"),
        ("layers", 60, "a model of .* weights, but only"),
        ("layers", "many", "layers: Input should be a valid integer"),
        ("__class__", "os.system", "__class__: Extra inputs are not permitted"),
    ],
)
def test_a_configuration_cannot_ask_for_more_than_is_stored(gpt: Path, key: str, value: Any, said: str) -> None:
    config = json.loads((gpt / "config.json").read_text())
    (gpt / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(DamagedFile, match=rf"config\.json: .*{said}"):
        load_model(gpt)


def test_a_table_of_positions_is_bounded(bpe: Path, tmp_path: Path) -> None:
    vocab = load_tokenizer(bpe).get_vocab_size()
    model = Modern(ModernConfig(layers=1, width=8, heads=2, context=16, vocab=vocab), 1)
    save_model(model, bpe, tmp_path / "modern")
    path = tmp_path / "modern" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"context": 10**12}))
    with pytest.raises(DamagedFile, match="its table of positions larger than any"):
        load_torch(tmp_path / "modern", Modern)


NONE = [b"[" * 100_000, b"{", b"[]", b"null", b"\xff\xfe", b'{"a": %s}' % (b"9" * 5_000)]


@pytest.mark.parametrize("content", NONE)
def test_settings_that_are_none(gpt: Path, content: bytes) -> None:
    (gpt / "config.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"config\.json: "):
        load_model(gpt)


def test_a_huge_file_of_settings_is_not_read(gpt: Path) -> None:
    with (gpt / "config.json").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room on the disk
    with pytest.raises(DamagedFile, match="more than 16,777,216 bytes, which no such file has"):
        load_model(gpt)
    with (gpt / "tokenizer.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DamagedFile, match="bytes, which no tokenizer has"):
        load_tokenizer(gpt)


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def far_id(content: dict[str, Any]) -> None:
    content["model"]["vocab"]["zzz"] = 4_000_000_000


def deep(content: dict[str, Any]) -> None:
    inner: dict[str, Any] = {"type": "Sequence", "decoders": []}
    for _ in range(300):
        inner = {"type": "Sequence", "decoders": [inner]}
    content["decoder"] = inner


def code(content: dict[str, Any]) -> None:
    content["pre_tokenizer"] = {"type": "Custom", "module": "os", "function": "system"}


@pytest.mark.parametrize(
    ("change", "said"),
    [(far_id, "ids up to 4000000000, not one each"), (deep, "no tokenizer"), (code, "no tokenizer")],
)
def test_a_tokenizer_of_bad_intent(gpt: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    changed(gpt, change)
    with pytest.raises(DamagedFile, match=rf"tokenizer\.json: .*{said}"):
        load_tokenizer(gpt)


def test_an_expression_that_backtracks_for_ever_is_an_error_of_its_text(gpt: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        pattern = {"Regex": "(a+)+$"}
        content["pre_tokenizer"]["pretokenizers"] = [
            {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ]
        content["pre_tokenizer"]["type"] = "Sequence"

    changed(gpt, change)
    tokenizer = load_tokenizer(gpt)
    with pytest.raises(TokenizerFault, match=r"the tokenizer cannot encode this text: .*retry-limit"):
        encode_documents(tokenizer, ["a" * 60 + "b"])


def test_no_index_leads_out_of_its_folder(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    for outside in ("../secret.safetensors", "/etc/passwd", "a/b.safetensors", ".."):
        index.write_text(json.dumps({"weight_map": {"a": outside}}))
        with pytest.raises(ValueError, match="names files outside the folder"):
            read_folder(tmp_path)
    for odd in ({"weight_map": {"a": 1}}, {"weight_map": []}, {}):
        index.write_text(json.dumps(odd))
        with pytest.raises(DamagedFile, match="no weight_map of file names"):
            read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("links", -1, 2**32 - 2), ("links", -1, None), ("children", 1, 2**32 - 1), ("words", 5, 2**31), ("links", 0, 0)],
)
def test_numbers_that_compiled_loops_would_follow(bpe: Path, tmp_path: Path, name: str, place: int, value: int) -> None:
    """None: a node that is its own suffix, round which a look-up would go for ever."""
    build_ngram(encode_documents(load_tokenizer(bpe), TEXTS), bpe, NgramConfig(order=3), tmp_path / "ngram")
    path = tmp_path / "ngram" / f"{name}.npy"
    array = np.load(path)
    array[place] = len(array) - 1 if value is None else value
    np.save(path, array)
    with pytest.raises(DamagedFile, match=rf"{name}\.npy: numbers of no n-gram in it"):
        load_ngram(tmp_path / "ngram")


def test_arrays_are_not_unpickled(bpe: Path, tmp_path: Path) -> None:
    build_ngram(encode_documents(load_tokenizer(bpe), TEXTS), bpe, NgramConfig(order=2), tmp_path / "ngram")
    path = tmp_path / "ngram" / "words.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedFile, match=r"words\.npy: "):
        load_ngram(tmp_path / "ngram")
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<u4', 'fortran_order': False, 'shape': (1099511627776,), }\n")
    with pytest.raises(DamagedFile, match=r"words\.npy: "):
        load_ngram(tmp_path / "ngram")


def test_a_checkpoint_whose_manifest_was_made_to_fit(tmp_path: Path) -> None:
    import hashlib

    import torch

    path = save_checkpoint(tmp_path, 1, {"a": torch.ones(2)}, {}, {"step": 1})
    for name, content in (("model.safetensors", HEADERS["overlapping"]), ("state.json", b"[" * 100_000)):
        kept = (path / name).read_bytes()
        (path / name).write_bytes(content)
        manifest = json.loads((path / "manifest.json").read_text())
        manifest[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        (path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(CorruptCheckpoint, match=name.replace(".", r"\.")):
            load_checkpoint(path)
        (path / name).write_bytes(kept)
        manifest[name] = {"sha256": hashlib.sha256(kept).hexdigest(), "bytes": len(kept)}
        (path / "manifest.json").write_text(json.dumps(manifest))
