"""A flow's parameter `config` may name a file, in `prefect.yaml` or in the Prefect UI; it is read when a run starts."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from flows.config.loading import read

Model = TypeVar("Model", bound=BaseModel)


def _read_if_named(value: Any) -> Any:
    return read(Path(value)) if isinstance(value, str) else value


class _OrFile:
    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        named = {"type": "string", "title": "File", "description": "A YAML file, below the checkout or anywhere."}
        return {"anyOf": [handler(schema), named]}


FromFile = Annotated[Model, BeforeValidator(_read_if_named), _OrFile()]
"""A configuration, or the path of one on the machine where the flow runs, relative to the checkout.

Raises ConfigError as `flows.config.loading.read` does.
"""
