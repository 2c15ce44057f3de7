"""Take a model folder from outside, ours or one of Hugging Face that we read, into the store as an artifact."""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.stage import Work, stage

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")
SPELLING_FILE = "spelling.json"
"""Beside a tokenizer with an unknown token, of ours."""


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

        hashes = {}
        for name in (*MODEL_FILES, *([SPELLING_FILE] if (folder / SPELLING_FILE).exists() else [])):
            with (folder / name).open("rb") as handle:
                hashes[name] = hashlib.file_digest(handle, "sha256").hexdigest()
        if (template := chat_template(folder)) is not None:
            hashes["chat_template"] = hashlib.sha256(template.encode()).hexdigest()
        return cls(folder=folder, sha256=hashes)

    def key_material(self) -> dict[str, Any]:
        """The files' hashes."""
        return {"sha256": self.sha256}


@stage(version=1)
def adopt_model(work: Work, config: AdoptConfig) -> None:
    """Read the folder with the real loader and write it as a model folder of our own."""
    from lm.artifact import save_model
    from lm.finetune.backbone import open_backbone

    backbone, _ = open_backbone(config.folder)
    save_model(backbone.model, config.folder, work.directory)
    work.counts["parameters"] = sum(p.numel() for p in backbone.parameters())
