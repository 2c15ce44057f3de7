"""`textmill init FOLDER`: a commented config for the documents in a folder."""

import json
import re
from pathlib import Path

from flows.commands.rules_for import LANGUAGES, rules_for
from flows.commands.survey import MARKUP, OFFICE_FORMATS, Found, Survey, guess_language, han_share, survey
from lm.models.gpt_config import GPT_PRESETS

BYTES_PER_TOKEN = 3.5
"""UTF-8 bytes, for a byte-level BPE of some thousand tokens on text of its own kind."""
TOKENS_PER_PARAMETER = 20
"""Training tokens for a parameter at the best use of compute (Hoffmann et al. 2022, Chinchilla)."""
EPOCHS = 4
"""Passes that teach almost as much as fresh text does (Muennighoff et al. 2023)."""
ENGLISH_RULESETS = ("gopher_repetition", "gopher_quality")
"""Those with thresholds for plain text; c4 and fineweb suit web pages."""
METADATA_NAMES = ("url", "title", "date")
"""Columns that later steps know: duplicates by address, the oldest copy."""
SHOWN_CHARACTERS = 60
"""Of a value that a comment names."""
FLOPS_PER_SECOND = 1e11
"""For the estimate of hours: what two CPU cores do in fp32."""


def init_config(folder: Path) -> str:
    """A config for `textmill run`, as YAML with comments, from a look at a folder of documents.

    Raises:
        flows.config.pipeline.ConfigError: the folder has nothing that can be read.
    """
    seen = survey(folder)
    return "\n".join([*_head(seen), *_ingest(seen), *_quality(seen), *_model(seen)]) + "\n"


PRESETS = [name for name, config in GPT_PRESETS.items() if config.norm == "pre" and config.band is None]
"""Those of GPT-2 and ours of its kind; GPT-1 and GPT-3 are there to be compared."""


def suggest_preset(text_bytes: int) -> str:
    """The largest model preset that this much text can fill, in at most EPOCHS passes."""
    tokens = EPOCHS * text_bytes / BYTES_PER_TOKEN
    sizes = sorted((GPT_PRESETS[name].parameter_count(), name) for name in PRESETS)
    fitting = [name for parameters, name in sizes if parameters * TOKENS_PER_PARAMETER <= tokens]
    return fitting[-1] if fitting else sizes[0][1]


def _head(seen: Survey) -> list[str]:
    lines = [f"# Written by `textmill init {seen.folder}`. Guesses from a look at a few files: check them."]
    for found in seen.found:
        place = f" in {found.subfolder}/" if found.subfolder else ""
        lines.append(f"# {found.files:,} {found.format} files{place}, {_size(found.stored_bytes)} stored")
    if seen.other:
        listed = ", ".join(f"{count} {extension}" for extension, count in sorted(seen.other.items()))
        lines.append(f"# Not read: {listed}")
    name = re.sub(r"[^a-z0-9]+", "-", Path(seen.folder).absolute().name.lower()).strip("-") or "corpus"
    return [*lines, f"name: {name}", ""]


def _ingest(seen: Survey) -> list[str]:
    lines = ["ingest:", "  sources:"]
    for found in seen.found:
        lines += [f"    {line}" for line in source_lines(found, seen)]
    return lines


def source_lines(found: Found, seen: Survey) -> list[str]:
    """One item of `ingest.sources` as lines of YAML, with comments on what was guessed."""
    lines = [
        f"- format: {found.format}",
        f"  name: {_quoted(_name(found))}",
        f"  paths: [{', '.join(map(_quoted, _paths(found, seen)))}]",
    ]
    language = guess_language(found.sample)
    if language:
        share = f" ({han_share(found.sample):.0%} of the letters are Han)" if language == "zh" else ""
        lines.append(f"  language: {language}  # given to every document{share}")
    if found.encoding != "utf-8":
        why = "not all is valid UTF-8: told for each file" if found.encoding == "auto" else "guessed from a sample"
        lines.append(f"  encoding: {found.encoding}  # {why}")
    if found.format in MARKUP:
        return lines
    if found.format == "text":
        lines.append(f"  document: {found.document}  # or: file, line, paragraph, separator")
        if found.document == "separator":
            lines.append('  separator: "<|endoftext|>"')
        return lines
    if found.format in OFFICE_FORMATS:
        return lines
    if found.delimiter:
        lines.append(f"  delimiter: {_quoted(found.delimiter)}")
    if found.mixed_delimiters:
        lines.append(
            "  # the files have several delimiters: those with another than their extension says want a source each"
        )
    others = ", ".join(sorted(set(found.columns) - {found.text_column})) or "none"
    if found.text_column is None:
        lines.append("  text_column: text  # no column with text was seen: name the one that has it")
    else:
        lines.append(f"  text_column: {_quoted(found.text_column)}  # other text columns: {others}")
    if found.repeated_id:
        name, value = found.repeated_id
        lines.append(f"  # {_quoted(name)} was not taken for id_column: a value repeats in the sample, {_shown(value)}")
    if found.id_column:
        lines.append(f"  id_column: {_quoted(found.id_column)}")
    lines += [f"  {name}_column: {name}" for name in ("source", "language") if name in found.columns]
    metadata = [name for name in METADATA_NAMES if name in found.columns]
    if metadata:
        lines.append(f"  metadata_columns: [{', '.join(metadata)}]")
    return lines


def _name(found: Found) -> str:
    """Names begin the documents' ids: no space, colon or hash."""
    subfolder = re.sub(r"[\s:#]+", "-", found.subfolder)
    return f"{subfolder}-{found.format}" if subfolder else found.format


def _paths(found: Found, seen: Survey) -> list[str]:
    folder = seen.folder if "://" in seen.folder else str(Path(seen.folder).absolute())
    if found.subfolder:
        return [_below(folder, found.subfolder)]
    if all(other is found or other.format != found.format for other in seen.found):
        return [folder]
    return [_below(folder, f"*{extension}") for extension in sorted(found.extensions)]


def _below(folder: str, name: str) -> str:
    return folder + name if folder.endswith("/") else f"{folder}/{name}"


def _quality(seen: Survey) -> list[str]:
    """The rulesets of every language that was seen; what is in another language, or cannot be told, is not judged."""
    languages = {guess_language(found.sample) for found in seen.found}
    chosen = rules_for(languages, ENGLISH_RULESETS)
    lines = ["", "rules:"]
    if not languages <= set(LANGUAGES):
        lines += [
            f"  # There are rulesets for {', '.join(LANGUAGES)}. Some or all of this text is in another language, or",
            "  # it cannot be told: nothing of that is dropped for its quality.",
        ]
    lines.append(
        f"  rulesets: [{', '.join(chosen['rulesets'])}]"
        + ("  # c4 and fineweb suit web pages" if "en" in languages else "")
    )
    if "ruleset_languages" in chosen:  # the other rulesets name their language themselves
        own = ", ".join(f"{ruleset}: {language}" for ruleset, language in chosen["ruleset_languages"].items())
        lines.append(f"  ruleset_languages: {{{own}}}")
    return lines


def _model(seen: Survey) -> list[str]:
    preset = suggest_preset(seen.text_bytes)
    model = GPT_PRESETS[preset]
    tokens = max(1, round(EPOCHS * seen.text_bytes / BYTES_PER_TOKEN))
    hours = 6 * model.parameter_count() * tokens / FLOPS_PER_SECOND / 3600
    return [
        "",
        f"# About {_size(seen.text_bytes)} of text, {tokens / EPOCHS / 1e6:,.1f} M tokens, before deduplication and",
        f"# filters. {model.parameter_count() / 1e6:,.1f} M parameters is what {EPOCHS} passes over it can fill: about",
        f"# {_duration(hours)} on two CPU cores, far less on a GPU. Half the epochs, half the time.",
        "tokenizer:",
        "  train:",
        f"    vocab_size: {model.vocab}",
        "model:",
        f"  preset: {preset}  # {', '.join(PRESETS)}",
        "pretrain:",
        "  train:",
        f"    epochs: {EPOCHS}",
    ]


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _duration(hours: float) -> str:
    if hours < 1.5:
        return f"{max(1, round(hours * 60))} minutes"
    return f"{hours:,.0f} hours" if hours < 48 else f"{hours / 24:,.0f} days"


def _shown(value: str) -> str:
    """For a comment, which some characters beyond ASCII would end."""
    return json.dumps(value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}...")


def _quoted(value: str) -> str:
    """A YAML string; JSON's are a subset."""
    return json.dumps(value, ensure_ascii=False)
