"""Can vectors tell the senses of a word apart? `python -m benchmarks.word_senses [--model bert] [--language zh]`.

Two frequent words become one, everywhere (banana·door): the text then has a word with two senses, and which one is
meant is known (Gale, Church & Yarowsky 1992; Schütze 1992). ELMo, or a BERT of words with masked tokens (80/10/10,
other masks in each epoch), is trained on that text alone. Then up to 40 occurrences of each sense, in documents that it
was not trained on, are told apart by their nearest neighbour among the occurrences of the same pseudo-word in other
documents (cosine; purity of 1-NN, ties counted by their share), and by k-means with two clusters. Layer 0 is static,
without positions: the same for all occurrences, chance by construction. `neighbours` is the mean of the static vectors
of the five words on each side, to say what context alone gives without a language model. `upper layers` is the mean of
BERT's upper half. `..., hidden` is what is known without the occurrence itself: a mask stands in its place, or ELMo has
read up to it from either side. `..., standardised` has each number's mean and scale over the occurrences taken out
(Timkey & van Schijndel 2021: few numbers, alike for all, otherwise decide a cosine).

Needs corpus_en and corpus_zh below TEXTMILL_DATA. An English ELMo is then probed for parts of speech (CoNLL-2003): a
softmax regression on each layer, and the most frequent tag of each word beside it. Prints lines of JSON. With
--directory the words are kept, and a training that was killed goes on from its last checkpoint.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._elmo_probes import parts_of_speech, unseen_words
from benchmarks._masked_stream import MaskedStream, framed
from benchmarks._prose import LANGUAGES, texts
from benchmarks._senses import OFTEN, SIDE, Reader, Senses, neighbours, told_apart
from lm.characters import boundary_characters, character_ids
from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.bilm import bilm_figures
from lm.evaluate.masked import masked_figures
from lm.masking_config import MaskingConfig
from lm.memory import keep_freed_memory
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.models.elmo import ELMo
from lm.models.elmo_config import elmo_preset
from lm.objectives.bilm import BiLMObjective
from lm.objectives.masked import MaskedObjective
from lm.order import draw_seed, examples_at, numbered_by_epoch
from lm.streams import ArrayPieces
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

BETWEEN, UNKNOWN = "<|endoftext|>", "<unk>"
CONTEXT = 2 * SIDE
WATCHED = 50_000
"""Words at the end of the training text that are not trained on: for perplexity and masked accuracy."""
RATES = {"elmo": 4e-3, "bert": 1e-3}
LAYERS = {"elmo": 2, "bert": 4}


def read_words(language: str, folder: Path) -> list[list[str]]:
    """All documents in words; `folder` has them the next time."""
    kept = folder / f"words-{language}.txt.gz"
    if not kept.exists():
        corpus, sources, cut = LANGUAGES[language]
        documents = [cut(text) for _, text in texts(corpus, sources)]
        lines = "\n".join(" ".join(document) for document in documents if document)
        folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".tmp")
        partial.write_bytes(gzip.compress(lines.encode(), 6))
        partial.replace(kept)
    return [document.split(" ") for document in gzip.decompress(kept.read_bytes()).decode().split("\n")]


def split(documents: list[list[str]], words: int, held_out: int) -> tuple[list[list[str]], list[list[str]]]:
    """Documents of so many words to train on, and of so many more. Raises ValueError if there are not enough."""
    ends = np.cumsum([len(document) for document in documents])
    if words + held_out > ends[-1]:
        raise ValueError(f"--words {words} and --held-out {held_out} are more than the {ends[-1]} words there are")
    first, last = np.searchsorted(ends, [words, words + held_out]) + 1
    return documents[:first], documents[first:last]


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


def new_elmo(options: argparse.Namespace, words: list[str], seed: int) -> ELMo:
    """As wide as asked for, with the characters of the words."""
    size = {"width": options.width, "layers": options.layers, "dropout": options.dropout}
    config = elmo_preset("small" if options.width < 256 else "base", vocab=len(words), **size)
    characters = torch.from_numpy(character_ids(words, config.characters))
    characters[0] = torch.from_numpy(boundary_characters(config.characters))
    return ELMo(config, draw_seed(seed, "init"), characters)


def new_bert(options: argparse.Namespace, words: list[str], seed: int) -> Bert:
    """As deep and wide as asked for, with heads of 64; its vocabulary is the words and three more."""
    config = BertConfig(
        layers=options.layers, width=options.width, heads=max(2, options.width // 64), context=CONTEXT + 2,
        vocab=len(words) + 3, segments=1, pair_head=False, dropout=options.dropout,
    )  # fmt: skip
    return Bert(config, draw_seed(seed, "init"))


def train(
    model: ELMo | Bert, options: argparse.Namespace, stream: np.ndarray, vocab: int, seed: int, folder: Path
) -> dict[str, Any]:
    """Train on the stream but for its end; figures of that end, and of the training."""
    text, watched = stream[:-WATCHED], stream[-WATCHED:]
    masking = MaskingConfig()
    if isinstance(model, ELMo):
        objective, order, best = BiLMObjective(), examples_at, "loss_forward"
        examples: Any = ArrayPieces(text, CONTEXT)
    else:
        objective, order, best = MaskedObjective(pair=False, boundary=False), numbered_by_epoch, "loss"  # type: ignore[assignment]
        examples = MaskedStream(text, CONTEXT, vocab, 2, masking, seed)
    config = TrainConfig(
        epochs=options.epochs, batch=options.batch, micro_batch=options.batch, precision=options.precision, seed=seed,
        optimizer=OptimizerConfig(learning_rate=options.rate, beta2=0.99, weight_decay=options.weight_decay),
        eval_interval=0, sample_interval=0, metrics_interval=100, keep_last=1,
        checkpoint_seconds=options.checkpoint_seconds,
    ).resolve_for(model.config.width, model.config.vocab, CONTEXT)  # fmt: skip
    steps = config.total_steps(len(examples), CONTEXT)
    curve: list[float] = []
    speeds: list[float] = []

    def watch(_step: int, figures: dict[str, float]) -> None:
        curve.append(round(figures[best], 3))
        speeds.append(figures["tokens_per_second"])

    started = time.perf_counter()
    hooks = Hooks(on_metrics=watch)
    Trainer(model, objective, examples, config, steps, folder, hooks=hooks, best_metric=None, order=order).run()
    line = {
        "device": config.device,
        "precision": config.precision,
        "steps": steps,
        "words read": steps * options.batch * CONTEXT,
    }
    line |= {"parameters": model.config.parameter_count(), "seconds": round(time.perf_counter() - started, 1)}
    line |= {"tokens per second": round(float(np.median(speeds or [0.0])))}
    if isinstance(model, ELMo):
        found = bilm_figures(model.eval(), ArrayPieces(watched, CONTEXT), np.ones(vocab, dtype=np.int64))
        line |= {"perplexity": [round(found[f"{way}perplexity_per_token"], 1) for way in ("", "backward_")]}
    else:
        found = masked_figures(model.eval(), MaskedStream(watched, CONTEXT, vocab, 2, masking, seed=0))  # type: ignore[arg-type]
        line |= {key: round(found[key], 4) for key in ("masked_loss", "masked_accuracy")}
    return {**line, "loss": curve[:: max(1, len(curve) // 8)]}


def elmo_reader(model: ELMo) -> Reader:
    """The vectors of occurrences by ELMo, between two ends of text."""

    def read(tokens: Tensor, places: Tensor) -> dict[str, Tensor]:
        rows, at = torch.arange(len(places), device=places.device), 1 + places
        x = model.token_vectors(nn.functional.pad(tokens, (1, 1), value=0))
        layers = model.contextual(x)
        found = {f"layer {number}": layer[rows, at] for number, layer in enumerate(layers)}
        found["all layers"] = torch.cat(list(found.values()), -1)
        for number, layer in enumerate(layers[1:], start=1):
            before, behind = layer[rows, at - 1].chunk(2, -1)[0], layer[rows, at + 1].chunk(2, -1)[1]
            found[f"layer {number}, hidden"] = torch.cat([before, behind], -1)
        return {**found, "neighbours": neighbours(x, at)}

    return read


def bert_reader(model: Bert, vocab: int) -> Reader:
    """The vectors of occurrences by a BERT of `vocab` words: as they stand there, and as a mask in their place."""

    def contextual(tokens: Tensor, at: tuple[Tensor, Tensor]) -> list[Tensor]:
        seen: list[Tensor] = []
        hooks = [
            block.register_forward_hook(lambda _block, _given, out: seen.append(out[at])) for block in model.blocks
        ]
        try:
            model.hidden_states(tokens)
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    def read(tokens: Tensor, places: Tensor) -> dict[str, Tensor]:
        tokens = framed(tokens, vocab)
        at = torch.arange(len(places), device=places.device), 1 + places
        x = model.token_embedding(tokens)
        found = {"layer 0": x[at]}
        for shown, name in (
            (tokens, ""),
            (tokens.index_put(at, torch.tensor(vocab + 2, device=tokens.device)), ", hidden"),
        ):
            layers = contextual(shown, at)
            found |= {f"layer {number}{name}": layer for number, layer in enumerate(layers, start=1)}
            found[f"upper layers{name}"] = torch.stack(layers[len(layers) // 2 :]).mean(0)
        return {**found, "neighbours": neighbours(x, 1 + places)}

    return read


def measure(options: argparse.Namespace, seed: int, folder: Path) -> None:
    """Merge, train in `folder`, and print."""

    def show(line: dict[str, Any]) -> None:
        said = {"model": options.model, "language": options.language, "seed": seed, **line}
        print(json.dumps(said, ensure_ascii=False), flush=True)

    train_text, held_out = split(read_words(options.language, folder), options.words, options.held_out)
    pairs = choose_pairs(held_out, options.language, options.pairs, seed)
    senses: Senses = {word: (f"{a}·{b}", sense) for a, b in pairs for sense, word in enumerate((a, b))}
    merged = [[senses[w][0] if w in senses else w for w in document] for document in train_text + held_out]
    count = len(train_text)
    ranked = Counter(word for document in merged[:count] for word in document).most_common(options.vocab - 2)
    words = [BETWEEN, UNKNOWN, *(word for word, _ in ranked)]
    number = {word: i for i, word in enumerate(words)}
    ids = [np.array([number.get(word, 1) for word in document], dtype=np.int64) for document in merged]
    stream = np.concatenate([part for document in ids[:count] for part in ([0], document)])
    show({"words": len(stream), "unknown": round(float((stream == 1).mean()), 4), "pairs": pairs[:5]})
    new = new_elmo if options.model == "elmo" else new_bert
    model = new(options, words, seed)
    checkpoints = folder / f"{options.model}-{options.language}-{seed}"
    show(train(model, options, stream, len(words), seed, checkpoints))
    device = next(model.parameters()).device
    reader = elmo_reader(model) if isinstance(model, ELMo) else bert_reader(model, len(words))
    for line in told_apart(reader, device, held_out, ids[count:], senses):
        show(line)
    if isinstance(model, ELMo) and options.language == "en" and options.probes:
        show(unseen_words(model.cpu(), words, merged[count:]))
        for line in parts_of_speech(model):
            show(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(RATES), default="elmo")
    parser.add_argument("--language", choices=list(LANGUAGES), default="en")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--words", type=int, default=2_000_000, help="words to train on")
    parser.add_argument("--held-out", type=int, default=1_000_000, help="words to take occurrences from")
    parser.add_argument("--vocab", type=int, default=6000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, help="ELMo: 2 in each direction, BERT: 4")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--batch", type=int, default=16, help=f"windows of {CONTEXT} words")
    parser.add_argument("--rate", type=float, help="ELMo: 4e-3, BERT: 1e-3")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="pairs, initial weights and order")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--probes", action=argparse.BooleanOptionalAction, default=True, help="ELMo's parts of speech")
    parser.add_argument("--checkpoint-seconds", type=float, default=20, help="between checkpoints")
    parser.add_argument("--directory", type=Path, help="where words and checkpoints are kept")
    options = parser.parse_args()
    options.rate = options.rate or RATES[options.model]
    options.layers = options.layers or LAYERS[options.model]
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds:
            measure(options, seed, options.directory or Path(temporary))


if __name__ == "__main__":
    main()
