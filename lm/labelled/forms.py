"""What a task asks of a model: one class for each form, and the columns that its examples have. Torch-free."""

from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import AfterValidator, Field

from lm.config import StrictModel


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(map(repr, twice))} stands twice: answers are told apart by their names")
    return names


Names = Annotated[tuple[str, ...], AfterValidator(_once)]


class Form(StrictModel):
    """What all have in common. Every example has an `id`, unique in its set."""

    columns: ClassVar[dict[str, pa.DataType]]
    """Besides `id`. A nullable column is one of `nullable`."""
    nullable: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]]
    """The columns that a model is shown; the others hold what it is asked for."""
    usual_metrics: ClassVar[tuple[str, ...]]
    grouped_by: ClassVar[tuple[str, ...]]
    """Examples that share a text in one of these belong on one side of a cut."""

    def default_metrics(self) -> tuple[str, ...]:
        """What is reported where a task names nothing else; the first decides which model is best."""
        return self.usual_metrics

    @classmethod
    def table_schema(cls) -> pa.Schema:
        """The table of examples of this form."""
        fields = [pa.field(name, kind, nullable=name in cls.nullable) for name, kind in cls.columns.items()]
        return pa.schema([pa.field("id", pa.string(), nullable=False), *fields])


class Classification(Form):
    """One label of several for a text, or for a pair of texts (`text_b`): sentiment, entailment, paraphrase."""

    form: Literal["classification"] = Field(default="classification", description="Chooses this form.")
    classes: Names = Field(min_length=2, description="Names of the labels; an example's label is its place.")
    symmetric: bool = Field(default=False, description="Whether the order of the two texts means nothing.")
    inputs: ClassVar = ("text", "text_b")
    usual_metrics: ClassVar = ("accuracy", "macro_f1")
    grouped_by: ClassVar = ("text", "text_b")
    columns: ClassVar = {"text": pa.string(), "text_b": pa.string(), "label": pa.int32()}
    nullable: ClassVar = ("text_b",)


class Regression(Form):
    """A number for a text or a pair: how alike two sentences are."""

    form: Literal["regression"] = Field(default="regression", description="Chooses this form.")
    low: float = Field(default=0.0, description="The least that a label can be.")
    high: float = Field(default=5.0, description="The most.")
    symmetric: bool = Field(default=False, description="Whether the order of the two texts means nothing.")
    inputs: ClassVar = ("text", "text_b")
    usual_metrics: ClassVar = ("pearson", "spearman")
    grouped_by: ClassVar = ("text", "text_b")
    columns: ClassVar = {"text": pa.string(), "text_b": pa.string(), "label": pa.float64()}
    nullable: ClassVar = ("text_b",)


class MultipleChoice(Form):
    """The right one of several continuations or answers; `context` may be empty where `question` says all."""

    form: Literal["multiple_choice"] = Field(default="multiple_choice", description="Chooses this form.")
    inputs: ClassVar = ("context", "question", "choices")
    usual_metrics: ClassVar = ("accuracy",)
    grouped_by: ClassVar = ("context",)
    columns: ClassVar = {
        "context": pa.string(),
        "question": pa.string(),
        "choices": pa.list_(pa.string()),
        "label": pa.int32(),
    }


class Tagging(Form):
    """A tag for each word. Tags of spans are B-X, I-X (IOB2), as which every scheme is read."""

    form: Literal["tagging"] = Field(default="tagging", description="Chooses this form.")
    tags: Names = Field(min_length=2, description="All tags; those of spans and `O`, or parts of speech.")
    spans: bool = Field(default=True, description="Whether tags mark spans (entities), which are then what is scored.")
    joined: bool = Field(default=False, description="Words stand without spaces between them, as Chinese characters.")
    inputs: ClassVar = ("words",)
    usual_metrics: ClassVar = ("entity_f1",)
    grouped_by: ClassVar = ("words",)
    columns: ClassVar = {"words": pa.list_(pa.string()), "tags": pa.list_(pa.string())}

    def default_metrics(self) -> tuple[str, ...]:
        """Entities where there are any, else tags."""
        return self.usual_metrics if self.spans else ("accuracy",)


class QuestionAnswering(Form):
    """The span of a context that answers a question. `answers` are all that are right, `starts` where each begins, in
    characters; both empty: it cannot be answered."""

    form: Literal["question_answering"] = Field(default="question_answering", description="Chooses this form.")
    unanswerable: bool = Field(default=False, description="Whether there are questions without an answer (SQuAD 2.0).")
    inputs: ClassVar = ("context", "question")
    usual_metrics: ClassVar = ("f1", "exact_match")
    grouped_by: ClassVar = ("context",)
    columns: ClassVar = {
        "context": pa.string(),
        "question": pa.string(),
        "answers": pa.list_(pa.string()),
        "starts": pa.list_(pa.int32()),
    }


class Generation(Form):
    """A text and what it becomes: translation, summarisation."""

    form: Literal["generation"] = Field(default="generation", description="Chooses this form.")
    inputs: ClassVar = ("source",)
    usual_metrics: ClassVar = ("bleu", "chrf")
    grouped_by: ClassVar = ("source", "target")
    columns: ClassVar = {"source": pa.string(), "target": pa.string()}


class Chat(Form):
    """A conversation; the assistant's turns are what is learned."""

    form: Literal["chat"] = Field(default="chat", description="Chooses this form.")
    inputs: ClassVar = ("messages",)
    usual_metrics: ClassVar = ("bits_per_byte",)
    grouped_by: ClassVar = ("messages",)
    columns: ClassVar = {"messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))}


AnyForm = Annotated[
    Classification | Regression | MultipleChoice | Tagging | QuestionAnswering | Generation | Chat,
    Field(discriminator="form"),
]
