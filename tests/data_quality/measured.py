"""The signals of one document, as tests look at them."""

import numpy as np

from data_quality.config import SignalsConfig
from data_quality.custom import CustomDocument
from data_quality.measure import measure
from data_quality.vocabulary import Vocabulary


def document_signals(
    document: CustomDocument, config: SignalsConfig, vocabulary: Vocabulary
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """All signals of a document, and by text version the spans that its line edits remove."""
    columns, edits = measure([document], config, vocabulary)
    return {name: values[0].item() for name, values in columns.items()}, {name: of[0] for name, of in edits.items()}


def text_signals(
    text: str, config: SignalsConfig, vocabulary: Vocabulary, language: str | None = None
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The same of a text of which nothing else is known but perhaps its language."""
    return document_signals(CustomDocument("", text, language), config, vocabulary)
