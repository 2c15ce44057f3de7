"""The configuration of a search: a fine-tuning, and which of its settings are looked for."""

from pydantic import Field

from flows.config.finetune import TuningConfig
from flows.config.loading import loader, shipped
from lm.finetune.search_config import SearchConfig


class SearchTuningConfig(TuningConfig):
    """A model, what it is to learn, and the settings among which the best are looked for."""

    search: SearchConfig = Field(description="What is tried.")

    def smoke(self) -> "SearchTuningConfig":
        """The same with data and budget cut down: two values of each setting, and two trials of an estimator."""
        space = {
            key: choices if not isinstance(choices, tuple) else choices[:2]
            for key, choices in self.search.space.items()
        }
        less = self.search.model_copy(update={"space": space, "trials": 2})
        small = super().smoke()
        return SearchTuningConfig.model_validate({**dict(small), "search": less})


load_search = loader(SearchTuningConfig)


shipped_search = shipped(load_search, "search/small-bert.yaml")
"""What the flow runs when nothing else is said; it needs a model and a task."""
