"""The card as a page: YAML front matter as the Hugging Face hub reads it, and sections of markdown.

No text of a document and no id stands on it, but what the model itself wrote, which may repeat one. Names come from
configurations: they are escaped all the same.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from tasks.cards.data import NOT_RECORDED, SHOWN
from tasks.cards.limits import limits

DESCRIPTION_LIMIT = 5_000
"""Characters of a description in MLflow's registry, by its database."""

PIPELINES = {
    "bert": "fill-mask",
    "elmo": "feature-extraction",
    "word2vec": "feature-extraction",
    "glove": "feature-extraction",
    "classification": "text-classification",
    "regression": "text-classification",
    "multiple_choice": "multiple-choice",
    "tagging": "token-classification",
    "question_answering": "question-answering",
    "transformer": "translation",
    "seq2seq": "translation",
}
"""The hub's name of what a kind of model, or of task, is for; a language model of any other kind generates text."""


def page(facts: Mapping[str, Any]) -> str:
    """The whole card."""
    head = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{head}---\n\n{body(facts)}"


def described(text: str) -> str:
    """A card cut to what MLflow's registry takes as a description: the sections that fit, and where the others are."""
    whole = text.partition("\n---\n")[2].strip() if text.startswith("---\n") else text
    if len(whole) <= DESCRIPTION_LIMIT:
        return whole
    rest = "\n\nThe whole card is among the run's artifacts: card/README.md."
    kept, *sections = whole.split("\n\n## ")
    kept = kept[: DESCRIPTION_LIMIT - len(rest)]
    for section in sections:
        if len(kept) + len("\n\n## ") + len(section) + len(rest) <= DESCRIPTION_LIMIT:
            kept = f"{kept}\n\n## {section}"
    return kept + rest


def front_matter(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the hub reads: nobody stated a licence of the model itself, and that is what it says."""
    kind = kind_of(facts)
    corpora, sets = facts["corpora"], facts["sets"]
    languages = sorted({code for corpus in corpora for code in corpus["languages"] if code != "unknown"})
    languages = languages or sorted({s["task"]["language"] for s in sets if s["task"].get("language")})
    hub = [row["dataset"] for corpus in corpora for row in corpus["sources"] if row["dataset"]]
    head: dict[str, Any] = {
        "license": "unknown",
        **({"language": languages} if languages else {}),
        "library_name": "textmill",
        "pipeline_tag": _pipeline(facts, kind),
        "tags": ["textmill", kind],
        **({"datasets": list(dict.fromkeys(hub))} if hub else {}),
    }
    name = facts["artifact"].replace("/", "-")[: len(facts["stage"]) + 13]
    results = list(_results(facts, _pipeline(facts, kind)))
    if results:
        head["model-index"] = [{"name": name, "results": results}]
    return head


def _results(facts: Mapping[str, Any], pipeline: str) -> Iterator[dict[str, Any]]:
    by_text: dict[str, list[dict[str, Any]]] = {}
    for row in facts["figures"]:
        if row["compared"] or row["count"]:
            continue
        low, high = row["low"], row["high"]
        name = row["what"] if low is None else f"{row['what']} (95 % interval {low:.4g} to {high:.4g})"
        by_text.setdefault(row["on"], []).append(
            {"type": row["what"], "name": name, "value": round(float(row["value"]), 6)}
        )
    for text, metrics in by_text.items():
        dataset = {"name": text, "type": "textmill"}
        yield {"task": {"type": pipeline}, "dataset": dataset, "metrics": metrics}


def kind_of(facts: Mapping[str, Any]) -> str:
    """The kind of model: by its config.json, or else its stage."""
    return str(facts["described"].get("kind") or facts["stage"])


def _pipeline(facts: Mapping[str, Any], kind: str) -> str:
    task = facts["described"].get("task") or {}
    if facts["stage"] == "bag_of_words" and facts["sets"]:  # it has no config.json
        task = facts["sets"][0]["task"]
    form = (task.get("ask") or {}).get("form")
    if facts["stage"] == "bag_of_words" and not form:
        return "text-classification"
    return PIPELINES.get(form or kind, "text-generation")


def body(facts: Mapping[str, Any]) -> str:
    """The sections."""
    name = facts["artifact"].partition("/")
    sections = [
        [f"# {name[0]} {name[2][:12]}", _in_short(facts)],
        ["## Data", *_data(facts)],
        ["## Tokenizer", *_tokenizer(facts)],
        ["## Training", *_training(facts)],
        ["## Evaluation", *_evaluation(facts)],
        ["## Limits", "\n".join(f"- {line}" for line in limits(facts))],
        *([[*_samples(facts)]] if facts["samples"] or facts["probes"] else []),
        ["## Time and energy", *_cost(facts)],
        ["## Rebuild", *_rebuild(facts)],
        ["## Settings", *_settings(facts)],
    ]
    return "\n\n".join("\n\n".join(section) for section in sections) + "\n"


def _in_short(facts: Mapping[str, Any]) -> str:
    parameters = facts["counts"].get("parameters")
    size = f" of {parameters:,} parameters" if parameters else ""
    base = f", made from {', '.join(facts['base'])}" if facts["base"] else ""
    return f"A model of kind `{_plain(kind_of(facts))}`{size}{base}. Content digest `{facts['digest']}`."


def _data(facts: Mapping[str, Any]) -> Iterator[str]:
    for corpus in facts["corpora"]:
        yield f"Corpus `{corpus['corpus'][:26]}`, read from:"
        yield table(
            ("source", "format", "files", "documents", "bytes of text", "licence"),
            [
                (r["source"], _format(r), r["files"], r["documents"], r["text_bytes"], r["license"])
                for r in corpus["sources"]
            ],
        )
        yield "\n".join(f"- {_plain(step)}" for step in corpus["steps"])
        kept = corpus["kept"]
        said = (
            f"Kept: {kept['documents']:,} documents, {kept['bytes']:,} bytes; dropped: {kept['dropped']:,} documents."
        )
        reasons = sorted(corpus["reasons"].items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]
        if reasons:
            said += " By the first reason: " + ", ".join(f"{_plain(name)} {count:,}" for name, count in reasons) + "."
        yield said
        if corpus["languages"].keys() - {"unknown"}:
            yield "Languages of what is kept: " + _counted(corpus["languages"])
        if corpus["split"]:
            split = corpus["split"]
            yield ", ".join(f"{name} {split.get(name, 0):,}" for name in ("train", "valid", "test")).capitalize() + (
                " documents; near-twins of test documents are out of training "
                f"({split.get('near_twin_of_test', 0):,} of them)."
            )
    for made in facts["sets"]:
        task = made["task"].get("name") or made["stage"]
        counts = ", ".join(f"{name} {count:,}" for name, count in made["counts"].items())
        of = "those of the corpus" if made["stage"] == "labelled" else _plain(made["license"])
        yield f"Examples `{_plain(made['artifact'])}` ({_plain(task)}): {counts}. Licence: {of}."
    if not facts["corpora"] and not facts["sets"]:
        yield f"Training data: {NOT_RECORDED}; the model was taken in from outside, or its lineage was collected."
    if facts["gone"]:
        yield f"No longer in the store, so that nothing is said of it: {', '.join(facts['gone'])}."


def _format(row: Mapping[str, Any]) -> str:
    where = f" {row['dataset']}" if row["dataset"] else ""
    return f"{row['format']}{where}" + (f" at {row['revision'][:12]}" if row["revision"] else "")


def _counted(counts: Mapping[str, int]) -> str:
    largest = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]
    return ", ".join(f"{_plain(name)} {count:,}" for name, count in largest) + "."


def _tokenizer(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts["tokenizers"]:
        yield "None of its own: it came with the model that this one goes on from, or was not recorded."
    for made in facts["tokenizers"]:
        config, counts = made["config"], made["counts"]
        learned = f", learned from {counts['bytes']:,} bytes" if "bytes" in counts else ""
        size = counts.get("vocab_size", config.get("vocab_size"))
        yield f"`{made['artifact']}`: kind `{_plain(config.get('kind'))}`, vocabulary {size:,}{learned}."


def _training(facts: Mapping[str, Any]) -> Iterator[str]:
    counts, machine = facts["counts"], facts["environment"]
    said = [f"{name} {counts[name]:,}" for name in ("documents", "words", "tokens", "steps") if name in counts]
    if said:
        yield f"Read in training: {', '.join(said)}."
    if adapters := (facts["settings"].get("lora") or {}):
        yield (
            f"Learned by adapters of rank {adapters['rank']} on {', '.join(adapters['matrices'])} and by the head: "
            f"{counts['learning']:,} of {counts['parameters']:,} parameters. The adapters are merged into the weights."
        )
    packages = {**machine.get("packages", {}), **facts["libraries"]}
    where = [machine.get("processor"), machine.get("machine"), machine.get("system")]
    yield (
        f"On {_plain(', '.join(filter(None, where)) or 'a machine that is not recorded')}, "
        f"{machine.get('threads', '?')} threads, Python {machine.get('python', '?')}; "
        + ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
        + "."
    )
    yield _licences(facts["dependencies"])


def _licences(known: Mapping[str, Any]) -> str:
    """Of the software beside the model: what is installed may be other software than it was trained with."""
    if not known:
        return "Licences of the packages that Textmill needs are not known here: it is not installed as a package."
    counted = ", ".join(f"{_plain(name)} {count:,}" for name, count in known["by_licence"].items())
    named = "; ".join(f"{_plain(name)}: {_plain(said)}" for name, said in known["named"].items())
    return (
        f"Licences of the {known['packages']:,} packages that Textmill needs, by their metadata where this card was "
        f"written: {counted}.{f' Besides: {named}.' if named else ''} None of them is in the model."
    )


def _settings(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "All that shapes the result, beside what it was made from:"
    yield f"```json\n{json.dumps(facts['settings'], indent=1, ensure_ascii=False, sort_keys=True)}\n```"


def _evaluation(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts["figures"]:
        yield "Nothing was asked of it yet: `textmill evaluate` puts exams to it."
        return
    measured = [row for row in facts["figures"] if not row["count"]]
    yield table(
        ("figure", "value", "95 % interval", "on", "from"),
        [(r["what"], _number(r["value"]), _interval(r), r["on"], r["from"]) for r in measured],
    )
    counted: dict[str, list[str]] = {}
    for row in facts["figures"]:
        if row["count"]:
            counted.setdefault(row["on"], []).append(f"{_plain(row['what']).replace('_', ' ')} {row['value']:,.0f}")
    if counted:
        said = [f"{_plain(on)}: {', '.join(of)}" for on, of in counted.items()]
        yield f"Counted, of {'; of '.join(said)}."
    if any(row["low"] is None for row in measured):
        yield "Where no interval stands, none was computed: the figure is of one run on one sample."


def _samples(facts: Mapping[str, Any]) -> Iterator[str]:
    """What it writes, and what it makes of people: one section, as nobody should read the one without the other."""
    yield "## Samples" if facts["samples"] else "## Bias"
    for row in facts["samples"]:
        prompt = f"**{_written(row['prompt'])}**" if row["prompt"].strip() else ""
        yield " ".join(filter(None, (">", prompt, _written(row["text"]))))
    if facts["samples"]:
        steps = sorted({row["step"] for row in facts["samples"]})
        yield (
            f"Written after step {', '.join(f'{step:,}' for step in steps)} of training, the prompt in bold. They are"
            " not chosen, nor looked through: a model may write what is false or hurts, and repeat what it has read."
        )
    probes = facts["probes"]
    if not probes:
        yield "Bias was not asked for: `textmill evaluate MODEL pronouns hurtful-words`."
        return
    yield table(
        ("bias probe", "of", "value", "95 % interval", "n", "from"),
        [(r["probe"], r["of"], _number(r["value"]), _interval(r), r["n"], r["from"]) for r in probes["lines"]],
    )
    yield f"Limits of these probes: {_plain('; '.join(probes['limits']))}."
    if probes["missing"]:
        yield f"Not asked for: {', '.join(kind.replace('_', ' ') for kind in probes['missing'])}."


def _interval(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}"


def _number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _cost(facts: Mapping[str, Any]) -> Iterator[str]:
    costs = facts["costs"]
    if not costs:
        yield f"{NOT_RECORDED.capitalize()}."
        return
    rows = [(c["artifact"], f"{c['seconds']:.1f}", _joules(c)) for c in costs]
    total = sum(c["seconds"] for c in costs)
    known = [c["joules"] for c in costs if c["joules"] is not None]
    whole = f"{sum(known) / 3.6e6:.4g} kWh" if len(known) == len(costs) else NOT_RECORDED
    yield table(("stage", "seconds", "energy"), [*rows, ("all", f"{total:.1f}", whole)])
    yield (
        "Seconds are wall clock of the build that is in the store; shards that were found finished cost nothing then. "
        + _how_measured(costs)
    )


def _joules(cost: Mapping[str, Any]) -> str:
    return NOT_RECORDED if cost["joules"] is None else f"{cost['joules'] / 3.6e6:.4g} kWh"


def _how_measured(costs: Iterable[Mapping[str, Any]]) -> str:
    found = {cost["measured"] for cost in costs}
    said = []
    if "counters" in found:
        said.append(
            "Energy by the machine's own counters (RAPL of whole processor packages, NVML of NVIDIA's cards), other "
            "work on the machine included, memory not."
        )
    if "stated watts" in found:
        watts = sorted({cost["watts"] for cost in costs if cost["measured"] == "stated watts"})
        said.append(f"Energy as seconds times the stated {' and '.join(f'{w:g} W' for w in watts)}, not measured.")
    if "" in found:
        said.append(
            "Energy is not recorded where neither the processor's counters could be read nor `resources.watts` was set."
        )
    if any(cost["resumed"] for cost in costs):
        said.append("A stage that was killed and gone on with counts all its attempts, the earlier ones by samples.")
    return " ".join(said)


def _rebuild(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"```\ntextmill rebuild {facts['artifact']}\n```"
    if facts["stage"] == "adopt_model":
        yield (
            "It reads the model's files again where they lay when it was taken in, and compares. How they were trained "
            "is known to whoever made them, and cannot be done again from here."
        )
        return
    if any(base.startswith("adopt_model/") for base in facts["base"]):
        yield "The model that this one goes on from was taken in from outside: its files are read again, not trained."
    yield (
        "It reads the sources again where they lay, builds every stage in a store of its own and compares the "
        "digests. Equal weights are promised on the same kind of machine with the same threads and package versions; "
        "what differs first, and why, is reported. It works where the store is that this model was made in, whose "
        "manifests are the recipe, not from a copy of the model."
    )


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table of markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _plain(value).replace("|", "\\|")


def _written(text: str) -> str:
    """What a model wrote, as text: also no emphasis, heading or list begins in it."""
    text = re.sub(r"([\\*_~#])", r"\\\1", " ".join(text.split()))
    return _plain(re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", text))


def _plain(value: Any) -> str:
    """Text as text: no markup begins in it, and it stays on its line."""
    text = " ".join(str(value).split())
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("`", "'"), ("[", "\\["), ("]", "\\]")):
        text = text.replace(sign, instead)
    return text
