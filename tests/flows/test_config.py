"""Configurations: shipped ones load, wrong ones say what is wrong and which key was meant."""

from pathlib import Path

import pytest
import yaml

from data_quality.plain_yaml import load_yaml
from flows.cli.common import named
from flows.config.loading import CONFIGS, ConfigError, files_named, load, read
from flows.config.pipeline import SMOKE_FILES, PipelineConfig, load_config, quickstart
from flows.project.reference import configuration_page
from lm.config import StrictModel

SHIPPED = sorted(path for path in CONFIGS.glob("*.yaml") if not path.name.startswith(("clean-", "ladder", "scaling")))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_load_and_can_be_cut_down(path: Path) -> None:
    config = load_config(path)
    small = config.smoke()
    assert small.pretrain.train.steps == 6
    assert small.max_files == SMOKE_FILES
    untouched = {"name", "ingest", "normalize", "rules", "near_dedupe", "exact", "split", "resources"}
    assert config.model_dump(include=untouched) == small.model_dump(include=untouched)


def test_the_reference_page_is_that_of_the_models() -> None:
    page = Path("docs/configuration.md").read_text(encoding="utf-8")
    assert page == configuration_page(), "run: python -m flows.project.reference > docs/configuration.md"


def test_no_type_of_the_reference_page_is_a_name_of_python() -> None:
    types = {line.split(" | ")[1] for line in configuration_page().splitlines() if line.startswith("| `")}
    assert "date or null" in types
    assert not [type for type in types if "<" in type]


def test_every_key_is_described() -> None:
    rows = [line for line in configuration_page().splitlines() if line.startswith("| `")]
    bare = [row for row in rows if row.endswith("|  |") and not row.startswith("| `format`")]
    assert not bare


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"pretrian": "1"}, "pretrian: unknown key; did you mean 'pretrain'?"),
        ({"pretrain.train.bach": "1"}, "did you mean 'pretrain.train.batch'?"),
        ({"near_dedupe.treshold": "0.5"}, "did you mean 'near_dedupe.threshold'?"),
        (
            {"ingest.sources.0.packges": "[numpy]"},
            "ingest.sources.0.packges: unknown key; did you mean 'ingest.sources.0.pac",
        ),
        (
            {"ingest.sources.0.zzz": "x"},
            "ingest.sources.0.zzz: unknown key; valid: exclude",
        ),
        ({"ingest.sources.0.language": "[1]"}, "ingest.sources.0.language: Input should be a valid string"),
        ({"near_dedupe.threshold": "1.5"}, "less than or equal to 1"),
        ({"model.preset": "nanno"}, "unknown model preset 'nanno'; did you mean 'nano'?"),
        ({"model.heads": "5"}, "width 192 is not a multiple of heads 5"),
        ({"rules.rulesets": "[goopher_quality]"}, "did you mean 'gopher_quality'?"),
        ({"tokenizer.train": "{kind: bpe}"}, "tokenizer.train: kind must be one of byte_bpe, character, wordpiece, un"),
        (
            {"tokenizer.train": "{kind: word, vocab_sise: 9}"},
            "tokenizer.train.vocab_sise: unknown key; did you mean 'tokenizer.train.vocab_size'?",
        ),
        (
            {"tokenizer.train": "{spaces: attached}"},
            "tokenizer.train.spaces: unknown key; valid: kind, max_unsegmented",
        ),
        ({"tokenizer.train": "{kind: character, vocab_size: 99}"}, "tokenizer.train: vocab_size 99 has no room beside"),
        (
            {"tokenizer.train": "{kind: unigram, vocab_size: 99}"},
            "vocab_size: Input should be greater than or equal to",
        ),
        ({"pretrain.processes": "3"}, "train.batch 16 cannot be shared evenly by 3 processes"),
        ({"pretrain.nodes": "2", "pretrain.rendezvous": "here"}, "pretrain.rendezvous: String should match pattern"),
        ({"pretrain.sharding": "zero"}, "pretrain.sharding: Input should be 'ddp' or 'fsdp'"),
        ({"ingest.sources.7.name": "x"}, "'7' is no index of a list of 1"),
        ({"name.first": "x"}, "'name' is a value, it has no keys"),
        ({"name": "[a"}, "not a YAML value"),
    ],
)
def test_a_wrong_key_or_value_is_named(override: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(CONFIGS / "quickstart.yaml", override)
    assert message in str(error.value)


def test_a_missing_file_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; shipped configurations: .*quickstart\.yaml"):
        load_config(tmp_path / "none.yaml")


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: [unclosed")
    with pytest.raises(ConfigError, match=r"broken\.yaml is not readable YAML"):
        load_config(path)


@pytest.mark.parametrize(
    "text",
    [
        "exact: {}\nname: x\nexact: {}",
        "rules: {exact: 1, exact: 2}",
        "- {exact: 1, exact: 1}",
        "rules: {'exact': 1, exact: 2}",
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"twice\.yaml is not readable YAML: line \d: 'exact' stands there already, in"
    ):
        load_config(path)


def test_keys_are_what_they_stand_for() -> None:
    assert load_yaml("{2: a, '2': b, yes: c, 'yes': d}") == {2: "a", "2": "b", True: "c", "yes": "d"}
    assert load_yaml("[&a {x: 1}, &b {y: 2}, {<<: *a, <<: *b}]")[2] == {"x": 1, "y": 2}
    for text in ("{1: a, 0x1: b}", "{null: a, ~: b}"):
        with pytest.raises(yaml.YAMLError, match="stands there already"):
            load_yaml(text)


def test_a_date_that_there_is_not_is_named(tmp_path: Path) -> None:
    path = tmp_path / "date.yaml"
    path.write_text("x: 2026-02-30")
    with pytest.raises(ConfigError, match=r"date\.yaml is not readable YAML: day is out of range for month"):
        load_config(path)
    with pytest.raises(ConfigError, match=r"--set ingest\.until=2026-13-40: not a YAML value \(month must be in 1"):
        load_config(SHIPPED[0], {"ingest.until": "2026-13-40"})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r" is a folder: name a YAML file"):
        load_config(tmp_path)


def test_overrides_reach_lists_and_new_sections() -> None:
    config = load_config(
        CONFIGS / "quickstart.yaml",
        {"ingest.sources.0.name": "manuals", "near_dedupe.threshold": "0.9", "finetune.seeds": "[7]"},
    )
    assert config.ingest.sources[0].name == "manuals"
    assert config.near_dedupe.threshold == 0.9
    assert config.finetune.seeds == (7,)


def test_the_name_of_a_rule_is_one_key_although_it_has_a_dot() -> None:
    config = load_config(CONFIGS / "quickstart.yaml", {"rules.thresholds.gopher_quality.gopher_short_doc": "30"})
    assert config.rules.thresholds["gopher_quality.gopher_short_doc"] == 30.0
    with pytest.raises(
        ConfigError, match=r"unknown rule 'gopher_quality.gopher_shor'.* 'gopher_quality.gopher_short_doc'"
    ):
        load_config(CONFIGS / "quickstart.yaml", {"rules.thresholds.gopher_quality.gopher_shor": "30"})


def test_the_quickstart_is_the_default_of_the_deployments() -> None:
    assert quickstart() == load_config(CONFIGS / "quickstart.yaml")
    assert PipelineConfig.model_validate(quickstart().model_dump(mode="json")) == quickstart()


def test_one_wrong_key_is_one_line() -> None:
    with pytest.raises(ConfigError) as error:
        load_config(CONFIGS / "quickstart.yaml", {"ingest.sources.0.packges": "[numpy]"})
    assert str(error.value).count("\n") == 1


def test_no_source_at_all_is_named() -> None:
    with pytest.raises(ConfigError, match=r"ingest\.sources: Tuple should have at least 1 item"):
        load_config(CONFIGS / "quickstart.yaml", {"ingest.sources": "[]"})


def test_a_file_extends_another(tmp_path: Path) -> None:
    below, above = tmp_path / "below.yaml", tmp_path / "above.yaml"
    below.write_text("name: below\nsplit: {salt: a, test_fraction: 0.1}\nlist: [1, 2]\n")
    above.write_text("extends: below.yaml\nsplit: {salt: b}\nlist: [3]\n")
    assert read(above) == {"name": "below", "split": {"salt": "b", "test_fraction": 0.1}, "list": [3]}
    below.write_text("extends: above.yaml\n")
    with pytest.raises(ConfigError, match=r"above\.yaml: extends itself, by way of .*below\.yaml"):
        read(above)
    above.write_text("extends: nothing.yaml\n")
    with pytest.raises(ConfigError, match=r"nothing\.yaml: no such file \(extended by .*above\.yaml\)"):
        read(above)
    above.write_text("extends: [1]\n")
    with pytest.raises(ConfigError, match=r"extends must be the name of a file \(given: \[1\]\)"):
        read(above)


@pytest.mark.parametrize("value", [r"C:\temp\new", 'a "quoted" name', "line\nbreak", "文件 😀", "null"])
def test_an_option_arrives_as_it_was_given(value: str, tmp_path: Path) -> None:
    class Named(StrictModel):
        model: str

    (tmp_path / "empty.yaml").write_text("{}")
    assert load(tmp_path / "empty.yaml", named(model=value), Named).model == value


def test_files_are_named_by_path_and_pattern(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one.txt", "a/two.txt", "a/b/three.txt"):
        (tmp_path / name).touch()
    every = files_named([f"{tmp_path}/**/*.txt"])
    assert [path.name for path in every] == ["three.txt", "two.txt", "one.txt"]
    gone = tmp_path / "gone.txt"
    assert files_named([str(gone), f"{tmp_path}/*.txt"]) == (gone, tmp_path / "one.txt")
    with pytest.raises(ConfigError, match=r"none\*: no file matches"):
        files_named([f"{tmp_path}/none*"])
    with pytest.raises(ConfigError, match="the environment variable NOT_SET_HERE is not set; set it, or name the file"):
        files_named(["${NOT_SET_HERE}/a.txt"])
