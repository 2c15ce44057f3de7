"""What a run of the chaos suite builds: from three tiny stages to nearly everything that can be built.

chain      three tiny stages
corpus     documents up to the kept corpus and the split
all        the whole quickstart, small: 22 stages to the report
curation   every step of curation: languages, addresses, lines, substrings, perplexity, classifier, benchmarks, and
           a mixture by tokens, up to the decision whether to pretrain
models     word vectors, a BERT that puts similar words in place of some, a ladder, an exam, a scaling study and its
           grid
learning   a search of which one trial diverges, a study, an instruction tuning, a translator, from files
contest    a champion and its challenger on documents that neither has read, and a corpus counted by a tokenizer from
           outside
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tasks.tiny_corpus import TOPICS, configuration

TRAIN: dict[str, Any] = {"steps": 6, "batch": 4, "eval_sequences": 4}
BENCHMARK = "benchmark.txt"


def build(scope: str, documents: Path, count: int) -> None:
    """Everything of a scope, inside a run.

    Args:
        documents: the folder of `tests.tasks.tiny_corpus`; what is learned from files is beside it.
        count: of the chain.
    """
    if scope == "chain":
        _chain(count)
    else:
        SCOPES[scope](documents)


def _chain(count: int) -> None:
    from tests.tasks.driver import chain
    from tests.tasks.stages import NumbersConfig

    chain(NumbersConfig(count=count))


def _corpus(documents: Path) -> None:
    from flows.corpus import build_corpus

    build_corpus(configuration(documents))


def _all(documents: Path) -> None:
    from flows.pipeline import build_all

    build_all(configuration(documents))


def _curation(documents: Path) -> None:
    from flows.corpus import build_corpus
    from flows.pretrain import build_tokens
    from flows.refresh import decide_pretraining

    gardens, harbours = ({"sources": [topic]} for topic in TOPICS)
    benchmark = documents.parent / BENCHMARK
    if not benchmark.exists():
        benchmark.write_text((documents / "gardens" / "07.txt").read_text().split("\n")[0] + "\n")
    config = configuration(
        documents,
        language={"enabled": True},
        url={"enabled": True},
        lines={"enabled": True, "min_documents": 3, "min_share": None},
        substring={"enabled": True},
        classifier={"enabled": True, "reference": gardens, "raw": harbours, "bits": 10},
        perplexity={"enabled": True, "reference": gardens, "order": 3, "vocab_size": 300},
        decontaminate={"benchmarks": [{"name": "own", "paths": [str(benchmark)]}]},
        mixture={"enabled": True, "unit": "tokens", "budget": 2_000, "weights": {"harbours": 2.0}},
        refresh={"pretrain_above": 0.01},
    )
    corpus = build_corpus(config)
    build_tokens(config, corpus)
    decide_pretraining(config, corpus)


def _models(documents: Path) -> None:
    from flows.config.ladder import LadderConfig, ModelConfig
    from flows.config.scaling import ScalingConfig
    from flows.exam import take
    from flows.ladder import build_ladder, build_models
    from flows.scaling import build_scaling
    from tasks.exams.config import Perplexity

    hiding = {"train": {"vocab_size": 400, "special_tokens": "roberta"}}
    shared = configuration(documents, tokenizer=hiding).model_dump(
        exclude={"model", "pretrain", "task", "finetune", "evaluate", "refresh"}
    )
    by_similar = {"dynamic": False, "unit": "word", "fate": "word", "hidden_by": "similar"}
    small = {"layers": 1, "width": 16, "heads": 2, "context": 32}
    trained = {"train": TRAIN, "context": 32, "prompt": "The "}
    models: list[dict[str, Any]] = [
        {"kind": "word2vec", "dimensions": 8, "min_count": 1, "epochs": 1},
        {"kind": "bert", **small, "masking": by_similar, "segments": {"length": 32, "pairs": "sop"}},
    ]
    for model in models:
        build_models(ModelConfig.model_validate({**shared, "name": model["kind"], "model": model, **trained}))
    rungs = {
        "trigram": {"kind": "ngram", "order": 3, "smoothing": "kneser_ney"},
        "gpt": {"kind": "gpt", "preset": "pico"},
    }
    made = build_ladder(LadderConfig.model_validate({**shared, "models": rungs, **trained}))
    take(made.models[-1], Perplexity(name="own-words", paths=(str(documents / "harbours" / "00.txt"),)))
    sizes = [{"layers": 1, "width": 8}, {"layers": 1, "width": 16}, {"layers": 2, "width": 16}]
    study = {
        **{"model": {"kind": "gpt", "preset": "pico", "context": 32}, "sizes": sizes, "budgets": [128, 256, 512]},
        **{"target": {"layers": 2, "width": 48}, "rate": {"value": 0.01}, "factors": [0.5], "resamples": 20},
        "train": {"batch": 4, "eval_interval": 0, "eval_sequences": 4, "sample_interval": 0},
        "evaluate": {"sequences": 4},
        "grid": {"sizes": sizes[:2], "texts": [600, 3000], "tokens": 128},
    }
    build_scaling(ScalingConfig.model_validate({**shared, **study}))


def _learning(documents: Path) -> None:
    from flows.config.loading import CONFIGS
    from flows.config.translation import load_translation
    from flows.instruct import build_instructed
    from flows.search import build_searched
    from flows.study import build_study
    from flows.translate import build_translation
    from tests.flows.learning_cases import learning_configs, write_learning
    from tests.flows.test_translate import sentences

    folder = documents.parent / "learning"
    if not (folder / "de.txt").exists():
        folder.mkdir(exist_ok=True)
        write_learning(folder)
        for language, lines in zip(("en", "de"), sentences(120, 5), strict=True):
            (folder / f"{language}.txt").write_text("".join(f"{line}\n" for line in lines))
    search, study, instruct = learning_configs(str(folder / "given.json"))
    build_searched(search)
    build_study(study)
    build_instructed(instruct)
    sides = {"pairs.train.source": f"{folder}/en.txt", "pairs.train.target": f"{folder}/de.txt", "pairs.valid": "null"}
    build_translation(load_translation(CONFIGS / "translation" / "seq2seq.yaml", sides).smoke())


def _contest(documents: Path) -> None:
    from flows.champion import compare_pair
    from flows.config.champion import ChampionConfig
    from flows.config.ladder import LadderConfig
    from flows.corpus import build_corpus
    from flows.given import given_tokenizer
    from flows.ladder import build_ladder
    from lm.tokenizer import train_tokenizer
    from lm.tokenizers.config import ByteBPEConfig
    from tasks.running.run import current_run
    from tasks.stage import NoConfig
    from tasks.token_counts import TOKENIZER, count_tokens
    from tasks.tracking.champions import Pair, Version

    config = configuration(documents)
    shared = config.model_dump(exclude={"model", "pretrain", "task", "finetune", "evaluate", "refresh"})
    rungs = {name: {"kind": "ngram", "order": order} for name, order in (("unigram", 1), ("trigram", 3))}
    ladder = LadderConfig.model_validate({**shared, "models": rungs, "train": TRAIN, "context": 32, "prompt": "The "})
    champion, challenger = (Version(name, model) for name, model in zip("12", build_ladder(ladder).models, strict=True))
    settings = ChampionConfig.model_validate({"held_out": {"least": 2}, "contest": {"draws": 100}})
    compare_pair(settings, Pair(champion, challenger), current_run())

    outside = documents.parent / "outside"
    if not (outside / TOKENIZER).exists():
        outside.mkdir(exist_ok=True)
        texts = [(documents / "gardens" / f"{number:02d}.txt").read_text() for number in range(9)]
        train_tokenizer(texts, ByteBPEConfig(vocab_size=300), outside)
    tokenizer = given_tokenizer(str(outside), "tokenizer")
    count_tokens(NoConfig(), corpus=build_corpus(config).kept, tokenizer=tokenizer)


SCOPES: dict[str, Callable[[Path], None]] = {
    "corpus": _corpus,
    "all": _all,
    "curation": _curation,
    "models": _models,
    "learning": _learning,
    "contest": _contest,
}
