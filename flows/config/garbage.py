"""What the deployment nightly-gc leaves."""

from pydantic import Field

from lm.config import StrictModel
from tasks.lineage.gc import GRACE_SECONDS, KEEP_RUNS
from tasks.machine.resources import Resources


class GarbageConfig(StrictModel):
    """What stays when the store is tidied up; the same as the options of `textmill gc`."""

    keep_runs: int = Field(default=KEEP_RUNS, ge=0, description="So many of the newest runs keep all that they used.")
    grace_hours: float = Field(default=GRACE_SECONDS / 3600, ge=0, description="What was touched since stays.")
    resources: Resources = Field(default=Resources(), description="Where the store is, and secrets for it.")
