"""CoVe against the vectors it reads: `python -m benchmarks.cove_probe --work FOLDER [--steps 500]`.

A translator whose encoder is CoVe's is trained on Multi30k English-German below TEXTMILL_DATA (the model and tokenizer
of configs/translation/cove.yaml; --width for a smaller one), then frozen. A softmax regression reads parts of speech
(CoNLL-2003, as benchmarks.word_senses asks ELMo) off each word's vector, the mean over its pieces:

static  the vectors that the encoder reads, one of a piece wherever it stands
cove    what the encoder says
both    side by side, the paper's features
random  what an encoder of the same form says that was never trained, above the trained vectors

A line of JSON for each. A training that was stopped (--seconds) goes on from its last checkpoint.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks._elmo_probes import conll
from benchmarks.seq2seq_learning import trained, translation_pairs
from lm.models.cove import CoVe
from lm.models.seq2seq import Seq2Seq
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.translator import Translator

Sentences = list[tuple[list[str], list[str]]]


def translator_of(options: argparse.Namespace) -> Translator | None:
    """The trained translator, or None if the time was over before the end."""
    pairs = translation_pairs("en-de")
    folder = options.directory / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        train_tokenizer([t for p in pairs[0] for t in p], ByteBPEConfig(vocab_size=6000), folder)
    model = {
        "kind": "seq2seq",
        "embedding": options.width,
        "width": options.width,
        "layers": 2,
        "bidirectional": True,
        "attention": "general",
        "input_feeding": not options.no_feeding,
        "dropout": 0.2,
        "initial_span": 0.1,
        "source_vocab": 8192,
        "target_vocab": 8192,
    }
    limits = {"source": 60, "target": 60}
    settings = {"model": model, "limits": limits, "search": {"beam": 1}, "bleu_pairs": 500}
    more = {"eval_sequences": 256, "eval_interval": max(1, options.steps // 4), "metrics_interval": 100}
    done = trained(options, f"cove-{options.width}", (folder, folder), pairs, settings, **more)
    if done is None:
        return None
    kept = {key: done[0][key] for key in ("parameters", "device", "tokens", "step", "valid", "copy")}
    print(json.dumps({"model": "translator", "seed": options.seed, **kept}), flush=True)
    return done[1]


@torch.no_grad()
def word_vectors(translator: Translator, encoder: CoVe, sentences: Sentences) -> tuple[np.ndarray, np.ndarray]:
    """The words of all sentences in a row: their static vectors, and what the encoder says of them."""
    static, said = [], []
    for words, _ in sentences:
        pieces = [translator.source.encode(word if n == 0 else f" {word}").ids for n, word in enumerate(words)]
        ids = torch.tensor([[*(i for part in pieces for i in part), translator.source_end]])
        features = encoder(ids, torch.tensor([ids.shape[1]]))[0].numpy()
        ends = np.cumsum([len(part) for part in pieces])
        for low, high in zip([0, *ends[:-1]], ends, strict=True):
            mean = features[low:high].mean(0)
            static.append(mean[: encoder.model.config.embedding])
            said.append(mean[encoder.model.config.embedding :])
    return np.stack(static), np.stack(said)


def untrained(translator: Translator, seed: int) -> CoVe:
    """An encoder that nobody taught, above the trained word vectors."""
    assert isinstance(translator.model, Seq2Seq)
    model = Seq2Seq(translator.model.config, seed + 1000)
    model.source_embedding.load_state_dict(translator.model.source_embedding.state_dict())
    return CoVe(model)


def probes(translator: Translator, options: argparse.Namespace) -> None:
    train, test = conll("train", options.sentences), conll("dev", options.sentences * 2 // 3)
    assert isinstance(translator.model, Seq2Seq)
    taught = CoVe(translator.model)
    tags, test_tags = ([t for _, each in part for t in each] for part in (train, test))
    known: dict[str, Counter[str]] = defaultdict(Counter)
    for words, each in train:
        for word, tag in zip(words, each, strict=True):
            known[word][tag] += 1
    unseen = np.array([word not in known for words, _ in test for word in words])
    commonest = Counter(tags).most_common(1)[0][0]
    said = [known[w].most_common(1)[0][0] if w in known else commonest for words, _ in test for w in words]
    figures(np.array(said), np.array(test_tags), unseen, "most frequent of the word", options)
    (static, cove), (other_static, other_cove) = (word_vectors(translator, taught, part) for part in (train, test))
    (_, random), (_, other_random) = (
        word_vectors(translator, untrained(translator, options.seed), part) for part in (train, test)
    )
    for name, vectors, others in (
        ("static", static, other_static),
        ("cove", cove, other_cove),
        ("both", np.hstack([static, cove]), np.hstack([other_static, other_cove])),
        ("random", random, other_random),
    ):
        scale = StandardScaler().fit(vectors)
        probe = LogisticRegression(C=0.1, max_iter=100, tol=1e-3).fit(scale.transform(vectors), tags)
        figures(probe.predict(scale.transform(others)), np.array(test_tags), unseen, name, options)


def figures(said: np.ndarray, tags: np.ndarray, unseen: np.ndarray, name: str, options: argparse.Namespace) -> None:
    right = said == tags
    line: dict[str, Any] = {"tags": name, "accuracy": round(float(right.mean()), 4), "words": len(tags)}
    line |= {"on unseen words": round(float(right[unseen].mean()), 4), "unseen": int(unseen.sum())}
    print(json.dumps({**line, "steps": options.steps, "seed": options.seed}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, dest="directory")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=300)
    parser.add_argument("--no-feeding", action="store_true", help="a decoder without input feeding, which is quicker")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument(
        "--sentences", type=int, default=1200, help="of CoNLL-2003 to learn from; two thirds to test on"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop training with a checkpoint after so long")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    translator = translator_of(options)
    if translator is not None:
        probes(translator.__class__(translator.model.eval(), translator.source, translator.target), options)
        print(json.dumps({"seconds": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()
