"""Take a model folder from outside, ours or one of Hugging Face that we read, into the store as an artifact."""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from data_quality.errors import UsageError
from tasks.stage import Work, stage
from tasks.storage.files import copy_hashed, file_sha256

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")
SPELLING_FILE = "spelling.json"
"""Beside a tokenizer with an unknown token, of ours."""
TEMPLATE = "chat_template"
"""Not a file but what one says: the hash of a template, wherever it stands."""
VECTORS_FILES = ("config.json", "vectors.safetensors", "words.json")
TRANSLATOR_FILES = ("config.json", "model.safetensors", "source/tokenizer.json", "target/tokenizer.json")
NAMES = ("tokenizer.json", "tokenizer_config.json", SPELLING_FILE, "vocabulary.json")
"""Beside the arrays of an n-gram: what its numbers stand for."""
BESIDE = ("tokenizer.json", "tokenizer_config.json", SPELLING_FILE)
"""Beside word vectors, and in each of a translator's two folders, where they are there."""


def files_of(folder: Path) -> list[str]:
    """The files that make a model folder, of which some may be missing."""
    if arrays := sorted(path.name for path in folder.glob("*.npy")):  # an n-gram
        return ["config.json", *arrays, *(name for name in NAMES if (folder / name).exists())]
    if (folder / "words.json").exists():
        return [*VECTORS_FILES, *(name for name in BESIDE if (folder / name).exists())]
    if (folder / "source").is_dir():
        sides = [f"{side}/{name}" for side in ("source", "target") for name in BESIDE]
        return [*TRANSLATOR_FILES, *(n for n in sides if n not in TRANSLATOR_FILES and (folder / n).exists())]
    return [*MODEL_FILES, *([SPELLING_FILE] if (folder / SPELLING_FILE).exists() else [])]


class AdoptConfig(BaseModel):
    """A model folder and the hashes of its files; the path does not shape the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    sha256: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> "AdoptConfig":
        """Fingerprint a folder.

        Raises:
            FileNotFoundError: naming the file that is missing.
        """
        from lm.tokenizer import chat_template

        hashes = {name: file_sha256(folder / name) for name in files_of(folder)}
        if (template := chat_template(folder)) is not None:
            hashes[TEMPLATE] = hashlib.sha256(template.encode()).hexdigest()
        return cls(folder=folder, sha256=hashes)

    def key_material(self) -> dict[str, Any]:
        """The files' hashes."""
        return {"sha256": self.sha256}


@stage(version=1)
def adopt_model(work: Work, config: AdoptConfig) -> None:
    """Read the folder with the real loader and write it as a model folder of our own; n-grams, word vectors and
    translators are ours already, and taken as they are. Raises UsageError if the folder is another than the one named.
    """
    from lm.artifact import described, load_torch, save_model
    from lm.finetune.backbone import MODULES, open_backbone
    from lm.finetune.kinds import KINDS
    from lm.ngram.model import load_ngram
    from lm.text_model import NGRAM

    kind = described(config.folder).get("kind")
    if kind == NGRAM:
        work.counts["parameters"] = load_ngram(config.folder).parameter_count()
        _copy(config, work.directory)
        return
    if kind in MODULES and kind not in KINDS:  # it can be asked for texts, and learns no task
        module = model = load_torch(config.folder, MODULES[kind])[0]
    else:
        module, _ = open_backbone(config.folder)
        model = module.model
    if set(config.sha256) <= {*MODEL_FILES, SPELLING_FILE, TEMPLATE}:
        save_model(model, config.folder, work.directory)
        if AdoptConfig.of(config.folder).sha256 != config.sha256:
            raise UsageError(f"{config.folder} changed while it was read: run it again")
    else:
        _copy(config, work.directory)
    work.counts["parameters"] = sum(p.numel() for p in module.parameters())


def _copy(config: AdoptConfig, to: Path) -> None:
    for name in config.sha256:
        if name != TEMPLATE:
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            copy_hashed(config.folder / name, to / name, config.sha256[name])
