"""Take a labelled set's folder from outside into the store as an artifact."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lm.labelled.folder import DESCRIPTION, SPLITS, LabelledSet
from tasks.stage import Work, stage


class AdoptLabelledConfig(BaseModel):
    """A labelled set's folder and the hashes of its files; the path does not shape the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    sha256: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> "AdoptLabelledConfig":
        """Fingerprint a folder. Raises FileNotFoundError or ValueError if it is no labelled set."""
        labelled = LabelledSet(folder)
        hashes = {}
        for name in (DESCRIPTION, *(f"{split}.parquet" for split in SPLITS if labelled.has(split))):
            with (folder / name).open("rb") as handle:
                hashes[name] = hashlib.file_digest(handle, "sha256").hexdigest()
        return cls(folder=folder, sha256=hashes)

    def key_material(self) -> dict[str, Any]:
        """The files' hashes."""
        return {"sha256": self.sha256}


@stage(version=1)
def adopt_labelled(work: Work, config: AdoptLabelledConfig) -> None:
    """Read every split, and copy the folder."""
    labelled = LabelledSet(config.folder)
    for split in SPLITS:
        if labelled.has(split):
            work.counts[split] = labelled.read(split).num_rows
    for name in config.sha256:
        shutil.copyfile(config.folder / name, work.directory / name)
