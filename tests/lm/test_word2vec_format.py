"""The two files of word2vec: as the released program and gensim write them, and what is damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest

from lm.interop.word2vec import read_word2vec, write_binary, write_text
from lm.stop import Interrupted
from lm.vectors.neighbours import WordVectors
from lm.vectors.vocabulary import Vocabulary

VECTORS = np.array([[0.1, -2.0, 3e-8], [1 / 3, 0.0, 1e20]], dtype=np.float32)
# as gensim 4.4 wrote two vectors of these words: no line end behind a vector
GENSIM_BINARY = (
    b"2 3\n" + b"the " + struct.pack("<3f", 0.1, -2.0, 3e-8) + "漢字 ".encode() + struct.pack("<3f", 1 / 3, 0.0, 1e20)
)
GENSIM_TEXT = "2 3\nthe 0.1 -2.0 3e-08\n漢字 0.33333334 0.0 1e+20\n"


@pytest.fixture
def vectors() -> WordVectors:
    return WordVectors(Vocabulary(("the", "漢字"), np.array([5, 3])), VECTORS)


def test_text_is_what_gensim_writes(vectors: WordVectors, tmp_path: Path) -> None:
    write_text(vectors, tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_text(encoding="utf-8") == GENSIM_TEXT


def test_binary_has_a_line_end_behind_each_vector(vectors: WordVectors, tmp_path: Path) -> None:
    write_binary(vectors, tmp_path / "v.bin")
    written = (tmp_path / "v.bin").read_bytes()
    assert len(written) == len(GENSIM_BINARY) + 2
    assert written.endswith(b"\n")
    assert written[:20] == GENSIM_BINARY[:20]
    assert written[20:21] == b"\n"


@pytest.mark.parametrize("form", ["text", "binary", "gensim"])
@pytest.mark.parametrize("said", [True, False])
def test_what_was_written_is_read_to_the_bit(vectors: WordVectors, tmp_path: Path, form: str, said: bool) -> None:
    path = tmp_path / "file"
    if form == "gensim":
        path.write_bytes(GENSIM_BINARY)
    else:
        (write_text if form == "text" else write_binary)(vectors, path)
    found = read_word2vec(path, binary=form != "text" if said else None)
    assert found.words == ("the", "漢字")
    assert found.vectors.dtype == np.float32
    assert (found.vectors == VECTORS).all()
    assert found.neighbours("the", 1)[0][0] == "漢字"


def test_numbers_keep_every_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, (300, 7), dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers[~np.isfinite(numbers)] = 1.5
    many = WordVectors(Vocabulary(tuple(f"w{n}" for n in range(300)), np.zeros(300)), numbers)
    for write in (write_text, write_binary):
        write(many, tmp_path / "file")
        assert (read_word2vec(tmp_path / "file").vectors.view(np.uint32) == numbers.view(np.uint32)).all()


DAMAGED = {
    "no header": (b"the 0.1 0.2\n", "the first line says words and dimensions, not b'the 0.1 0.2"),
    "nothing": (b"", "the first line says words and dimensions, not b''"),
    "no words": (b"0 3\n", "0 words of 3 dimensions are announced, which cannot be"),
    "too many": (b"9999999999 9999\n", "9999999999 words of 9999 dimensions are announced, which cannot be"),
    "bomb": (b"80000000 100\na 1\n", "17 bytes cannot hold 80000000 words of 100 numbers: it is cut off"),
    "short line": (b"2 3\nthe 1 2 3\nof 1 2\n", "word 2: 2 numbers instead of 3: b'of 1 2"),
    "no number": (b"2 2\nthe 1 2\nof 1 x\n", "word 2: could not convert string to float"),
    "twice": (b"2 1\nthe 1\nthe 2\n", "the word 'the' stands twice in the vocabulary"),
    "more": (b"1 1\nthe 1\nof 2\n", "1 words were announced, but there is more behind them: b'of'"),
    "not UTF-8": (b"1 1\n\xff\xfe 1\n", r"word 1: not UTF-8: b'\\xff\\xfe'"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_says_where(tmp_path: Path, name: str) -> None:
    content, message = DAMAGED[name]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_word2vec(tmp_path / "file", binary=False)


def test_a_binary_file_that_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(GENSIM_BINARY[:-3] + b"")
    with pytest.raises(ValueError, match="it ends in the vector of word 2: it is cut off"):
        read_word2vec(tmp_path / "file")
    (tmp_path / "file").write_bytes(GENSIM_BINARY[:24] + b"x" * 20)
    with pytest.raises(ValueError, match="it ends in word 2: it is cut off"):
        read_word2vec(tmp_path / "file", binary=True)
    (tmp_path / "file").write_bytes(b"1 2\n" + b"x" * 70_000)
    with pytest.raises(ValueError, match="no space within 65536 bytes: it is no binary file of word2vec"):
        read_word2vec(tmp_path / "file", binary=True)


def test_words_that_no_file_holds(tmp_path: Path) -> None:
    odd = WordVectors(Vocabulary(("new york", "x"), np.zeros(2)), VECTORS)
    for write in (write_text, write_binary):
        with pytest.raises(ValueError, match=r"the word 'new york' has white space in it \(or is empty\)"):
            write(odd, tmp_path / "file")
        assert not (tmp_path / "file").exists()


def test_asked_to_stop(vectors: WordVectors, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="writing vectors"):
        write_text(vectors, tmp_path / "file", should_stop=lambda: True)
