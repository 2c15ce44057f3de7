"""From a name to the model, the tokenizer or the labelled set of the store that it means; what is not there yet is
taken in, or built.

Inside a run (`tasks.running.run.use_run`); in a dry run what would have to be made has no digest.
"""

from collections.abc import Mapping
from pathlib import Path

from flows.config.loading import CONFIGS, ConfigError, expanded
from flows.config.task import TaskConfig, load_shipped_task
from flows.task_sets import build_task, named_set
from lm.abilities import able
from lm.labelled.folder import DESCRIPTION, SPLITS
from tasks.adopt import TEMPLATE, AdoptConfig, adopt_model, files_of
from tasks.adopt_labelled import AdoptLabelledConfig, adopt_labelled
from tasks.lineage.recipe import is_stage
from tasks.running.run import current_run
from tasks.storage.files import read_json
from tasks.store import Artifact, StoreError
from tasks.token_counts import TOKENIZER, AdoptTokenizerConfig, adopt_tokenizer


def given_model(name: str) -> Artifact:
    """An artifact, an alias, or a folder: the artifact that has its files, or else the folder is taken into the store.

    Raises:
        ConfigError: a folder that holds no model, or none that can be read.
        StoreError: no such artifact.
    """
    folder = Path(expanded(name))
    if not folder.is_dir():
        return current_run().store.checked(name)
    try:
        config = AdoptConfig.of(folder)
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} is no model's folder: {error.filename} is not there") from error
    _askable(folder)
    files = {file: sha256 for file, sha256 in config.sha256.items() if file != TEMPLATE}
    same = [each for each in _with_files(files, folder) if AdoptConfig.of(each.path).sha256 == config.sha256]
    if same:
        return same[0]
    try:
        return adopt_model(config, label=f"adopt {folder.name}")
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _askable(folder: Path) -> None:
    """Raises ConfigError for a kind of model that no exam can be put to; a folder of Hugging Face names none."""
    from lm.text_model import NGRAM, TEXTS

    kind = read_json(folder / "config.json").get("kind", NGRAM)
    if kind not in (asked := dict.fromkeys((NGRAM, *TEXTS, *able("neighbours")))):
        raise ConfigError(f"{folder}: a model of kind {kind!r} cannot be put to exams; {', '.join(asked)} can")


def given_tokenizer(name: str, key: str) -> Artifact:
    """A `tokenizer.json`, the folder of one, which are taken into the store, or an artifact that has one.

    Raises:
        ConfigError: naming the configuration's `key`: there is no tokenizer and no such artifact, or a stage is named,
            whose newest artifact may be any.
    """
    place = Path(expanded(name))
    file = place / TOKENIZER if place.is_dir() else place
    if file.is_file() or place.is_dir():
        try:
            return adopt_tokenizer(AdoptTokenizerConfig.of(file.absolute()))
        except (FileNotFoundError, ValueError) as error:
            raise ConfigError(f"{key}: {error}") from error
    store = current_run().store
    if store.aliased(name) is None and is_stage(name):
        raise ConfigError(f"{key}: {name!r} is a stage; name one artifact, as `textmill ls {name}` lists them")
    try:
        found = store.checked(name)
    except StoreError as error:
        raise ConfigError(f"{key}: {name} is no file or folder on this machine, and {error}") from error
    if not (found.path / TOKENIZER).exists():
        raise ConfigError(f"{key}: {found.name} has no {TOKENIZER}; `textmill ls train_tokenizer` lists tokenizers")
    return found


def given_labelled(name: str) -> Artifact:
    """A shipped task or a task's YAML file, of which the set is built; an artifact or an alias; a folder as of a model.

    Raises:
        ConfigError: there is none, it cannot be used, or it is called by its stage, whose newest artifact may be the
            set of any task.
    """
    folder = Path(expanded(name))
    if folder.is_dir():
        try:
            config = AdoptLabelledConfig.of(folder)
        except (FileNotFoundError, ValueError) as error:
            raise ConfigError(str(error)) from error
        return next(iter(_with_files(config.sha256, folder)), None) or adopt_labelled(config)
    if (task := task_named(name)) is not None:
        return build_task(task)
    return named_set(name)


def task_named(name: str) -> TaskConfig | None:
    """The task that a YAML file's path or a shipped task's name means; None if there is none, or an alias is called so.

    Raises ConfigError as `load_task` does.
    """
    if current_run().store.aliased(name) is not None:
        return None
    whole = expanded(name)
    there = Path(whole).is_file() or (CONFIGS / "tasks" / f"{name}.yaml").is_file()
    return load_shipped_task(whole, {}) if there else None


def content_of(stage: str, key: str, digest: str) -> list[list[str]]:
    """Name and hash of each file that makes an artifact a model or a labelled set; results, samples and findings beside
    them are left out, so that what was taken in as a folder equals what was made here. Of one that is gone, its digest.
    """
    artifact = current_run().store.find(stage, key)
    if artifact is None:
        return [[digest]]
    labelled = [DESCRIPTION, *(f"{split}.parquet" for split in SPLITS)]
    names = labelled if (artifact.path / DESCRIPTION).exists() else files_of(artifact.path)
    return sorted([each["path"], each["sha256"]] for each in artifact.manifest()["files"] if each["path"] in names)


def _with_files(files: Mapping[str, str], folder: Path) -> list[Artifact]:
    """The artifacts that have all of these files (name to SHA-256), the one that the folder is first, then those that
    were made from something, whose lineage says more."""
    store, marker = current_run().store, DESCRIPTION if DESCRIPTION in files else "config.json"
    found = []
    for path in sorted(store.artifacts.glob(f"*/*/{marker}")):
        artifact = store.find(path.parent.parent.name, path.parent.name)
        if artifact is None:
            continue
        manifest = artifact.manifest()
        there = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
        if files.items() <= there.items():
            found.append((artifact.path != folder.resolve(), not manifest["inputs"], artifact))
    return [artifact for *_, artifact in sorted(found, key=lambda each: (*each[:2], each[2].name))]
