"""A masked model writes text, beside a GPT: `python -m benchmarks.bert_writes BERT GPT TEXTS [--documents 40]`.

BERT and GPT are models of the store (`pretrain/KEY`, an alias) or folders, TEXTS a file of held-out text (a text a
line, or a column `text`); of each of the first `documents` texts the first `characters` are read, up to the end of a
word.

A masked model defines no probability of a text, but one can be made of it: with x_1 .. x_t-1 and a mask in sight,

    p(x_t | x_1 .. x_t-1)  is what it says at the mask of  [CLS] x_1 .. x_t-1 [MASK] [SEP]

and their product is a probability by the chain rule. This is BERT asked against its training, where it saw what stands
behind a mask as well. Printed, a line of JSON each:

bits_per_byte   of both on the same texts, each behind its own beginning, the end of a text not scored; their
                difference with a 95 % interval and p, by resampling documents in pairs
cloze           the last word of each text, written greedily from what stands before it: exact match, difference as
                above
sample          continuations of both behind the first `prompt` words of the first texts, at temperature 1; of BERT also
                texts by Gibbs sampling (Wang & Cho 2019): begin with masks alone, then mask one place after another, in
                an order drawn anew in each sweep, and draw what stands there
referee         bits per byte of 20 such samples of each under a third model, if `--referee MODEL` names one; WordPiece
                writes no capitals, of which a referee may think less

WordPiece drops case and spaces, so that its bits per byte are a lower bound, and BERT is flattered by as much; a masked
model of byte pairs (`special_tokens: roberta`) is not. Set the two untrained beside them to see by how much.
"""

import argparse
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from lm.evaluate.bootstrap import Figure, difference, interval
from lm.evaluate.few_shot import Few, few_shot_decisions
from lm.evaluate.prompts import last_word_items, load_template
from lm.generate_stepwise import generate_stepwise
from lm.nn.masks import Padding
from lm.sampling import Draw, Sampling, before_stop, shortlist
from lm.special_tokens import special_ids, special_tokens
from lm.stop import ShouldStop, check, never
from lm.text_model import TextModel, open_model
from lm.texts.base import Score, score_of
from lm.texts.bert import BertText
from lm.tokenizer import encode_documents
from lm.tokenizers.spans import Encoded
from tasks.exams.room import read_texts
from tasks.storage.shared import open_store

ROWS = 64
"""Beginnings that are read together."""
LEAST_WORDS = 5
"""A text with fewer words has no last word to ask for."""


class LeftToRight:
    """A masked model in the role of one that writes: a `TextModel`, as exams ask it."""

    kind = "bert"

    def __init__(self, text: BertText) -> None:
        self.text, self.model, self.tokenizer = text, text.model, text.tokenizer
        self.context: int | None = self.model.config.context
        self.room = self.model.config.context - 3  # [CLS], [MASK] and [SEP] take three places
        self.special = special_tokens(self.tokenizer)
        self.unwritten = sorted(special_ids(self.tokenizer))

    @torch.no_grad()
    def next_logits(self, befores: Sequence[np.ndarray]) -> Tensor:
        """What comes behind each beginning (ids; the last `room` are read), fp32 [beginnings, vocab] on the CPU."""
        rows = [
            np.concatenate(
                [[self.special.cls], ids[max(0, len(ids) - self.room) :], [self.special.mask, self.special.sep]]
            )
            for ids in befores
        ]
        tokens = np.full((len(rows), max(map(len, rows))), self.special.pad, dtype=np.int64)
        real = np.zeros(tokens.shape, dtype=bool)
        for number, row in enumerate(rows):
            tokens[number, : len(row)], real[number, : len(row)] = row, True
        device = self.model.bias.device
        hidden = self.model.hidden_states(
            torch.from_numpy(tokens).to(device), mask=Padding(torch.from_numpy(real).to(device))
        )
        places = torch.tensor([len(row) - 2 for row in rows], device=device)
        at = hidden[torch.arange(len(rows), device=device), places]
        logits: Tensor = self.model.masked_logits(at)
        return logits.float().cpu()

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return self.text.encode(texts)

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        found = []
        for ids in sequences:
            parts = [np.empty(0)]
            for start in range(0, len(ids), ROWS):
                check(should_stop, "scoring")
                places = range(start, min(start + ROWS, len(ids)))
                chances = self.next_logits([ids[:place] for place in places]).log_softmax(-1)
                target = torch.from_numpy(ids[places.start : places.stop])
                parts.append(-chances.gather(1, target[:, None])[:, 0].double().numpy())
            found.append(np.concatenate(parts))
        return found

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        encoded = self.encode(texts)
        nats = self.token_nats([each.ids for each in encoded], should_stop)
        return [score_of(text, float(each.sum())) for text, each in zip(encoded, nats, strict=True)]

    def bits_per_byte(self, *_: Any, **__: Any) -> dict[str, float]:
        raise ValueError("read left to right a masked model scores texts (`score`), not packed sequences")

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        """A continuation, token by token; marks such as [SEP] are never drawn. Where it begins with a piece of the
        prompt's last word it stands behind that without a space."""
        stop, seed = sampling.pop("stop", ()), sampling.pop("seed", 0)
        before = encode_documents(self.tokenizer, [prompt])[0].tolist()
        written = list(before)

        def step(new: Sequence[int]) -> Tensor:
            written.extend(new)
            return self._writable(self.next_logits([np.array(written, np.int64)]))[0]

        # the first call brings [CLS], which stands there anyway: generation wants a beginning
        begin, drawn = self.special.cls, Draw(**sampling)
        first = partial(_without, begin, step)
        ids = list(generate_stepwise(first, [begin], max_new_tokens, drawn, seed=seed))
        read, whole = (str(self.tokenizer.decode(of, skip_special_tokens=False)) for of in (before, before + ids))
        return before_stop(whole[len(read) :], stop)

    def gibbs(self, length: int, sweeps: int, seed: int = 0) -> str:
        """A text of `length` tokens by Wang & Cho's sampler, at temperature 1."""
        generator = torch.Generator().manual_seed(seed)
        row = torch.full((1, length + 2), self.special.mask)
        row[0, 0], row[0, -1] = self.special.cls, self.special.sep
        device = self.model.bias.device
        for _ in range(sweeps):
            for place in (1 + torch.randperm(length, generator=generator)).tolist():
                row[0, place] = self.special.mask
                with torch.no_grad():
                    hidden = self.model.hidden_states(row.to(device))[:, place]
                    logits = self._writable(self.model.masked_logits(hidden).float().cpu())
                p, ids = shortlist(logits, Draw())
                row[0, place] = ids[0, torch.multinomial(p[0], 1, generator=generator)]
        return str(self.tokenizer.decode(row[0, 1:-1].tolist(), skip_special_tokens=False))

    def _writable(self, logits: Tensor) -> Tensor:
        logits[:, self.unwritten] = -math.inf
        return logits


def _without(begin: int, step: Any, new: Sequence[int]) -> Tensor:
    logits: Tensor = step([token for token in new if token != begin])
    return logits


def beginning(text: str, characters: int) -> str:
    """The first characters of a text, up to the end of a word."""
    text = " ".join(text.split())
    if len(text) <= characters:
        return text
    return text[: characters + 1].rpartition(" ")[0] or text[:characters]


def bits(scores: Sequence[Score]) -> Figure:
    """Bits per byte of the texts at given places: the sum of nats over the sum of bytes."""
    nats, size = np.array([each.nats for each in scores]), np.array([each.bytes for each in scores], np.float64)
    return lambda chosen: float(nats[chosen].sum() / math.log(2) / size[chosen].sum())


def share(right: Sequence[float]) -> Figure:
    """The mean of the items at given places."""
    values = np.array(right, np.float64)
    return lambda chosen: float(values[chosen].mean())


def compared(what: str, bert: Figure, gpt: Figure, items: int) -> dict[str, Any]:
    """A figure of both, and how much BERT's is above GPT's on the same items."""
    return {
        "figure": what,
        "items": items,
        "bert": interval([bert], items)._asdict(),
        "gpt": interval([gpt], items)._asdict(),
        "bert - gpt": difference([bert], [gpt], items)._asdict(),
    }


def measured(bert: LeftToRight, gpt: TextModel, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Bits per byte and the cloze of both. Raises ValueError for no text, or none that is long enough for a cloze."""
    if not texts:
        raise ValueError("there is no text to read")
    scores = [model.score(texts) for model in (bert, gpt)]
    found = [compared("bits_per_byte", bits(scores[0]), bits(scores[1]), len(texts))]
    template = load_template("cloze")
    items = last_word_items(template, [(str(n), text) for n, text in enumerate(texts)], LEAST_WORDS)
    if not items:
        raise ValueError(f"no text has {LEAST_WORDS} words: there is no last word to ask for")
    asked = [few_shot_decisions(model, items, [], Few(template, 0))["exact"].to_pylist() for model in (bert, gpt)]
    return [*found, compared("cloze", share(asked[0]), share(asked[1]), len(items))]


def samples(
    bert: LeftToRight, gpt: TextModel, prompts: Sequence[str], tokens: int, sweeps: int
) -> list[dict[str, Any]]:
    """What both write behind each prompt, and BERT by Gibbs sampling without one."""
    drawing: Sampling = {"temperature": 1.0, "top_k": None}
    found = []
    for seed, prompt in enumerate(prompts):
        written = {
            "bert": bert.generate(prompt, tokens, seed=seed, **drawing),
            "gpt": gpt.generate(prompt, tokens, seed=seed, **drawing),
            "bert, gibbs": bert.gibbs(tokens, sweeps, seed),
        }
        found += [
            {"sample": who, "prompt": "" if "gibbs" in who else prompt, "text": text} for who, text in written.items()
        ]
    return found


def refereed(referee: TextModel, written: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bits per byte of the samples of each writer under another model, over texts."""
    found = []
    for who in dict.fromkeys(each["sample"] for each in written):
        scores = referee.score([each["text"] for each in written if each["sample"] == who])
        known = [each for each in scores if each.bytes]
        if known:
            found.append({"referee": who, "texts": len(known), **interval([bits(known)], len(known))._asdict()})
    return found


def opened(name: str) -> TextModel | BertText:
    """A model by the name of an artifact, an alias, or its folder."""
    return open_model(Path(name) if Path(name).is_dir() else open_store().checked(name).path)


def writer(name: str) -> LeftToRight:
    """A masked model that writes. Raises ValueError for a model of another kind."""
    model = opened(name)
    if not isinstance(model, BertText):
        raise ValueError(f"{name}: a model of kind {model.kind!r}; the first one is masked (kind bert)")
    return LeftToRight(model)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bert", help="a masked model")
    parser.add_argument("gpt", help="a model that writes")
    parser.add_argument("texts", type=Path, help="held-out text: neither has read it")
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--characters", type=int, default=300, help="of each document")
    parser.add_argument("--samples", type=int, default=3, help="that are printed of each")
    parser.add_argument("--prompt", type=int, default=8, help="words")
    parser.add_argument("--tokens", type=int, default=40, help="that are written")
    parser.add_argument("--sweeps", type=int, default=10, help="of the Gibbs sampler")
    parser.add_argument("--referee", help="a third model, which judges 20 samples of each")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    bert, gpt = writer(given.bert), opened(given.gpt)
    whole = [text for _, text in read_texts(given.texts, whole=False)][: given.documents]
    texts = [cut for text in whole if (cut := beginning(text, given.characters))]
    for figure in measured(bert, gpt, texts):
        print(json.dumps(figure), flush=True)
    count = max(given.samples, 20 if given.referee else 0)
    prompts = [" ".join(text.split()[: given.prompt]) for text in texts[:count]]
    written = samples(bert, gpt, prompts, given.tokens, given.sweeps)
    for line in written[: 3 * given.samples]:
        print(json.dumps(line, ensure_ascii=False), flush=True)
    if given.referee:
        for line in refereed(opened(given.referee), written):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
