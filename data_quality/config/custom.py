"""Configuration of signals of the user's own."""

from pydantic import Field, field_validator

from data_quality.config.base import StrictModel


class CustomSignal(StrictModel):
    """A numeric signal that a Python function of the user's measures, once for every document.

    The function takes a `data_quality.custom.CustomDocument` and returns a finite number. Rules name the signal as
    they name any other. Its name, function and version enter the key: raise the version when the function changes.
    """

    name: str = Field(pattern=r"^[a-z]\w*$", description="Name of the signal; not that of a signal that exists.")
    function: str = Field(description="`package.module:function`, or `path/to/file.py:function`.")
    version: int = Field(default=1, ge=1, description="Raise it when the function gives another result.")
    upper: float | None = Field(
        default=None, allow_inf_nan=False, description="Greatest possible value; a greater one is an error."
    )
    meaning: str = Field(default="a signal of the user's own", description="What it measures, for reports.")

    @field_validator("function")
    @classmethod
    def _two_parts(cls, function: str) -> str:
        place, _, name = function.rpartition(":")
        if not place or not name.isidentifier():
            raise ValueError(f"'{function}' is neither package.module:function nor path/to/file.py:function")
        return function
