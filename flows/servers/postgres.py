"""The PostgreSQL of a team: found among the installed programs, set up once, asked whether it answers.

Addresses never hold a password: libpq and asyncpg both read PGPASSWORD. PostgreSQL refuses to run as root; where
Textmill does (in a container), it runs as the user that the system's package made for it.
"""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from flows.servers.pid_files import ServiceError
from tasks.machine import credentials, home

ROLE = "textmill"
DATABASES = ("prefect", "mlflow", "mlflow_auth")
HOST = "127.0.0.1"
SYSTEM_USER = "postgres"

_INSTALL = (
    "install it (Debian and Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server; macOS: brew install "
    "postgresql), or name a server that runs already in TEXTMILL_POSTGRES_URL"
)


class PostgresError(ServiceError):
    """PostgreSQL is not there, cannot be set up or does not let us in; the message says what to do."""


def find_program(name: str) -> Path:
    """The newest installed PostgreSQL's program: of Debian's folders, else on PATH.

    Raises:
        PostgresError: there is none.
    """
    packaged = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    found = sorted((path for path in packaged if path.parts[-3].isdigit()), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which(name)
    if not found and on_path is None:
        raise PostgresError(f"PostgreSQL's program {name} is not installed: {_INSTALL}")
    return found[-1] if found else Path(str(on_path))


def as_user() -> dict[str, Any]:
    """What `subprocess` needs to run PostgreSQL as somebody who is not root; {} if we are not."""
    if os.geteuid() != 0:
        return {}
    try:
        owner = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise PostgresError(
            f"PostgreSQL does not run as root, and there is no user {SYSTEM_USER}: run Textmill as another user, or "
            "name a server that runs already in TEXTMILL_POSTGRES_URL"
        ) from None
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def prepare(folder: Path, password: str) -> Path:
    """The data folder of our own server below `folder`, set up when it is not there yet (`initdb`).

    Raises:
        PostgresError: no programs, a folder that PostgreSQL's user cannot use, another version's data.
    """
    data, version = folder / "data", major_version()
    if data.is_dir():
        written = (data / "PG_VERSION").read_text().strip()
        if written != version:
            raise PostgresError(
                f"{data} was written by PostgreSQL {written}, and {version} is installed: docs/howto/team.md#upgrade"
            )
        return data
    user = as_user()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    draft, secret = folder / "data.new", folder / "password"
    shutil.rmtree(draft, ignore_errors=True)  # of a set-up that was interrupted
    secret.unlink(missing_ok=True)
    with open(secret, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(password)
    if user:
        for path in (folder, secret):
            os.chown(path, user["user"], user["group"])
        if subprocess.run(["test", "-x", str(folder)], check=False, cwd="/", **user).returncode:
            secret.unlink()
            raise PostgresError(
                f"PostgreSQL runs as the user {SYSTEM_USER}, who cannot reach {folder}: set TEXTMILL_POSTGRES_DATA to "
                "a folder outside of private ones, such as /var/lib/textmill"
            )
    command = [find_program("initdb"), "--pgdata", draft, "--username", ROLE, "--pwfile", secret]
    command += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--data-checksums"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd="/", **user)
    secret.unlink()
    if done.returncode:
        raise PostgresError(f"initdb failed: {done.stderr.strip()}")
    os.rename(draft, data)
    return data


def command(data: Path, port: int) -> list[str]:
    """Our own server, on loopback and without a socket in a folder that others share."""
    return [str(find_program("postgres")), "-D", str(data), "-h", HOST, "-p", str(port), "-k", ""]


def served_version(url: str) -> str:
    """Of a server that runs, such as "15"; its programs need not be installed here. Raises PostgresError."""
    connection = connect(url)
    try:
        return str(connection.server_version // 10_000)
    finally:
        connection.close()


def major_version() -> str:
    """Of the installed server, such as "15"."""
    said = subprocess.run([find_program("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\b(\d+)[.\w]*", said)
    assert found is not None
    return found[1]


def connect(url: str, database: str = "postgres") -> Any:
    """An open connection in which every statement is its own transaction. The caller closes it.

    Raises:
        PostgresError: no driver, no answer or a wrong password.
    """
    try:
        import psycopg2
    except ImportError as error:
        raise PostgresError(f"no driver for PostgreSQL ({error}): pip install -e '.[team]'") from error
    try:
        connection = psycopg2.connect(f"{url}/{database}", password=password(), connect_timeout=5)
    except psycopg2.OperationalError as error:
        raise PostgresError(f"{url}: {str(error).strip()}") from None
    connection.autocommit = True
    return connection


def answers(url: str) -> bool:
    """Whether the server is up, even if it refuses our password."""
    try:
        connect(url).close()
    except PostgresError as error:
        return "authentication failed" in str(error)
    return True


def create_databases(url: str) -> list[str]:
    """Create what is missing of `DATABASES`. Returns the names of those that were.

    Raises:
        PostgresError: the role may not create databases.
    """
    import psycopg2

    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            there = {name for (name,) in cursor.fetchall()}
            missing = [name for name in DATABASES if name not in there]
            for name in missing:
                # in containers two services begin at once, and the other one may just have created it
                with contextlib.suppress(psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
                    cursor.execute(f'CREATE DATABASE "{name}"')
    except psycopg2.errors.InsufficientPrivilege:
        raise PostgresError(
            f"{url} has no {', '.join(missing)}, and this role may not create databases; as a superuser: "
            + " ".join(f"CREATE DATABASE {name} OWNER {connection.info.user};" for name in missing)
        ) from None
    finally:
        connection.close()
    return missing


def password() -> str | None:
    """Of the environment or of the team's file; None: libpq looks elsewhere (~/.pgpass)."""
    return os.environ.get(credentials.POSTGRES) or credentials.read(home.secrets_path()).get(credentials.POSTGRES)
