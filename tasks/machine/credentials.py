"""Passwords of a team's servers: from the environment, or from one file that only its owner can read.

The file has lines `NAME=value`, as Docker Compose (`--env-file`), Kubernetes (`--from-env-file`) and systemd
(`EnvironmentFile`) read them; `#` begins a comment line. What the environment has stays. The standard library only,
for the reason that tasks/machine/home.py gives.
"""

import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

PREFECT = "PREFECT_API_AUTH_STRING"
"""`user:password` of Prefect; a server reads the same from PREFECT_SERVER_API_AUTH_STRING."""

PREFECT_SERVER = "PREFECT_SERVER_API_AUTH_STRING"
MLFLOW_USER, MLFLOW_PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
MLFLOW_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
POSTGRES = "PGPASSWORD"

PREFECT_BLOCKS = "PREFECT_SERVER_ENCRYPTION_KEY"
"""With what Prefect encrypts its blocks; where nobody sets it, a key of its own in the same database."""

SERVER_ONLY = frozenset({PREFECT_SERVER, PREFECT_BLOCKS, MLFLOW_KEY, POSTGRES})
"""What no client, worker or flow run needs, and so none is given."""

_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


class CredentialsError(ValueError):
    """Passwords that are missing, or in a file that others can read; the message says what to do, never a value."""


def read(path: Path) -> dict[str, str]:
    """What the file says, or {} when there is none.

    Raises:
        CredentialsError: the file belongs to another user, others can read it, it is no text, or a line of it is no
            `NAME=value`.
    """
    try:
        with path.open(encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            if found.st_uid not in (os.geteuid(), 0):
                raise CredentialsError(f"{path} belongs to another user: passwords are read from a file of your own")
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise CredentialsError(f"{path} can be read by others: chmod 600 {path}")
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise CredentialsError(f"{path} is not yours to read: passwords are read from a file of your own") from None
    except UnicodeDecodeError:
        raise CredentialsError(f"{path} is not UTF-8 text") from None
    values = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise CredentialsError(f"{path}, line {number}: not of the form NAME=value")
        values[match[1]] = match[2]
    return values


def for_clients(given: Mapping[str, str]) -> dict[str, str]:
    """Of what a file or an environment says, what a client needs; Prefect's server-side name serves as well."""
    found = {name: value for name, value in given.items() if name not in SERVER_ONLY}
    if PREFECT_SERVER in given:
        found.setdefault(PREFECT, given[PREFECT_SERVER])
    return found


def for_servers(path: Path) -> dict[str, str]:
    """All that the servers need, from the environment or else from the file.

    Raises:
        CredentialsError: one is missing, or cannot be used.
    """
    known = {**read(path), **{name: os.environ[name] for name in (*_NEEDED, PREFECT_SERVER) if os.environ.get(name)}}
    known.setdefault(PREFECT, known.get(PREFECT_SERVER, ""))
    missing = [name for name in _NEEDED if not known.get(name)]
    if missing:
        raise CredentialsError(f"no {', '.join(missing)}: set it in the environment or in {path}")
    if ":" not in known[PREFECT]:
        raise CredentialsError(f"{PREFECT} must be of the form user:password")
    if len(known[MLFLOW_PASSWORD]) < 12:  # MLflow's own rule, which it tells in a log only
        raise CredentialsError(f"{MLFLOW_PASSWORD} has less than 12 characters, which MLflow does not take")
    return known | {PREFECT_SERVER: known[PREFECT]}


def complete(path: Path) -> list[str]:
    """Make up what neither environment nor file says and write it to the file (mode 600). Returns the names."""
    found = read(path)
    known = {**found, **{name: value for name, value in os.environ.items() if value}}  # as `for_servers` takes it
    known |= for_clients(known)
    made = {name: value for name, value in _fresh().items() if not known.get(name)}
    if not made:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)  # an older draft of this name may have another mode
        file.writelines(f"{name}={value}\n" for name, value in {**found, **made}.items())
        file.flush()
        os.fsync(descriptor)
    os.replace(draft, path)
    return sorted(made)


def _fresh() -> dict[str, str]:
    return {
        PREFECT: f"textmill:{secrets.token_urlsafe(24)}",
        MLFLOW_USER: "textmill",
        MLFLOW_PASSWORD: secrets.token_urlsafe(24),
        MLFLOW_KEY: secrets.token_urlsafe(32),
        POSTGRES: secrets.token_urlsafe(24),
    }


_NEEDED = tuple(_fresh())
