"""Sixty generated documents of two sources, a document or two of each fault, and a pipeline small enough for them."""

import random
from pathlib import Path
from typing import Any

from flows.config.pipeline import PipelineConfig

COMMON = "the of and to that with have be it is in for a as on by this from or which are at when will"
TOPICS = {
    "gardens": "rose soil seed winter spade bulb hedge water lawn leaf stem root compost prune bloom",
    "harbours": "ship crane cargo tide anchor quay vessel pilot dock rope sailor storm lantern gull buoy",
}
ATTACK = "<script>alert('from a document')</script>"
ADDRESS = "jane.doe@example.org"


def prose(draw: random.Random, topic: str, sentences: int = 14) -> str:
    """Sentences of which the rules see nothing wrong, and by whose words a topic can be told."""
    common, special = COMMON.split(), TOPICS[topic].split()
    made = []
    for _ in range(sentences):
        words = [draw.choice(common if draw.random() < 0.5 else special) for _ in range(draw.randint(9, 15))]
        made.append(" ".join(words).capitalize() + ".")
    return "\n\n".join(" ".join(made[at : at + 5]) for at in range(0, len(made), 5))


def write_documents(root: Path) -> None:
    """Two sources of 25 documents in good order, and of each fault a document or two."""
    draw = random.Random(1)
    for topic in TOPICS:
        folder = root / topic
        folder.mkdir(parents=True)
        for number in range(25):
            (folder / f"{number:02d}.txt").write_text(prose(draw, topic))
    gardens = root / "gardens"
    original = prose(draw, "gardens", 40)
    (gardens / "original.txt").write_text(original)
    (gardens / "copy.txt").write_text(original)
    (root / "harbours" / "copy.txt").write_text(original)
    (gardens / "nearly.txt").write_text(f"{original[:-200]} {ATTACK}")
    (gardens / "short.txt").write_text(f"Too short for the rules. {ATTACK} Write to {ADDRESS} about the roses.")
    (gardens / "repeated.txt").write_text("The rose is red and that is that.\n" * 40)
    (gardens / "broken.txt").write_bytes(b"caf\xe9 and the rest of a text in Latin-1 \xff\xfe")
    (gardens / "empty.txt").write_text("")


def configuration(root: Path, **changes: Any) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "name": "tiny",
            "ingest": {
                "sources": [{"format": "text", "name": topic, "paths": [str(root / topic)]} for topic in TOPICS]
            },
            "rules": {"rulesets": ["gopher_repetition", "gopher_quality"]},
            "split": {"test_fraction": 0.3, "valid_fraction": 0.3},
            "tokenizer": {"train": {"vocab_size": 400}},
            "pretrain": {"train": {"steps": 6, "eval_interval": 2, "sample_interval": 3, "metrics_interval": 1}},
            "task": {"classes": [{"name": topic} for topic in TOPICS]},
            "finetune": {"seeds": [0, 1]},
            **changes,
        }
    ).smoke()
