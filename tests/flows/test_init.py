"""`textmill init`: what it sees in a folder, and that what it writes is a valid config."""

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data_quality.rules import choose_rulesets
from flows.commands.init import EPOCHS, PRESETS, TOKENS_PER_PARAMETER, init_config, suggest_preset
from flows.commands.survey import LARGE_FILE, LONG_SAMPLE_BYTES, guess_language, survey
from flows.config.loading import ConfigError, parse
from flows.config.pipeline import PipelineConfig
from lm.models.gpt_config import GPT_PRESETS
from tests.data_quality.ingesting import ingest, zstd
from tests.data_quality.office import docx, paragraph, pdf
from tests.data_quality.parquet_bombs import one_text_again_and_again
from tests.peak import forget_peak, peak

ENGLISH = "The cat sat on the mat, and the dog lay in the shade of the tree that stood by the house. "
CHINESE = "机器学习是人工智能的一个分支,它使用数据来改进算法。"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
KOREAN = "나는 고양이다. 이름은 아직 없다."
GERMAN = "Der Hund liegt im Schatten des Baumes, der neben dem Haus steht."


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode(), mtime=0))
    else:
        path.write_text(lines)


def sources(folder: Path) -> list[dict[str, object]]:
    """The written sources, after the whole config has passed as one that `textmill run` takes."""
    written = yaml.safe_load(init_config(folder))
    parse(written, str(folder), PipelineConfig)
    found: list[dict[str, object]] = written["ingest"]["sources"]
    return found


def test_jsonl_column_by_name_and_by_length(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": f"d{i}", "title": "On cats", "body": ENGLISH * 3} for i in range(20)]
    write_jsonl(tmp_path / "a.jsonl.gz", rows)
    (source,) = sources(tmp_path)
    assert (source["format"], source["text_column"], source["id_column"]) == ("jsonl", "body", "id")
    assert source["language"] == "en"

    other: list[dict[str, object]] = [{"text": "yes", "why": ENGLISH * 3, "id": "same"} for _ in range(20)]
    write_jsonl(tmp_path / "a.jsonl.gz", other)
    (source,) = sources(tmp_path)
    assert source["text_column"] == "why"  # `text` holds labels here
    assert "id_column" not in source  # its values repeat


BOOK = ENGLISH * 7_200  # 650 KB


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.csv"])
def test_records_longer_than_a_sample_have_their_columns_too(tmp_path: Path, name: str) -> None:
    rows: list[dict[str, object]] = [{"doc_id": f"d{n}", "content": f"{n}: {BOOK}"} for n in range(3)]
    if name.endswith(".csv"):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([list(rows[0]), *(row.values() for row in rows)])
    elif name.endswith(".zst"):
        (tmp_path / name).write_bytes(zstd("\n".join(map(json.dumps, rows)).encode()))
    else:
        write_jsonl(tmp_path / name, rows)
    (source,) = sources(tmp_path)
    assert (source["text_column"], source["id_column"], source["language"]) == ("content", "doc_id", "en")


def test_of_records_longer_than_any_sample_no_more_is_read(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": "d1", "body": "x" * 2 * LONG_SAMPLE_BYTES}])
    assert "no column with text was seen" in init_config(tmp_path)


def test_a_line_separator_in_a_text_ends_no_record(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": f"d{n}", "body": f"{ENGLISH}\u2028{ENGLISH}"} for n in range(3)])
    (source,) = sources(tmp_path)
    assert (source["text_column"], source["id_column"]) == ("body", "id")


def test_a_value_for_which_a_column_is_not_that_of_ids_is_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": id, "url": f"u{id}", "text": ENGLISH} for id in ("d1", "d2", "d1")])
    assert '# "id" was not taken for id_column: a value repeats in the sample, "d1"' in init_config(tmp_path)
    assert "id_column" not in sources(tmp_path)[0]
    rows: list[dict[str, object]] = [{"id": "d1", "url": f"u{n}", "text": ENGLISH} for n in range(3)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert '# "id" was not taken for id_column' in init_config(tmp_path)
    assert sources(tmp_path)[0]["id_column"] == "url"


def test_a_line_nested_deeper_than_any_parser_goes_is_a_bad_line(tmp_path: Path) -> None:
    deep = '{"body": "x", "m": ' + "[" * 100_000 + "]" * 100_000 + "}"
    (tmp_path / "a.jsonl").write_text(f"{deep}\n{json.dumps({'id': 'd1', 'body': ENGLISH})}\n")
    (source,) = sources(tmp_path)
    assert (source["text_column"], source["id_column"]) == ("body", "id")


def test_tables(tmp_path: Path) -> None:
    with (tmp_path / "t.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["nr", "content"], *([str(i), ENGLISH * 2] for i in range(9))])
    pq.write_table(pa.table({"url": ["u1", "u2"], "text": [CHINESE * 9, CHINESE]}), tmp_path / "p.parquet")
    found = {source["format"]: source for source in sources(tmp_path)}
    assert found["csv"]["text_column"] == "content"
    assert (found["parquet"]["text_column"], found["parquet"]["id_column"]) == ("text", "url")
    assert found["parquet"]["language"] == "zh"


def test_each_subfolder_is_a_source(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "my zh" / "a.jsonl", [{"text": CHINESE * 30}])
    write_jsonl(tmp_path / "en" / "deep" / "a.jsonl", [{"content": ENGLISH * 10}])
    write_jsonl(tmp_path / "root.jsonl", [{"text": ENGLISH}])
    found = {str(source["name"]): source for source in sources(tmp_path)}
    assert found["my-zh-jsonl"]["language"] == "zh"
    assert found["en-jsonl"]["text_column"] == "content"
    assert found["jsonl"]["paths"] == [str(tmp_path / "*.jsonl")]  # not the subfolders again


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        (ENGLISH, "file"),
        (f"{ENGLISH}\n<|endoftext|>\n{ENGLISH}", "separator"),
        ((ENGLISH * 3 + "\n") * (LARGE_FILE // len(ENGLISH * 3) + 10), "line"),
        ((ENGLISH + "\n\n") * (LARGE_FILE // len(ENGLISH) + 10), "paragraph"),
    ],
)
def test_what_is_a_document_in_a_text_file(tmp_path: Path, text: str, unit: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    (source,) = sources(tmp_path)
    assert source["document"] == unit


def test_an_encoding_other_than_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes((CHINESE * 5).encode("gb18030"))
    (source,) = sources(tmp_path)
    assert (source["encoding"], source["language"]) == ("gb18030", "zh")


UMLAUTS = "Das Mädchen fährt über die Brücke und grüßt die Möwen, die am Fluß auf Süßes warten."
HAN = CHINESE * 5


@pytest.mark.parametrize(
    ("files", "encoding"),
    [
        ([(UMLAUTS, "utf-8"), (UMLAUTS, "utf-8-sig")], None),
        ([(UMLAUTS, "cp1252"), (ENGLISH, "ascii")], "cp1252"),  # GB18030 would decode it, too
        ([(UMLAUTS, "cp1252"), (UMLAUTS, "utf-8")], "auto"),
        ([(UMLAUTS, "cp1252"), (HAN, "gb18030")], "auto"),
        ([(HAN, "gb18030"), (HAN, "gb18030")], "gb18030"),
        ([(UMLAUTS, "utf-16")], "auto"),
    ],
)
def test_the_encoding_is_that_of_all_files_or_told_for_each(
    tmp_path: Path, files: list[tuple[str, str]], encoding: str | None
) -> None:
    for number, (text, own) in enumerate(files):
        (tmp_path / "in" / f"{number}.txt").parent.mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.txt").write_bytes(text.encode(own))
    (source,) = sources(tmp_path / "in")
    assert source.get("encoding") == encoding
    assert ingest(tmp_path, source).texts == [text for text, _ in files]


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        (f"\ufeffnr,inhalt\n1,{ENGLISH.replace(',', '')}\n", None),
        (f'nr;inhalt\n1;"{ENGLISH}"\n', ";"),
        (f"nr|inhalt\n1|{ENGLISH}\n", "|"),
        (f'inhalt\n"{ENGLISH}"\n', None),
        (f'sep=;\nnr;inhalt\n1;"{ENGLISH}"\n', ";"),
        (f'nr;Preis (EUR, brutto);inhalt\n1;3,5;"{ENGLISH}"\n', ";"),
        (f'nr;"Titel, Untertitel";inhalt\n1;x;"{ENGLISH}"\n', ";"),
        (f"sep=;\r\nid;inhalt\r\nsome-long-id-{'0' * 200};{ENGLISH}\r\n", ";"),
    ],
)
def test_a_table_of_a_spreadsheet_has_its_columns(tmp_path: Path, content: str, delimiter: str | None) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text(content, encoding="utf-8")
    (source,) = sources(tmp_path / "in")
    assert (source["text_column"], source.get("delimiter")) == ("inhalt", delimiter)
    assert ingest(tmp_path, source).texts == [ENGLISH.replace(",", "") if "," in content[:5] else ENGLISH]


@pytest.mark.parametrize("other", [f"nr\tinhalt\n2\t{ENGLISH}\n", f'nr,inhalt\n2,"{ENGLISH}"\n'])
def test_tables_with_other_delimiters_are_not_read_by_that_of_the_largest(tmp_path: Path, other: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(f'nr;inhalt\n1;"{ENGLISH}"\n' * 3)
    (tmp_path / "in" / ("b.tsv" if "\t" in other else "b.csv")).write_text(other)
    (source,) = sources(tmp_path / "in")
    assert (source["text_column"], "delimiter" in source) == ("inhalt", False)
    assert "want a source each" in init_config(tmp_path / "in")
    out = ingest(tmp_path, source)
    assert (out.texts, out.reasons) == ([ENGLISH], ["missing_column"])


@pytest.mark.parametrize(
    "content", [f"nr;inhalt\r1;{ENGLISH}\r", "x" * 200_000, f"a;{'x' * 200_000}\n1;{ENGLISH}\n", ""]
)
def test_first_lines_that_csv_does_not_take_are_no_traceback(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.csv").write_text(content, newline="")
    assert "format: csv" in init_config(tmp_path)


def test_usual_delimiters_side_by_side_need_no_word(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(f'nr,inhalt\n1,"{ENGLISH}"\n')
    (tmp_path / "in" / "b.tsv").write_text(f"nr\tinhalt\n2\t{ENGLISH}\n")
    assert "want a source each" not in init_config(tmp_path / "in")
    assert ingest(tmp_path, *sources(tmp_path / "in")).texts == [ENGLISH, ENGLISH]


def test_no_encoding_is_named_where_not_all_files_were_looked_at(tmp_path: Path) -> None:
    for number in range(9):
        text = UMLAUTS if number == 8 else UMLAUTS * 9
        (tmp_path / "in" / f"{number}.txt").parent.mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.txt").write_bytes(text.encode("utf-8" if number == 8 else "cp1252"))
    (source,) = sources(tmp_path / "in")
    assert source["encoding"] == "auto"
    assert ingest(tmp_path, source).texts == [UMLAUTS * 9] * 8 + [UMLAUTS]


def test_ids_are_not_taken_for_text(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": f"an-id-{n}", "doc": {"text": ENGLISH}} for n in range(9)])
    assert "text_column: text  # no column with text was seen: name the one that has it" in init_config(tmp_path)


def test_broken_files_do_not_stop_the_look(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "good.jsonl", [{"text": ENGLISH}])
    packed = gzip.compress(json.dumps({"text": ENGLISH * 50}).encode(), mtime=0)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "not.parquet").write_bytes(b"nothing of the kind")
    (tmp_path / "empty.csv").touch()
    found = {source["format"]: source for source in sources(tmp_path)}
    assert found["jsonl"]["text_column"] == "text"
    assert "name the one" in init_config(tmp_path)  # the table without columns asks for a name


def test_nothing_to_read_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "a.pptx").touch()
    (tmp_path / ".hidden.txt").touch()
    with pytest.raises(ConfigError, match=r"nothing that can be read \(1 \.pptx\); readable: \.txt, "):
        init_config(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        init_config(tmp_path / "a.pptx")


def test_what_is_not_read_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(ENGLISH)
    (tmp_path / "b.png").touch()
    assert survey(tmp_path).other == {".png": 1}
    assert "# Not read: 1 .png" in init_config(tmp_path)


def test_the_model_fits_the_amount_of_text() -> None:
    assert suggest_preset(0) == "pico"
    sizes = [GPT_PRESETS[suggest_preset(10**exponent)].parameter_count() for exponent in range(3, 15)]
    assert sizes == sorted(sizes)
    for name in PRESETS:
        config = GPT_PRESETS[name]
        enough = config.parameter_count() * TOKENS_PER_PARAMETER / EPOCHS * 3.5
        assert suggest_preset(int(enough * 1.01)) == name
        assert suggest_preset(int(enough * 0.99)) != name or name == "pico"


@pytest.mark.parametrize(
    ("texts", "rulesets", "languages"),
    [
        ([ENGLISH], ("gopher_repetition", "gopher_quality"), {}),
        ([CHINESE], ("fineweb2_zh",), {}),
        ([JAPANESE, KOREAN], ("fineweb2_ja", "fineweb2_ko"), {}),
        (
            [CHINESE, ENGLISH, GERMAN],
            ("gopher_repetition", "gopher_quality", "fineweb2_zh"),
            {"gopher_repetition": "en", "gopher_quality": "en"},
        ),
        ([GERMAN], (), {}),
    ],
)
def test_rules_are_those_of_the_languages(
    tmp_path: Path, texts: list[str], rulesets: tuple[str, ...], languages: dict[str, str]
) -> None:
    for number, text in enumerate(texts):
        write_jsonl(tmp_path / f"part{number}" / "a.jsonl", [{"text": text * 20}])
    config = parse(yaml.safe_load(init_config(tmp_path)), "here", PipelineConfig)
    assert (config.rules.rulesets, config.rules.ruleset_languages) == (rulesets, languages)
    if len(texts) > 1:  # each rule judges its own language only
        assert all(rule.language for ruleset in choose_rulesets(config.rules) for rule in ruleset.rules)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (CHINESE, "zh"),
        (JAPANESE, "ja"),
        (KOREAN, "ko"),
        (GERMAN, None),
        ("123 456", None),
    ],
)
def test_language(text: str, language: str | None) -> None:
    assert guess_language(text) == language


def test_office_documents(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(docx("".join(paragraph(ENGLISH) for _ in range(30))))
    (tmp_path / "b.pdf").write_bytes(pdf([[(72, 700 - 12 * n, ENGLISH) for n in range(30)]]))
    (tmp_path / "c.epub").write_bytes(b"not a book, which ingest will say")
    found = {source["format"]: source for source in sources(tmp_path)}
    assert set(found) == {"docx", "pdf", "epub"}
    assert (found["docx"]["language"], found["pdf"]["language"]) == ("en", "en")
    assert all("text_column" not in source for source in found.values())
    sizes = {found.format: found.text_bytes for found in survey(tmp_path).found}
    assert sizes["epub"] == 0
    assert all(abs(sizes[name] - 30 * len(ENGLISH)) < 60 for name in ("docx", "pdf"))


def test_web_pages_archives_dumps_and_mail_are_recognised(tmp_path):
    prose = "It is the nature of the light that is reflected in the water, and of that which is not. " * 5
    for number in range(3):
        (tmp_path / f"{number}.html").write_text(f"<title>t</title><script>{'x' * 2000}</script><p>{prose}</p>")
    (tmp_path / "a.eml").write_text(f"Subject: x\n\n{prose}")
    (tmp_path / "dump.xml").write_text(
        f"<mediawiki><page><title>A</title><ns>0</ns><id>1</id><revision><text>{prose}</text></revision></page></mediawiki>"
    )
    (tmp_path / "other.xml").write_text("<rss/>")
    seen = survey(tmp_path)
    assert {found.format: found.files for found in seen.found} == {"html": 3, "mail": 1, "mediawiki": 1}
    assert {guess_language(found.sample) for found in seen.found} == {"en"}
    assert seen.other == {".xml": 1}
    html = next(found for found in seen.found if found.format == "html")
    assert html.text_bytes < 0.4 * html.stored_bytes


def test_a_look_at_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    one_text_again_and_again(tmp_path / "a.parquet")
    before = forget_peak()
    [found] = survey(tmp_path).found
    assert peak() - before < 300 << 10
    assert set(found.columns) == {"text"}


def test_columns_that_later_steps_know_are_named(tmp_path: Path) -> None:
    row = {"id": "a", "text": ENGLISH, "source": "news", "language": "en", "url": "https://example.org/a", "n": 3}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row | {"id": str(n)}) + "\n" for n in range(20)))
    [source] = sources(tmp_path)
    assert (source["source_column"], source["language_column"], source["metadata_columns"]) == (
        "source", "language", ["url"],
    )  # fmt: skip
