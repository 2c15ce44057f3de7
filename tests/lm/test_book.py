"""docs/models is a book that runs: the Python of each page, in order, on small models and texts made here.

A page finds `text.txt` and `wordsim353.tsv` in its folder, and models by the names that it gives them. A snippet whose
first line begins with `# not run:` says there why it is none for a test.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lm.artifact import save_model
from lm.models.bert import Bert
from lm.models.bert_config import bert_preset
from lm.models.elmo import ELMo
from lm.models.elmo_config import ELMoConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import gpt_preset
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.models.transformer_xl import TransformerXL
from lm.models.transformer_xl_config import transformer_xl_preset
from lm.tokenizer import end_of_text_id, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, TokenizerConfig, WordConfig, WordPieceConfig
from lm.translator import save_translator

BOOK = Path(__file__).parents[2] / "docs/models"
PAGES = sorted(path.name for path in BOOK.glob("*.md") if "```python" in path.read_text(encoding="utf-8"))
SENTENCES = (
    "the king and the queen read a line of text",
    "a man and a woman sat on the bank of the river",
    "it is a matter of taste and it is a list of the parts",
    "the king is a man and the queen is a woman",
    "the old man read the book of the river",
)
LINES = [SENTENCES[n * n % len(SENTENCES)] + f" {n % 7} times" for n in range(120)]
SIMILAR = "# word1\tword2\tscore\nking\tqueen\t8.5\nman\twoman\t8.3\nking\triver\t1.2\nbank\tmoney\t8.1\n"


def tokenizer_in(folder: Path, config: TokenizerConfig) -> tuple[Path, int, int]:
    """A tokenizer of the lines: its folder, its size, the token that ends documents."""
    train_tokenizer(LINES, config, folder)
    tokenizer = load_tokenizer(folder)
    return folder, tokenizer.get_vocab_size(), end_of_text_id(tokenizer)


def nnlm(folder: Path) -> None:
    tokens, vocab, end = tokenizer_in(folder.with_name("pieces"), ByteBPEConfig(vocab_size=400))
    save_model(NNLM(NNLMConfig(order=3, embedding=8, hidden=8, vocab=vocab, start_token=end)), tokens, folder)


def lstm(folder: Path) -> None:
    tokens, vocab, _ = tokenizer_in(folder.with_name("pieces"), ByteBPEConfig(vocab_size=400))
    save_model(RNNLM(RNNConfig(embedding=8, width=8, vocab=vocab)), tokens, folder)


def elmo(folder: Path) -> None:
    tokens, vocab, end = tokenizer_in(folder.with_name("pieces"), WordConfig(kind="word", min_frequency=1))
    size = {"width": 16, "cell_width": None, "clip": None, "highways": 1, "filters": ((1, 4), (2, 8))}
    config = ELMoConfig.model_validate({"characters": 12, "vocab": vocab, **size})
    assert end < vocab
    save_model(ELMo(config), tokens, folder)


def gpt(folder: Path) -> None:
    tokens, vocab, _ = tokenizer_in(folder.with_name("pieces"), ByteBPEConfig(vocab_size=400))
    save_model(GPT(gpt_preset("pico", vocab=vocab)), tokens, folder)


def bert(folder: Path) -> None:
    tokens, vocab, _ = tokenizer_in(folder.with_name("pieces"), WordPieceConfig(kind="wordpiece", vocab_size=400))
    save_model(Bert(bert_preset("bert-tiny", vocab, width=16, heads=2, context=64)), tokens, folder)


def transformer_xl(folder: Path) -> None:
    tokens, vocab, _ = tokenizer_in(folder.with_name("pieces"), ByteBPEConfig(vocab_size=400))
    save_model(TransformerXL(transformer_xl_preset("xl-pico", vocab=vocab, layers=1)), tokens, folder)


def translator(folder: Path) -> None:
    tokens, vocab, _ = tokenizer_in(folder.with_name("pieces"), ByteBPEConfig(vocab_size=400))
    sizes = {"source_vocab": vocab, "target_vocab": vocab, "embedding": 8, "width": 8}
    model = Seq2Seq(Seq2SeqConfig.model_validate({**sizes, "bidirectional": True, "attention": "general"}))
    save_translator(model, tokens, tokens, folder)


MODELS: dict[str, Callable[[Path], None]] = {
    made.__name__: made for made in (nnlm, lstm, elmo, gpt, bert, transformer_xl, translator)
}


def snippets(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (BOOK / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    Path("wordsim353.tsv").write_text(SIMILAR, encoding="utf-8")
    code = [snippet for snippet in snippets(page) if not snippet.startswith("# not run:")]
    for name in MODELS:
        if f'Path("{name}")' in "".join(code):
            MODELS[name](tmp_path / name)
    names: dict[str, Any] = {}
    for number, snippet in enumerate(code):
        exec(compile(snippet, f"{page}, snippet {number + 1}", "exec"), names)
    assert names.keys() > {"__builtins__"}


def test_pages_name_files_and_tests_that_exist() -> None:
    root = BOOK.parents[1]
    tests = "".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py"))
    defined = partial(re.search, string=tests)
    missing = []
    for page in sorted(BOOK.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for test in re.findall(r"\b(test_\w+)(?!\w|\.py|\.\.\.)`", text):
            if not defined(rf"def {test}\(") and not (root / f"tests/lm/{test}.py").exists():
                missing.append(f"{page.name}: {test}")
        for name in re.findall(r"`((?:lm|tests|benchmarks|configs|flows|tasks)/[\w/.-]+\.(?:py|yaml))", text):
            if not (root / name).exists():
                missing.append(f"{page.name}: {name}")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not (page.parent / link).exists():
                missing.append(f"{page.name}: {link}")
    assert not missing
