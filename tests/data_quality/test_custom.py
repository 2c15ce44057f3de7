"""Signals of the user's own: called once per document, named by rules, and named in full when they fail."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from data_quality.config import CustomSignal, QualityConfig, SignalsConfig
from data_quality.custom import CustomDocument, CustomSignalError, CustomSignals, load_function
from data_quality.judge import judge
from data_quality.rules import choose_rulesets
from data_quality.signal_catalogue import LANGUAGE_SIGNALS
from data_quality.signal_choice import resolve_signals
from data_quality.signals import compute_signals

FUNCTIONS = """
calls = []

def stars(document):
    calls.append(document.id)
    return document.metadata["stars"]

def long_words(document):
    assert [document.text[start:end] for start, end in document.spans] == document.words
    return sum(len(word) > 5 for word in document.words)

def broken(document):
    return 1 / (len(document.text) - 5)

def words(document):
    return document.words

def infinite(document):
    return float("inf")
"""
RULES = """
name: mine
description: Rules on signals of our own.
citation: None.
text: raw
rules:
  - {name: few_stars, signal: stars, operator: "<", threshold: 3, reason: few stars, source: ours}
  - {name: long, signal: long_words, operator: ">", threshold: 1, reason: long words, source: ours}
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(FUNCTIONS)
    return path


def documents(folder: Path) -> Path:
    texts = {"a": "short words here", "b": "considerably longer vocabulary", "c": "short again"}
    metadata = ['{"stars": 5}', '{"stars": 4.5}', '{"stars": 2}']
    path = folder / "documents.parquet"
    columns = {"id": [*texts], "text": [*texts.values()], "source": ["s"] * 3, "metadata": metadata}
    pq.write_table(pa.table(columns), path)
    return path


def test_rules_name_own_signals_like_any_other(tmp_path: Path, functions: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RULES)
    custom = tuple(CustomSignal(name=name, function=f"{functions}:{name}") for name in ("stars", "long_words"))
    config = QualityConfig(rulesets=(str(tmp_path / "mine.yaml"),), signals=SignalsConfig(custom=custom))
    compute_signals(documents(tmp_path), tmp_path / "signals.parquet", resolve_signals(config))
    table = pq.read_table(tmp_path / "signals.parquet")
    assert table["stars"].to_pylist() == [5.0, 4.5, 2.0]
    judge([tmp_path / "signals.parquet"], choose_rulesets(config), tmp_path / "verdicts.parquet")
    first = pq.read_table(tmp_path / "verdicts.parquet")["first_reason"].to_pylist()
    assert first == [None, "mine.long", "mine.few_stars"]


def test_own_signals_see_the_words_that_the_others_count(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def count(document):\n    return len(document.words)\n")
    custom = (CustomSignal(name="count", function=f"{tmp_path / 'own.py'}:count"),)
    texts = ["北京大学的学生don't", "東京大学の学生don't", "I don't know.", "대학교를 다닌다", "图书馆"]
    columns = {"id": [*"abcde"], "text": texts, "language": ["zh-Hant", "ja", "en", None, None]}
    pq.write_table(pa.table(columns), tmp_path / "documents.parquet")
    pq.write_table(
        pa.table(
            {"id": [*"edcba"], "language": ["ja", "ko", "en", "ja", "zh"], "script": ["Hani"] * 5}
            | {name: [0.5] * 5 for name in LANGUAGE_SIGNALS}
        ),
        tmp_path / "languages.parquet",
    )
    found = []
    for words, languages in (("spacy", []), ("plain", []), ("spacy", [tmp_path / "languages.parquet"])):
        config = SignalsConfig(words=words, custom=custom)
        compute_signals(tmp_path / "documents.parquet", tmp_path / "s.parquet", config, languages=languages)
        table = pq.read_table(tmp_path / "s.parquet")
        assert table["count"].to_pylist() == table["words"].to_pylist()
        found.append(table["words"].to_pylist())
    spacy, plain, by_table = found
    assert plain[2] == spacy[2] + 1  # don't
    assert by_table == [*spacy[:4], 2]  # 图书 馆 in Japanese
    assert spacy[4] == 1
    assert table.column_names[:7] == ["id", "language", "source", "script", *LANGUAGE_SIGNALS]
    assert table["language"].to_pylist() == ["zh", "ja", "en", "ko", "ja"]


def test_an_unknown_own_signal_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RULES)
    with pytest.raises(ValidationError, match="unknown signal 'stars'"):
        QualityConfig(rulesets=(str(tmp_path / "mine.yaml"),))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("broken", "12345", r"signal 'broken' \(.*own\.py:broken\) of document 'x' failed: ZeroDivisionError"),
        ("words", "12345", "of document 'x' failed: TypeError"),
        ("infinite", "12345", "of document 'x' is inf: it must be a finite number"),
        ("long_words", "enormous enormous", r"is 2\.0, greater than its upper bound 1\.0"),
    ],
)
def test_a_failure_names_the_document_and_the_function(functions: Path, name: str, text: str, message: str) -> None:
    own = CustomSignals((CustomSignal(name=name, function=f"{functions}:{name}", upper=1),))
    with pytest.raises(CustomSignalError, match=message):
        own.measure(CustomDocument("x", text))


def test_a_function_that_cannot_be_loaded_is_named(tmp_path: Path, functions: Path) -> None:
    with pytest.raises(CustomSignalError, match=r"cannot load none\.py:f: FileNotFoundError: no file none\.py"):
        load_function("none.py:f")
    with pytest.raises(CustomSignalError, match="cannot load no_such_package:f: ModuleNotFoundError"):
        load_function("no_such_package:f")
    with pytest.raises(CustomSignalError, match=r"own\.py has no function 'stern'"):
        load_function(f"{functions}:stern")
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    with pytest.raises(CustomSignalError, match=r"cannot load .*wrong\.py:f: ZeroDivisionError"):
        load_function(f"{tmp_path / 'wrong.py'}:f")


def test_names_and_functions_are_checked_with_the_configuration() -> None:
    own = CustomSignal(name="words", function="a.b:c")
    with pytest.raises(ValidationError, match="'words' is the name of a signal that exists"):
        SignalsConfig(custom=(own,))
    with pytest.raises(ValidationError, match="'char_entropy' is the name of a signal that exists"):
        SignalsConfig(custom=(own.model_copy(update={"name": "char_entropy"}),))
    with pytest.raises(ValidationError, match="'script' is the name of a signal that exists"):
        SignalsConfig(custom=(own.model_copy(update={"name": "script"}),))
    twice = own.model_copy(update={"name": "twice"})
    with pytest.raises(ValidationError, match="given twice: twice"):
        SignalsConfig(custom=(twice, twice))
    with pytest.raises(ValidationError, match=r"neither package\.module:function nor path/to/file\.py:function"):
        CustomSignal(name="x", function="just_a_name")


def test_the_key_holds_the_version_and_no_folder() -> None:
    def key(function: str, version: int = 1, meaning: str = "") -> object:
        own = CustomSignal(name="x", function=function, version=version, meaning=meaning)
        return SignalsConfig(custom=(own,)).key_material()

    assert key("/a/own.py:f") == key("b/own.py:f", meaning="said otherwise")
    assert key("own.py:f") != key("own.py:f", version=2)
    assert key("own.py:f") != key("own.py:g")
