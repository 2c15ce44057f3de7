"""Configuration of the data_quality library: one strict pydantic model per concept, importable in milliseconds."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- sources ---------------------------------------------------------------------------------------------------------

# --- normalize -------------------------------------------------------------------------------------------------------

# --- dedupe ----------------------------------------------------------------------------------------------------------

# --- signals and rules -----------------------------------------------------------------------------------------------

# --- labelled paragraphs ---------------------------------------------------------------------------------------------
