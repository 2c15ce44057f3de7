"""A fine-tuned model as MLflow keeps and serves it: our own code and files, a signature and an input example.

The model is saved from code (tasks/tracking/served_model.py) with the files of the artifact and the package `lm` as it
is now: loading it unpickles nothing, and needs the libraries below but no Textmill.
"""

import importlib.metadata
from pathlib import Path
from typing import Any

import lm
from lm.artifact import described
from lm.finetune.artifact import KIND, MODEL_FILES
from lm.finetune.predictor import INPUTS
from lm.labelled.folder import Task
from lm.labelled.forms import Classification, Form, MultipleChoice, QuestionAnswering, Regression, Tagging

SERVED_MODEL = Path(__file__).with_name("served_model.py")
LIBRARIES = ("mlflow", "numba", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "tokenizers", "torch")
"""What `lm.finetune.predictor` needs: a test opens a model without all others."""
EXAMPLES: dict[str, Any] = {
    "text": "Ada lives in Rome.",
    "text_b": "Ada lives in Italy.",
    "context": "Ada lives in Rome.",
    "question": "Where does Ada live?",
    "choices": ["in Rome", "in Paris"],
    "words": ["Ada", "lives", "in", "Rome"],
}
"""Made up: an example of the training set could be somebody's personal data."""


def servable(folder: Path) -> dict[str, Any]:
    """The arguments of `mlflow.pyfunc.log_model` and `save_model` for a folder of kind "finetuned".

    Raises:
        ValueError: it holds another kind of model.
    """
    config = described(folder)
    if config.get("kind") != KIND:
        raise ValueError(f"{folder / 'config.json'}: not a {KIND!r} model: {config.get('kind')!r}; fine-tune it first")
    task = Task.model_validate(config["task"])
    columns = INPUTS[type(task.ask)](config["pairs"])
    return {
        "python_model": str(SERVED_MODEL),
        "artifacts": {name: str(folder / name) for name in MODEL_FILES if (folder / name).exists()},
        "code_paths": [str(Path(lm.__file__).parent)],
        "signature": signature(task.ask, columns),
        "input_example": input_example(columns),
        "pip_requirements": [f"{name}=={_version(name)}" for name in LIBRARIES],
        "metadata": {"task": task.name, "form": task.ask.form},
    }


def signature(ask: Form, columns: tuple[tuple[str, bool], ...]) -> Any:
    """What goes in and what comes out, as an `mlflow.models.ModelSignature`."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array, Map, Object, Property

    text, whole, real = DataType.string, DataType.long, DataType.double
    entity = Object([Property("type", text), Property("first", whole), Property("last", whole), Property("text", text)])
    inputs = [
        ColSpec(Array(text) if isinstance(EXAMPLES[name], list) else text, name, required=needed)
        for name, needed in columns
    ]
    said: dict[type[Form], list[Any]] = {
        Classification: [ColSpec(text, "label"), ColSpec(Map(real), "probabilities")],
        Regression: [ColSpec(real, "score")],
        MultipleChoice: [ColSpec(whole, "choice"), ColSpec(text, "answer"), ColSpec(Array(real), "probabilities")],
        Tagging: [
            ColSpec(Array(text), "tags"),
            ColSpec(Array(real), "probabilities"),
            *([ColSpec(Array(entity), "entities")] if isinstance(ask, Tagging) and ask.spans else []),
        ],
        QuestionAnswering: [
            ColSpec(text, "answer"),
            *(ColSpec(whole, name, required=False) for name in ("start", "end")),
            ColSpec(real, "probability"),
        ],
    }
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(said[type(ask)]))


def input_example(columns: tuple[tuple[str, bool], ...]) -> Any:
    """A table of one record."""
    import pandas as pd

    return pd.DataFrame({name: [EXAMPLES[name]] for name, _ in columns})


def _version(library: str) -> str:
    """Without the local part (`+cpu`), which no registry knows."""
    return importlib.metadata.version(library).partition("+")[0]
