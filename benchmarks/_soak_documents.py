"""The documents of a company that changes a little every day: real ones below TEXTMILL_DATA, night after night.

Every night some documents come, as many go and some are revised; every tenth night a whole file comes or goes in turn.
So the corpus stays about as large as it was. What comes is a real text in other words (`benchmarks._other_words`),
which no earlier night had. All of it is a function of the night's number.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks._other_words import in_other_words, ranked_characters
from benchmarks.documents import read_documents

SHORTEST, LONGEST = 300, 6_000
"""Characters of the texts that are taken."""

SHARE_ZH = 3
"""Every so-manieth document is Chinese."""

FILE_EVERY = 10


@dataclass(frozen=True)
class Entry:
    """One document: which real text, in which copy's words, and the night of its last revision."""

    base: int
    copy: int
    revised: int | None = None


class Company:
    """Files of documents, as they are after some nights.

    Args:
        folder: where the files are kept, as JSON Lines.
        files, each: how many files there are at first, and documents in each.
        change: the share of documents that come in a night, that go, and that are revised.
        texts: what documents are made of; None: the real corpora.
    """

    def __init__(
        self, folder: Path, files: int = 12, each: int = 50, change: float = 0.01, texts: list[str] | None = None
    ) -> None:
        self.folder, self.each = folder, each
        self.texts, self.ranked = (texts, "") if texts else real_texts(files * each)
        self.files = {f"file-{n:04d}": [Entry(n * each + k, 0) for k in range(each)] for n in range(files)}
        self.count = max(1, round(change * files * each))
        self.night = 0
        folder.mkdir(parents=True, exist_ok=True)

    def pass_night(self) -> None:
        """What a day brings."""
        self.night += 1
        draw = random.Random(f"night {self.night}")
        for base in draw.sample(range(len(self.texts)), self.count):
            self.files[draw.choice(sorted(self.files))].append(Entry(base, self.night))
        for _ in range(self.count):
            file = draw.choice([name for name, entries in sorted(self.files.items()) if len(entries) > 1])
            self.files[file].pop(draw.randrange(len(self.files[file])))
        for _ in range(self.count):
            entries = self.files[draw.choice(sorted(self.files))]
            at = draw.randrange(len(entries))
            entries[at] = Entry(entries[at].base, entries[at].copy, self.night)
        if self.night % (2 * FILE_EVERY) == FILE_EVERY:
            # from another copy than the single documents of this night, or a text could come twice
            chosen = draw.sample(range(len(self.texts)), self.each)
            self.files[f"file-{1000 + self.night:04d}"] = [Entry(base, 100_000 + self.night) for base in chosen]
        elif self.night % (2 * FILE_EVERY) == 0:
            del self.files[min(self.files)]

    def write(self) -> None:
        """Bring the folder up to date; a file without a change is not touched."""
        wanted = {f"{name}.jsonl": self.lines(entries) for name, entries in self.files.items()}
        for path in self.folder.iterdir():
            if path.name not in wanted:
                path.unlink()
        for name, content in wanted.items():
            path = self.folder / name
            if not path.exists() or path.read_text(encoding="utf-8") != content:
                path.write_text(content, encoding="utf-8")

    def lines(self, entries: list[Entry]) -> str:
        """A file's content."""
        rows = ({"id": f"{e.base}/{e.copy}", "text": self.text(e)} for e in entries)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def text(self, entry: Entry) -> str:
        """A document's text."""
        text = in_other_words(self.texts[entry.base], entry.copy, self.ranked)
        return text if entry.revised is None else f"{text}\n\nThis was revised on day {entry.revised} of our calendar."


def real_texts(count: int) -> tuple[list[str], str]:
    """So many texts of the two real corpora, from all of their sources, and the ranks of Chinese characters."""
    taken: dict[str, list[str]] = {}
    for corpus, share in (("corpus_en", count - count // SHARE_ZH), ("corpus_zh", count // SHARE_ZH)):
        fitting = [d.text for d in read_documents(corpus) if SHORTEST <= len(d.text) <= LONGEST]
        step = max(1, len(fitting) // max(1, share))
        taken[corpus] = fitting[::step][:share]
    ranked = ranked_characters(Counter("".join(taken["corpus_zh"])))
    english, chinese = taken["corpus_en"], taken["corpus_zh"]
    mixed = [
        chinese[n // SHARE_ZH] if n % SHARE_ZH == SHARE_ZH - 1 else english[n - n // SHARE_ZH] for n in range(count)
    ]
    return mixed, ranked
