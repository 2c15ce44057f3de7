"""A labelled set of files or of the hub: read, cut, checked and written as a folder that a model can be tuned on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from lm.labelled.cut import cut, first_by_hash
from lm.labelled.docstrings import module_name
from lm.labelled.examples import Example
from lm.labelled.folder import SPLITS, Task, write_labelled
from lm.labelled.hub import CONVERTED, converted_files, read_hub
from lm.labelled.read_config import HubConfig, ReadConfig
from lm.labelled.reading import Read, read_examples, read_files
from lm.labelled.streams import BadInput
from tasks.labelled_checks import ChecksConfig, Findings, apply, excerpts, find
from tasks.pages.labelled_report import findings_page
from tasks.stage import Work, stage
from tasks.storage.files import file_sha256, write_json

FINDINGS, PAGE, EVIDENCE = "findings.json", "findings.md", "evidence.parquet"
SHOWN = 20
_EVIDENCE = pa.schema(
    [
        pa.field("what", pa.string(), nullable=False),  # "leak", "duplicate", "contradiction"
        pa.field("split", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("other_split", pa.string(), nullable=False),
        pa.field("other", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("jaccard", pa.float64(), nullable=False),
        pa.field("same_answer", pa.bool_(), nullable=False),
    ]
)


class SplitFiles(BaseModel):
    """Files of a split with the hashes of their content, or where the hub has it. Folders do not shape the result; the
    names of files do: findings and the names of examples are made of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[Path, ...] = ()
    targets: tuple[Path, ...] = ()
    sha256: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    hub: HubConfig | None = None
    split: str = ""
    data_files: tuple[str, ...] = ()

    @classmethod
    def of(cls, paths: tuple[Path, ...], targets: tuple[Path, ...] = ()) -> "SplitFiles":
        """Fingerprint files. Raises BadInput naming the one that is not there."""
        files = (*paths, *targets)
        return cls(paths=paths, targets=targets, sha256=_hashes(files), names=tuple(map(_name, files)))

    @classmethod
    def on_hub(cls, hub: HubConfig, split: str, data_files: tuple[str, ...] = ()) -> "SplitFiles":
        """A split of the hub at a commit, or of a folder in the hub's place with the hashes of all its files.

        Raises BadInput where the hub cannot be asked.
        """
        if not data_files and hub.revision == CONVERTED:
            data_files = converted_files(hub, split)
        folder = Path(hub.id).expanduser()
        if folder.is_dir():
            found = sorted(path for path in folder.rglob("*") if path.is_file())
            here = hub.model_copy(update={"id": str(folder), "revision": None})
            names = tuple(path.relative_to(folder).as_posix() for path in found)
            return cls(hub=here, split=split, data_files=data_files, sha256=_hashes(found), names=names)
        return cls(hub=hub.model_copy(update={"revision": commit_of(hub)}), split=split, data_files=data_files)

    def key_material(self) -> dict[str, Any]:
        """Content and names, which also say how it is read."""
        here = {"sha256": self.sha256, "names": self.names, "targets": len(self.targets)}
        if self.hub is None:
            return here
        where = self.hub.model_dump(mode="json", exclude={"id"} if self.sha256 else set())
        return {**here, "hub": where, "split": self.split, "data_files": self.data_files}


def _hashes(paths: Sequence[Path]) -> tuple[str, ...]:
    """SHA-256 of each file. Raises BadInput if there is none."""
    try:
        return tuple(map(file_sha256, paths))
    except FileNotFoundError as error:
        raise BadInput(f"{error.filename}: no such file") from error


def _name(path: Path) -> str:
    """What of a file's path is in the result: its name, and of a Python file its module's, which names docstrings."""
    return f"{path.name} {module_name(path)}" if path.suffix == ".py" else path.name


def commit_of(hub: HubConfig) -> str:
    """The commit that a data set is at now. Raises BadInput where the hub cannot be asked."""
    from data_quality.config import HuggingFaceSource
    from data_quality.sources.base import SourceNotFound
    from data_quality.sources.huggingface import resolve_revision

    source = HuggingFaceSource(format="huggingface", dataset=hub.id, config_name=hub.config, revision=hub.revision)
    try:
        return resolve_revision(source)
    except SourceNotFound as error:
        raise BadInput(
            f"{hub.id}: the hub cannot be asked which commit it is at: {error.__cause__}. Check hub.id, or pin"
            " hub.revision to a full commit. Without a network, name files instead: --set train.files=[FILE] --set"
            " valid.files=[FILE], their columns with --set read.fields.NAME=COLUMN"
        ) from error


class CutConfig(BaseModel):
    """How splits that are not given are cut from `train`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    valid: float = 0.0
    test: float = 0.0
    salt: str
    columns: tuple[str, ...]


class LabelledSetRequest(BaseModel):
    """A set: what it asks, where its examples are, how they are read, cut, checked and how many are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    read: ReadConfig
    train: SplitFiles
    valid: SplitFiles | None
    test: SplitFiles | None
    cut: CutConfig
    limits: dict[str, int | None]
    limit_salt: str
    checks: ChecksConfig
    license: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """On record as soon as it is stated: it is in the key then, and the set of the same content."""

    def key_material(self) -> dict[str, Any]:
        """Without paths."""
        splits: dict[str, Any] = {
            name: files.key_material() for name in SPLITS if (files := getattr(self, name)) is not None
        }
        return {**self.model_dump(mode="json", exclude={"train", "valid", "test"}), **splits}


@stage(version=2, libraries=("unicode",))
def labelled_set(work: Work, config: LabelledSetRequest) -> None:
    """Write the set's folder with findings.json, findings.md and evidence.parquet (every twin and contradiction).

    Examples are read, cut where a split is missing, checked, and then limited, so that a smaller set is part of a
    larger one.

    Raises:
        BadInput: a file that cannot be used, or a split that is empty.
        Refused: findings that the config refuses.
    """
    form = config.task.ask
    with work.graceful_stop() as should_stop:
        read = {name: _read(work, config, name, should_stop) for name in SPLITS if getattr(config, name) is not None}
        splits = _cut({name: part.examples for name, part in read.items()}, config)
        _unique(splits)
        found = find(
            form,
            splits,
            config.checks,
            temp_directory=work.scratch,
            memory_limit=work.resources.memory_limit,
            threads=work.resources.threads,
            should_stop=should_stop,
        )
    left, removed = apply(splits, found, config.checks)
    kept = {
        name: first_by_hash(form, examples, config.limits.get(name), config.limit_salt)
        for name, examples in left.items()
    }
    _require(kept, config)
    said: dict[str, Any] = {
        "task": config.task.name,
        "read": {name: {"records": part.records, **_notes(part)} for name, part in read.items()},
        "examples": {name: len(examples) for name, examples in splits.items()},
        **excerpts(form, splits, found, SHOWN),
        "choices": config.checks.model_dump(include={"leaks", "duplicates", "contradictions"}),
        "removed": removed,
        "kept": {name: len(examples) for name, examples in kept.items()},
    }
    _write_evidence(work.directory / EVIDENCE, found)
    write_json(work.directory / FINDINGS, said)
    (work.directory / PAGE).write_text(findings_page(said), encoding="utf-8")
    work.markdown.append(("findings", findings_page(said, texts=False)))  # texts, and what they tell, stay here
    write_labelled(work.directory, config.task, kept)  # type: ignore[arg-type]  # str for Split
    work.counts |= _counts(said)


def _read(work: Work, config: LabelledSetRequest, name: str, should_stop: Callable[[], bool]) -> Read:
    files: SplitFiles = getattr(config, name)
    progress = work.progress.start(0, f"records of {name}")
    if files.hub is not None:
        records = read_hub(files.hub, files.split, files.data_files)
    else:
        records = read_files(files.paths, files.targets, config.read)
    return read_examples(config.task.ask, records, config.read, name, progress, should_stop)


def _cut(given: dict[str, list[Example]], config: LabelledSetRequest) -> dict[str, list[Example]]:
    """The splits that are given, and the missing ones cut from training."""
    shares = {name: getattr(config.cut, name) if name not in given else 0.0 for name in ("valid", "test")}
    if not any(shares.values()):
        return given
    parts = cut(given["train"], config.cut.columns, shares["valid"], shares["test"], config.cut.salt)
    return {**given, "train": parts["train"], **{name: parts[name] for name, share in shares.items() if share}}


def _unique(splits: dict[str, list[Example]]) -> None:
    seen: dict[str, str] = {}
    for split, examples in splits.items():
        for example in examples:
            if (other := seen.setdefault(example["id"], split)) != split:
                raise BadInput(
                    f"id {example['id']!r} is in {other} and in {split}; take `id` out of read.fields, and examples are"
                    " numbered"
                )


def _require(kept: dict[str, list[Example]], config: LabelledSetRequest) -> None:
    for name in ("train", "valid"):
        if not kept.get(name):
            hint = (
                "name its files, or raise cut.valid so that some of train is cut off"
                if name == "valid" and config.valid is None
                else "its files hold none, or the checks removed all (see checks)"
            )
            raise BadInput(f"{config.task.name}: no example is left for {name}: {hint}")


def _notes(part: Read) -> dict[str, Any]:
    return {"noted": dict(sorted(part.notes.counts.items())), "places": part.notes.places}


def _counts(said: dict[str, Any]) -> dict[str, int]:
    counts = {name: number for name, number in said["kept"].items()}
    counts |= {f"removed_{name}": number for name, number in said["removed"].items()}
    counts["train_duplicates"] = said["duplicates"]["train"]["count"]
    counts["train_contradictions"] = said["contradictions"]["train"]["examples"]
    for pair, leak in said["leaks"].items():
        counts |= {f"{pair.replace('-', '_')}_{kind}": leak[kind] for kind in ("exact", "near")}
    counts["empty_fields"] = said["empty"]["count"]
    counts["labels_unseen_in_training"] = len(said["unseen"])
    for part in said["read"].values():
        for what, number in part["noted"].items():
            counts[what] = counts.get(what, 0) + number
    return counts


def _write_evidence(path: Path, found: Findings) -> None:
    rows = [
        {
            "what": what,
            "split": t.split,
            "id": t.id,
            "other_split": t.other_split,
            "other": t.other,
            "kind": t.kind,
            "jaccard": t.jaccard,
            "same_answer": t.same,
        }
        for what, twins in (("leak", found.leaks), ("duplicate", found.duplicates))
        for t in twins
    ]
    for group in found.contradictions:
        first, *others = group.ids
        for other in others:
            values = ("contradiction", group.split, other, group.split, first, "exact", 1.0, False)
            rows.append(dict(zip(_EVIDENCE.names, values, strict=True)))
    pq.write_table(pa.Table.from_pylist(rows, schema=_EVIDENCE), path, compression="zstd")
