"""`textmill import`: which file or folder of another program holds what, and who reads it.

A folder is a Hugging Face one (config.json), or has an ARPA file, or a vectors.txt or vectors.bin of word2vec. With a
tokenizer beside it, the words of an ARPA file or of vectors are its tokens: so our own exports come back whole.
"""

from pathlib import Path

from lm.interop.arpa_reader import read_arpa
from lm.interop.hugging_face import import_hf
from lm.interop.word2vec import read_word2vec
from lm.stop import ShouldStop, never
from lm.tokenizer import TOKENIZER_FILE
from lm.vectors.artifact import VECTORS, save_vectors

ARPA = (".arpa", ".arpa.gz")
WORD2VEC = {".txt": False, ".bin": True, ".vec": None}
"""Which files hold vectors, and whether in the binary format; None: what is in the file says."""
FOLDER_VECTORS = ("vectors.bin", "vectors.txt")  # of both, which hold the same, the one that is read faster
WHAT = (
    "what can be read: a Hugging Face folder (config.json and safetensors), an n-gram model (a file ending in .arpa or"
    " .arpa.gz, or a folder with one), word vectors (a file ending in .txt, .vec or .bin, or a folder with vectors.txt"
    " or vectors.bin)"
)


def import_model(source: Path, out: Path, should_stop: ShouldStop = never) -> None:
    """Write the model of a file or folder of another program to the folder `out` as one of ours.

    Raises FileNotFoundError if there is none, ValueError for what none of our kinds computes, and for a damaged file.
    """
    if source.is_dir() and (source / "config.json").exists():
        import_hf(source, out)
        return
    found = _file(source) if source.is_dir() else source
    if not found.exists():
        raise FileNotFoundError(f"{source}: no such file or folder; {WHAT}")
    tokenizer = found.parent if (found.parent / TOKENIZER_FILE).exists() and source.is_dir() else None
    if found.name.endswith(ARPA):
        read_arpa(found, out, tokenizer, should_stop=should_stop)
    elif found.suffix in WORD2VEC:
        _import_vectors(found, out, tokenizer, should_stop)
    else:
        raise ValueError(f"{source}: not a model of another program; {WHAT}")


def _file(folder: Path) -> Path:
    arpa = sorted(path for path in folder.iterdir() if path.name.endswith(ARPA))
    if len(arpa) > 1:
        raise ValueError(f"{folder}: several ARPA files: name one of {', '.join(path.name for path in arpa)}")
    vectors = [folder / name for name in FOLDER_VECTORS if (folder / name).exists()]
    if arpa and vectors:
        raise ValueError(f"{folder}: n-grams and vectors: name one of {arpa[0].name}, {vectors[0].name}")
    if not arpa and not vectors:
        raise FileNotFoundError(f"{folder}: no model there; {WHAT}")
    return (arpa or vectors)[0]


def _import_vectors(path: Path, out: Path, tokenizer: Path | None, should_stop: ShouldStop) -> None:
    vectors = read_word2vec(path, WORD2VEC[path.suffix], should_stop)
    described = {**vectors.described, "unit": "word" if tokenizer is None else "token"}
    save_vectors(vectors.vocabulary, {VECTORS: vectors.vectors}, described, tokenizer, out)
