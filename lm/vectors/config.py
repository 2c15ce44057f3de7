"""Configuration of word vectors: one strict model per kind, told apart by `kind`; importable without torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from lm.config import StrictModel


class CommonConfig(StrictModel):
    """What both kinds have."""

    dimensions: int = Field(default=100, ge=1, le=4096, description="Width of a word's vector.")
    min_count: int = Field(
        default=5,
        ge=1,
        description="A word seen less often has no vector, and is taken out of the text before windows are cut.",
    )
    seed: int = Field(default=0, ge=0, description="Decides initial vectors and every draw.")
    lock_free_threads: int = Field(
        default=1,
        ge=1,
        description="1: the same bits every time. More: so many threads write into the same vectors without locks"
        " (Recht et al. 2011, Hogwild), faster, and no two runs are equal.",
    )

    @property
    def deterministic(self) -> bool:
        """Whether training again gives the same bits."""
        return self.lock_free_threads == 1


class Word2VecConfig(CommonConfig):
    """word2vec (Mikolov et al. 2013a, b; defaults as in the released program)."""

    kind: Literal["word2vec"] = Field(description="Which model these settings are for.")
    architecture: Literal["skipgram", "cbow"] = Field(
        default="skipgram",
        description="`skipgram`: a word predicts each word around it; `cbow`: the mean of the words around it does.",
    )
    output: Literal["negative_sampling", "hierarchical_softmax"] = Field(
        default="negative_sampling",
        description="What stands in for the softmax over all words: told from some drawn words, or a path in a tree.",
    )
    window: int = Field(
        default=5, ge=1, le=100, description="Words on each side at most; at each place 1 to so many are drawn."
    )
    negatives: int = Field(default=5, ge=1, le=100, description="`negative_sampling`: drawn words for each true one.")
    negative_exponent: float = Field(
        default=0.75, description="`negative_sampling`: words are drawn in proportion to count ** this."
    )
    sample: float = Field(
        default=1e-3,
        ge=0.0,
        le=1.0,
        description="Words with a greater share of the text are left out at random, the more often the greater it is"
        " (Mikolov et al. 2013b, section 2.3, as the released program has it); 0: none.",
    )
    cbow_update: Literal["whole", "shared"] = Field(
        default="whole",
        description="`cbow`: what each word around gets of the error of their mean: the `whole`, as in the released"
        " program, or its share, `shared`, the gradient (Irsoy et al. 2021).",
    )
    learning_rate: float = Field(default=0.025, gt=0.0, description="At the start; it falls linearly with the words.")
    final_learning_rate: float = Field(default=1e-4, ge=0.0, description="At the end.")
    epochs: int = Field(default=5, ge=1, description="Passes over the text.")
    initial_span: float = Field(
        default=0.5,
        gt=0.0,
        description="Vectors begin uniform in ± this / dimensions; gensim has 1.",
    )


class GloVeConfig(CommonConfig):
    """GloVe (Pennington et al. 2014)."""

    kind: Literal["glove"] = Field(description="Which model these settings are for.")
    window: int = Field(
        default=10,
        ge=1,
        le=20,
        description="Words on each side; one at distance d counts 1/d. Up to 20, the sums being exact.",
    )
    x_max: float = Field(default=100.0, gt=0.0, description="Co-occurrences from here on weigh 1 in the loss.")
    exponent: float = Field(default=0.75, gt=0.0, description="Below, they weigh (x / x_max) ** this.")
    learning_rate: float = Field(default=0.05, gt=0.0, description="Of AdaGrad.")
    epochs: int = Field(default=25, ge=1, description="Passes over the co-occurrences.")


VectorsConfig = Annotated[Word2VecConfig | GloVeConfig, Field(discriminator="kind")]
"""The settings of any word vectors."""


def parse_vectors_config(raw: Any) -> VectorsConfig:
    """The config that a mapping describes. Raises pydantic.ValidationError if it describes none."""
    config: VectorsConfig = _ADAPTER.validate_python(raw)
    return config


_ADAPTER: TypeAdapter[VectorsConfig] = TypeAdapter(VectorsConfig)
