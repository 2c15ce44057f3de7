"""What `textmill doctor` looks at where a team's stack is."""

import importlib.util
from collections.abc import Iterator

from flows.config.addresses import shown
from flows.servers import access, postgres, services
from flows.servers.findings import Check
from flows.servers.team import Team, read_team
from tasks.machine import credentials, home

_PACKAGES = {"psycopg2": "psycopg2-binary", "flask_wtf": "Flask-WTF"}


def team_stack() -> Iterator[Check]:
    """Passwords, packages, PostgreSQL's programs and its version, and whether the servers let us in."""
    team = read_team()
    if team is None:
        return
    if team.has_servers():
        yield _passwords()
        yield _packages(team)
        yield _database(team)
    for name in services.SERVERS:
        if access.is_refused(name, services.url(name)):
            found = f"{shown(services.url(name))} refuses us"
            yield Check(f"{name} access", "fail", found, access.ADVICE[name])
    if team.config.listen not in ("127.0.0.1", "localhost", "::1"):
        found = f"Prefect and MLflow listen on {team.config.listen}, without encryption of their own"
        yield Check("network", "warn", found, "keep it a private network, or put TLS before it (docs/howto/team.md)")


def _passwords() -> Check:
    try:
        credentials.for_servers(home.secrets_path())
    except credentials.CredentialsError as error:
        return Check("passwords", "fail", str(error), "textmill up --stack team makes up what is missing")
    return Check("passwords", "ok", f"from the environment, or from {home.secrets_path()}, which others cannot read")


def _packages(team: Team) -> Check:
    needed = dict(_PACKAGES)
    if any((url or "").startswith("s3://") for url in (team.config.store, team.config.artifacts)):
        needed |= {"s3fs": "s3fs", "boto3": "boto3"}
    missing = [package for module, package in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        return Check("team packages", "fail", f"missing: {', '.join(missing)}", "pip install -e '.[team]'")
    return Check("team packages", "ok", ", ".join(needed.values()))


def _database(team: Team) -> Check:
    try:
        if team.config.postgres.url is not None:
            postgres.connect(team.config.postgres.url).close()
            return Check("database", "ok", f"{team.config.postgres.url} lets us in")
        version, data = postgres.major_version(), team.data_folder() / "data"
        written = (data / "PG_VERSION").read_text().strip() if (data / "PG_VERSION").exists() else version
    except (postgres.PostgresError, OSError) as error:
        return Check("database", "fail", str(error), "textmill up --stack team says what to do")
    if written != version:
        found = f"{data} was written by PostgreSQL {written}, and {version} is installed"
        return Check("database", "fail", found, "docs/howto/team.md#upgrade")
    return Check("database", "ok", f"PostgreSQL {version}, data in {data}")
