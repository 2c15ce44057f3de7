"""Nothing that is read is run: no call in the four packages could, and data that wants to be run is refused."""

import ast
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.config import HuggingFaceSource
from data_quality.damaged import DamagedFile
from data_quality.documents import iter_documents, read_shard
from data_quality.errors import UsageError
from data_quality.sources import huggingface
from data_quality.sources.base import InputError
from lm.damaged import read_table

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_quality", "lm", "tasks", "flows")
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads",
    "shelve.open", "joblib.load", "dill.loads", "cloudpickle.loads", "torch.load", "torch.jit.load", "os.system",
    "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "pandas.read_pickle",
    "tempfile.mktemp", "zipfile.extractall", "tarfile.open", "shutil.unpack_archive", "csv.writer", "csv.DictWriter",
}  # fmt: skip
METHODS = {"extractall", "to_csv", "write_csv", "to_excel", "read_pickle"}
ALLOWED: set[tuple[str, str]] = set()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_call_runs_what_was_read_or_writes_a_table_that_a_spreadsheet_runs() -> None:
    """CSV is only read here: a cell that begins with = would be a formula to whoever opens what we wrote."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name, call in calls(path):
                given = {word.arg: word.value for word in call.keywords}
                wrong = name in FORBIDDEN or (name.rpartition(".")[2] in METHODS and "." in name)
                wrong |= name in ("np.load", "numpy.load") and ast.unparse(given.get("allow_pickle", call)) != "False"
                wrong |= name in ("np.save", "numpy.save") and ast.unparse(given.get("allow_pickle", call)) != "False"
                wrong |= isinstance(shell := given.get("shell"), ast.Constant) and bool(shell.value)
                wrong |= isinstance(trust := given.get("trust_remote_code"), ast.Constant) and bool(trust.value)
                if wrong and (path.name, name) not in ALLOWED:
                    found.append(f"{path.relative_to(ROOT)}:{call.lineno}: {name}")
    assert found == []


def hub(folder: Path, **settings: object) -> HuggingFaceSource:
    return HuggingFaceSource.model_validate({"format": "huggingface", "dataset": str(folder), **settings})


def test_a_dataset_that_brings_a_script_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shady"
    folder.mkdir()
    ran = tmp_path / "ran"
    (folder / "shady.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    with pytest.raises(InputError, match="shady"):
        list(huggingface.read(hub(folder), None, []))
    assert not ran.exists()


class Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.marker), "w"))


def test_a_dataset_of_pickles_is_refused(tmp_path: Path) -> None:
    ran, file = tmp_path / "ran", tmp_path / "data.pkl"
    file.write_bytes(pickle.dumps(Runs(ran)))
    with pytest.raises(InputError):
        list(huggingface.read(hub(Path("pandas"), data_files=[str(file)]), None, [str(file)]))
    assert not ran.exists()


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    from lm.ngram.arrays import _mapped

    ran = tmp_path / "ran"
    np.save(tmp_path / "words.npy", np.array([Runs(ran)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"words\.npy: Array can't be memory-mapped: Python objects in dtype"):
        _mapped(tmp_path / "words.npy")
    assert not ran.exists()


def shard(path: Path, **columns: pa.Array) -> Path:
    whole = {name: pa.array(["x"]) for name in ("id", "text", "source", "language")} | {"metadata": pa.array(["{}"])}
    pq.write_table(pa.table({**whole, **columns}), path)
    return path


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"metadata": pa.array(["[" * 100_000])}, "the metadata of x are no JSON"),
        ({"metadata": pa.array(["{'a': 1}"])}, "the metadata of x are no JSON"),
        ({"text": pa.array([7])}, "its columns are not those of documents"),
        ({"id": pa.array([b"\xff"])}, "its columns are not those of documents"),
    ],
)
def test_a_shard_of_other_things(tmp_path: Path, columns: dict[str, pa.Array], said: str) -> None:
    with pytest.raises(DamagedFile, match=rf"a\.parquet: .*{said}") as raised:
        list(iter_documents(shard(tmp_path / "a.parquet", **columns)))
    assert isinstance(raised.value, UsageError)  # the command line shows the message alone


def test_a_shard_whose_text_is_no_utf8(tmp_path: Path) -> None:
    """Parquet stores a text's bytes as they are: with a flipped bit they may be no text any more."""
    latin = pa.StringArray.from_buffers(1, pa.array([0, 4], pa.int32()).buffers()[1], pa.py_buffer(b"caf\xe9"))
    path = shard(tmp_path / "a.parquet", text=latin)
    for read in (lambda: list(iter_documents(path)), lambda: read_shard(path), lambda: read_table(path)):
        with pytest.raises(ValueError, match=r"a\.parquet: .*Invalid UTF8"):
            read()
    assert read_shard(path, ["id"]).num_rows == 1


def test_parquet_with_absurd_metadata(tmp_path: Path) -> None:
    """A stored schema of Arrow's and pandas' own, which readers would follow, full of nonsense; and a bare footer."""
    path = tmp_path / "a.parquet"
    table = pq.read_table(shard(path))
    nonsense = {b"pandas": b"[" * 100_000, b"x" * 1000: b"y" * 1_000_000}
    pq.write_table(table.replace_schema_metadata(nonsense), path)
    assert [document.id for document in iter_documents(path)] == ["x"]
    pq.write_table(table.replace_schema_metadata({b"ARROW:schema": b"\xff" * 1000}), path)
    with pytest.raises(DamagedFile, match=r"a\.parquet: "):
        list(iter_documents(path))
    for footer in (b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff"):
        path.write_bytes(path.read_bytes()[:-8] + footer + b"PAR1")
        with pytest.raises(DamagedFile, match=r"a\.parquet: "):
            list(iter_documents(path))
    path.write_text(json.dumps({}))
    with pytest.raises(DamagedFile, match=r"a\.parquet: "):
        list(iter_documents(path))
