"""Take a labelled set's folder from outside into the store as an artifact."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lm.labelled.folder import DESCRIPTION, SPLITS, LabelledSet
from tasks.stage import Work, stage
from tasks.storage.files import copy_hashed, file_sha256


class AdoptLabelledConfig(BaseModel):
    """A labelled set's folder and the hashes of its files; the path does not shape the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    sha256: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> "AdoptLabelledConfig":
        """Fingerprint a folder. Raises FileNotFoundError or ValueError if it is no labelled set."""
        labelled = LabelledSet(folder)
        names = (DESCRIPTION, *(f"{split}.parquet" for split in SPLITS if labelled.has(split)))
        return cls(folder=folder, sha256={name: file_sha256(folder / name) for name in names})

    def key_material(self) -> dict[str, Any]:
        """The files' hashes."""
        return {"sha256": self.sha256}


@stage(version=1)
def adopt_labelled(work: Work, config: AdoptLabelledConfig) -> None:
    """Read every split, and copy the folder. Raises ValueError if it is another than the one that was named."""
    labelled = LabelledSet(config.folder, stranger=True)
    for split in SPLITS:
        if labelled.has(split):
            work.counts[split] = labelled.read(split).num_rows
    for name in config.sha256:
        copy_hashed(config.folder / name, work.directory / name, config.sha256[name])
