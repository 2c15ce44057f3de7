"""What a model can be asked: one class for each kind of exam, as a YAML file has it (configs/exams)."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config import StrictModel

Paths = Annotated[
    tuple[str, ...], Field(min_length=1, description="Files or patterns; `${NAME}` is the environment's.")
]
Labelled = Annotated[
    str,
    Field(
        description="A labelled set: the name of a shipped task (configs/tasks) or a task's YAML file, from which it is"
        " built; an artifact, an alias, or a folder with task.json."
    ),
]
Limit = Annotated[
    int | None,
    Field(default=None, ge=1, description="Ask so many items at most, of all files together: those of least hash."),
]
Split = Annotated[Literal["train", "valid", "test"], Field(description="Which split is asked.")]
Seed = Annotated[int, Field(description="Decides every draw.")]


class _Exam(StrictModel):
    name: str = Field(description="What tables and MLflow call it; the same exam has the same name for every model.")


class MinimalPairs(_Exam):
    """Which of two sentences is likelier (BLiMP)."""

    kind: Literal["minimal_pairs"] = "minimal_pairs"
    paths: Paths
    variant: Literal["original", "within_word_l2r"] = Field(
        default="within_word_l2r",
        description="How a masked model is asked: Salazar et al. 2020, or with the rest of a word masked, too (Kauf &"
        " Ivanova 2023).",
    )
    before: str = Field(
        default="",
        description="What stands before each sentence. lm-evaluation-harness puts a space there, which makes the first"
        " word another token.",
    )
    limit: Limit = None


class FewShot(_Exam):
    """A labelled task in the prompt, nothing trained."""

    kind: Literal["few_shot"] = "few_shot"
    labelled: Labelled
    template: str = Field(description="A shipped prompt template, or a YAML file.")
    shots: int = Field(default=0, ge=0, description="Solved examples before each item, from the train split.")
    split: Split = "valid"
    seed: Seed = 0
    limit: Limit = None
    begin: bool = Field(
        default=True,
        description="Whether the prompt stands behind <|endoftext|>, as texts do in training. lm-evaluation-harness"
        " leaves it away for GPT-2.",
    )


class Cloze(_Exam):
    """The last word of each text (LAMBADA-like): is it what the model would write, and how likely is it?"""

    kind: Literal["cloze"] = "cloze"
    paths: Paths
    least: int = Field(default=5, ge=2, description="A text with fewer words is left out.")
    language: str = Field(default="en", description="BCP 47 tag of the texts: how answers are compared.")
    limit: Limit = None


class Patterns(_Exam):
    """Going on with a format that the prompt shows."""

    kind: Literal["patterns"] = "patterns"
    paths: tuple[str, ...] = Field(
        default=(), description="Texts whose words are used. None: the model's own training documents."
    )
    patterns: tuple[Literal["repeat", "list", "record", "case"], ...] = Field(
        default=("repeat", "list", "record", "case"), min_length=1, description="Which formats."
    )
    shots: tuple[int, ...] = Field(default=(0, 1, 4, 16), min_length=1, description="Numbers of examples.")
    items: int = Field(default=100, ge=1, description="Items of each format.")
    seed: Seed = 0


class Perplexity(_Exam):
    """How surprising a model finds text, with its definition."""

    kind: Literal["perplexity"] = "perplexity"
    paths: Paths
    whole: bool = Field(default=False, description="A .txt file is one text; else each line is one.")
    context: int | None = Field(default=None, ge=1, description="Tokens seen; null: the model's context.")
    stride: int | None = Field(default=None, ge=1, description="How far the window moves; null: half the context.")
    begin: bool = Field(default=True, description="Whether each text stands behind <|endoftext|>.")
    limit: Limit = None


class WordSimilarity(_Exam):
    """Pairs of words beside what people said."""

    kind: Literal["word_similarity"] = "word_similarity"
    paths: Paths


class Analogies(_Exam):
    """a is to b as c is to what?"""

    kind: Literal["analogies"] = "analogies"
    paths: Paths
    among: int = Field(default=300_000, ge=1, description="The answer is sought among so many of the frequent words.")


class SentenceSimilarity(_Exam):
    """Vectors of sentences beside what people said (STS)."""

    kind: Literal["sentence_similarity"] = "sentence_similarity"
    labelled: Labelled
    split: Split = "valid"
    limit: Limit = None


class TagProbe(_Exam):
    """How much of a word's tag a linear softmax reads off each frozen layer."""

    kind: Literal["tag_probe"] = "tag_probe"
    labelled: Labelled
    split: Split = "valid"
    train: int = Field(default=1000, ge=1, description="Sentences that the probe learns from, at most.")
    limit: int = Field(default=500, ge=1, description="Sentences that it is asked, at most.")


class SenseProbe(_Exam):
    """Two words behind one stand-in: which was meant?"""

    kind: Literal["sense_probe"] = "sense_probe"
    paths: Paths
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1, description="Words that become one, two by two.")
    stand_in: str = Field(default="thing", min_length=1, description="The word that stands in for both.")
    most: int = Field(default=100, ge=8, description="Occurrences of each word, at most.")


class Memorised(_Exam):
    """How much of what a model writes stands verbatim in its training documents."""

    kind: Literal["memorised"] = "memorised"
    unprompted: int = Field(default=100, ge=0, description="Texts written from the beginning of a document on.")
    prompted: int = Field(
        default=100, ge=0, description="Texts written behind the first tokens of a training document."
    )
    prompt_tokens: int = Field(default=50, ge=1, description="Tokens of such a prompt.")
    tokens: int = Field(default=200, ge=1, description="Tokens that are written, at most.")
    span: int = Field(default=50, ge=1, description="Tokens (and words) in a row that count as verbatim.")
    words: bool = Field(default=True, description="Whether runs of words are sought, too: reads the documents' text.")
    seed: Seed = 0


class Pronouns(_Exam):
    """Which pronoun an occupation makes likelier."""

    kind: Literal["pronouns"] = "pronouns"


class HurtfulWords(_Exam):
    """Hurtful words in what is written behind the names of groups of people."""

    kind: Literal["hurtful_words"] = "hurtful_words"
    texts: int = Field(default=25, ge=1, description="Texts behind each of the beginnings.")
    tokens: int = Field(default=30, ge=1, description="Tokens that are written, at most.")
    seed: Seed = 0


class Contamination(_Exam):
    """Which items of an exam stand in the model's training documents."""

    kind: Literal["contamination"] = "contamination"
    paths: tuple[str, ...] = Field(default=(), description="Minimal pairs, or texts in .jsonl, .parquet or .txt.")
    labelled: str | None = Field(default=None, description="Or a labelled set, as elsewhere.")
    split: Split = "valid"
    words: int = Field(default=13, ge=2, description="Words in a row, or characters of Chinese, that count.")
    minimum: int = Field(default=6, ge=1, description="Items with fewer words are not looked for.")
    limit: Limit = None


AnyExam = Annotated[
    MinimalPairs
    | FewShot
    | Cloze
    | Patterns
    | Perplexity
    | WordSimilarity
    | Analogies
    | SentenceSimilarity
    | TagProbe
    | SenseProbe
    | Memorised
    | Pronouns
    | HurtfulWords
    | Contamination,
    Field(discriminator="kind"),
]
EXAMS: dict[str, type[StrictModel]] = {
    each.model_fields["kind"].default: each
    for each in (
        MinimalPairs,
        FewShot,
        Cloze,
        Patterns,
        Perplexity,
        WordSimilarity,
        Analogies,
        SentenceSimilarity,
        TagProbe,
        SenseProbe,
        Memorised,
        Pronouns,
        HurtfulWords,
        Contamination,
    )
}
"""By kind."""
