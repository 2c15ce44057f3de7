"""Writing systems as ranges for regular expressions, and which of them have no spaces between words.

Of these, Han and Kana have rules of their own for what a word is (`data_quality/segment.py`). The others, Thai, Lao,
Burmese, Khmer and Tibetan above all, are told into words by dictionaries only, and there is none here. They have a
fallback, the same for words, shingles, windows and decontamination: a unit is one letter with the marks that follow it,
so that no clause is ever one word, and no vowel sign or tone mark is one by itself. Of scripts that nobody writes any
more (hieroglyphs, cuneiform, runes) a row is one word.
"""

import re

HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
KANA = "\u3031-\u3035\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc"

_THAI = "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46"
_LAO = "\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"
_MYANMAR = (
    "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e"
    "\ua9e0-\ua9e4\ua9e6-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a\uaa7e\uaa7f"
)
_KHMER = "\u1780-\u17b3\u17d7\u17dc"
_TIBETAN = "\u0f00\u0f40-\u0f6c\u0f88-\u0f8c"
_TAI = (  # Tai Le, New Tai Lue, Tai Tham, Tai Viet, Ahom
    "\u1950-\u1974\u1980-\u19c9\u1a20-\u1a54\u1aa7"
    "\uaa80-\uaaaf\uaab1\uaab5\uaab6\uaab9-\uaabd\uaac0\uaac2\uaadb-\uaadd\U00011700-\U0001171a\U00011740-\U00011746"
)
_INDONESIAN = (
    "\u1a00-\u1a16\u1b05-\u1b33\u1b45-\u1b4c\u1bc0-\u1be5\ua984-\ua9b2\ua9cf"  # Buginese, Balinese, Batak, Javanese
)
_OTHERS = (
    "\u3021-\u3029\u3038-\u303b\u3100-\u312f\u31a0-\u31bf"  # Hangzhou numerals, Bopomofo
    "\ua000-\ua48f\U00016fe0\U00016fe1\U00016fe3\U00016ff2-\U00018dff"  # Yi, Tangut, Khitan
    "\U0001aff0-\U0001b2ff\U000323b0-\U0003ffff"  # Kana supplements, Nushu, Han of later versions of Unicode
)
LETTERS = _THAI + _LAO + _MYANMAR + _KHMER + _TIBETAN + _TAI + _INDONESIAN + _OTHERS
"""Letters of scripts without spaces, but for Han and Kana."""
MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
    "\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d"
    "\ua9e5\uaa7b-\uaa7d\u17b4-\u17d3\u17dd\U00016fe4\U00016ff0\U00016ff1"
    "\u0f18\u0f19\u0f35\u0f37\u0f39\u0f3e\u0f3f\u0f71-\u0f84\u0f86\u0f87\u0f8d-\u0fbc\u0fc6"
    "\u1a55-\u1a7f\uaab0\uaab2-\uaab4\uaab7\uaab8\uaabe\uaabf\uaac1\U0001171d-\U0001172b"
    "\u1a17-\u1a1b\u1b00-\u1b04\u1b34-\u1b44\u1b6b-\u1b73\u1be6-\u1bf3\ua980-\ua983\ua9b3-\ua9c0"
)
"""Their vowel signs, tone marks and other combining characters."""
_INVISIBLE = "\u00ad\u0300-\u036f\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff"  # what joins any letter before it

UNIT = re.compile(f"[{LETTERS}][{MARKS}{_INVISIBLE}]*")
"""One letter with its marks."""
UNSPACED = re.compile(f"[{LETTERS}]")
EAST_ASIAN = re.compile(f"[{HAN}{KANA}]")
UNSEGMENTED = re.compile(f"[{HAN}{KANA}{LETTERS}]")
"""A character of any script without spaces."""


def ranges(pattern: str) -> list[tuple[int, int]]:
    """The code point ranges of such a character class, first and last of each."""
    found, at = [], 0
    while at < len(pattern):
        wide = pattern[at + 1 : at + 2] == "-"
        found.append((ord(pattern[at]), ord(pattern[at + 2]) if wide else ord(pattern[at])))
        at += 3 if wide else 1
    return found
