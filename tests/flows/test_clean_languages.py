"""The shipped configurations for one language, on a folder of several: only documents in that one stay."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from data_quality.config import QualityConfig
from flows.commands.clean import clean, clean_config, unjudged
from flows.config.loading import CONFIGS, ConfigError
from tasks.running import pool

TEXTS = {
    "en": """The harbour lay quiet when the old pilot opened his window in the morning. He had not seen a ship for
many days, and nobody in the village could tell him why. His daughter brought the letters, but none of them was for
him. In the afternoon the wind became stronger, and the first boats came back with empty nets. They said that there
was ice in the north. The pilot laughed, because he had heard the same story every winter since he was a child. In
the evening he went down to the water and waited for the lights of the ferry.""",
    "de": """Der Hafen lag still, als der alte Lotse am Morgen sein Fenster öffnete. Er hatte seit vielen Tagen kein
Schiff mehr gesehen, und niemand im Dorf konnte ihm sagen, warum. Seine Tochter brachte die Briefe, aber keiner
davon war für ihn. Am Nachmittag wurde der Wind stärker, und die ersten Boote kamen mit leeren Netzen zurück. Sie
sagten, dass im Norden Eis sei. Der Lotse lachte, denn er hatte dieselbe Geschichte jeden Winter gehört, seit er ein
Kind war. Am Abend ging er zum Wasser hinunter und wartete auf die Lichter der Fähre.""",
    "fr": """Le port était calme quand le vieux pilote ouvrit sa fenêtre le matin. Il n'avait pas vu de navire depuis
bien des jours, et personne au village ne pouvait lui dire pourquoi. Sa fille apporta les lettres, mais aucune
n'était pour lui. L'après-midi, le vent devint plus fort, et les premiers bateaux revinrent avec des filets vides.
On disait qu'il y avait de la glace au nord. Le pilote rit, car il avait entendu la même histoire chaque hiver
depuis son enfance. Le soir, il descendit vers l'eau et attendit les lumières du bac.""",
    "zh": """老领航员早上打开窗户的时候，港口很安静。他已经很多天没有看见船了，村里没有人能告诉他这是为什么。女
儿拿来了信，可是没有一封是给他的。下午风大了起来，第一批渔船带着空网回来了。他们说北方已经结冰了。老人笑了，因为
他从小每年冬天都听到同样的故事。到了晚上，他走到水边，等着渡船的灯光。后来月亮升起来了，远处的山也看得很清楚，他
就和邻居们一起坐在岸上，说起年轻时候的事情。""",
    "yue": """老領航員朝早打開窗嘅時候，個港口好靜。佢已經好多日冇見過船喇，村入面冇人可以話畀佢知係點解。佢個女
攞咗啲信嚟，不過冇一封係畀佢嘅。下晝啲風大咗，第一批漁船帶住空網返嚟。佢哋話北邊已經結咗冰。老人家笑咗，因為佢由
細到大，每個冬天都聽到同一個故事。到咗夜晚，佢行去水邊，等渡船嘅燈光。後來月光出咗嚟，遠處嘅山都睇得好清楚，佢就
同啲街坊一齊坐喺岸邊，講返後生嗰陣嘅嘢。""",
    "ja": """老いた水先案内人が朝窓を開けたとき、港は静かだった。彼はもう何日も船を見ていなかったし、村の誰もそ
の理由を知らなかった。娘が手紙を持ってきたが、彼宛てのものは一通もなかった。午後になると風が強くなり、最初の漁船
が空の網を積んで帰ってきた。北の方ではもう氷が張っているという。老人は笑った。子どものころから毎年冬になると同じ
話を聞いてきたからだ。""",
    "none": "12.07.1998 * 4711 * 0815 * 3.14159 * 2.71828\n" * 12,
}
WANTED = {"clean-en": ["en"], "clean-zh": ["zh", "yue"]}


@pytest.mark.parametrize("name", WANTED)
def test_only_the_language_of_the_configuration_stays(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    (tmp_path / "mixed").mkdir()
    for language, text in TEXTS.items():
        (tmp_path / "mixed" / f"{language}.txt").write_text(text.replace("\n", "" if "。" in text else " "), "utf-8")
    settings = {"resources.workers": "1", "resources.threads": "1"}
    config = clean_config([str(tmp_path / "mixed")], CONFIGS / f"{name}.yaml", settings, None)
    try:
        clean(config, str(tmp_path / "out"), quiet=True)
    finally:
        pool.shut_down()
    rows = {
        view: [row for path in (tmp_path / "out" / view).glob("*.parquet") for row in pq.read_table(path).to_pylist()]
        for view in ("kept", "dropped")
    }
    assert {row["id"].rpartition(":")[2].removesuffix(".txt") for row in rows["kept"]} == set(WANTED[name])
    assert len(rows["dropped"]) == len(TEXTS) - len(WANTED[name])
    assert {row["reason"] for row in rows["dropped"]} == {f"language_{name[-2:]}.other_language"}
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert f"language_{name[-2:]}.other_language" in page


def test_without_rulesets_each_language_that_was_seen_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    inputs = []
    for language, text in {
        **TEXTS,
        "bad-en": TEXTS["en"].partition(".")[0] + ".",
        "bad-zh": "港口很安静。" * 40,
    }.items():
        (tmp_path / language).mkdir()
        inputs.append(str(tmp_path / language))
        (tmp_path / language / "text.txt").write_text(text.replace("\n", "" if "。" in text else " "), "utf-8")
    settings = {"resources.workers": "1", "resources.threads": "1"}
    config = clean_config(inputs, None, settings, None)
    try:
        clean(config, str(tmp_path / "out"), quiet=True)
    finally:
        pool.shut_down()
    reasons = {
        row["source"]: row.get("reason")
        for path in (tmp_path / "out").glob("*/*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    kept = {source.removesuffix("-text") for source, reason in reasons.items() if reason is None}
    assert kept == {"en", "de", "fr", "zh", "yue", "ja", "none"}
    assert reasons["bad-en-text"] == "gopher_repetition.top_3_gram"
    assert reasons["bad-zh-text"].startswith("fineweb2_zh.")
    assert set(unjudged(config)) == {"de-text", "fr-text", "none-text"}
    nobody = config.rules.model_copy(update={"rulesets": ()})
    assert unjudged(config.model_copy(update={"rules": nobody})) == []


def test_where_languages_are_identified_the_rulesets_of_all_are_chosen(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXTS["de"], "utf-8")
    config = clean_config([str(tmp_path / "text.txt")], None, {"language.enabled": "true"}, None)
    assert config.rules.rulesets[-4:] == ("fineweb2_ja", "fineweb2_ko", "fineweb2_yue", "fineweb2_zh")
    assert config.rules.ruleset_languages == dict.fromkeys(QualityConfig().rulesets, "en")
    assert unjudged(config) == []


def chosen(tmp_path: Path, rules: object, *languages: str) -> Any:
    inputs = []
    for language in languages:
        (tmp_path / language).mkdir()
        (tmp_path / language / "text.txt").write_text(TEXTS[language], "utf-8")
        inputs.append(str(tmp_path / language))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"rules": rules}))
    return clean_config(inputs, tmp_path / "config.yaml", {}, None).rules


def test_sections_that_say_a_part_are_filled_up(tmp_path: Path) -> None:
    rules = {"ruleset_languages": {"c4": "de"}, "thresholds": {"fineweb2_zh.top_2_gram": 0.5}}
    found = chosen(tmp_path, rules, "en", "zh")
    assert found.rulesets == (*QualityConfig().rulesets, "fineweb2_zh")
    assert found.ruleset_languages == dict.fromkeys(QualityConfig().rulesets, "en") | {"c4": "de"}


@pytest.mark.parametrize("rules", [{"thresholds": {"gopher_quality.gopher_short_doc": 30}}, {"enabled": True}, None])
def test_thresholds_of_other_rulesets_mean_these(tmp_path: Path, rules: Any) -> None:
    expected = QualityConfig().rulesets if rules and "thresholds" in rules else ("fineweb2_zh",)
    assert chosen(tmp_path, rules, "zh").rulesets == expected


@pytest.mark.parametrize("rules", ["abc", ["a"], True])
def test_a_section_that_is_none_is_an_error_of_the_configuration(tmp_path: Path, rules: object) -> None:
    with pytest.raises(ConfigError, match="rules"):
        chosen(tmp_path, rules, "zh")


def test_a_column_of_languages_may_state_any(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": TEXTS["en"], "language": "en"}) + "\n", "utf-8")
    config = clean_config([str(tmp_path / "rows.jsonl")], None, {}, None)
    assert {"fineweb", "fineweb2_zh", "fineweb2_ja"} <= set(config.rules.rulesets)
    assert config.rules.ruleset_languages["fineweb"] == "en"
    assert unjudged(config) == []


def test_rulesets_that_are_named_stay(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXTS["zh"], "utf-8")
    config = clean_config([str(tmp_path / "text.txt")], None, {"rules.rulesets": "[gopher_quality]"}, None)
    assert config.rules.rulesets == ("gopher_quality",)
    assert not config.rules.ruleset_languages
