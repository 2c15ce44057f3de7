"""Signals: the numbers about a document from which rules judge it, all measured in one pass over shared words.

`measure.py` measures a group of documents; here a shard of documents becomes a shard of signals.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_quality.config import SignalsConfig
from data_quality.custom import CustomDocument
from data_quality.language_tables import with_languages
from data_quality.measure import measure, text_versions
from data_quality.per_thread import per_thread
from data_quality.shards import read_batches, whole_parquet
from data_quality.signal_catalogue import LANGUAGE_SIGNALS, edits_column, signal_columns
from data_quality.vocabulary import Vocabulary

_GROUP_CHARACTERS = 500_000
_LANGUAGE_COLUMNS = ("language", "script", *LANGUAGE_SIGNALS)


@per_thread
def _vocabulary(plain: bool) -> Vocabulary:
    return Vocabulary(plain)


def _schema(config: SignalsConfig, languages: bool) -> pa.Schema:
    texts = text_versions(config)
    span = pa.struct([("start", pa.int32()), ("end", pa.int32())])
    identified = [("script", pa.string()), *((name, pa.float64()) for name in LANGUAGE_SIGNALS)] if languages else []
    signals = signal_columns(texts, config.groups)
    return pa.schema(
        [
            ("id", pa.string()),
            ("language", pa.string()),
            ("source", pa.string()),
            *identified,
            *((name, pa.int64() if signal.integer else pa.float64()) for name, signal in signals.items()),
            *((signal.name, pa.float64()) for signal in config.custom),
            *((edits_column(text), pa.list_(span)) for text in texts),
        ]
    )


def compute_signals(
    in_path: Path,
    out_path: Path,
    config: SignalsConfig,
    progress: Callable[[int], None] = lambda documents: None,
    languages: Sequence[Path] = (),
) -> dict[str, int]:
    """Measure every document of a documents shard and write its signals shard, rows in the same order.

    Columns: id, language and source (copied, for rules of one language and for lists), one number per signal
    (`signal_catalogue.py`), and for each edited text version, as `c4_edits`, the character spans that its line edits
    remove. With `languages`, language tables (`language.identify_shard`) that hold all the documents, the language is
    theirs, and its script and `LANGUAGE_SIGNALS` stand behind source. A null text counts as empty. Returns the
    counts documents, bytes, words and edited (documents that line edits change).

    Args:
        config: as `signal_choice.resolve_signals` returns it where rules are to name optional signals.

    Raises:
        CustomSignalError: a function of the user's own failed; the message names the document.
        ValueError: the shard lacks id or text, or the language tables a document.
    """
    optional = ["language", "source", *(["metadata"] if config.groups or config.custom else [])]
    batches = read_batches(in_path, ["id", "text"], optional)
    schema = _schema(config, bool(languages))
    counts = {"documents": 0, "bytes": 0, "words": 0, "edited": 0}
    vocabulary = _vocabulary(config.words == "plain")
    try:
        with whole_parquet(out_path, schema) as writer:
            for batch in with_languages(batches, in_path, languages, _LANGUAGE_COLUMNS):
                table = _batch_signals(batch, schema, config, vocabulary, counts)
                writer.write_table(table)
                progress(len(table))
    except BaseException:
        vocabulary.forget()  # Ctrl-C may have come while it learnt: its tables need not fit together
        raise
    return counts


def _batch_signals(
    batch: pa.Table, schema: pa.Schema, config: SignalsConfig, vocabulary: Vocabulary, counts: dict[str, int]
) -> pa.Table:
    plain = config.words == "plain"
    documents = [
        CustomDocument(
            row["id"], row["text"] or "", row.get("language"), row.get("source"), row.get("metadata") or "{}", plain
        )
        for row in batch.to_pylist()
    ]
    ends = np.cumsum([len(document.text) for document in documents]) // _GROUP_CHARACTERS
    groups = np.split(np.arange(len(documents)), np.flatnonzero(np.diff(ends)) + 1)  # each is measured in one call
    measured = [measure([documents[at] for at in group], config, vocabulary) for group in groups]
    values = {name: np.concatenate([found[name] for found, _ in measured]) for name in measured[0][0]}
    edits = {name: [spans for _, removed in measured for spans in removed[name]] for name in text_versions(config)}
    counts["documents"] += len(documents)
    counts["bytes"] += int(values["bytes"].sum())
    counts["words"] += int(values["words"].sum())
    counts["edited"] += sum(any(map(len, spans)) for spans in zip(*edits.values(), strict=True))
    spans_of = {edits_column(version): version for version in edits}
    columns: list[pa.Array | pa.ChunkedArray] = []
    for field in schema:
        if field.name in spans_of:
            columns.append(_spans_array(edits[spans_of[field.name]], field.type))
        elif field.name in ("id", "source", *_LANGUAGE_COLUMNS):
            known = field.name in batch.column_names
            columns.append(batch[field.name] if known else pa.nulls(len(batch), field.type))
        else:
            columns.append(pa.array(values[field.name], field.type))
    return pa.table(columns, schema=schema)


def _spans_array(spans: list[np.ndarray], type: pa.DataType) -> pa.Array:
    """Spans of each document, int32[spans, 2], as a column of lists of start and end."""
    flat = np.concatenate(spans) if spans else np.empty((0, 2), dtype=np.int32)
    offsets = np.cumsum([0, *map(len, spans)], dtype=np.int32)
    pairs = pa.StructArray.from_arrays([pa.array(flat[:, 0]), pa.array(flat[:, 1])], fields=list(type.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets), pairs, type=type)
