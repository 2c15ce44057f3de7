"""What small models learn in the test of real servers: files, and a file that says where they are."""

import json
from pathlib import Path
from typing import Any

from flows.config.instruct import InstructConfig, load_instruct
from flows.config.loading import CONFIGS
from flows.config.search import SearchTuningConfig
from flows.config.study import StudyConfig
from tests.lm import chat_cases
from tests.lm.finetune_cases import CLASSES, backbone_folder, examples, write_set


def write_learning(root: Path) -> str:
    """Write labelled sets, conversations and models below `root`; returns the file for `tests.flows.server_driver`."""
    topics = "".join(f"{row['text']}\t{CLASSES[row['label']]}\n" for row in examples("single", 60))
    (root / "topics.tsv").write_text(f"text\ttopic\n{topics}")
    (root / "topics.yaml").write_text(
        f"name: topics\nask: {{form: classification, classes: [{', '.join(CLASSES)}]}}\n"
        f"read: {{fields: {{label: topic}}}}\ntrain: {{files: [{root}/topics.tsv]}}\ncut: {{valid: 0.2, test: 0.2}}\n"
    )
    rows = "".join(json.dumps({"messages": row["messages"]}) + "\n" for row in chat_cases.chats(24, 1))
    (root / "chats.jsonl").write_text(rows, encoding="utf-8")
    (root / "chats.yaml").write_text(
        f"name: chats\nask: {{form: chat}}\ntrain: {{files: [{root}/chats.jsonl]}}\ncut: {{valid: 0.2}}\n"
        "checks: {duplicates: report, leaks: report}\n"
    )
    given = {
        "data": write_set(root / "data", "single", train=16, valid=12, test=0),
        "bert": backbone_folder(root / "bert", "bert"),
        "gpt": backbone_folder(root / "gpt", "gpt"),
        "decoder": chat_cases.backbone_folder(root / "decoder"),
        "topics": root / "topics.yaml",
        "chats": root / "chats.yaml",
    }
    (root / "given.json").write_text(json.dumps({name: str(place) for name, place in given.items()}))
    return str(root / "given.json")


QUICK: dict[str, Any] = {"epochs": 1, "batch": 8, "evaluations": 1, "device": "cpu", "max_tokens": 16}


def learning_configs(given: str) -> tuple[SearchTuningConfig, StudyConfig, InstructConfig]:
    """A search of which one trial diverges, a study and an instruction tuning of what `write_learning` wrote."""
    place = json.loads(Path(given).read_text(encoding="utf-8"))
    quiet = {"resources": {"workers": 1, "threads": 1}}
    search = SearchTuningConfig.model_validate(
        {
            **{"name": "rates", "data": place["data"], "model": place["bert"], "preset": "small-bert", "seeds": [0]},
            **{"settings": QUICK, "search": {"space": {"learning_rate": [1e-3, 1e30]}}, **quiet},
        }
    )
    systems = {"words": {"kind": "bag_of_words"}, "gpt": {"model": "gpt", "settings": QUICK}}
    study = StudyConfig.model_validate(
        {
            **{"name": "labels", "tasks": [place["topics"]], "models": {"gpt": place["gpt"]}, "labels": [16, "all"]},
            **{"seeds": [0, 1], "baseline": "words", "systems": systems, **quiet},
        }
    )
    asked = {"task": place["chats"], "model": place["decoder"], "train.device": "cpu"}
    return search, study, load_instruct(CONFIGS / "instruct" / "chat.yaml", asked).smoke()
