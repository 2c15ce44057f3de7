"""What a contest between the registered champion and its challenger is about."""

from pydantic import Field

from lm.config import StrictModel
from tasks.contest import ContestConfig
from tasks.contest_documents import ContestDocumentsConfig
from tasks.running.run import Resources


class ApprovalConfig(StrictModel):
    """Whether a person has to agree before the alias moves."""

    required: bool = Field(
        default=True,
        description="The flow run waits in the Prefect UI (Suspended, or Paused where no deployment runs it) until "
        "somebody resumes it and says yes or no. false: a challenger that wins is promoted at once.",
    )
    timeout_hours: float = Field(
        default=72.0, gt=0, description="How long it waits. After that the run fails, and nothing is promoted."
    )


class ChampionConfig(StrictModel):
    """Which model is the champion, who challenges it, and what it takes to win."""

    name: str = Field(
        default="champion",
        pattern=r"^[a-z0-9][a-z0-9-]*$",
        description="Name of runs, and the alias of the champion in the store: `textmill generate champion`.",
    )
    model: str = Field(default="textmill-pretrained", description="The registered model in MLflow.")
    champion: str = Field(default="champion", description="Its alias for the model that is in use.")
    challenger: str = Field(
        default="newest",
        description="Its alias for the model that may replace it; `newest` is the one registered last.",
    )
    held_out: ContestDocumentsConfig = Field(
        default=ContestDocumentsConfig(), description="The documents on which they are compared."
    )
    contest: ContestConfig = Field(default=ContestConfig(), description="What winning means.")
    approval: ApprovalConfig = Field(default=ApprovalConfig(), description="Whether somebody is asked.")
    resources: Resources = Field(default=Resources(), description="Threads, and where the store is.")
