"""Unicode and whitespace normalisation of document text."""

import os
import re
import unicodedata
from pathlib import Path

import ftfy
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import NormalizeConfig
from data_quality.documents import ROW_GROUP_ROWS, SCHEMA
from data_quality.hashing import text_hash

# Only the repair of wrongly decoded text: everything else that ftfy can do changes what an author wrote.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=False,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)
_ODD_NEWLINE = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_TERMINAL_ESCAPE = re.compile(r"\x1b\[[0-9;:?]*[A-Za-z]")
# C0 without tab and line feed, DEL, C1, byte order mark and non-characters.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")


def normalize_text(text: str, config: NormalizeConfig) -> str:
    """``text`` with, in this order: mojibake repaired line by line (ftfy), every kind of line end made a line feed,
    terminal escapes and control characters removed, the Unicode form of the config, trailing white space cut from lines,
    runs of blank lines shortened, and none at either end. White space within and before a line stays (code, tables).
    """
    plain = text.isascii()
    if config.fix_mojibake and not plain:
        text = "\n".join(line if line.isascii() else _fix_mojibake(line) for line in text.split("\n"))
    text = _ODD_NEWLINE.sub("\n", text)
    if "\x1b" in text:
        text = _TERMINAL_ESCAPE.sub("", text)
    text = _CONTROL.sub("", text)
    if config.unicode_form is not None and not plain:
        text = unicodedata.normalize(config.unicode_form, text)
    text = "\n".join(map(str.rstrip, text.split("\n")))
    allowed = config.max_blank_lines + 1
    if "\n" * (allowed + 1) in text:
        text = re.sub(f"\n{{{allowed + 1},}}", "\n" * allowed, text)
    return text.strip("\n")


def _fix_mojibake(line: str) -> str:
    return ftfy.fix_encoding(line, _FTFY)


def normalize_shard(source: Path, target: Path, config: NormalizeConfig) -> dict[str, int]:
    """Normalise the texts of one document shard into another; ids, sources and metadata stay, text_hash is new.

    Memory: one row group. Returns documents (read), written, changed, empty (dropped, under ``drop_empty``), and the
    UTF-8 bytes of text in and out. ``target`` appears only when it is complete.
    """
    counts = dict.fromkeys(("documents", "written", "changed", "empty", "text_bytes_in", "text_bytes_out"), 0)
    target = Path(target)
    temporary = target.with_suffix(".tmp")
    with pq.ParquetFile(source) as file, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
            before = batch.column("text").to_pylist()
            after = [normalize_text(text, config) for text in before]
            table = pa.Table.from_batches([batch]).select(SCHEMA.names)
            table = table.set_column(1, SCHEMA.field("text"), pa.array(after, pa.string()))
            table = table.set_column(5, SCHEMA.field("text_hash"), pa.array(map(text_hash, after), pa.string()))
            kept = [bool(text) or not config.drop_empty for text in after]
            if not all(kept):
                table = table.filter(pa.array(kept))
            writer.write_table(table.cast(SCHEMA), row_group_size=ROW_GROUP_ROWS)
            counts["documents"] += len(after)
            counts["written"] += table.num_rows
            counts["empty"] += len(kept) - sum(kept)
            counts["changed"] += sum(old != new for old, new in zip(before, after, strict=True))
            counts["text_bytes_in"] += sum(len(text.encode()) for text in before)
            counts["text_bytes_out"] += sum(len(text.encode()) for text in after)
    os.replace(temporary, target)
    return counts
