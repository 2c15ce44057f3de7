"""Can vectors tell the senses of a word apart? Pseudo-words: `python -m benchmarks.word_senses [--language zh]`.

Two frequent words become one, everywhere (banana·door): the text then has a word with two senses, and which one is
meant is known (Gale, Church & Yarowsky 1992; Schütze 1992). ELMo is trained on that text alone. Then up to 40
occurrences of each sense, in text that it was not trained on, are told apart by their nearest neighbour among the
occurrences of the same pseudo-word in other documents (cosine; purity of 1-NN, ties counted by their share), and by
k-means with two clusters. A static vector is the same for all occurrences: chance by construction. `neighbours` is the
mean of the static vectors of the five words on each side, to say what context alone gives without a language model.

Needs corpus_en and corpus_zh below TEXTMILL_DATA. The English model is then probed for parts of speech (CoNLL-2003): a
softmax regression on each layer, and the most frequent tag of each word beside it. Prints lines of JSON. With
--directory the words are kept, and a training that was killed goes on from its last checkpoint.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks._prose import LANGUAGES, texts
from lm.characters import boundary_characters, character_ids
from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.bilm import bilm_figures
from lm.memory import keep_freed_memory
from lm.models.elmo import ELMo
from lm.models.elmo_config import elmo_preset
from lm.objectives.bilm import BiLMObjective
from lm.order import draw_seed
from lm.streams import ArrayPieces
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

BETWEEN, UNKNOWN = "<|endoftext|>", "<unk>"
CONTEXT, SIDE = 64, 32
OFTEN, NEIGHBOURS = 40, 5


def read_words(language: str, wanted: int, kept: Path) -> list[list[str]]:
    """Documents in words, `wanted` words in all; `kept` is a file that they are read from the next time."""
    if kept.exists():
        return [document.split(" ") for document in kept.read_text(encoding="utf-8").split("\n")]
    corpus, sources, cut = LANGUAGES[language]
    documents, count = [], 0
    for _, text in texts(corpus, sources):
        documents.append(cut(text))
        count += len(documents[-1])
        if count >= wanted:
            break
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("\n".join(" ".join(document) for document in documents if document), encoding="utf-8")
    return read_words(language, wanted, kept)


def choose_pairs(documents: list[list[str]], language: str, pairs: int, seed: int) -> list[tuple[str, str]]:
    """Pairs of words that occur in at least `OFTEN` of the documents, of about the same frequency; not the 100 most
    frequent ones, which are grammar."""
    counts = Counter(word for document in documents for word in document)
    within = Counter(word for document in documents for word in set(document) if len(document) > 2 * SIDE)
    shortest = 2 if language == "zh" else 4
    ranked = [word for word, _ in counts.most_common()][100:]
    fit = [word for word in ranked if within[word] >= OFTEN and len(word) >= shortest and word.isalpha()]
    chosen = np.random.default_rng(seed).permutation(len(fit))[: 2 * pairs]
    words = [fit[i] for i in sorted(chosen)]
    if len(words) < 2 * pairs:
        raise ValueError(f"only {len(words)} words are frequent enough for {pairs} pairs")
    return list(zip(words[::2], words[1::2], strict=True))


def train_model(options: argparse.Namespace, stream: np.ndarray, words: list[str], folder: Path) -> ELMo:
    """ELMo on the training text, its figures printed."""
    config = elmo_preset("small", vocab=len(words), width=options.width)
    characters = torch.from_numpy(character_ids(words, config.characters))
    characters[0] = torch.from_numpy(boundary_characters(config.characters))
    cut = len(stream) - 50_000
    pieces, watched = ArrayPieces(stream[:cut], CONTEXT), ArrayPieces(stream[cut:], CONTEXT)
    settings = TrainConfig(
        epochs=options.epochs,
        batch=options.batch,
        micro_batch=options.batch,
        seed=options.seed,
        optimizer=OptimizerConfig(learning_rate=options.rate, beta2=0.99, weight_decay=0.01),
        eval_interval=0,
        sample_interval=0,
        metrics_interval=100,
        checkpoint_seconds=20,
    ).resolve_for(config.width, config.vocab, CONTEXT)
    model = ELMo(config, draw_seed(options.seed, "init"), characters)
    curve: list[float] = []
    steps = settings.total_steps(len(pieces), CONTEXT)
    started = time.perf_counter()
    hooks = Hooks(on_metrics=lambda step, figures: curve.append(round(figures["loss_forward"], 3)))
    Trainer(model, BiLMObjective(), pieces, settings, steps, folder, hooks=hooks, best_metric=None).run()
    seconds = time.perf_counter() - started
    found = bilm_figures(model.eval(), watched, np.ones(len(words), dtype=np.int64))
    line = {"steps": steps, "parameters": config.parameter_count(), "seconds": round(seconds, 1)}
    line |= {"perplexity": [round(found[f"{way}perplexity_per_token"], 1) for way in ("", "backward_")]}
    print(json.dumps({**line, "loss": curve[:: max(1, len(curve) // 8)]}), flush=True)
    return model


def windows_of(
    documents: list[list[str]], senses: dict[str, tuple[str, int]], rng: np.random.Generator
) -> dict[str, list[tuple[int, int, int]]]:
    """For each pseudo-word, (document, place, sense) of occurrences, as many of either sense, `OFTEN` at most, no
    document twice for one sense."""
    found: dict[str, dict[int, dict[int, list[int]]]] = defaultdict(lambda: {0: {}, 1: {}})
    for number, document in enumerate(documents):
        if len(document) <= 2 * SIDE:
            continue
        for place, word in enumerate(document):
            if word in senses:
                pseudo, sense = senses[word]
                found[pseudo][sense].setdefault(number, []).append(place)
    chosen = {}
    for pseudo, by_sense in found.items():
        count = min(OFTEN, *(len(documents) for documents in by_sense.values()))
        rows = []
        for sense, by_document in by_sense.items():
            for number in rng.permutation(sorted(by_document))[:count]:
                rows.append((int(number), int(rng.choice(by_document[int(number)])), sense))
        chosen[pseudo] = rows
    return chosen


@torch.no_grad()
def vectors_at(model: ELMo, ids: list[np.ndarray], rows: list[tuple[int, int, int]]) -> dict[str, np.ndarray]:
    """What each layer says of the occurrences, float32 [occurrences, width], and the mean of their neighbours."""
    windows, places = [], []
    for number, place, _ in rows:
        begin = min(max(0, place - SIDE), len(ids[number]) - 2 * SIDE)
        windows.append(np.concatenate([[0], ids[number][begin : begin + 2 * SIDE], [0]]))
        places.append(1 + place - begin)
    tokens, at = torch.from_numpy(np.stack(windows)), torch.tensor(places)
    x = model.token_vectors(tokens)
    layers = model.contextual(x)[:, torch.arange(len(rows)), at]
    around = torch.tensor([i for i in range(-NEIGHBOURS, NEIGHBOURS + 1) if i])
    near = x[torch.arange(len(rows))[:, None], (at[:, None] + around).clamp(0, tokens.shape[1] - 1)].mean(1)
    found = {f"layer {number}": layer.numpy() for number, layer in enumerate(layers)}
    return {**found, "all layers": torch.cat(list(layers), -1).numpy(), "neighbours": near.numpy()}


def nearest_purity(vectors: np.ndarray, senses: np.ndarray, documents: np.ndarray) -> float:
    """Share of occurrences whose nearest other one, in another document, has the same sense."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    likeness[documents[:, None] == documents[None]] = -np.inf
    ties = likeness >= likeness.max(1, keepdims=True) - 1e-6
    same = senses[:, None] == senses[None]
    return float(((ties & same).sum(1) / ties.sum(1)).mean())


def cluster_purity(vectors: np.ndarray, senses: np.ndarray) -> float:
    """Share of occurrences in a cluster of mostly their sense, of two clusters of unit vectors."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    if len(np.unique(unit.round(5), axis=0)) < 2:
        return float(max((senses == 0).mean(), (senses == 1).mean()))
    cluster = KMeans(2, n_init=10, random_state=0).fit_predict(unit)
    return sum(np.bincount(senses[cluster == c], minlength=2).max() for c in (0, 1)) / len(senses)


def senses_told_apart(
    model: ELMo, documents: list[list[str]], ids: list[np.ndarray], senses: dict[str, tuple[str, int]]
) -> None:
    """Print, for each kind of vector, the mean purity over pseudo-words."""
    chosen = windows_of(documents, senses, np.random.default_rng(0))
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for rows in chosen.values():
        labels, numbers = np.array([s for *_, s in rows]), np.array([n for n, *_ in rows])
        for name, vectors in vectors_at(model, ids, rows).items():
            found[name].append((nearest_purity(vectors, labels, numbers), cluster_purity(vectors, labels)))
    occurrences = [len(rows) for rows in chosen.values()]
    print(json.dumps({"pseudo-words": len(chosen), "occurrences": [min(occurrences), max(occurrences)]}))
    for name, pairs in found.items():
        nearest, clusters = np.array(pairs).T
        line = {"vectors": name, "1-NN": round(float(nearest.mean()), 4), "k-means": round(float(clusters.mean()), 4)}
        error = nearest.std(ddof=1) / np.sqrt(len(nearest))
        print(json.dumps({**line, "standard error": round(float(error), 4), "worst": round(float(nearest.min()), 3)}))


@torch.no_grad()
def unseen_words(model: ELMo, words: list[str], documents: list[list[str]], count: int = 8) -> None:
    """Print the nearest words of the vocabulary of long words that are not in it, by their characters alone."""
    known = set(words)
    others = Counter(w for document in documents for w in document if w not in known and len(w) > 8 and w.isalpha())
    chosen = [word for word, _ in others.most_common(count)]
    table = model.token_vectors(torch.arange(2, len(words))[None])[0]
    vectors = model.word_vectors(torch.from_numpy(character_ids(chosen, model.config.characters))[None])[0]
    likeness = torch.nn.functional.normalize(vectors, dim=-1) @ torch.nn.functional.normalize(table, dim=-1).T
    near = {w: [words[2 + i] for i in row] for w, row in zip(chosen, likeness.topk(3).indices.tolist(), strict=True)}
    print(json.dumps({"never seen, and its neighbours": near}, ensure_ascii=False))


def conll(name: str, limit: int) -> list[tuple[list[str], list[str]]]:
    """Sentences in lower-case words, and their tags."""
    path = Path(os.environ["TEXTMILL_DATA"]) / f"labelled/ner_en/conll2003/{name}.conll.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        blocks = [block.splitlines() for block in file.read().split("\n\n")]
    sentences = [[line.split(" ")[:2] for line in block if line] for block in blocks if block and block[0][:1] != "-"]
    return [([w.lower() for w, _ in s], [t for _, t in s]) for s in sentences if s][:limit]


@torch.no_grad()
def tagged_vectors(model: ELMo, sentences: list[tuple[list[str], list[str]]]) -> tuple[list[np.ndarray], list[str]]:
    """Of each layer, the vectors of all words in a row; and the tags."""
    length = model.config.characters
    edge = boundary_characters(length)[None]
    parts = []
    for words, _ in sentences:
        rows = np.concatenate([edge, character_ids(words, length), edge])
        parts.append(model.contextual(model.word_vectors(torch.from_numpy(rows)[None]))[:, 0, 1:-1])
    return [layer.numpy() for layer in torch.cat(parts, 1)], [tag for _, tags in sentences for tag in tags]


def parts_of_speech(model: ELMo) -> None:
    """Print what a softmax regression makes of each layer."""
    train, test = conll("train", 1200), conll("dev", 800)
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in train:
        for word, tag in zip(words, tags, strict=True):
            seen[word][tag] += 1
    most = Counter(tag for _, tags in train for tag in tags).most_common(1)[0][0]
    pairs = [(w, t) for words, tags in test for w, t in zip(words, tags, strict=True)]
    right = [(seen[w].most_common(1)[0][0] if w in seen else most) == t for w, t in pairs]
    unseen = np.array([w not in seen for w, _ in pairs])
    line = {"tags": "most frequent of the word", "accuracy": round(float(np.mean(right)), 4)}
    print(json.dumps({**line, "words": len(pairs), "unseen": int(unseen.sum())}))
    (layers, tags), (test_layers, test_tags) = tagged_vectors(model, train), tagged_vectors(model, test)
    for number, (vectors, others) in enumerate(zip(layers, test_layers, strict=True)):
        scale = StandardScaler().fit(vectors)
        probe = LogisticRegression(C=0.1, max_iter=100, tol=1e-3).fit(scale.transform(vectors), tags)
        hit = probe.predict(scale.transform(others)) == np.array(test_tags)
        line = {"tags": f"layer {number}", "accuracy": round(float(hit.mean()), 4)}
        print(json.dumps({**line, "on unseen words": round(float(hit[unseen].mean()), 4)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", choices=list(LANGUAGES), default="en")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--words", type=int, default=2_000_000, help="words to train on")
    parser.add_argument("--held-out", type=int, default=1_000_000, help="words to take occurrences from")
    parser.add_argument("--vocab", type=int, default=6000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where words and checkpoints are kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        measure(options, options.directory or Path(temporary))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Read, merge, train in `folder`, and print."""
    documents = read_words(options.language, options.words + options.held_out, folder / "words.txt")
    train, count = 0, 0
    while count < options.words:
        count += len(documents[train])
        train += 1
    held_out = documents[train:]
    pairs = choose_pairs(held_out, options.language, options.pairs, options.seed)
    senses = {word: (f"{a}·{b}", sense) for a, b in pairs for sense, word in enumerate((a, b))}
    merged = [[senses[w][0] if w in senses else w for w in document] for document in documents]
    ranked = Counter(word for document in merged[:train] for word in document).most_common(options.vocab - 2)
    words = [BETWEEN, UNKNOWN, *(word for word, _ in ranked)]
    number = {word: i for i, word in enumerate(words)}
    ids = [np.array([number.get(word, 1) for word in document], dtype=np.int64) for document in merged]
    stream = np.concatenate([part for document in ids[:train] for part in ([0], document)])
    line = {"words": len(stream), "unknown": round(float((stream == 1).mean()), 4), "pairs": pairs[:5]}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    model = train_model(options, stream, words, folder / "checkpoints")
    senses_told_apart(model, held_out, ids[train:], senses)
    if options.language == "en":
        unseen_words(model, words, merged[train:])
        parts_of_speech(model)


if __name__ == "__main__":
    main()
