"""The card of every other kind of model that is registered: counted, embedded, translating, taught to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from flows.config.instruct import load_instruct
from flows.config.loading import CONFIGS
from flows.config.translation import TranslationConfig
from flows.instruct import build_instructed
from flows.translate import build_translation
from lm.ngram.config import NgramConfig
from lm.vectors.config import Word2VecConfig
from tasks.card import card
from tasks.cards.limits import limits
from tasks.ngram import ngram
from tasks.running.run import use_run
from tasks.store import Artifact, Store
from tasks.vectors import word_vectors
from tests.flows.lineage_home import artifact, quiet_run
from tests.flows.test_card import sections
from tests.flows.test_instruct import chat_task


def given(home: Path) -> dict[str, Artifact]:
    """What is counted and embedded."""
    stages = {"tokens": "tokenize", "split": "split", "tokenizer": "train_tokenizer"}
    return {name: artifact(home, stage) for name, stage in stages.items()}


def counted(home: Path) -> Artifact:
    return ngram(NgramConfig(order=2), **given(home))


def embedded(home: Path) -> Artifact:
    config = Word2VecConfig(kind="word2vec", dimensions=8, epochs=1, min_count=1, sample=0)
    return word_vectors(config, **given(home))


def translating(home: Path) -> Artifact:
    pairs = home / "pairs.tsv"
    pairs.write_text("".join(f"a dog {n} runs\tein Hund {n} rennt\n" for n in range(80)), encoding="utf-8")
    config = TranslationConfig.model_validate(
        {
            "name": "tiny",
            "pairs": {"train": {"file": str(pairs)}, "license": "CC0-1.0"},
            "tokenizers": {"train": {"kind": "byte_bpe", "vocab_size": 280}},
            "translator": {"model": {"kind": "transformer", "layers": 1, "width": 8, "feed_forward": 8, "heads": 1}},
            "train": {"steps": 2, "batch": 4},
        }
    ).smoke()
    return build_translation(config).model


def answering(home: Path) -> Artifact:
    model = artifact(home, "pretrain")
    config = load_instruct(
        CONFIGS / "instruct" / "chat.yaml",
        {"task": chat_task(home / "chats"), "model": f"pretrain/{model.key}", "train.device": "cpu"},
    )
    return build_instructed(config.smoke()).model


OWNER = "is for its owner to find out."
EVERYWHERE = ["Data", "Tokenizer", "Training", "Evaluation", "Limits", "Time and energy", "Rebuild", "Settings"]
OF_A_CORPUS = {
    "Data": ["| gardens | text | 32 | 30 |", "gopher_quality (10 rules)", "Train 20, valid 15, test 15 documents"],
    "Tokenizer": ["kind `byte_bpe`, vocabulary 400"],
    "Limits": [f"The licence of 2 of 2 sources is not recorded: whether the model may be passed on {OWNER}"],
}
NO_EXAM = "Nothing was asked of it yet: `textmill evaluate` puts exams to it."


@dataclass
class Kind:
    """How a model is made, what the hub is told that it is for, and what stands in which section of its card."""

    make: Callable[[Path], Artifact]
    pipeline: str
    said: dict[str, list[str]]
    not_said: str
    corpus: bool = True
    stages: Sequence[str] = ()


KINDS = [
    Kind(
        counted,
        "text-generation",
        {
            "Training": ["Read in training: documents 20, tokens "],
            "Evaluation": [NO_EXAM],
            "Limits": ["It continues text; it was not taught to answer", "tokens for each parameter; about 20 are"],
            "Settings": ['"order": 2,', '"smoothing": "modified_kneser_ney"'],
        },
        "A word has one vector",
        stages=["ngram", "split", "train_tokenizer", "tokenize", "filter_corpus", "ingest"],
    ),
    Kind(
        embedded,
        "feature-extraction",
        {
            "Training": ["Read in training: documents 20, words "],
            "Evaluation": [NO_EXAM],
            "Limits": ["A word has one vector, whatever it means where it stands"],
            "Settings": ['"dimensions": 8,', '"kind": "word2vec"'],
        },
        "It continues text",
        stages=["word_vectors", "split", "train_tokenizer", "tokenize", "filter_corpus", "ingest"],
    ),
    Kind(
        translating,
        "translation",
        {
            "Data": ["(pairs): train 79, valid 1. Licence: CC0-1.0."],
            "Tokenizer": ["`pair_tokenizer/", "kind `byte_bpe`, vocabulary 280"],
            "Training": ["Read in training: tokens ", ", steps "],
            "Evaluation": ["| bits_per_byte | ", "| bleu | ", "| chrf | ", "its own validation split"],
            "Limits": ["It translates in the direction of its pairs only", "No exam was put to it"],
            "Settings": ['"kind": "transformer",', '"alpha": 0.6,'],
        },
        "licence",
        corpus=False,
        stages=["train_translator", "pairs", "pair_tokenizer"],
    ),
    Kind(
        answering,
        "text-generation",
        {
            "Data": ["(chats): train 21, valid 3. Licence: not recorded."],
            "Training": ["Read in training: tokens ", ", steps "],
            "Evaluation": ["| exact_match | ", "| rouge_l | ", "its own validation split"],
            "Limits": [
                "It was taught to answer by examples alone",
                "The licence of the examples that it was taught with is not recorded: ",
                "It sees 64 tokens at most",
            ],
            "Settings": ['"chat": '],
        },
        "tokens for each parameter",  # it read more than what it was taught with
        stages=["instruct", "labelled_set", "pretrain", "train_tokenizer", "filter_corpus", "ingest"],
    ),
]


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.make.__name__)
def test_every_section_of_a_card_speaks_of_this_model(in_model_home: Path, kind: Kind) -> None:
    with use_run(quiet_run(in_model_home)):
        model = kind.make(in_model_home)
    text = card(Store(in_model_home / "home/store"), model)
    assert yaml.safe_load(text.split("---\n")[1])["pipeline_tag"] == kind.pipeline
    assert f"{model.counts()['parameters']:,} parameters" in text
    assert model.digest in text
    found = sections(text)
    assert list(found) == EVERYWHERE
    expected = [*kind.said.items(), *(OF_A_CORPUS.items() if kind.corpus else [])]
    for section, sentences in expected:
        for said in sentences:
            assert said in found[section]
    assert kind.not_said not in found["Limits"]
    assert f"textmill rebuild {model.stage}/{model.key}\n" in found["Rebuild"]
    named = {
        line.split("|")[1].strip().partition("/")[0] for line in found["Time and energy"].splitlines() if "/" in line
    }
    assert set(kind.stages) <= named


def test_examples_without_a_licence_are_said_to_have_none_where_nothing_else_is_known() -> None:
    facts = {"described": {"kind": "transformer"}, "counts": {}, "stage": "train_translator", "base": [], "corpora": []}
    sets = [{"stage": "pairs", "license": "not recorded"}]
    [_, said] = limits({**facts, "figures": [], "sets": sets})
    assert said.startswith("The licence of the examples that it was taught with is not recorded: ")
    assert said.endswith(OWNER)
    assert len(limits({**facts, "figures": [], "sets": [{"stage": "labelled", "license": "not recorded"}]})) == 1
