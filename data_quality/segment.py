"""Words where no spaces part them, or where they part too little: Chinese, Japanese and Korean.

Chinese is cut by jieba's dictionary and model (rjieba, its port to Rust) and, in a Chinese document, so is all the
rest of the text, because FineWeb-2's thresholds for Chinese mean jieba's words (datatrove runs spaCy with jieba).
Japanese and Korean have a stated fallback that needs no dictionary, of about the length of a dictionary's words:

- Japanese: runs of one script; Han and Hiragana runs in pieces of at most two characters, Katakana of at most twelve;
  を is a word, and so is a particle (は が に の と で も へ) that follows Kanji or Katakana.
- Korean: an eojeol (what spaces part), without its punctuation, is cut before its particle or ending: the longest
  suffix in a fixed list, and before that once more if the stem ends in 하, 되, 했 or 됐. One of more than 15 characters
  is cut in threes.

A row of Han characters is read as Chinese or Japanese by the Kana around it: `text_language` decides for a document.
"""

import re
from functools import cache
from typing import Literal

import rjieba

from data_quality.scripts import HAN

WordRule = Literal["spaced", "chinese", "japanese"]

_CHINESE = frozenset({"zh", "zho", "yue", "cmn", "wuu", "lzh", "nan", "hak", "gan", "hsn"})

# A Han character says about as much as three letters, a Kana or a Hangul syllable as two.
HAN_WEIGHT, KANA_WEIGHT, HANGUL_WEIGHT = 3, 2, 2
JAPANESE_KANA_SHARE = 0.1  # of Han and Kana; Japanese prose has over 0.3, Chinese has none but names like 优の良品

_HIRAGANA = "\u3041-\u3096\u309d\u309e"
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_JAPANESE = re.compile(
    f"(?<=[{HAN}{_KATAKANA}])[はがにのとでもへ]|を|[{_HIRAGANA}](?:(?!を)[{_HIRAGANA}])?"
    f"|[{_KATAKANA}]{{1,12}}|[{HAN}]{{1,2}}|."
)

_PARTICLES = """
    은 는 이 가 을 를 의 에 에서 에게 에는 에도 에서는 께 한테 와 과 로 으로 로서 으로서 로는 으로는
    도 만 까지 부터 보다 처럼 마다 이나 라고 이라고 이라는 라는 들 들이 들은 들을 들의 적 인 년 월 일
"""
_VERB_ENDINGS = """
    다 이다 한다 된다 했다 됐다 었다 았다 였다 이었다 있다 없다 니다 습니다 합니다 입니다 됩니다 었습니다
    았습니다 였습니다 있습니다 고 며 면 지 게 서 던 한 할 함 된 될 됨 요 어요 아요 세요 지만 는데
"""
_ENDING = "|".join(sorted((_PARTICLES + _VERB_ENDINGS).split(), key=lambda ending: (-len(ending), ending)))
_EOJEOL = re.compile(f"(.+?)(하|되|했|됐)?({_ENDING})", re.DOTALL)
LONGEST_EOJEOL = 15  # in characters; a longer one is a sentence written without spaces
HANGUL_SYLLABLE = re.compile("[\uac00-\ud7a3]")

# jieba (Python) looks at these characters together and lets every other stand alone; its Rust port has a wider set.
_JIEBA_HAN = "\u4e00-\u9fd5"
_DOUBTFUL = re.compile(f"[^{_JIEBA_HAN}a-zA-Z0-9]")
_JIEBA_PIECES = re.compile(rf"[{_JIEBA_HAN}]+|[a-zA-Z0-9]+(?:\.\d+)?%?|[+#&._%\-]+|.", re.DOTALL)


@cache
def _jieba() -> rjieba.Jieba:
    return rjieba.Jieba()  # one of our own: a program that adds words to rjieba's changes nothing here


def jieba_cut(text: str) -> list[str]:
    """`text` in rjieba's pieces, white space among them one character each; joined they give `text`."""
    pieces: list[str] = _jieba().cut(text)
    return pieces


def jieba_words(piece: str) -> tuple[str, ...]:
    """The words, as the Python jieba cuts them, of one piece of `jieba_cut`: none for white space.

    The port takes `Check-in`, `2009.03.08` and `䟃𧽼` for one word each; jieba cuts at signs, and lets characters
    outside its range stand alone, unless its dictionary has the word (`C++`).
    """
    if piece.isspace():
        return ()
    if len(piece) == 1 or not _DOUBTFUL.search(piece) or _jieba().has_word(piece):
        return (piece,)
    return tuple(_JIEBA_PIECES.findall(piece))


def chinese_words(text: str) -> tuple[str, ...]:
    """jieba's words of `text`, white space left out."""
    return tuple(word for piece in jieba_cut(text) for word in jieba_words(piece))


def japanese_words(run: str) -> tuple[str, ...]:
    """The fallback's words of a run of Han and Kana; joined they give `run`."""
    return tuple(_JAPANESE.findall(run))


def korean_words(eojeol: str) -> tuple[str, ...]:
    """Stem, verbal suffix and ending of an eojeol, as far as it has them, or threes; joined they give `eojeol`."""
    if len(eojeol) > LONGEST_EOJEOL:
        return tuple(eojeol[at : at + 3] for at in range(0, len(eojeol), 3))
    found = _EOJEOL.fullmatch(eojeol)
    return (eojeol,) if found is None else tuple(part for part in found.groups() if part)


def cjk_language(letters: int, han: int, kana: int, hangul: int) -> str | None:
    """zh, ja or ko by the scripts of a text; None unless they carry at least half of it.

    `letters` counts all letters, the other three those of one script, in characters.
    """
    weight = HAN_WEIGHT * han + KANA_WEIGHT * kana + HANGUL_WEIGHT * hangul
    if weight == 0 or 2 * weight < weight + letters - han - kana - hangul:
        return None
    if HANGUL_WEIGHT * hangul > HAN_WEIGHT * han + KANA_WEIGHT * kana:
        return "ko"
    return "ja" if kana >= JAPANESE_KANA_SHARE * (han + kana) else "zh"


def base_language(language: str | None) -> str | None:
    """The language of a code such as `zh-Hant` or `en_US`: `zh`, `en`; None for none and for `und`, undetermined."""
    code = re.split("[-_]", language, maxsplit=1)[0].lower() if language else "und"
    return None if code == "und" else code


def word_rule(language: str) -> WordRule:
    """How words are cut in a document of `language` (ISO 639)."""
    return "chinese" if language in _CHINESE else "japanese" if language in ("ja", "jpn") else "spaced"
