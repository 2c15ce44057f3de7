"""An S3 server of its own: moto's, over HTTP."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK = "127.0.0.1"
KEY = "test"
SECRET = "a-secret-that-no-file-may-hold"
PATIENCE = 240.0


def free_port() -> int:
    """A port of loopback that the system offers."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(host: str = LOOPBACK, port: int | None = None) -> Iterator[int]:
    """The port that it listens at, until the block ends."""
    asked = [port] if port else [free_port() for _ in range(3)]  # somebody may have taken one meanwhile
    for port in asked:
        command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if _answers(server, f"http://{host}:{port}/moto-api/"):
                yield port
                return
        finally:
            server.kill()
            server.wait()
    raise RuntimeError(f"the S3 server ended on each of the ports {asked}")


def _answers(server: "subprocess.Popen[bytes]", address: str) -> bool:
    """Not if it has ended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            if server.poll() is not None:
                return False
            assert time.monotonic() < deadline, "no answer from the S3 server"
            time.sleep(0.1)
        else:
            return server.poll() is None  # else it is another one that answers


def environment(port: int, host: str = LOOPBACK, key: str = KEY, secret: str = SECRET) -> dict[str, str]:
    """How a process finds the server, or what stands before it."""
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def make_bucket(name: str, port: int) -> None:
    """An empty one, made by a process of its own: s3fs keeps what it once knew of the environment."""
    code = f"import s3fs; s3fs.S3FileSystem().mkdir({name!r})"
    subprocess.run([sys.executable, "-c", code], env=os.environ | environment(port), check=True)
