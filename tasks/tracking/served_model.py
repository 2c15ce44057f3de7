"""The code of a model in MLflow: MLflow copies this file beside the model and runs it to load it.

Nothing is unpickled. It imports `lm` alone, which is copied with it (tasks/tracking/servable.py), so that a model is
served by the code that it was registered with.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

CONFIG = "config.json"
"""One of the artifacts: all of them lie in one folder, that of the fine-tuned model."""


class ServedModel(PythonModel):
    """A table of records in, a list with what the model says of each out, as `textmill predict` writes it."""

    def load_context(self, context: Any) -> None:
        """Open the folder."""
        from lm.finetune.predictor import Predictor

        self.predictor = Predictor(Path(context.artifacts[CONFIG]).parent)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Raises MlflowException (HTTP 400) naming the record, from 0, and the column that is not as it must be."""
        columns = {str(name): [_plain(value) for value in column] for name, column in model_input.items()}
        records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        try:
            return self.predictor(records)
        except ValueError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error


def _plain(value: Any) -> Any:
    """A cell as a record of a file has it: lists are arrays in a table, and what is missing is not a number."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if isinstance(value, float) and np.isnan(value) else value


set_model(ServedModel())
