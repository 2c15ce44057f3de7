"""`textmill clean`: the data half alone, for people who train elsewhere. No server, no tracking; a folder comes out,
here or at a URL.

    kept/00000.parquet ...      documents, as `datasets.load_dataset("parquet", ...)` reads them
    dropped/00000.parquet ...   id, text, reason, reasons, twin, jaccard, source, ... and every signal
    report.html                 what was read, what went and why
    manifest.json               configuration, counts, lineage, and the hash of every file

The same stages and the same store as `textmill run`: what one has measured the other finds.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator
from rich.markup import escape

from data_quality.config import GatesConfig, QualityConfig
from data_quality.forgotten import REASON as FORGOTTEN
from data_quality.rules import choose_rulesets
from data_quality.segment import base_language
from data_quality.sources.base import SKIPPED, BadInput
from data_quality.sql import literal, parquet, write_rows
from flows.commands.lookup import MADE_BY, cleaned
from flows.commands.rules_for import LANGUAGES, rules_for
from flows.config.curation import Curation
from flows.config.loading import ConfigError, override, parse, read
from flows.corpus import curate, mixture_of
from tasks.filter import DROPPED, KEPT, unmatched_entries
from tasks.lineage.curated import Curated
from tasks.profile import PROFILE, require_near
from tasks.report import PAGE, ReportConfig, report
from tasks.running.progress import Display
from tasks.running.run import Run, use_run
from tasks.running.secret_blocks import open_store_with
from tasks.running.tables import database, rows, score_tables
from tasks.stage import NoConfig
from tasks.storage.disk import room_on_disk
from tasks.storage.exports import note_export
from tasks.storage.files import file_sha256
from tasks.storage.integrity import file_hashes
from tasks.storage.objects import is_url
from tasks.storage.remote_folder import MANIFEST, RemoteFolder
from tasks.store import Artifact, StoreError
from tasks.token_counts import count_tokens

if TYPE_CHECKING:
    import duckdb


UNMATCHED_EXAMPLES = 100
"""So many entries of lists that match nothing are named; a list may have a million."""


class CleanGatesConfig(GatesConfig):
    """How far what `textmill clean` writes may move from what stands in its folder; off unless asked for."""

    enabled: bool = Field(False, description="Whether what was made is compared with what stands in the folder.")


class CleanConfig(Curation):
    """From documents to a clean corpus."""

    tokenizer: str | None = Field(
        default=None,
        description="What counts tokens where `mixture.unit` is tokens: a tokenizer.json of any model, the folder of "
        "one, or an artifact (train_tokenizer/<key>, a model, an alias).",
    )
    gates: CleanGatesConfig = Field(
        default=CleanGatesConfig(), description="How far what is written may move from what stands in the folder."
    )

    @model_validator(mode="after")
    def _tokens_can_be_counted(self) -> Self:
        if self.counts_tokens and self.tokenizer is None:
            raise ValueError(
                "mixture.unit: tokens of which tokenizer? Set `tokenizer` to the tokenizer.json of the model that will "
                "be trained, to its folder or to an artifact; or choose bytes or documents"
            )
        return self


def clean_config(
    inputs: Sequence[str], file: Path | None, overrides: Mapping[str, str], workers: int | None
) -> CleanConfig:
    """The configuration of one cleaning.

    Args:
        inputs: files, directories, globs or URIs; they become `ingest.sources`, whose format is told by their names.
            Where no rulesets are named, they are those of the languages seen in them (`flows.commands.rules_for`).
        file: a YAML file with further sections.
        overrides: `--set`.
        workers: processes for per-shard work.

    Raises:
        ConfigError: no input, unknown formats, a configuration of `textmill run`, or what `flows.config.loading.load`
            refuses.
    """
    from flows.commands.inputs import input_sources

    raw = {}
    if file is not None:
        raw = read(file)
        _require_own(raw, file)
    raw.setdefault("name", "clean")
    for key, value in overrides.items():
        override(raw, key, value)
    if workers is not None:
        raw["resources"] = {**(raw.get("resources") or {}), "workers": workers}
    ingest = raw.get("ingest") or {}
    if inputs:
        sources = input_sources(inputs)
        languages: set[str | None] = {source.get("language") for source in sources}
        if any("language_column" in source for source in sources):
            languages.update(LANGUAGES)
        identified = raw.get("language")
        if isinstance(identified, dict) and identified.get("enabled"):
            languages.update(LANGUAGES)
            for source in sources:
                source.pop("language", None)  # a guess from a sample; every document is looked at
        raw["ingest"] = {**ingest, "sources": sources}
        raw["rules"] = _with_rulesets(raw.get("rules") or {}, languages)
    elif not ingest.get("sources"):
        raise ConfigError("nothing to clean: name files, directories or URIs, or give ingest.sources in the config")
    return parse(raw, str(file or "the command line"), CleanConfig)


def _require_own(raw: Mapping[str, Any], file: Path) -> None:
    """Refuse a configuration of `textmill run`, as `textmill init` writes it, by that name."""
    from flows.config.pipeline import PipelineConfig

    beyond = [name for name in raw if name in PipelineConfig.model_fields and name not in CleanConfig.model_fields]
    if isinstance(raw.get("tokenizer"), dict):
        beyond.append("tokenizer")
    if beyond:
        raise ConfigError(
            f"{file} is a configuration of `textmill run`: leave out {', '.join(beyond)}, which `clean` has no use for"
        )


def _with_rulesets(rules: Any, languages: Collection[str | None]) -> Any:
    """The section `rules` with rulesets for these languages, unless it names some, or thresholds of other ones."""
    if not isinstance(rules, dict) or "rulesets" in rules:
        return rules
    chosen = rules_for(languages, QualityConfig().rulesets)
    named = [*(rules.get("thresholds") or ()), *(rules.get("ruleset_languages") or ())]
    if any(str(name).partition(".")[0] not in chosen["rulesets"] for name in named):
        return rules
    given = dict(rules.get("ruleset_languages") or {})
    return {**chosen, **rules, "ruleset_languages": {**chosen.get("ruleset_languages", {}), **given}}


def clean(config: CleanConfig, out: str, quiet: bool, inputs: Sequence[str] = ()) -> dict[str, Any]:
    """Clean a corpus into a folder, which is replaced as a whole, or not at all.

    Args:
        inputs: what the sources of `config` were made of, as a user named it.
        out: a path, or an fsspec URL such as `s3://bucket/clean`: the folder is then made here and uploaded, its
            manifest last, and while that is done it has none.

    Returns:
        What manifest.json says, but for the list of files.

    Raises:
        UsageError: `out` cannot be written, is inside of what is read, or holds something that an earlier cleaning did
            not write; a stage cannot use its configuration or its input.
        StoreError: an artifact is corrupt, or the store of the URL does not answer.
        DiskFull: there is no room; a folder that was there is as it was.
        GateClosed: `gates.enabled`, and it would move further than that; the folder is as it was.
    """
    run = Run(open_store_with(config.resources), config.resources.resolved(), Display(quiet=quiet))
    place = RemoteFolder(out, MADE_BY) if is_url(out) else Path(out).resolve()
    if isinstance(place, Path):
        _require_outside(place, [*inputs, *_paths(config)])
    require_ours(place)
    for name in unjudged(config):
        run.display.line(
            f"{escape(name)}: there are no rules for its language, or it could not be told, so its quality is not "
            "judged; say rules.rulesets, or language.enabled=true if it is of several languages"
        )
    with use_run(run):
        counter = _counter(config)
        made = curate(config)
        counted = [count_tokens(NoConfig(), corpus=made.kept, tokenizer=each) for each in counter]
        if counted:
            made = replace(made, mixture=[mixture_of(config, made, *counted)])
        page = report(ReportConfig(name=config.name), **vars(made))
    for artifact in _artifacts(made, *counter, *counted, page):
        if not run.store.verify(artifact):  # also fetches what so far is only in a shared store
            raise StoreError(f"{artifact.name} is corrupt and was set aside: run the same command again")

    def write(draft: Path) -> dict[str, Any]:
        if config.gates.enabled:  # here, where nobody else writes, and what a killed cleaning left is back in its place
            _pass_gates(place, made, config.gates)
        return export(made, [*counter, *counted], page, config, draft)

    here = run.store.root if isinstance(place, RemoteFolder) else place.parent
    with room_on_disk("the clean folder", here):
        if isinstance(place, RemoteFolder):
            manifest, written_to = _upload(place, run, write), place.url
        else:
            manifest, written_to = _replace(place, run, write), str(place)
    with room_on_disk("the note of the clean folder", run.store.root):
        note_export(run.store, made.kept, "clean", written_to)
    return manifest


def unjudged(config: CleanConfig) -> list[str]:
    """Names of sources whose documents no rule looks at, as far as their languages are stated or guessed."""
    if not config.rules.enabled or not config.rules.rulesets or config.language.enabled:
        return []  # nobody is to be judged, or each by the rules of its language
    judged = {rule.language for ruleset in choose_rulesets(config.rules) for rule in ruleset.rules}
    if None in judged:
        return []
    stated = [source for source in config.ingest.sources if getattr(source, "language_column", None) is None]
    return [source.name for source in stated if base_language(source.language) not in judged]


def _replace(out: Path, run: Run, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Put a new folder into the place of what is there."""
    draft, former = (out.with_name(f".{out.name}.{kind}") for kind in ("partial", "former"))
    with run.store.lock(_key(str(out)), waiting=str(out)):
        # what a cleaning left that was killed: between its two renames `former` is all that there is
        if former.exists() and not out.exists():
            former.rename(out)
        for leftover in (draft, former):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            manifest = write(draft)
            if out.exists():
                out.rename(former)
            draft.rename(out)
        finally:  # of one that failed: on a full disk others want the room
            shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
    return manifest


def _upload(place: RemoteFolder, run: Run, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Write the folder below the home, where garbage collection knows it for a build, and upload it."""
    key = _key(place.url)
    with run.store.lock(key, waiting=place.url):
        draft = run.store.partial_directory("clean", key)
        shutil.rmtree(draft)  # of one that was killed
        try:
            manifest = write(draft)
            sizes = [path.stat().st_size for path in draft.rglob("*") if path.is_file() and path.name != MANIFEST]
            with run.display.stage("upload") as progress:
                new = place.publish(draft, progress.start(sum(sizes), "bytes"))
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    run.display.line(f"{escape(place.url)}: {new:,} files went up, {len(sizes) - new:,} were there")
    return manifest


def _key(place: str) -> str:
    """Of the lock of a place."""
    return hashlib.sha256(place.encode()).hexdigest()[:32]


def require_ours(out: Path | RemoteFolder) -> None:
    """Refuse to replace what is not ours.

    Raises:
        ConfigError: saying so, or that the folder cannot be made there.
        ObjectError: the store of a URL does not answer, or refuses to be written.
    """
    if isinstance(out, RemoteFolder):
        place, ours = out.url, out.is_ours()
    else:
        place, ours = str(out), _is_ours(out)
    if not ours:
        raise ConfigError(f"{place} holds something that `textmill clean` did not write: choose another --out")
    if isinstance(out, RemoteFolder):
        out.try_writing()
        return
    try:  # now rather than when everything is made
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}): choose another --out") from error


def _require_outside(out: Path, read: Sequence[str]) -> None:
    """Refuse a folder inside of what is read: the next cleaning would read it, too."""
    from flows.commands.inputs import local_path

    for path in read:
        here = local_path(path)
        if here is None:
            continue
        fixed, any_folder, _ = here.partition("**")
        folder = Path(fixed if any_folder else here)
        if folder.is_dir() and out.is_relative_to(folder.resolve()):
            raise ConfigError(f"{out} is inside of {path}, and the next cleaning would read it: choose another --out")


def _paths(config: CleanConfig) -> list[str]:
    return [path for source in config.ingest.sources for path in getattr(source, "paths", ())]


def _is_ours(out: Path) -> bool:
    return not out.exists() or (out.is_dir() and not any(out.iterdir())) or bool(cleaned(out))


def _pass_gates(out: Path | RemoteFolder, made: Curated, gates: GatesConfig) -> None:
    """Compare what was made with what stands in the folder. Raises GateClosed; ObjectError: a URL does not answer."""
    place, before = (out.url, out.manifest()) if isinstance(out, RemoteFolder) else (out, cleaned(out))
    if "profile" in before:
        moved = f"{place} stays as it is, for what was made has moved too far from it"
        require_near(before["profile"], _profile(made), gates, moved, "")


def _profile(made: Curated) -> dict[str, Any]:
    return dict(json.loads(made.profile.file(PROFILE).read_text(encoding="utf-8")))


def _counter(config: CleanConfig) -> list[Artifact]:
    """The tokenizer that counts for the mixture, if it is drawn by tokens: looked for before anything is read."""
    if not config.counts_tokens or config.tokenizer is None:
        return []
    from flows.given import given_tokenizer

    return [given_tokenizer(config.tokenizer, "tokenizer")]


def export(
    made: Curated, tokens: Sequence[Artifact], page: Artifact, config: CleanConfig, directory: Path
) -> dict[str, Any]:
    """Write the folder; returns the manifest without its files.

    Args:
        tokens: of a mixture by tokens the tokenizer and the counts, which the manifest then names.
    """
    for name in ("kept", "dropped"):
        (directory / name).mkdir(parents=True)
    known = {}
    for number, part in enumerate(made.kept.part_directories()):
        hashes = file_hashes(part)
        for folder, view in (("kept", KEPT), ("dropped", DROPPED)):
            copy = f"{folder}/{number:05d}.parquet"
            shutil.copyfile(part / view, directory / copy)
            known[copy] = hashes[view]
    if made.mixture:
        _draw(made, config, directory)
        known = {}
    shutil.copyfile(page.file(PAGE), directory / PAGE)
    skipped = _skipped(made.raw)
    unmatched = unmatched_entries(made.verdicts)
    counted = {name: sum(map(_rows, (directory / name).glob("*.parquet"))) for name in ("kept", "dropped")}
    manifest = {
        "made_by": MADE_BY,
        "version": version("textmill"),
        "config": config.model_dump(mode="json", exclude={"resources"}),
        "documents": {"read": made.raw.counts()["documents"], **counted, **_left_out(made, counted["kept"])},
        "skipped": {row["reason"]: row["records"] for row in skipped},
        "skip_examples": [
            str(BadInput(reason=row["reason"], **row["example"])) for row in skipped if row["reason"] != FORGOTTEN
        ],
        "profile": _profile(made),
        "unjudged": unjudged(config),
        "unmatched": {"entries": len(unmatched), "examples": unmatched[:UNMATCHED_EXAMPLES]},
        "artifacts": [
            {"stage": a.stage, "key": a.key, "digest": a.digest, "counts": a.counts()}
            for a in _artifacts(made, *tokens)
        ],
    }
    described = json.dumps(
        {**manifest, "files": list(_files(directory, known))}, indent=1, ensure_ascii=False, default=str
    )
    (directory / MANIFEST).write_text(described + "\n", encoding="utf-8")
    return manifest


def _skipped(raw: Artifact) -> list[dict[str, Any]]:
    """How many files and records were not read for each reason, the most frequent first, with one of them."""
    return rows(
        "SELECT reason, count(*) AS records, min(struct_pack(file, line, detail)) AS example "
        "FROM read_parquet(?) GROUP BY reason ORDER BY records DESC, reason",
        [str(raw.file(SKIPPED))],
    )


def _left_out(made: Curated, drawn: int) -> dict[str, int]:
    """With a mixture, what was kept before it drew, as `profile` counts it, and how much of that it left out: those
    lie among the dropped."""
    if not made.mixture:
        return {}
    before = made.kept.counts()["documents"]
    return {"before_mixture": before, "not_drawn": before - drawn}


def _draw(made: Curated, config: CleanConfig, directory: Path) -> None:
    """Give the kept documents their `copies`, and move those that the mixture leaves out to the dropped."""
    from data_quality.views import measured_columns

    copies = literal(made.mixture[0].file("copies.parquet"))
    spill = directory / ".spill"
    with database(config.resources.resolved(), spill, directory / ".clean.duckdb") as connection:
        connection.execute(f"CREATE TABLE copies AS FROM read_parquet({copies})")
        left_out = "SELECT id FROM copies WHERE copies = 0"
        for artifact in [made.signals, *made.scores]:
            tables = score_tables(artifact)
            names = ", ".join(f'"{name}"' for name in ["id", *measured_columns(tables[0])])
            left_out = f"SELECT * FROM ({left_out}) LEFT JOIN (SELECT {names} FROM {parquet(tables)}) USING (id)"
        connection.execute(f"CREATE TABLE left_out AS {left_out}")
        for path in sorted((directory / "kept").iterdir()):
            dropped = directory / "dropped" / path.name
            rows = f"FROM {parquet([dropped])} UNION ALL BY NAME SELECT * FROM ({NOT_DRAWN.format(kept=literal(path))})"
            _write(connection, rows, dropped)
            _write(connection, DRAWN.format(kept=literal(path)), path)
    (directory / ".clean.duckdb").unlink()
    shutil.rmtree(spill, ignore_errors=True)


DRAWN = "SELECT d.*, c.copies FROM read_parquet({kept}) d JOIN copies c USING (id) WHERE c.copies > 0"
NOT_DRAWN = """
    SELECT *, 'mixture.not_drawn' AS reason, ['mixture.not_drawn'] AS reasons
    FROM read_parquet({kept}) JOIN left_out USING (id)
"""


def _write(connection: "duckdb.DuckDBPyConnection", query: str, out: Path) -> None:
    write_rows(connection.sql(f"SELECT * FROM ({query}) ORDER BY id"), None, out)


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _artifacts(made: Curated, *more: Artifact) -> Iterator[Artifact]:
    for value in [*vars(made).values(), *more]:
        yield from value if isinstance(value, list) else [value]


def _files(directory: Path, known: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every file with its SHA-256; `known` has those of copies of what the store has hashed."""
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        name, size = str(path.relative_to(directory)), path.stat().st_size
        yield {"path": name, "bytes": size, "sha256": known.get(name) or file_sha256(path)}
