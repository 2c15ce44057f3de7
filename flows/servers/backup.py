"""Back up and restore a team's stack: PostgreSQL's own dumps, and a copy of the objects that they speak of.

    backup.json                 when, of what versions, each dump's SHA-256
    databases/<name>.dump       pg_dump's custom format
    objects/store/...           the shared store (or this home's own), without leases and half-done builds
    objects/artifacts/...       what MLflow's server keeps

Databases are dumped first and manifests are copied before the files that they name: whatever a copy speaks of was
finished before, and so is in it. Servers and flows may run meanwhile. Passwords are no part of a backup.

An earlier backup's dumps are replaced when all that is new is there: one that fails, for want of room or otherwise,
leaves the earlier one as it was.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from flows.servers import postgres, services
from flows.servers.team import Team, choose, read_team
from tasks.machine import credentials, home
from tasks.storage.disk import room_on_disk
from tasks.storage.files import file_sha256, read_json, write_json
from tasks.storage.objects import Objects

NOTE = "backup.json"
OWN = {NOTE, "databases", "objects", "lost+found"}  # the last is the system's, at the root of a disk
FORMAT = 1
TRANSFERS = 8

_FIRST = ("aliases", "manifests", "runs")
_LEFT_OUT = ("partial", "locks", "leases", "aside")
"""Of a store: what only a build under way needs, and what was found damaged."""


@dataclass(frozen=True)
class Done:
    """What a backup wrote, or a restore put back."""

    databases: tuple[str, ...]
    objects: int


def backup(folder: Path, objects: bool = False) -> Done:
    """Write a backup, or bring one up to date: objects that it has are not copied again.

    Raises:
        ServiceError: no team's stack with servers here, a folder of other files, or PostgreSQL does not answer.
        ObjectError: the store cannot be read.
        DiskFull: there is no room.
    """
    team = _team()
    names = {path.name for path in folder.iterdir()} - OWN if folder.is_dir() else set()
    others = sorted(name for name in names if not name.startswith("."))
    if others and not (folder / NOTE).exists():
        raise services.ServiceError(
            f"{folder} holds other files ({', '.join(others[:3])}): name a new or an empty folder, or one that "
            "`textmill backup` wrote"
        )
    services.ensure_database()
    with room_on_disk("the backup", folder):
        return _write(team, folder, objects)


def _write(team: Team, folder: Path, objects: bool) -> Done:
    (folder / "databases").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # run parameters and document ids stand in it
    drafts = {name: folder / "databases" / f"{name}.tmp" for name in postgres.DATABASES}
    try:
        for name, draft in drafts.items():
            _run("pg_dump", "--format=custom", f"--file={draft}", "--dbname", f"{team.postgres_url()}/{name}")
        dumps = {name: file_sha256(draft) for name, draft in drafts.items()}
        copied = sum(_download(Objects(url), folder / "objects" / kind) for kind, url in _urls(team) if objects)
        note = _note(team, dumps)
        for draft in drafts.values():
            os.replace(draft, draft.with_suffix(".dump"))
        write_json(folder / NOTE, note)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return Done(tuple(dumps), copied)


def _note(team: Team, dumps: dict[str, str]) -> dict[str, Any]:
    """What the backup says of itself, with the hash of each dump."""
    versions = {package: metadata.version(package) for package in ("prefect", "mlflow", "textmill")}
    return {
        **{"format": FORMAT, "created": time.time(), "databases": dumps, "objects": dict(_urls(team))},
        "versions": {**versions, "postgresql": postgres.served_version(team.postgres_url())},
    }


def prepare(folder: Path, stack: str | None) -> list[str]:
    """Before a restore on a machine that has no team's stack: note the one that is named, as `choose` takes it. What a
    machine has stays. Returns the names of passwords that were made up.

    Raises:
        ServiceError: no backup.
    """
    _read_note(folder)
    return [] if read_team() else choose(stack)


def restore(folder: Path, replace: bool = False) -> Done:
    """Put a backup back: every database as it was dumped, and of the objects what is missing or shorter there.

    Args:
        replace: drop databases that hold something.

    Raises:
        ServiceError: no backup, a damaged one, servers that run, databases that are not empty.
    """
    dumps = _checked(folder)
    team = _team()
    running = [name for name, found in services.status().items() if name != "postgres" and found["pid"]]
    if running:
        raise services.ServiceError(f"{', '.join(running)} run: `textmill down` first")
    services.ensure_database()
    url = team.postgres_url()
    full = [name for name in dumps if _holds_tables(url, name)]
    if full and not replace:
        raise services.ServiceError(f"the databases {', '.join(full)} are not empty; --replace drops what they hold")
    # files first: what speaks of them comes when they are there
    copied = sum(_upload(folder / "objects" / kind, Objects(target)) for kind, target in _urls(team))
    for name in dumps:
        _empty(url, name)
        dump = folder / "databases" / f"{name}.dump"
        _run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", f"{url}/{name}", str(dump))
    return Done(tuple(dumps), copied)


def _team() -> Team:
    home.configure_environment()
    team = read_team()
    if team is None or not team.has_servers():
        raise services.ServiceError(
            "this is no machine of a team's servers: `textmill up --stack team` makes it one, `restore --stack team` "
            "on an empty machine; a home of one person is a folder: copy it while nothing runs"
        )
    return team


def _urls(team: Team) -> Iterator[tuple[str, str]]:
    yield "store", team.config.store or str(home.store_path())
    yield "artifacts", team.config.artifacts or str(home.mlflow_path() / "artifacts")


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        note = dict(read_json(folder / NOTE))
    except (OSError, ValueError) as error:
        raise services.ServiceError(f"{folder} is no whole backup: {error}") from error
    if note["format"] != FORMAT:
        raise services.ServiceError(f"{folder} is a backup of format {note['format']}, written by a newer Textmill")
    return note


def _checked(folder: Path) -> dict[str, str]:
    """The dumps of a backup by database, each with the hash that it was written with."""
    note = _read_note(folder)
    for name, digest in note["databases"].items():
        dump = folder / "databases" / f"{name}.dump"
        if name not in postgres.DATABASES or not dump.is_file() or file_sha256(dump) != digest:
            raise services.ServiceError(f"{dump} is missing or damaged: take another backup")
    return dict(note["databases"])


def _download(source: Objects, target: Path) -> int:
    listed = {name: found for name, found in source.listing("").items() if name.split("/")[0] not in _LEFT_OUT}

    def copy(name: str) -> int:
        size, written = listed[name]
        file = target / name
        if file.is_file() and file.stat().st_size == size and file.stat().st_mtime >= written:
            return 0
        draft = file.with_name(f".{file.name}.tmp")
        try:
            source.download(name, draft)
            os.utime(draft, (written, written))
            os.replace(draft, file)
        except FileNotFoundError:  # collected meanwhile
            return 0
        finally:
            draft.unlink(missing_ok=True)
        return 1

    return _all(copy, sorted(listed, key=_order))


def _upload(source: Path, target: Objects) -> int:
    there = target.listing("") if source.is_dir() else {}
    files = {str(path.relative_to(source)): path for path in source.rglob("*") if path.is_file()}

    def copy(name: str) -> int:
        if name in there and there[name][0] == files[name].stat().st_size:
            return 0
        target.upload(files[name], name)
        return 1

    return _all(copy, sorted(files, key=_order, reverse=True))


def _all(copy: Any, names: list[str]) -> int:
    """Copy in order of the kind of object, and several of a kind at once."""
    copied = 0
    for first in dict.fromkeys(_order(name) for name in names):
        with ThreadPoolExecutor(TRANSFERS, thread_name_prefix="copy") as pool:
            copied += sum(pool.map(copy, [name for name in names if _order(name) == first]))
    return copied


def _order(name: str) -> int:
    kind = name.split("/")[0]
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def _holds_tables(url: str, name: str) -> bool:
    connection = postgres.connect(url, name)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            return bool(cursor.fetchone()[0])
    finally:
        connection.close()


def _empty(url: str, name: str) -> None:
    connection = postgres.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}"')
    finally:
        connection.close()


def _run(program: str, *arguments: str) -> None:
    environment = {**os.environ, credentials.POSTGRES: postgres.password() or ""}
    command = [str(postgres.find_program(program)), "--no-password", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise services.ServiceError(f"{program} failed: {done.stderr.strip()}")
