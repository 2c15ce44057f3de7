"""A translator from pairs of texts: the pairs, their tokenizers, and the trained model, each an artifact."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lm.config import StrictModel, TrainConfig
from lm.pairs import Pair, read_pairs, split_pairs, without_leaks
from lm.tokenizers.config import TokenizerConfig
from lm.translator_config import TranslatorConfig
from tasks.pretrain import UNSEEN_IN_RESULT, register
from tasks.running.hooks import training, write_result
from tasks.stage import Work, stage
from tasks.storage.files import file_sha256
from tasks.store import Artifact

TRAIN, VALID = "train.parquet", "valid.parquet"
REGISTERED_NAME = "textmill-translator"


class PairSource(BaseModel):
    """Files of pairs with the hashes of their content; where they lie does not shape the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[Path, ...]
    sha256: tuple[str, ...]
    fields: tuple[str, str]

    @classmethod
    def of(cls, paths: tuple[Path, ...], fields: tuple[str, str]) -> "PairSource":
        """Fingerprint one file or two.

        Raises:
            FileNotFoundError: naming the file that is not there.
        """
        return cls(paths=paths, sha256=tuple(map(file_sha256, paths)), fields=fields)

    def key_material(self) -> dict[str, Any]:
        """Content, and how it is read: the names' endings say that."""
        endings = ["".join(path.suffixes[-2:]) for path in self.paths]
        return {"sha256": self.sha256, "endings": endings, "fields": self.fields}


class PairsRequest(BaseModel):
    """What is read, and what is held out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: PairSource
    valid: PairSource | None
    valid_fraction: float
    salt: str
    max_pairs: int | None
    license: str | None = None

    def key_material(self) -> dict[str, Any]:
        """Without paths, and without what is not used."""
        held_out: dict[str, Any] = {"valid_fraction": self.valid_fraction, "salt": self.salt}
        if self.valid is not None:
            held_out = {"valid": self.valid.key_material()}
        recorded = {"license": self.license} if self.license else {}
        return {"train": self.train.key_material(), "max_pairs": self.max_pairs, **held_out, **recorded}


@stage(version=1, libraries=("unicode",))
def pairs(work: Work, config: PairsRequest) -> None:
    """Read the pairs and hold some out: train.parquet and valid.parquet with the columns source and target.

    Raises:
        ValueError: a file that cannot be read, or nothing left to train on or to score.
    """
    train = _read(config.train, config.max_pairs)
    if config.valid is None:
        train, valid, left_out = split_pairs(train, config.valid_fraction, config.salt)
    else:
        valid = _read(config.valid, config.max_pairs)
        train, left_out = without_leaks(train, valid)
    for name, kept in (("training", train), ("validation", valid)):
        if not kept:
            raise ValueError(f"there is no {name} pair: {left_out:,} were left out since they share a side with others")
    for file, kept in ((TRAIN, train), (VALID, valid)):
        _write(work.directory / file, kept)
    work.counts |= {"train": len(train), "valid": len(valid), "left_out": left_out}


def _read(source: PairSource, limit: int | None) -> list[Pair]:
    first, *second = source.paths
    return read_pairs(first, second[0] if second else None, source.fields)[:limit]


def _write(path: Path, kept: list[Pair]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"source": [pair.source for pair in kept], "target": [pair.target for pair in kept]}
    pq.write_table(pa.table(columns), path, compression="zstd")


def load_pairs(path: Path) -> list[Pair]:
    """The pairs of one of the stage's files."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return [Pair(s, t) for s, t in zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True)]


class PairTokenizerConfig(BaseModel):
    """A tokenizer, and of which side's training texts it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side: Literal["source", "target", "both"]
    train: TokenizerConfig


@stage(version=1, libraries=("tokenizers",))
def pair_tokenizer(work: Work, config: PairTokenizerConfig, *, pairs: Artifact) -> None:
    """Learn a tokenizer from the training pairs, in their order."""
    from lm.tokenizer import train_tokenizer

    sides = {"source": (0,), "target": (1,), "both": (0, 1)}[config.side]
    texts = (pair[side] for pair in load_pairs(pairs.file(TRAIN)) for side in sides)
    work.counts |= train_tokenizer(texts, config.train, work.directory)


class TranslatorRequest(StrictModel):
    """A translator and how it is trained, every `auto` resolved; vocabularies are those of the tokenizers."""

    translator: TranslatorConfig
    train: TrainConfig
    rouge_l: bool = False
    """Whether ROUGE-L is among the figures: a task asks for it."""

    def key_material(self) -> dict[str, Any]:
        """Without what changes how a training is watched and saved, and not what it ends in."""
        material = self.model_dump(mode="json", exclude={"train": set(UNSEEN_IN_RESULT), "rouge_l": True})
        return {**material, **({"rouge_l": True} if self.rouge_l else {})}


@stage(version=1, libraries=("torch", "tokenizers", "sacrebleu"))
def train_translator(
    work: Work, config: TranslatorRequest, *, pairs: Artifact, source: Artifact, target: Artifact
) -> None:
    """Train on the training pairs; the artifact is a translator's folder with results, samples and translations."""
    from lm.train_translator import train_translator as run

    train, valid = (load_pairs(pairs.file(name)) for name in (TRAIN, VALID))
    with training(work, config.train.device) as (hooks, should_stop):
        result = run(
            train,
            valid,
            source.path,
            target.path,
            config.translator,
            config.train,
            work.scratch / "checkpoints",
            work.directory,
            rouge_l=config.rouge_l,
            hooks=hooks,
            should_stop=should_stop,
        )
    write_result(work, result)
    work.counts |= {
        "valid_bits_per_byte": result["valid"]["bits_per_byte"],
        "valid_bleu": result["valid"]["bleu"],
        "valid_chrf": result["valid"]["chrf"],
        "copy_bleu": result["copy"]["bleu"],
    }
    if config.rouge_l:
        work.counts |= {f"{of}_rouge_l": result[of]["rouge_l"] for of in ("valid", "copy")}
    register(work, REGISTERED_NAME, {**config.translator.model.model_dump(), "tokens": result["tokens"]})
