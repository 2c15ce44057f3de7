"""Whether a server answers, and whether it lets us in with the passwords of the environment."""

import base64
import http.client
import os
from urllib.parse import urlsplit

from flows import postgres
from tasks import credentials

ADVICE = {
    "prefect": f"set {credentials.PREFECT}=user:password (or TEXTMILL_SECRETS=FILE) as on the server",
    "mlflow": f"set {credentials.MLFLOW_USER} and {credentials.MLFLOW_PASSWORD} (or TEXTMILL_SECRETS=FILE) as there",
}

_ROUTE = {"prefect": "/admin/version", "mlflow": "/version"}


def answers(name: str, address: str) -> bool:
    """One request to a server's health route. A worker has none: a living process is all there is."""
    if name == "postgres":
        return postgres.answers(address)
    if name not in ADVICE:
        return True
    if urlsplit(address).scheme not in ("http", "https"):
        return name == "mlflow"  # a tracking URI without a server: a file or a database
    return _status(address, "/health", {}) == 200


def is_refused(name: str, address: str) -> bool:
    """Whether a route that is not open to all answers 401 or 403; False where a server does not answer at all."""
    return _status(address, _ROUTE[name], authorization(name)) in (401, 403)


def _status(address: str, route: str, headers: dict[str, str]) -> int | None:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname, parts.port, timeout=5)
    try:
        connection.request("GET", parts.path.rstrip("/") + route, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def authorization(name: str) -> dict[str, str]:
    """The header of a request to a server, from the environment; {} where it names no password."""
    said = os.environ.get(credentials.PREFECT, "")
    if name == "mlflow":
        said = f"{os.environ.get(credentials.MLFLOW_USER, '')}:{os.environ.get(credentials.MLFLOW_PASSWORD, '')}"
    if said in ("", ":"):
        return {}
    return {"Authorization": "Basic " + base64.b64encode(said.encode()).decode()}
