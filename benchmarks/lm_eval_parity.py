"""Our exams and EleutherAI's lm-evaluation-harness on the same model, decision by decision.

    python -m benchmarks.lm_eval_parity MODEL --harness PYTHON [--limit 300]

A GPT of ours is written for Hugging Face (`textmill export --to hf`). The harness, in an environment of its own whose
interpreter is PYTHON (pip install lm-eval[hf]), reads that folder with its CPU backend and two local tasks: the minimal
pairs (BLiMP, `limit` pairs of each paradigm) and one of multiple choice (SocialIQA, without examples). We ask the same
model through our own loader. Printed: how many items both decide alike, the largest difference of a log-probability,
and every item that they decide differently. Needs TEXTMILL_DATA.

Three policies of the harness are matched, not ours by default: a space stands before every sentence of BLiMP and is
scored (both are asked with it and without); a prompt that is not empty stands without <|endoftext|> (`begin: false`);
of two equal log-probabilities the first wins (BLiMP has pairs that are twice the same sentence).
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.commands.export import export_model
from lm.evaluate.few_shot import Few, few_shot_decisions
from lm.evaluate.minimal_pairs import minimal_pair_decisions, read_minimal_pairs
from lm.evaluate.prompts import Template, items_of
from lm.labelled.folder import Task
from lm.labelled.forms import MultipleChoice
from lm.text_model import open_model

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {data}}}}}
validation_split: validation
output_type: multiple_choice
num_fewshot: 0
metric_list: [{{metric: acc}}]
target_delimiter: "{delimiter}"
"""
PAIRS = 'doc_to_text: ""\ndoc_to_target: 0\ndoc_to_choice: "{{[sentence_good, sentence_bad]}}"\n'
CHOICE = 'doc_to_text: "{{context}}\\nAnswer:"\ndoc_to_target: "{{label}}"\ndoc_to_choice: "{{choices}}"\n'
TASKS = {
    "pairs_as_they_are": ("blimp", PAIRS, ""),
    "pairs_with_space": ("blimp", PAIRS, " "),
    "local_choice": ("choice", CHOICE, " "),
}
"""By name: file, how it is asked, and what the harness puts between prompt and answer (a space, if nothing is said)."""
TEMPLATE = Template(name="local", form="multiple_choice", example="{context}\nAnswer:")


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a compressed JSON-lines file."""
    with pa.input_stream(str(path), compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().decode().split("\n") if line.strip()]


def harness(python: str, model: Path, tasks: Path, names: list[str], out: Path) -> dict[str, list[dict[str, Any]]]:
    """What the harness says of each item: its samples by task, in the order of the items."""
    command = [
        *[python, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", "16"],
        *["--model_args", f"pretrained={model},dtype=float32"],
        *["--tasks", ",".join(names), "--include_path", str(tasks), "--log_samples", "--output_path", str(out)],
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **offline}, check=False)
    if done.returncode:
        raise SystemExit(f"the harness failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    found = {}
    for name in names:
        [path] = sorted(out.rglob(f"samples_{name}_*.jsonl"))
        rows = [json.loads(line) for line in path.read_text().split("\n") if line.strip()]
        found[name] = sorted(rows, key=lambda row: row["doc_id"])
    return found


def report(name: str, theirs: list[dict[str, Any]], ours: list[list[float]], labels: list[int], seconds: float) -> None:
    """Print how far two evaluators agree."""
    logs = [[float(reply[0]) for reply in row["filtered_resps"]] for row in theirs]
    gaps = [max(abs(a - b) for a, b in zip(x, y, strict=True)) for x, y in zip(logs, ours, strict=True)]
    decided = [(int(np.argmax(x)), int(np.argmax(y))) for x, y in zip(logs, ours, strict=True)]
    different = [at for at, (x, y) in enumerate(decided) if x != y]
    accuracy = [float(np.mean([d[side] == label for d, label in zip(decided, labels, strict=True)])) for side in (0, 1)]
    said = float(np.mean([row["acc"] for row in theirs]))
    found = {
        "task": name,
        "items": len(ours),
        "decided_alike": len(ours) - len(different),
        "accuracy_harness": said,
        "accuracy_harness_recomputed": accuracy[0],
        "accuracy_ours": accuracy[1],
        "largest_log_prob_gap": max(gaps),
        "median_log_prob_gap": float(np.median(gaps)),
        "seconds_ours": round(seconds, 1),
    }
    print(json.dumps(found), flush=True)
    for at in different:
        print(json.dumps({"task": name, "item": at, "harness": logs[at], "ours": ours[at]}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model folder of kind gpt")
    parser.add_argument("--harness", required=True, help="the Python of an environment with lm-eval[hf]")
    parser.add_argument("--limit", type=int, default=300, help="items of each file")
    arguments = parser.parse_args()
    data = Path(os.environ["TEXTMILL_DATA"]) / "labelled"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "tasks").mkdir()
        rows = [row for path in sorted((data / "blimp").iterdir()) for row in lines(path)[: arguments.limit]]
        (folder / "blimp.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        choices = [
            {"id": str(n), "context": row["input"].strip(), "choices": row["choices"], "label": row["label"]}
            for n, row in enumerate(lines(data / "multiple_choice_en" / "social_iqa" / "all.jsonl.zst"))
            if len(row["choices"]) == 3
        ][: arguments.limit]
        (folder / "choice.jsonl").write_text("\n".join(json.dumps(row) for row in choices) + "\n")
        for name, (file, how, delimiter) in TASKS.items():
            text = TASK.format(name=name, data=folder / f"{file}.jsonl", delimiter=delimiter) + how
            (folder / "tasks" / f"{name}.yaml").write_text(text)
        export_model(arguments.model, "hf", folder / "hf")
        theirs = harness(arguments.harness, folder / "hf", folder / "tasks", list(TASKS), folder / "out")
        model = open_model(arguments.model)
        pairs = read_minimal_pairs(folder / "blimp.jsonl")
        for name, before in (("pairs_as_they_are", ""), ("pairs_with_space", " ")):
            started = time.perf_counter()
            answered = minimal_pair_decisions(model, pairs, before=before).to_pylist()
            logs = [[row["good_log_prob"], row["bad_log_prob"]] for row in answered]
            report(name, theirs[name], logs, [0] * len(logs), time.perf_counter() - started)
        started = time.perf_counter()
        task = Task(name="choice", ask=MultipleChoice(), metrics=("accuracy",))
        items = items_of(TEMPLATE, task, [{**row, "question": ""} for row in choices])
        asked = few_shot_decisions(model, items, [], Few(TEMPLATE, shots=0, begin=False))
        labels = [row["label"] for row in choices]
        report(
            "local_choice",
            theirs["local_choice"],
            asked["log_probs"].to_pylist(),
            labels,
            time.perf_counter() - started,
        )


if __name__ == "__main__":
    main()
