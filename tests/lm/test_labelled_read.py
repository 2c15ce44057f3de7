"""Readers of labelled files: every format gives the same examples, and what cannot be read is named with its place."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.labelled.conll import to_iob2
from lm.labelled.examples import Example
from lm.labelled.forms import (
    AnyForm,
    Chat,
    Classification,
    Generation,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    Tagging,
)
from lm.labelled.read_config import ReadConfig
from lm.labelled.reading import Read, read_examples, read_files
from lm.labelled.squad import checked_answers
from lm.labelled.streams import BadInput, lines
from lm.stop import Interrupted

MOOD = Classification(classes=("bad", "good"))
NAMES = Tagging(tags=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
SQUAD = QuestionAnswering()
TEXTS = [('He said "no", twice', "bad"), ("très bon 很好", "good"), ("line\u2028separator, a\u0085b", "good")]


def read(form: AnyForm, *paths: Path, targets: tuple[Path, ...] = (), **config: Any) -> Read:
    settings = ReadConfig.model_validate(config)
    return read_examples(form, read_files(paths, targets, settings), settings, "train")


def examples(form: AnyForm, *paths: Path, **config: Any) -> list[Example]:
    return read(form, *paths, **config).examples


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return bytes(sink.getvalue())


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


FILES = {
    "a.jsonl": "".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in TEXTS),
    "a.csv": "text,label\n" + "".join(f"{quoted(t)},{n}\n" for t, n in TEXTS),
    "crlf.csv": "label,text\r\n" + "".join(f"{n},{quoted(t)}\r\n" for t, n in TEXTS),
    "bom.tsv": "\ufefftext\tlabel\n" + "".join(f"{t}\t{n}\n" for t, n in TEXTS),
    "last-line-open.tsv": "text\tlabel\n" + "\n".join(f"{t}\t{n}" for t, n in TEXTS),
}


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_examples(tmp_path: Path, name: str, compression: str) -> None:
    data = FILES[name].encode()
    data = {"": data, ".gz": gzip.compress(data), ".zst": zstd(data)}[compression]
    path = tmp_path / (name + compression)
    path.write_bytes(data)
    assert examples(MOOD, path) == [
        {"id": f"train:{n}", "text": text, "text_b": None, "label": MOOD.classes.index(label)}
        for n, (text, label) in enumerate(TEXTS, 1)
    ]


def test_parquet_and_several_files_in_a_row(tmp_path: Path) -> None:
    table = pa.table({"sentence": ["a", None], "gold": [1, 0], "name": [7, 8]})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table.set_column(2, "name", [["x", "y"]]), tmp_path / "b.parquet")
    fields = {"text": "sentence", "label": "gold", "id": "name"}
    made = examples(MOOD, tmp_path / "a.parquet", tmp_path / "b.parquet", fields=fields)
    assert [(e["id"], e["text"], e["label"]) for e in made] == [
        ("7", "a", 1),
        ("8", "", 0),
        ("x", "a", 1),
        ("y", "", 0),
    ]


def test_two_members_of_gzip_and_two_frames_of_zstandard_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    (tmp_path / "a.txt.zst").write_bytes(zstd(b"one\n") + zstd(b"two\n"))
    for name in ("a.txt.gz", "a.txt.zst"):
        assert list(lines(tmp_path / name)) == [(1, "one"), (2, "two")]


def test_tables_without_a_header_have_numbered_or_given_columns(tmp_path: Path) -> None:
    path = tmp_path / "cola.tsv"
    path.write_text('gj04\t1\t\tThe "sailors" rode\ngj04\t0\t*\tHim rode "\n')
    made = examples(MOOD, path, header=False, fields={"text": 3, "label": 1})
    assert [(e["text"], e["label"]) for e in made] == [('The "sailors" rode', 1), ('Him rode "', 0)]
    columns = ["source", "label", "mark", "text"]
    assert examples(MOOD, path, header=False, columns=columns) == made
    csv = tmp_path / "c.csv"
    csv.write_text('1;"one;\ntwo"\n0;three\n')
    made = examples(MOOD, csv, header=False, delimiter=";", fields={"label": 0, "text": 1})
    assert [(e["text"], e["label"]) for e in made] == [("one;\ntwo", 1), ("three", 0)]
    tsv = tmp_path / "q.tsv"
    tsv.write_text('"a\tb"\tgood\n')
    assert examples(MOOD, tsv, header=False, quoting=True, columns=["text", "label"])[0]["text"] == "a\tb"


@pytest.mark.parametrize(
    ("label", "place"),
    [("good", 1), (1, 1), (1.0, 1), ("0", 0), ("+", 1), ("-", 0)]
    + [(wrong, None) for wrong in (True, 0.5, "1.0", "01", " 1", "１", 2, "Good", None, ["good"])],
)
def test_labels_are_names_or_whole_numbers(tmp_path: Path, label: Any, place: int | None) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "t", "label": label}))
    labels = {"+": "good", "-": "bad"}
    if place is not None:
        assert examples(MOOD, path, labels=labels)[0]["label"] == place
        return
    with pytest.raises(BadInput, match=r"a\.jsonl: line 1: label \(column label\): .* is no (label|class)"):
        examples(MOOD, path, labels=labels)


@pytest.mark.parametrize(
    ("value", "number"),
    [("3.8", 3.8), ("4", 4.0), (2, 2.0), ("1e0", 1.0)]
    + [(wrong, None) for wrong in ("3,8", "nan", "1_0", " 3", "6", True, None, "")],
)
def test_numbers_are_read_strictly(tmp_path: Path, value: Any, number: float | None) -> None:
    form = Regression(low=0, high=5)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "t", "text_b": "u", "label": value}))
    if number is not None:
        assert examples(form, path)[0] == {"id": "train:1", "text": "t", "text_b": "u", "label": number}
        return
    with pytest.raises(BadInput, match=r"line 1: label \(column label\): .*(is no number|is not within 0\.\.5)"):
        examples(form, path)


def test_multiple_choice_from_columns_lists_and_letters(tmp_path: Path) -> None:
    form = MultipleChoice()
    swag = tmp_path / "swag.csv"
    swag.write_text("sent1,sent2,ending0,ending1,label\nA man sits.,He,sleeps,flies,0\n")
    fields: dict[str, Any] = {"context": "sent1", "question": "sent2", "choices": ["ending0", "ending1"]}
    made = {"context": "A man sits.", "question": "He", "choices": ["sleeps", "flies"], "label": 0}
    assert examples(form, swag, fields=fields) == [{"id": "train:1", **made}]
    cloze = tmp_path / "cloze.csv"
    cloze.write_text("s1,s2,q1,q2,AnswerRightEnding\nOne.,Two.,yes,no,2\n")
    fields = {"context": ["s1", "s2"], "choices": ["q1", "q2"], "label": "AnswerRightEnding"}
    [example] = examples(form, cloze, fields=fields, labels={1: 0, 2: 1})
    assert (example["context"], example["question"], example["label"]) == ("One. Two.", "", 1)
    tests = tmp_path / "mctest.jsonl"
    record = {"story": "s", "question": "q", "options": {"A": "x", "B": "y"}, "answer": "B"}
    tests.write_text(json.dumps(record))
    fields = {"context": "story", "choices": ["options.A", "options.B"], "label": "answer"}
    [example] = examples(form, tests, fields=fields, labels={"A": 0, "B": 1})
    assert (example["choices"], example["label"]) == (["x", "y"], 1)
    tests.write_text(json.dumps({"context": "c", "choices": ["x", "y"], "label": 2}))
    with pytest.raises(BadInput, match=r"2 is no number of a choice \(0, 1\); name it in read.labels"):
        examples(form, tests)


CONLL = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-LOC\nrejects VBZ I-VP O\n\n\n# a comment\nAnn NNP I-NP I-PER\n"


def test_columns_of_words_and_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text(CONLL)
    made = examples(NAMES, path, scheme="iob1", comment="# ")
    assert [(e["words"], e["tags"]) for e in made] == [(["EU", "rejects"], ["B-LOC", "O"]), (["Ann"], ["B-PER"])]
    pos = Tagging(tags=("NNP", "VBZ"), spans=False)
    assert examples(pos, path, tag=1, comment="# ")[0]["tags"] == ["NNP", "VBZ"]
    spaces = tmp_path / "b.conll"  # a full-width space is a word, and a lone space may be one
    spaces.write_text("\u3000\tO\n \tO\n张\tB-PER\n")
    assert examples(NAMES, spaces, separator="tab")[0]["words"] == ["\u3000", " ", "张"]
    lists = tmp_path / "a.jsonl"
    lists.write_text(json.dumps({"words": ["EU", "x"], "tags": [3, 0]}))
    assert examples(NAMES, lists)[0]["tags"] == ["B-LOC", "O"]


def encode(spans: list[tuple[int, int, str]], length: int, scheme: str) -> list[str]:
    """Tags of spans, written as each scheme is defined."""
    tags = ["O"] * length
    for start, end, kind in spans:
        for at in range(start, end):
            tags[at] = f"I-{kind}"
        if scheme == "bioes":
            tags[end - 1] = f"E-{kind}"
            tags[start] = f"S-{kind}" if end - start == 1 else f"B-{kind}"
        elif scheme == "iob2" or any(e == start and k == kind for _, e, k in spans):
            tags[start] = f"B-{kind}"
    return tags


@pytest.mark.parametrize("scheme", ["iob1", "iob2", "bioes"])
def test_schemes_of_random_spans_become_iob2(scheme: Any) -> None:
    draw = random.Random(5)
    for _ in range(500):
        spans, at = [], 0
        while at < 12:
            end = min(12, at + draw.randint(1, 3))
            if draw.random() < 0.6:
                spans.append((at, end, draw.choice(["PER", "LOC"])))
            at = end
        assert to_iob2(encode(spans, 12, scheme), scheme) == (encode(spans, 12, "iob2"), 0)


def test_a_span_that_was_not_begun_begins_and_is_counted(tmp_path: Path) -> None:
    assert to_iob2(["O", "I-PER", "I-LOC", "I-LOC"], "iob2") == (["O", "B-PER", "B-LOC", "I-LOC"], 2)
    assert to_iob2(["S-PER", "I-PER", "E-PER", "E-PER"], "bioes") == (["B-PER", "B-PER", "I-PER", "B-PER"], 2)
    assert to_iob2(["X", "Y"], "none") == (["X", "Y"], 0)
    path = tmp_path / "a.conll"
    path.write_text("a I-PER\n\nb I-LOC\n")
    found = read(NAMES, path)
    assert dict(found.notes.counts) == {"tags_mended": 2}
    assert found.notes.places == {"tags_mended": ["a.conll: line 1", "a.conll: line 3"]}


def squad(*asked: dict[str, Any], context: str = "The cat saw the dog. The end.") -> str:
    qas = [{"id": f"q{n}", "question": "Who?", **question} for n, question in enumerate(asked)]
    return json.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": context, "qas": qas}]}]})


def test_squad_files_with_offsets_that_are_mended_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text(
        squad(
            {"answers": [{"text": "cat", "answer_start": 4}, {"text": "dog", "answer_start": 3}]},
            {"answers": [{"text": "The", "answer_start": 1}]},  # stands twice: nobody knows which
            {"answers": [{"text": "bird", "answer_start": 4}, {"text": "end", "answer_start": 25}]},
            {"answers": [{"text": "cat", "answer_start": -3}, {"text": " ", "answer_start": 3}]},
        )
    )
    found = read(SQUAD, path, fields={"id": "id"})
    assert [(e["id"], e["answers"], e["starts"]) for e in found.examples] == [
        ("q0", ["cat", "dog"], [4, 16]),
        ("q2", ["end"], [25]),
        ("q3", ["cat"], [4]),
    ]
    assert found.records == 4
    assert dict(found.notes.counts) == {"answers_moved": 2, "answers_left_out": 3, "questions_left_out": 1}
    assert found.notes.places["questions_left_out"] == ["dev.json: data[0].paragraphs[0].qas[1]"]
    for example in found.examples:
        for text, start in zip(example["answers"], example["starts"], strict=True):
            assert example["context"][start : start + len(text)] == text


def test_questions_without_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    plausible = {"plausible_answers": [{"text": "cat", "answer_start": 4}], "answers": [], "is_impossible": True}
    path.write_text(squad(plausible))
    assert examples(QuestionAnswering(unanswerable=True), path)[0]["answers"] == []
    with pytest.raises(BadInput, match=r"qas\[0\]: answers .*there is none; set ask\.unanswerable to true"):
        examples(SQUAD, path)


def test_answers_in_other_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    hub = {"context": "a b", "question": "?", "answers": {"text": ["b"], "answer_start": [2]}}
    path.write_text(json.dumps(hub))
    fields = {"answers": "answers.text", "starts": "answers.answer_start"}
    assert examples(SQUAD, path, fields=fields)[0]["starts"] == [2]
    path.write_text(json.dumps({**hub, "answers": [{"text": "b", "answer_start": 2}]}))
    assert examples(SQUAD, path, fields=fields)[0]["answers"] == ["b"]
    path.write_text(json.dumps({**hub, "answers": "b"}))  # without a place: it is looked for
    assert examples(SQUAD, path)[0]["starts"] == [2]
    path.write_text(json.dumps({**hub, "answers": ["b"], "starts": [2.0]}))
    with pytest.raises(BadInput, match=r"starts .*a whole number for each of 1 answers is needed, in characters"):
        examples(SQUAD, path)


def test_answers_beyond_the_basic_plane_are_counted_in_characters() -> None:
    assert checked_answers("😀 cat", ["cat"], [2]) == (["cat"], [2], 0, [])
    assert checked_answers("aaa", ["aa"], [5]) == ([], [], 0, ["aa"])  # it stands at 0 and at 1


def test_lines_of_two_files(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("one\ntwo\n")
    (tmp_path / "a.de").write_text("eins\nzwei")
    made = examples(Generation(), tmp_path / "a.en", targets=(tmp_path / "a.de",), format="lines")
    assert [(e["source"], e["target"]) for e in made] == [("one", "eins"), ("two", "zwei")]
    (tmp_path / "b.de").write_text("eins\n")
    for pair, message in (
        (("a.en", "b.de"), "b.de ends after line 1, .*a.en does not"),
        (("b.de", "a.en"), "b.de ends before line 2"),
    ):
        with pytest.raises(BadInput, match=message):
            examples(Generation(), tmp_path / pair[0], targets=(tmp_path / pair[1],), format="lines")
    with pytest.raises(BadInput, match="name as many `targets` as `files`"):
        examples(Generation(), tmp_path / "a.en", format="lines")


def test_conversations_as_messages_or_prompt_and_response(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    records: list[dict[str, Any]] = [{"messages": turns}, {"messages": [{"role": "system", "content": "x"}, *turns]}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert [len(e["messages"]) for e in examples(Chat(), path)] == [2, 3]
    path.write_text(json.dumps({"instruction": "Hi", "output": "Hello", "rules": ""}))
    fields = {"prompt": "instruction", "response": "output", "system": "rules"}
    assert examples(Chat(), path, fields=fields) == [{"id": "train:1", "messages": turns}]
    for messages, message in (
        ([], "a list of objects with role and content is needed"),
        ([{"from": "human"}], "message 0: a role of system, user, assistant and a text"),
        (turns[:1], "the last message is not the assistant's"),
        ([turns[0], *turns], r"message 1 \('user'\): two user turns in a row"),  # what `instruct` refuses
        ([*turns, {"role": "system", "content": "x"}, *turns], "the system speaks first or not at all"),
        ([turns[0], {"role": "assistant", "content": " "}], "an empty response: there is nothing to learn"),
    ):
        path.write_text(json.dumps({"messages": messages}))
        with pytest.raises(BadInput, match=message):
            examples(Chat(), path)
    path.write_text(json.dumps({"prompt": "Hi", "response": ""}))
    with pytest.raises(BadInput, match=r"line 1: message 1 \('assistant'\): an empty response"):
        examples(Chat(), path)


def test_numbers_are_names_where_a_class_is_called_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    stars = Classification(classes=("1", "2", "3", "4", "5"))
    path.write_text("".join(json.dumps({"text": "t", "label": label}) + "\n" for label in (1, "5")))
    assert [example["label"] for example in examples(stars, path)] == [0, 4]
    path.write_text(json.dumps({"text": "t", "label": 0}))  # else the place of "1", as which 1 was read above
    with pytest.raises(BadInput, match=r"0 is no class \(1, 2, 3, 4, 5\); name it in read.labels"):
        examples(stars, path)
    assert examples(stars, path, labels={0: 1})[0]["label"] == 0
    assert examples(MOOD, path)[0]["label"] == 0


@pytest.mark.parametrize("written", ["false", "False", "no", False, 0.0])
def test_truth_values_and_whole_floats_are_labels(written: Any, tmp_path: Path) -> None:
    """As YAML, JSON, pandas and spreadsheets write them."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "t", "label": written}))
    labels: dict[Any, Any] = {"0": "bad"} if written == 0.0 and not isinstance(written, bool) else {False: "bad"}
    assert examples(MOOD, path, labels=labels)[0]["label"] == MOOD.classes.index("bad")
    truth = Classification(classes=("false", "true"))
    path.write_text(json.dumps({"text": "t", "label": True}))
    assert examples(truth, path)[0]["label"] == 1
    path.write_text(json.dumps({"text": "t", "label": 0.5}))
    with pytest.raises(BadInput, match=r"0.5 is no label: a name, a whole number, true or false is needed"):
        examples(truth, path)


def test_a_translation_into_no_class_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "t", "label": 1}))
    with pytest.raises(BadInput, match=r"read\.labels makes 'badd' of 1, which is no class \(bad, good\)"):
        examples(MOOD, path, labels={1: "badd"})


def test_names_of_columns_are_for_files_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Sentence,Mood\na,good\n")
    with pytest.raises(ValueError, match="columns: names the columns of a file without a header: set header: false"):
        examples(MOOD, path, columns=["text", "label"])
    path.write_text("a,good\nb,bad\n")
    found = examples(MOOD, path, columns=["text", "label"], header=False)
    assert [example["text"] for example in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "config", "message"),
    [
        ("a.jsonl", '{"text": "a", "label": 0}\n{"text": \n', {}, r"a\.jsonl: line 2 is no JSON: .*one object a line"),
        ("a.jsonl", "[1]\n", {}, r"line 1 is no JSON object: '\[1\]'"),
        ("a.jsonl", '{"sentence": "a", "label": 0}', {"fields": {"text": "sentense"}}, "did you mean 'sentence'"),
        (
            "a.jsonl",
            '{"label": 0}',
            {},
            r"line 1: no column 'text' for text \(columns: 'label'\).*Set read\.fields\.text",
        ),
        ("a.jsonl", '{"text": 5, "label": 0}', {}, r"line 1: text \(column text\): 5 is no text"),
        ("a.jsonl", '{"text": "a", "label": -1}', {}, "label -1 means that there is none"),
        ("a.csv", "text,label\na,good\nb\n", {}, "line 3 has 1 values, 2 are needed.*read.quoting to false"),
        ("a.csv", 'text,label\n"a" b,good\n', {}, "line 2: .*if quotes are plain characters here, set read.quoting"),
        ("a.csv", 'text,label\n"a,good\n', {}, "line 2: unexpected end of data"),
        ("a.csv", "text,text\na,b\n", {}, "line 1 names a column twice: text"),
        ("a.tsv", "text\tlabel\na\tb\tgood\n", {}, "line 2 has 3 values, 2 are needed.*read.quoting to true"),
        ("a.parquet", "text", {}, "cannot be read as Parquet after row 0.*fetch it again"),
        ("a.json", '{"data": [{"paragraphs": [{"context": "c", "qas": [{}]}]}]}', {}, r"data\[0\].*no SQuAD file"),
        ("a.json", "{", {}, "a.json: no JSON"),
        ("a.conll", "word\n", {}, "line 1 has no word or no tag"),
        ("a.conll", "a b\n", {"tag": 3}, "line 1 has 2 columns, read.word is 0 and read.tag 3"),
        ("a.doc", "text", {}, "its format cannot be told by its name: set read.format to one of jsonl"),
        ("a.jsonl", '{"text": "a", "label": 0, "id": ""}', {"fields": {"id": "id"}}, "id .*'' is no name"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: str, config: dict[str, Any], message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadInput, match=message):
        examples(MOOD, path, **config)


@pytest.mark.parametrize(
    ("line", "config", "message"),
    [
        ("a Q-PER", {}, "tag 'Q-PER' is none of scheme iob2: it has O and B, I with -KIND; set read.scheme"),
        ("a S-PER", {"scheme": "iob1"}, "tag 'S-PER' is none of scheme iob1"),
        ("a B-ORG", {}, r"'B-ORG' is no tag \(O, B-PER"),
    ],
)
def test_tags_that_a_task_does_not_have(tmp_path: Path, line: str, config: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.conll"
    path.write_text(line)
    with pytest.raises(BadInput, match=message):
        examples(NAMES, path, **config)
    records = tmp_path / "a.jsonl"
    kinds = [f"B-K{number}" for number in range(9)]
    records.write_text(json.dumps({"words": kinds, "tags": kinds}))
    with pytest.raises(BadInput, match="'B-K0' is no tag"):  # the first, whatever a set's order is in this process
        examples(NAMES, records)
    records.write_text(json.dumps({"words": ["a", "b"], "tags": ["O"]}))
    with pytest.raises(BadInput, match="1 tags for 2 words"):
        examples(NAMES, records)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.jsonl: no such file"):
        examples(MOOD, tmp_path / "none.jsonl")
    with pytest.raises(BadInput, match=r"none\.parquet: no such file"):
        examples(MOOD, tmp_path / "none.parquet")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("text,label\ntrès,good\n".encode("latin-1"))
    with pytest.raises(BadInput, match=r"line 2 is not UTF-8: .*\(byte 3\); convert it"):
        examples(MOOD, latin)
    whole = "".join(json.dumps({"text": str(n) * 40, "label": 0}) + "\n" for n in range(20_000)).encode()
    for name, packed in (("a.jsonl.gz", gzip.compress(whole)), ("a.jsonl.zst", zstd(whole))):
        path = tmp_path / name
        path.write_bytes(packed[: len(packed) // 2])
        with pytest.raises(BadInput, match=rf"{name}: damaged after [\d,]+ bytes of text"):
            examples(MOOD, path)


def test_several_errors_are_told_at_once_and_an_id_twice_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": "t", "label": f"l{n}"}) + "\n" for n in range(9)))
    with pytest.raises(BadInput) as caught:
        examples(MOOD, path)
    assert [f"line {n}" in line for n, line in enumerate(str(caught.value).split("\n"), 1)] == [True] * 5
    path.write_text('{"text": "t", "label": 0, "id": 4}\n{"text": "u", "label": 0, "id": 4}\n')
    with pytest.raises(BadInput, match=r"line 2: id '4' is that of .*line 1 as well; take `id` out of read\.fields"):
        examples(MOOD, path, fields={"id": "id"})


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "t", "label": 0}\n' * 5_000)
    told: list[int] = []
    records = read_files([path], [], ReadConfig())
    with pytest.raises(Interrupted, match="asked to stop while reading train"):
        read_examples(MOOD, records, ReadConfig(), "train", told.append, lambda: len(told) == 2)
    assert told == [2_000, 2_000]
