"""Secrets that a configuration names and does not hold: variables of the environment, from Prefect's Secret blocks.

`resources.secrets` says which variable has the value of which block. Names may be seen by all, and so they are: in
manifests of runs, parameters and Prefect's pages. Values go into this process's environment, from which S3, the hub
and everything that is started here read them, and nowhere else.
"""

import os
from collections.abc import Mapping
from typing import Any

from data_quality.errors import UsageError
from tasks.machine.resources import Resources
from tasks.storage.shared import open_store
from tasks.store import Store

_MAKE = "create it in the UI (Blocks, +, Secret) or by Secret(value=...).save({name!r}) of prefect.blocks.system"


def open_store_with(resources: Resources) -> Store:
    """The store that a run with these resources uses, opened with its secrets. Raises UsageError as `take_secrets`."""
    take_secrets(resources.secrets)
    return open_store(resources.store)


def take_secrets(blocks: Mapping[str, str]) -> list[str]:
    """Set variables of this process from the blocks of the Prefect server. Returns the names of those set.

    Args:
        blocks: names of blocks by names of variables. What the environment has already stays: that block is not read.

    Raises:
        UsageError: there is no such block, it holds no text, or the server does not answer. No message has a value.
    """
    wanted = {variable: name for variable, name in blocks.items() if not os.environ.get(variable)}
    if not wanted:
        return []
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        values = {variable: _value(client, name, variable) for variable, name in wanted.items()}
    os.environ.update(values)
    return list(values)


def _value(client: Any, name: str, variable: str) -> str:
    from httpx import HTTPError
    from prefect.exceptions import ObjectNotFound

    where = f"resources.secrets.{variable}"
    try:
        block = client.read_block_document_by_name(name, "secret", include_secrets=True)
    except ObjectNotFound:
        raise UsageError(
            f"{where}: the Prefect server has no Secret block {name!r}; {_MAKE.format(name=name)}"
        ) from None
    except HTTPError as error:
        raise UsageError(
            f"{where}: the Prefect server does not give the block {name!r} ({type(error).__name__}); "
            f"`textmill up` starts one, or set {variable} in the environment"
        ) from None
    value = block.data.get("value")
    if not isinstance(value, str) or not value or "\0" in value:
        raise UsageError(f"{where}: the Secret block {name!r} holds no text; save one string in it")
    return value
