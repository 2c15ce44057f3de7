"""Character classes: one table lookup per character, and the two character sets the published rules mean."""

import unicodedata
from functools import cache

import numpy as np

from data_quality import scripts
from data_quality.kept_tables import kept_tables
from data_quality.scripts import HAN, HANGUL, KANA, LETTERS, ranges

# Bits of a character's classes, frozen in compiled kernels (compiled.py says what that means for a change).
# SYMBOL: see `SYMBOLS`; PUNCTUATION: Unicode general category P; TERMINAL: see `TERMINAL_PUNCTUATION`; LINE_BREAK:
# `str.splitlines` breaks there; UNSPACED_LETTER: `scripts.LETTERS`.
(
    LETTER, DIGIT, UPPER, WHITE, SYMBOL, IS_HAN, IS_KANA, IS_HANGUL, PUNCTUATION, ENDS_SENTENCE, TERMINAL, LINE_BREAK,
    UNSPACED_LETTER,
) = (1 << bit for bit in range(13))  # fmt: skip
CLASSES = 12  # of these, the first are counted

_CONTROLS = "".join(map(chr, (*range(9), 11, 12, *range(13, 32), *range(127, 160))))


# Ends of sentences in all scripts: those of spaCy's sentencizer (`default_punct_chars`; a test holds them equal: to
# import spaCy for them would cost two seconds), and the ones that Unicode added since, which datatrove's
# `TERMINAL_PUNCTUATION` (utils/text.py) also holds.
_SENTENCE_ENDS = (
    "!.?\u0589\u061f\u06d4\u0700-\u0702\u07f9\u0964\u0965\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u1803"
    "\u1809\u1944\u1945\u1aa8-\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047-\u2049\u2e2e"
    "\u2e3c\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d-\uaa5f\uaaf0\uaaf1"
    "\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61\U00010a56\U00010a57\U00011047\U00011048\U000110be-\U000110c1"
    "\U00011141-\U00011143\U000111c5\U000111c6\U000111cd\U000111de\U000111df\U00011238\U00011239"
    "\U0001123b\U0001123c\U000112a9\U0001144b\U0001144c\U000115c2\U000115c3\U000115c9-\U000115d7"
    "\U00011641\U00011642\U0001173c-\U0001173e\U00011a42\U00011a43\U00011a9b\U00011a9c\U00011c41\U00011c42"
    "\U00016a6e\U00016a6f\U00016af5\U00016b37\U00016b38\U00016b44\U0001bc9f\U0001da88"
)
SENTENCE_ENDS = frozenset(chr(code) for first, last in ranges(_SENTENCE_ENDS) for code in range(first, last + 1))
TERMINAL_PUNCTUATION = SENTENCE_ENDS | frozenset(
    "\u061d\u061e\u0837\u0839\u083d\u083e\u17d4\u17d5\u17d6\u17d9\u17da\u1b7d\u1b7e\u2e53\u2e54"
    "\U00010f55\U00010f56\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87\U00010f88\U00010f89"
    "\U00011944\U00011946\U00011ef7\U00011ef8\U00011f43\U00011f44\U00016e98"
)

# What a word may consist of and not count as a word: cc_net's punctuation (text_normalizer.py) with the control
# characters and the terminal punctuation, as datatrove's `PUNCTUATION_SET`. The full-width one is theirs.
SYMBOLS = TERMINAL_PUNCTUATION | frozenset(
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«´»–—’“”„…∶━►、。〈〉《》「」【】！％（），．１：；？～" + _CONTROLS
)

_LAST_ASSIGNED_LETTER = 0x32400


@cache
def class_table() -> np.ndarray:
    """Bit set of character classes by code point: uint16 of shape [0x110000]."""
    [table] = kept_tables("characters", _class_table, __file__, scripts.__file__)
    return table


def _class_table() -> tuple[np.ndarray]:
    table = np.zeros(0x110000, dtype=np.uint16)
    for code in range(_LAST_ASSIGNED_LETTER):
        character = chr(code)
        table[code] = (
            LETTER * character.isalpha()
            + DIGIT * character.isdigit()
            + UPPER * character.isupper()
            + WHITE * character.isspace()
            + SYMBOL * (character in SYMBOLS)
            + PUNCTUATION * unicodedata.category(character).startswith("P")
            + ENDS_SENTENCE * (character in SENTENCE_ENDS)
            + TERMINAL * (character in TERMINAL_PUNCTUATION)
            + LINE_BREAK * (len(f"{character}.".splitlines()) == 2)
        )
    for pattern, bit in ((HAN, IS_HAN), (KANA, IS_KANA), (HANGUL, IS_HANGUL), (LETTERS, UNSPACED_LETTER)):
        for first, last in ranges(pattern):
            table[first : last + 1] |= bit
    return (table,)


def code_points(text: str) -> np.ndarray:
    """Code points of `text`: uint32 of shape [characters]."""
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
