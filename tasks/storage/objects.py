"""Named bytes on any fsspec file system: the little that a shared store asks of it, with bounded retries.

What is needed beyond reading and writing is a *conditional put*: an object is created only if it is not there yet.

| file system | create | replace what was read |
|---|---|---|
| S3 | `If-None-Match: *` | `If-Match: <ETag>` |
| local files | a hard link, which fails when the name is taken | look, then rename |
| in memory, GCS, others | fsspec's `mode="create"`, which some do by a look before the write | look, then write |

Where it is a look before a write, two builders at the same instant may both believe that they were first. That costs
a double build and never a broken artifact: each has its own files, and the manifest that is read names one set.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tasks.store import StoreError

ATTEMPTS = 4
PAUSE_SECONDS = 0.5  # doubled after each attempt; S3's own client has retried five times within each

T = TypeVar("T")


def is_url(place: str) -> bool:
    """Whether a text is an fsspec URL and not a path of this machine."""
    return "://" in place


class ObjectError(StoreError):
    """The store could not be read or written; the message names the object."""


class Objects:
    """Objects below one URL, by names relative to it.

    Args:
        url: such as `s3://bucket/prefix`. Credentials come from the environment, as the file system's library reads
            them (for S3 `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, or a profile).

    Raises:
        ObjectError: the URL holds credentials, or its protocol's library is not installed.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import split_protocol, url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        if "@" in urlsplit(url).netloc:
            raise ObjectError("credentials belong into the environment, not into the address of a store")
        protocol = split_protocol(url)[0]
        options = {"auto_mkdir": True} if protocol in (None, "file", "local") else {}
        try:
            self._fs, root = url_to_fs(url, use_listings_cache=False, **options)
        except (ImportError, ValueError) as error:
            hint = "; pip install -e '.[s3]'" if protocol in ("s3", "s3a") else ""
            raise ObjectError(f"cannot open the store {url}: {error}{hint}") from error
        self.url = url.rstrip("/")
        self._root = root.rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        self._etags = protocol in ("s3", "s3a")

    def read(self, name: str) -> bytes | None:
        """The content of an object, or None when there is none."""
        try:
            return bytes(self._again("read", name, lambda: self._fs.cat_file(self._path(name))))
        except FileNotFoundError:
            return None

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        """The content and a tag that `replace` takes; None when there is no such object."""
        tag = self._tag(name)
        while tag is not None:
            content = self.read(name)
            before, tag = tag, self._tag(name)
            if content is not None and tag == before:
                return content, tag
        return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object, whether or not there was one."""
        self._again("write", name, lambda: self._write(name, content))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one. Returns whether it is ours; after a lost answer, as it is now."""
        try:
            self._again("create", name, lambda: self._create(name, content))
        except FileExistsError:
            return self.read(name) == content  # an attempt whose answer was lost had come through
        return True

    def replace(self, name: str, content: bytes, tag: str) -> bool:
        """Write an object if it still is the one that was read with `tag`. Returns whether it was."""
        if not self._etags:
            if self._tag(name) != tag:
                return False
            self.write(name, content)
            return True
        try:
            self._again(
                "replace", name, lambda: self._fs.pipe_file(self._path(name), content, IfMatch=tag), final=_precondition
            )
        except FileNotFoundError:
            return False
        except OSError as error:
            if not _precondition(error):
                raise
            return self.read(name) == content
        return True

    def remove(self, name: str) -> None:
        """Remove an object; one that is gone is no error."""
        try:
            self._again("remove", name, lambda: self._fs.rm_file(self._path(name)))
        except FileNotFoundError:
            return

    def upload(self, file: Path, name: str) -> None:
        """Copy a local file to an object."""
        self._again("write", name, lambda: self._fs.put_file(str(file), self._path(name)))

    def download(self, name: str, file: Path) -> str:
        """Copy an object to a local file. Returns the SHA-256 of what has arrived.

        Raises:
            FileNotFoundError: there is no such object.
        """

        def fetch() -> str:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._fs.get_file(self._path(name), str(file))
            with file.open("rb") as handle:
                sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
                os.fsync(handle.fileno())
            return sha256

        return self._again("read", name, fetch)

    def listing(self, prefix: str) -> dict[str, tuple[int, float]]:
        """Every object below a prefix by its name: bytes, and seconds since the epoch when it was written."""

        def find() -> dict[str, Any]:
            return dict(self._fs.find(self._path(prefix), detail=True))

        try:
            found = self._again("list", prefix, find)
        except FileNotFoundError:
            return {}
        start = len(self._root) + 1
        return {path[start:]: (int(info["size"]), _written(info)) for path, info in found.items()}

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _write(self, name: str, content: bytes) -> None:
        if not self._local:
            self._fs.pipe_file(self._path(name), content)
            return
        draft = self._draft(name, content)
        os.replace(draft, self._path(name))

    def _create(self, name: str, content: bytes) -> None:
        if not self._local:
            self._fs.pipe_file(self._path(name), content, mode="create")
            return
        draft = self._draft(name, content)
        try:
            os.link(draft, self._path(name))
        finally:
            draft.unlink()

    def _draft(self, name: str, content: bytes) -> Path:
        target = Path(self._path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        with draft.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        return draft

    def _tag(self, name: str) -> str | None:
        """S3's ETag, elsewhere the content's hash."""
        if not self._etags:
            content = self.read(name)
            return None if content is None else hashlib.sha256(content).hexdigest()
        try:
            return str(self._again("read", name, lambda: self._fs.info(self._path(name)))["ETag"])
        except FileNotFoundError:
            return None

    def _again(
        self, doing: str, name: str, call: Callable[[], T], final: Callable[[Exception], bool] = lambda error: False
    ) -> T:
        """Call, and again after a failure that may pass. What is certain (absent, there already) goes to the caller."""
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except (FileNotFoundError, FileExistsError) as error:
                if isinstance(error, FileNotFoundError) and doing in ("write", "create") and not self._local:
                    raise ObjectError(f"cannot {doing} {self.url}/{name}: {error}; does the bucket exist?") from error
                raise
            except PermissionError as error:
                advice = "check the credentials in the environment"
                raise ObjectError(f"may not {doing} {self.url}/{name} ({error}): {advice}") from error
            except Exception as error:
                # any class: file systems raise what their HTTP library raises
                if final(error):
                    raise
                if attempt + 1 == ATTEMPTS:
                    said = f"{type(error).__name__}: {error}"
                    raise ObjectError(
                        f"cannot {doing} {self.url}/{name} after {ATTEMPTS} attempts ({said}); "
                        "what is finished is kept on this machine: run it again when the store answers"
                    ) from error
                time.sleep(PAUSE_SECONDS * 2**attempt)
        raise AssertionError("unreachable")


def _precondition(error: Exception) -> bool:
    """Whether S3 refused a conditional put, or saw two of them at one instant."""
    answer = getattr(error.__cause__, "response", None) or {}
    return answer.get("Error", {}).get("Code") in ("PreconditionFailed", "ConditionalRequestConflict")


def _written(info: dict[str, Any]) -> float:
    """When an object was written; the file systems do not agree on a name. Unknown counts as now: it is kept."""
    for name in ("LastModified", "mtime", "updated", "last_modified", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            return datetime.fromisoformat(value).timestamp()
    return time.time()
