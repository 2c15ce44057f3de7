"""Unicode and whitespace normalisation of document text."""

import re
import unicodedata
from pathlib import Path

import ftfy
import pyarrow as pa

from data_quality.config import NormalizeConfig
from data_quality.documents import SCHEMA
from data_quality.hashing import text_hash
from data_quality.shards import BATCH_ROWS, read_batches, whole_parquet

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
# A byte 0x80-0x9f alone in a Western text is Windows-1252's; in a Chinese one it is the rest of a broken character.
_FTFY_EAST_ASIAN = _FTFY._replace(fix_c1_controls=False)
# Characters that wrongly decoded text can consist of: not ASCII, not East Asian, not the usual quotes and dashes.
_SUSPECT = re.compile(
    "[^\x00-\x7f\u2010-\u2015\u2018\u2019\u201c\u201d\u2026\u3000-\u9fff\uac00-\ud7a3\uff00-\uffef\U00020000-\U0003ffff]"
)
_EAST_ASIAN = re.compile("[\u3000-\u9fff\uac00-\ud7a3\uff00-\uffef]")
_TERMINAL_ESCAPE = re.compile(r"\x1b\[[0-9;:?]*[A-Za-z]")
_ODD_NEWLINES = "\r\v\f\x85\u2028\u2029"
_ODD_NEWLINE = re.compile(f"[{_ODD_NEWLINES}]")
# C0 without tab and line feed, DEL, C1, byte order mark and non-characters.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_ODD = re.compile(f"[{_ODD_NEWLINES}\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
# The same two for ASCII text, where bytes.translate is many times faster.
_ASCII_NEWLINES = bytes.maketrans(b"\r\v\f", b"\n\n\n")
_ASCII_CONTROL = bytes([*range(9), *range(14, 32), 127])


def normalize_text(text: str, config: NormalizeConfig) -> str:
    """``text`` with, in this order: mojibake repaired line by line (ftfy), every kind of line end made a line feed,
    terminal escapes and control characters removed, the Unicode form of the config, trailing space cut from lines,
    runs of blank lines shortened, and none at either end. White space within and before a line stays (code, tables).
    """
    plain = text.isascii()
    if config.fix_mojibake and not plain and _SUSPECT.search(text):
        text = "\n".join(map(_fix_mojibake, text.split("\n")))
    text = text.replace("\r\n", "\n")
    if "\x1b" in text:
        text = _TERMINAL_ESCAPE.sub("", text)
    if plain:
        text = text.encode("ascii").translate(_ASCII_NEWLINES, _ASCII_CONTROL).decode("ascii")
    elif _ODD.search(text):
        text = _CONTROL.sub("", _ODD_NEWLINE.sub("\n", text))
    if config.unicode_form is not None and not plain:
        text = unicodedata.normalize(config.unicode_form, text)
    text = "\n".join(map(str.rstrip, text.split("\n")))
    allowed = config.max_blank_lines + 1
    if "\n" * (allowed + 1) in text:
        text = re.sub(f"\n{{{allowed + 1},}}", "\n" * allowed, text)
    return text.strip("\n")


def _fix_mojibake(line: str) -> str:
    if line.isascii() or not _SUSPECT.search(line):
        return line
    return ftfy.fix_encoding(line, _FTFY_EAST_ASIAN if _EAST_ASIAN.search(line) else _FTFY)


def normalize_shard(source: Path, target: Path, config: NormalizeConfig) -> dict[str, int]:
    """Normalise the texts of one document shard into another; ids, sources and metadata stay, text_hash is new.

    Memory: one row group. Returns documents (read), written, changed, empty (dropped, under ``drop_empty``), and the
    UTF-8 bytes of text in and out. ``target`` appears only when it is complete.
    """
    counts = dict.fromkeys(("documents", "written", "changed", "empty", "text_bytes_in", "text_bytes_out"), 0)
    with whole_parquet(target, SCHEMA) as writer:
        for batch in read_batches(source, SCHEMA.names):
            before = batch.column("text").to_pylist()
            after = [normalize_text(text, config) for text in before]
            table = pa.Table.from_batches([batch])
            table = table.set_column(1, SCHEMA.field("text"), pa.array(after, pa.string()))
            table = table.set_column(5, SCHEMA.field("text_hash"), pa.array(map(text_hash, after), pa.string()))
            kept = [bool(text) or not config.drop_empty for text in after]
            if not all(kept):
                table = table.filter(pa.array(kept))
            writer.write_table(table.cast(SCHEMA), row_group_size=BATCH_ROWS)
            counts["documents"] += len(after)
            counts["written"] += table.num_rows
            counts["empty"] += len(after) - table.num_rows
            counts["changed"] += sum(old != new for old, new in zip(before, after, strict=True))
            counts["text_bytes_in"] += sum(len(text.encode()) for text in before)
            counts["text_bytes_out"] += sum(len(text.encode()) for text in after)
    return counts
