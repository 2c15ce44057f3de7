"""Presets of published settings, named in a YAML file: its values are those of the source, and what is given wins."""

from pathlib import Path

import pytest

from flows.commands.clean import CleanConfig
from flows.config.curation import Curation
from flows.config.loading import ConfigError, load

# facebookresearch/cc_net dedup.py and text_normalizer.py; allenai/dolma, deduper "paragraphs"
LINES = {
    "cc_net": {"ignore_case": True, "ignore_digits": True, "ignore_white_space": True, "min_left_characters": 300},
    "dolma": {"ignore_case": False, "ignore_digits": False, "ignore_white_space": False, "min_left_characters": 1},
}
# huggingface/fineweb-2, README: by the size of the cluster from which a weight counts
REHYDRATION = {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1}


def loaded(folder: Path, sections: str) -> Curation:
    file = folder / "presets.yaml"
    file.write_text(f"name: presets\ningest: {{sources: [{{format: text, paths: [texts]}}]}}\n{sections}\n")
    return load(file, None, CleanConfig)


@pytest.mark.parametrize("name", LINES)
def test_lines_have_the_settings_of_a_preset(name: str, tmp_path: Path) -> None:
    lines = loaded(tmp_path, f"lines: {{preset: {name}}}").lines
    assert lines.enabled
    assert lines.keep_first
    assert (lines.scope, lines.min_documents, lines.min_share, lines.table.min_letters) == ("corpus", 2, None, 1)
    settings = lines.table.model_dump() | lines.model_dump()
    assert {key: settings[key] for key in LINES[name]} == LINES[name]
    assert "preset" not in lines.model_dump()


def test_the_mixture_has_the_weights_of_fineweb_2(tmp_path: Path) -> None:
    mixture = loaded(tmp_path, "mixture: {preset: fineweb2, unit: documents}").mixture
    assert mixture.enabled
    assert mixture.unit == "documents"
    assert {step.min_size: step.weight for step in mixture.family_weights} == REHYDRATION
    assert "preset" not in mixture.model_dump()


def test_what_is_given_beside_a_preset_wins(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "lines: {preset: dolma, enabled: false, min_documents: 3, table: {unit: paragraph, ignore_case: true}}\n"
        "mixture: {preset: fineweb2, family_weights: [{min_size: 1, weight: 2}]}",
    )
    table = config.lines.table
    assert (config.lines.enabled, config.lines.min_documents, config.lines.keep_first) == (False, 3, True)
    assert (table.unit, table.ignore_case, table.ignore_white_space, table.min_letters) == ("paragraph", True, False, 1)
    assert [(step.min_size, step.weight) for step in config.mixture.family_weights] == [(1, 2)]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("lines: {preset: ccnet}", "lines: no preset is called 'ccnet'; there are: cc_net, dolma"),
        ("lines: {preset: 5}", "lines.preset: Input should be a valid string"),
        ("mixture: {preset: fineweb}", "mixture: no preset is called 'fineweb'; there are: fineweb2"),
    ],
)
def test_an_unknown_preset_names_those_that_there_are(sections: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, sections)
    assert message in str(error.value)
