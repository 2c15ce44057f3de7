"""`textmill clean` with a budget of tokens: counted by a tokenizer that the configuration names, of any model."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from flows.commands.clean import clean, clean_config
from flows.commands.rebuild import describe, rebuild
from flows.config.loading import ConfigError
from tasks.machine.home import store_path
from tasks.running import pool
from tasks.running.run import Resources
from tasks.store import Store
from tests.tasks.tiny_corpus import TOPICS, write_documents

pytestmark = pytest.mark.heavy

BUDGET = 4000
QUICK = {"resources.workers": "1", "resources.threads": "1"}
BY_TOKENS = {"mixture.enabled": "true", "mixture.unit": "tokens", "mixture.budget": str(BUDGET)}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words and signs as tokens, one special token put before each text, no end of text: none of our kinds."""
    vocabulary = {"[UNK]": 0, "<bos>": 1, "roses": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tokenizer.enable_truncation(10)
    folder = tmp_path_factory.mktemp("foreign")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    write_documents(tmp_path / "documents")
    inputs = [str(tmp_path / "documents" / topic / "*.txt") for topic in TOPICS]

    def run(**overrides: str) -> dict[str, Any]:
        given = QUICK | BY_TOKENS | {name.replace("__", "."): value for name, value in overrides.items()}
        return clean(clean_config(inputs, None, given, None), str(tmp_path / "out"), quiet=True)

    yield run
    pool.shut_down()


def test_the_kept_documents_have_the_tokens_that_were_asked_for(run: Any, foreign: Path, tmp_path: Path) -> None:
    manifest = run(tokenizer=json.dumps(str(foreign / "tokenizer.json")), mixture__weights="{gardens: 2}")
    pieces = pre_tokenizers.Whitespace()
    kept = [row for path in sorted((tmp_path / "out" / "kept").iterdir()) for row in pq.read_table(path).to_pylist()]
    sizes = [len(pieces.pre_tokenize_str(row["text"])) for row in kept]
    read = sum(row["copies"] * size for row, size in zip(kept, sizes, strict=True))
    assert BUDGET - 2 * max(sizes) < read <= BUDGET
    of = {a["stage"]: a for a in manifest["artifacts"]}
    groups = of["mixture"]["counts"]["groups"]
    assert sum(group["drawn"] for group in groups.values()) == read
    assert groups["gardens"]["rate"] == pytest.approx(2 * groups["harbours"]["rate"])
    assert of["count_tokens"]["counts"]["tokens"] == sum(group["size"] for group in groups.values())
    assert of["adopt_tokenizer"]["counts"] == {"vocab_size": 3}


def test_again_nothing_is_built_and_a_folder_or_an_artifact_will_do(run: Any, foreign: Path, tmp_path: Path) -> None:
    first = run(tokenizer=str(foreign))
    before = {path: path.stat().st_ino for path in store_path().glob("artifacts/*/*")}
    assert run(tokenizer=str(foreign)) == first
    [adopted] = Store(store_path()).list("adopt_tokenizer")
    again = run(tokenizer=f"adopt_tokenizer/{adopted.key}")
    assert again["artifacts"] == first["artifacts"]
    Store(store_path()).set_alias("pretrain", adopted)  # a stage's name, but it means this artifact
    assert run(tokenizer="pretrain")["artifacts"] == first["artifacts"]
    assert {path: path.stat().st_ino for path in store_path().glob("artifacts/*/*")} == before


def test_a_rebuild_names_the_tokenizer_that_changed_or_went_away(run: Any, foreign: Path, tmp_path: Path) -> None:
    file = shutil.copytree(foreign, tmp_path / "own") / "tokenizer.json"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    run(tokenizer=str(file))
    [drawn] = Store(store_path()).list("mixture")

    def again() -> dict[str, Any]:
        return rebuild(drawn.name, Resources(workers=1, threads=1), go_on=False, keep=False, quiet=True)

    assert again()["equal"]
    file.write_bytes(file.read_bytes() + b"\n")
    answer = again()
    assert (answer["equal"], answer["first"]["stage"]) == (False, "adopt_tokenizer")
    now = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"tokenizer.json changed: its SHA-256 was {before}, is {now} ({file})" in describe(answer)
    file.unlink()
    answer = again()
    assert answer["first"]["stage"] == "adopt_tokenizer"
    assert f"tokenizer.json is no longer at {file} (it had the SHA-256 {before})" in describe(answer)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, r"mixture.unit: tokens of which tokenizer\? Set `tokenizer` to the tokenizer.json"),
        ("empty", r"tokenizer: .*empty/tokenizer.json: no tokenizer there"),
        ("broken.json", r"tokenizer: .*broken.json: no tokenizer: "),
        ("train_tokenizer", "tokenizer: 'train_tokenizer' is a stage; name one artifact"),
        ("pretrain", "tokenizer: 'pretrain' is a stage; name one artifact"),  # a stage that no cleaning imports
        ("nobody", "tokenizer: nobody is no file or folder on this machine, and no artifact is called 'nobody'"),
        ("models/x.json", "tokenizer: models/x.json is no file or folder on this machine, and no artifact is called"),
        ("s3://b/tokenizer.json", "tokenizer: s3://b/tokenizer.json is no file or folder on this machine, and no"),
    ],
)
def test_what_is_no_tokenizer_is_named_before_anything_is_read(
    name: str | None, message: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(Exception, match=message):
        run(**({} if name is None else {"tokenizer": name}))
    assert not list(store_path().glob("artifacts/ingest/*"))


def test_an_artifact_without_a_tokenizer_is_named(run: Any, tmp_path: Path) -> None:
    run(mixture__enabled="false")
    [corpus] = Store(store_path()).list("ingest")
    with pytest.raises(ConfigError, match=rf"tokenizer: {corpus.name} has no tokenizer.json; `textmill ls"):
        run(tokenizer=f"ingest/{corpus.key}")
