"""What encoder-decoders learn: `python -m benchmarks.seq2seq_learning letters|order|translation|dictionary ...`.

letters      turn strings of letters round: exact answers by length with no attention, additive, dot, general, and a
             Transformer; --picture FILE draws what the additive one looked at
order        copy strings of letters without attention, the source read forwards or backwards, equal budgets
translation  Multi30k English-German or Tatoeba English-Chinese below TEXTMILL_DATA: BLEU and chrF on held-out pairs
dictionary   the same for sources copied, and translated word by word with a dictionary (IBM model 1)

With --directory a run goes on from its last checkpoint; --seconds ends it with one, so that a long one can be made of
short ones. Prints JSON lines.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _dictionary
from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.evaluate.translation import corpus_scores
from lm.hardware import resolve_device
from lm.pairs import Pair, read_pairs, split_pairs, without_leaks
from lm.stop import Interrupted
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, CharacterConfig
from lm.train.hooks import Hooks
from lm.train_translator import train_translator
from lm.translator import Translator, load_translator
from lm.translator_config import SearchConfig, TranslatorConfig

ALPHABET = "abcdefghijklmnopqrst"
RECURRENT = {"kind": "seq2seq", "cell": "gru", "embedding": 48, "width": 96, "initial_span": 0.15}
LETTER_MODELS: dict[str, dict[str, Any]] = {
    "none": {**RECURRENT, "width": 144, "attention": "none"},
    "additive": {**RECURRENT, "width": 80, "attention": "additive", "bidirectional": True},
    "dot": {**RECURRENT, "width": 136, "attention": "dot"},
    "general": {**RECURRENT, "cell": "lstm", "width": 64, "attention": "general", "bidirectional": True},
    "transformer": {"kind": "transformer", "layers": 2, "width": 64, "heads": 4, "feed_forward": 128, "dropout": 0.0},
}
TRANSLATORS: dict[str, dict[str, Any]] = {
    "seq2seq": {
        "kind": "seq2seq",
        "embedding": 192,
        "width": 256,
        "bidirectional": True,
        "attention": "general",
        "tied": True,
        "dropout": 0.2,
        "initial_span": 0.1,
        "shared_embedding": True,
    },
    "transformer": {"kind": "transformer", "layers": 3, "width": 192, "feed_forward": 768, "heads": 4, "dropout": 0.1},
}


def strings(count: int, low: int, high: int, seed: int) -> list[str]:
    """So many strings of `low` to `high` letters."""
    draw = np.random.default_rng(seed)
    return ["".join(draw.choice(list(ALPHABET), draw.integers(low, high + 1))) for _ in range(count)]


def train_config(options: argparse.Namespace, **fields: Any) -> TrainConfig:
    rate = OptimizerConfig(learning_rate=options.rate, beta2=0.98, weight_decay=0.0)
    falling = ScheduleConfig(shape="wsd", warmup_steps=options.warmup, decay_part=0.5, final_fraction=0.03)
    given = {"batch": options.batch, "optimizer": rate, "schedule": falling, "seed": options.seed, **fields}
    return TrainConfig(steps=options.steps, sample_interval=0, checkpoint_seconds=20, **given)


def trained(
    options: argparse.Namespace,
    name: str,
    tokenizers: tuple[Path, Path],
    pairs: Any,
    settings: dict[str, Any],
    **fields: Any,
) -> tuple[dict[str, Any], Translator] | None:
    """Train, or None if the time was over before the end."""
    folder = options.directory / f"{name}-{options.steps}-{options.seed}"
    started, device = time.monotonic(), resolve_device("auto")
    curve: list[tuple[int, float]] = []

    def evaluated(step: int, figures: dict[str, float]) -> None:
        curve.append((step, round(figures["bits_per_byte"], 4)))
        print(json.dumps({"run": name, "step": step, **figures}), flush=True)

    try:
        result = train_translator(
            pairs[0],
            pairs[1],
            *tokenizers,
            TranslatorConfig.model_validate(settings),
            train_config(options, **fields),
            folder / "checkpoints",
            folder / "model",
            hooks=Hooks(on_evaluate=evaluated),
            should_stop=lambda: time.monotonic() - started > options.seconds,
        )
    except Interrupted as stopped:
        print(json.dumps({"run": name, "stopped": str(stopped), "go on": "the same command"}), flush=True)
        return None
    return {**result, "device": device}, load_translator(folder / "model", device)


# --- letters --------------------------------------------------------------------------------------------------


def letter_task(options: argparse.Namespace, turned: bool) -> tuple[tuple[Path, Path], Any, dict[int, list[Pair]]]:
    """A tokenizer of letters, pairs to train on, and pairs of each length to ask."""
    folder = options.directory / "letters"
    if not (folder / "tokenizer.json").exists():
        train_tokenizer([ALPHABET * 2], CharacterConfig(kind="character", vocab_size=300, unknown="unk"), folder)

    def pair(text: str) -> Pair:
        return Pair(text, text[::-1] if turned else text)

    train = [pair(text) for text in strings(20_000, 2, options.longest, 0)]
    asked = {n: [pair(t) for t in strings(200, n, n, 1000 + n)] for n in (2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24)}
    return (folder, folder), (train, [p for n in (4, 8) for p in asked[n]]), asked


def exact(translator: Translator, pairs: list[Pair]) -> float:
    """The share of sources answered without a mistake, greedily."""
    found = translator.translate([p.source for p in pairs], SearchConfig(beam=1, extra=10, batch=200))
    return float(np.mean([a == p.target for a, p in zip(found, pairs, strict=True)]))


def letters(options: argparse.Namespace) -> None:
    tokenizers, pairs, asked = letter_task(options, turned=True)
    for name in options.models or LETTER_MODELS:
        settings = {"model": LETTER_MODELS[name], "bleu_pairs": 1}
        done = trained(options, f"letters-{name}", tokenizers, pairs, settings, precision="fp32")
        if done is None:
            continue
        result, translator = done
        by_length = {n: round(exact(translator, some), 3) for n, some in asked.items()}
        figures = {
            "parameters": result["parameters"],
            "device": result["device"],
            "bits": round(result["valid"]["bits_per_byte"], 4),
        }
        print(json.dumps({"model": name, "seed": options.seed, **figures, "exact": by_length}), flush=True)
        if options.picture and name == "additive":
            word = "attention"
            letters_only = "".join(c for c in word if c in ALPHABET)
            draw(translator, letters_only, translator.translate([letters_only])[0], options.picture)


def order(options: argparse.Namespace) -> None:
    tokenizers, pairs, asked = letter_task(options, turned=False)
    for backwards in (False, True):
        model = {**LETTER_MODELS["none"], "reverse_source": backwards}
        name = f"order-{'backwards' if backwards else 'forwards'}"
        done = trained(options, name, tokenizers, pairs, {"model": model, "bleu_pairs": 1}, precision="fp32")
        if done is not None:
            by_length = {n: round(exact(done[1], some), 3) for n, some in asked.items()}
            bits = round(done[0]["valid"]["bits_per_byte"], 4)
            print(json.dumps({"run": name, "seed": options.seed, "bits": bits, "exact": by_length}), flush=True)


def draw(translator: Translator, source: str, target: str, path: Path) -> None:
    """A square for each pair of tokens, the darker the more was looked at."""
    columns, rows, weights = translator.align(source, target)
    names = [[("end" if "endoftext" in t else t.strip() or "␣") for t in side] for side in (columns, rows)]
    size, left, top = 26, 90, 70
    width, height = left + size * len(columns) + 10, top + size * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="13"><rect width="{width}" height="{height}" fill="white"/>'
    ]
    for i, name in enumerate(names[0]):
        at = round(left + size * (i + 0.6))
        parts.append(f'<text x="{at}" y="{top - 8}" transform="rotate(-50 {at} {top - 8})">{escaped(name)}</text>')
    for j, name in enumerate(names[1]):
        y = top + size * j
        parts.append(f'<text x="{left - 8}" y="{y + 18}" text-anchor="end">{escaped(name)}</text>')
        for i in range(len(columns)):
            shade = 255 - round(255 * float(weights[j, i]))
            parts.append(
                f'<rect x="{left + size * i}" y="{y}" width="{size - 1}" height="{size - 1}" '
                f'fill="rgb({shade},{shade},{255 - round(115 * float(weights[j, i]))})"/>'
            )
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


# --- translation ----------------------------------------------------------------------------------------------


def translation_pairs(pair: str) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs, none of the first sharing a side with one of the second."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit("set TEXTMILL_DATA to the folder that holds labelled/translation")
    folder = Path(os.environ["TEXTMILL_DATA"]) / "labelled" / "translation"
    if pair == "en-de":
        train, valid = (
            read_pairs(*(folder / "multi30k" / f"{part}.{side}.gz" for side in ("en", "de")))
            for part in ("train", "val")
        )
        train, left_out = without_leaks(train, valid)
    else:
        train, valid, left_out = split_pairs(read_pairs(folder / "tatoeba_cmn_eng" / "train.tsv.gz"), 0.05, "en-zh")
    print(json.dumps({"pair": pair, "train": len(train), "valid": len(valid), "left_out": left_out}), flush=True)
    return train, valid


def translation(options: argparse.Namespace) -> None:
    pairs = translation_pairs(options.pair)
    folder = options.directory / f"tokenizers-{options.pair}"
    chinese = options.pair == "en-zh"
    sides = {"en": [p.source for p in pairs[0]]} if chinese else {"both": [t for p in pairs[0] for t in p]}
    for name, texts in sides.items():
        if not (folder / name / "tokenizer.json").exists():
            train_tokenizer(texts, ByteBPEConfig(vocab_size=4000 if chinese else 6000), folder / name)
    if chinese and not (folder / "zh" / "tokenizer.json").exists():
        train_tokenizer([p.target for p in pairs[0]], CharacterConfig(kind="character", vocab_size=4000), folder / "zh")
    tokenizers = (folder / "en", folder / "zh") if chinese else (folder / "both", folder / "both")
    for name in options.models or TRANSLATORS:
        model = {**TRANSLATORS[name], "shared_embedding": not chinese}
        model |= {"source_vocab": 8192, "target_vocab": 8192}
        settings = {
            "model": model,
            "label_smoothing": 0.1,
            "average": {"checkpoints": 5, "interval": max(1, options.steps // 40)},
            "bleu_tokenizer": "zh" if chinese else "13a",
            "limits": {"source": 60, "target": 60},
        }
        more = {"eval_sequences": 512, "eval_interval": max(1, options.steps // 8), "metrics_interval": 100}
        done = trained(options, f"{options.pair}-{name}", tokenizers, pairs, settings, **more)
        if done is None:
            continue
        kept = {key: done[0][key] for key in ("parameters", "device", "tokens", "step", "valid", "copy")}
        print(json.dumps({"model": name, "pair": options.pair, "seed": options.seed, **kept}), flush=True)
        for asked in pairs[1][:4]:
            print(
                json.dumps({**asked._asdict(), "translation": done[1].translate([asked.source])[0]}, ensure_ascii=False)
            )
        if options.picture:
            source = pairs[1][0].source
            draw(done[1], source, done[1].translate([source])[0], options.picture)


def dictionary(options: argparse.Namespace) -> None:
    train, valid = translation_pairs(options.pair)
    chinese = options.pair == "en-zh"
    cut_source: Callable[[str], list[str]] = lambda text: re.findall(r"\w+|[^\w\s]", text)  # noqa: E731
    cut_target = cut_source
    if chinese:
        import rjieba

        cut_target = rjieba.cut
    started = time.perf_counter()
    made = _dictionary.learn([cut_source(p.source) for p in train], [cut_target(p.target) for p in train])
    seconds = time.perf_counter() - started
    found = [("" if chinese else " ").join(_dictionary.translate(cut_source(p.source), made)) for p in valid]
    references = [p.target for p in valid]
    for name, texts in (("copy", [p.source for p in valid]), ("dictionary", found)):
        scores = corpus_scores(texts, references, "zh" if chinese else "13a")
        print(json.dumps({"baseline": name, "pair": options.pair, **scores, "words": len(made), "seconds": seconds}))
    print(json.dumps({**valid[0]._asdict(), "dictionary": found[0]}, ensure_ascii=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["letters", "order", "translation", "dictionary"])
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--pair", choices=["en-de", "en-zh"], default="en-de")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--longest", type=int, default=10, help="letters of a string to train on")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop with a checkpoint after so long")
    parser.add_argument("--directory", type=Path, help="where checkpoints and models are kept")
    parser.add_argument("--picture", type=Path, help="draw an alignment into this SVG file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run = {"letters": letters, "order": order, "translation": translation, "dictionary": dictionary}[options.what]
    if options.directory is not None:
        run(options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        options.directory = Path(temporary)
        run(options)


if __name__ == "__main__":
    main()
