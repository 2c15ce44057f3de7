"""The card of every other kind of model that is registered: counted, embedded, translating, taught to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from flows.commands.export import export_model, import_model
from flows.config.instruct import load_instruct
from flows.config.loading import CONFIGS
from flows.config.translation import TranslationConfig
from flows.finetune import requests_of, train
from flows.instruct import build_instructed
from flows.translate import build_translation
from lm.config import TrainConfig
from lm.finetune.config import FinetuneConfig
from lm.ngram.config import NgramConfig
from lm.pretraining import BertPretraining
from lm.tokenizers.config import WordPieceConfig
from lm.vectors.config import Word2VecConfig
from tasks.adopt import AdoptConfig, adopt_model
from tasks.card import card
from tasks.cards.limits import limits
from tasks.ngram import ngram
from tasks.pretrain import PretrainRequest, pretrain
from tasks.running.run import use_run
from tasks.stage import NoConfig
from tasks.storage.files import read_json
from tasks.store import Artifact, Store
from tasks.tokenizer import tokenize, train_tokenizer
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


def small_gpt(home: Path) -> Artifact:
    """The pretrained model that was there first."""
    kinds = {
        model: read_json(model.file("config.json"))["kind"] for model in Store(home / "home/store").list("pretrain")
    }
    return next(model for model, kind in kinds.items() if kind == "gpt")


def answering(home: Path) -> Artifact:
    model = small_gpt(home)
    config = load_instruct(
        CONFIGS / "instruct" / "chat.yaml",
        {"task": chat_task(home / "chats"), "model": f"pretrain/{model.key}", "train.device": "cpu"},
    )
    return build_instructed(config.smoke()).model


def masked(home: Path) -> Artifact:
    """A BERT, with a tokenizer that has its special tokens."""
    corpus, split = artifact(home, "filter_corpus"), artifact(home, "split")
    tokenizer = train_tokenizer(WordPieceConfig(kind="wordpiece", vocab_size=300), corpus=corpus, split=split)
    tokens = tokenize(NoConfig(), corpus=corpus, tokenizer=tokenizer)
    settings = BertPretraining.model_validate(
        {"model": {"layers": 1, "width": 16, "heads": 2, "context": 32, "vocab": 300}, "segments": {"length": 32}}
    )
    config = TrainConfig(steps=2, batch=4, eval_sequences=4, sample_interval=0, device="cpu")
    request = PretrainRequest(settings=settings, train=settings.resolve(config))
    return pretrain(request, tokens=tokens, split=split, tokenizer=tokenizer, init_from=[])


def adapted(home: Path) -> Artifact:
    """Adapters on it, of a task."""
    settings = FinetuneConfig.model_validate(
        {"lora": {"rank": 2, "matrices": ["q"]}, "epochs": 1, "batch": 8, "evaluations": 1, "device": "cpu"}
    )
    model = masked(home)
    [request] = requests_of(settings, (0,), "adapted", model)
    return train(request, "adapted", artifact(home, "labelled"), model)


def taken_in(home: Path) -> Artifact:
    """The pretrained model by way of Hugging Face's files, which say nothing of where it comes from."""
    export_model(small_gpt(home).path, "hf", home / "elsewhere")
    return adopt_model(AdoptConfig.of(import_model(home / "elsewhere", home / "imported")))


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
    tokenizer: bool = True
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
    Kind(
        masked,
        "fill-mask",
        {
            "Tokenizer": ["kind `wordpiece`, vocabulary "],
            "Training": ["Read in training: tokens ", ", steps 2"],
            "Evaluation": ["| masked_accuracy | ", "| pair_accuracy | ", "its own validation split"],
            "Limits": ["It sees 32 tokens at most", "No exam was put to it"],
            "Settings": ['"masking": ', '"length": 32,'],
        },
        "It continues text",
        tokenizer=False,
        stages=["pretrain", "split", "train_tokenizer", "tokenize", "filter_corpus", "ingest"],
    ),
    Kind(
        adapted,
        "text-classification",
        {
            "Data": ["(which-library): train "],
            "Tokenizer": ["kind `wordpiece`, vocabulary "],
            "Training": ["Learned by adapters of rank 2 on q and by the head: ", "The adapters are merged into"],
            "Evaluation": ["| accuracy | ", "its own validation split", "its own test split"],
            "Limits": ["Held-out figures are of documents like those"],
            "Settings": ['"lora": {', '"rank": 2'],
        },
        "It continues text",
        tokenizer=False,
        stages=["finetune", "labelled", "pretrain", "train_tokenizer", "filter_corpus", "ingest"],
    ),
    Kind(
        taken_in,
        "text-generation",
        {
            "Data": ["Training data: not recorded; the model was taken in from outside"],
            "Tokenizer": ["None of its own: it came with the model"],
            "Evaluation": [NO_EXAM],
            "Limits": ["It continues text; it was not taught to answer"],
            "Rebuild": ["It reads the model's files again where they lay when it was taken in", "cannot be done again"],
            "Settings": ['"model.safetensors": '],
        },
        "The licence of",
        corpus=False,
        stages=["adopt_model"],
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
    of_a_corpus = {name: said for name, said in OF_A_CORPUS.items() if kind.tokenizer or name != "Tokenizer"}
    expected = [*kind.said.items(), *(of_a_corpus.items() if kind.corpus else [])]
    for section, sentences in expected:
        for said in sentences:
            assert said in found[section]
    assert kind.not_said not in found["Limits"]
    assert "None of them is in the model." in found["Training"]
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
