"""How servers are asked without their clients: whether one answers, and whether it lets us in with our passwords."""

import base64
import http.client
import os
from contextlib import closing
from urllib.parse import unquote, urlsplit

from flows.servers import postgres
from tasks.machine import credentials

ADVICE = {
    "prefect": f"set {credentials.PREFECT}=user:password (or TEXTMILL_SECRETS=FILE) as on the server",
    "mlflow": f"set {credentials.MLFLOW_USER} and {credentials.MLFLOW_PASSWORD} (or TEXTMILL_SECRETS=FILE) as there",
}

MOST_BYTES = 64 << 20
"""Of an answer: the rest of a longer one is not read."""

_ROUTE = {"prefect": "/admin/version", "mlflow": "/version"}
_BEARER = {"prefect": "PREFECT_API_KEY", "mlflow": "MLFLOW_TRACKING_TOKEN"}


def answers(name: str, address: str) -> bool:
    """One request to a server's health route. A worker has none: a living process is all there is."""
    if name == "postgres":
        return postgres.answers(address)
    if name not in ADVICE:
        return True
    if urlsplit(address).scheme not in ("http", "https"):
        return name == "mlflow"  # a tracking URI without a server: a file or a database
    return _status(name, address, "/health") == 200


def is_refused(name: str, address: str) -> bool:
    """Whether a route that is not open to all answers 401 or 403; False where a server does not answer at all."""
    return _status(name, address, _ROUTE[name]) in (401, 403)


def _status(name: str, address: str, route: str) -> int | None:
    try:
        return ask(name, address, route)[0]
    except (OSError, ValueError):  # ValueError: a port that is none
        return None


def ask(name: str, address: str, route: str, body: bytes | None = None, timeout: float = 5.0) -> tuple[int, bytes]:
    """One request to a server, GET or, with a body of JSON, POST. Returns status and content of the answer.

    Args:
        name: `prefect` or `mlflow`, whose password goes along.
        timeout: seconds, of each wait for the network.

    Raises:
        OSError: no such server, no answer, none in time, or none of HTTP.
        ValueError: the port is no number.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OSError("not an address of a server")
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = authorization(name, address) | ({} if body is None else {"Content-Type": "application/json"})
    try:
        with closing(connect(parts.hostname, parts.port, timeout=timeout)) as connection:
            connection.request("GET" if body is None else "POST", parts.path.rstrip("/") + route, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(MOST_BYTES)
    except http.client.HTTPException as error:
        raise OSError(f"no answer of HTTP ({type(error).__name__})") from error


def authorization(name: str, address: str) -> dict[str, str]:
    """The header of a request to a server, as its own client makes it; {} where there is no password.

    A user and password in the address come first, then those of the environment, then a token there.
    """
    parts = urlsplit(address)
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    elif name == "prefect":
        pair = os.environ.get(credentials.PREFECT, "")
    else:
        user, password = (os.environ.get(each) for each in (credentials.MLFLOW_USER, credentials.MLFLOW_PASSWORD))
        pair = f"{user}:{password}" if user and password else ""
    if pair:
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    token = os.environ.get(_BEARER[name])
    return {"Authorization": f"Bearer {token}"} if token else {}
