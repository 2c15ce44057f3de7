"""What docs/own-rules.md shows works."""

import re
from pathlib import Path

import pytest
import yaml

from data_quality.config import QualityConfig
from data_quality.custom import CustomDocument, CustomSignals
from data_quality.rules import load_ruleset
from data_quality.signal_choice import resolve_signals

PAGE = Path("docs/own-rules.md").read_text(encoding="utf-8")


def test_every_example_is_a_valid_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    for name in ("domains", "hard", "soft", "en", "zh", "takedown"):
        (tmp_path / "lists" / f"{name}.txt").write_text("entry\n")
    (tmp_path / "rules").mkdir()
    custom = load_ruleset("custom", custom=("exclamation_ratio",))
    ours = {**custom.model_dump(), "name": "ours", "rules": [custom.rules[0].model_dump()]}
    (tmp_path / "rules" / "ours.yaml").write_text(yaml.safe_dump(ours))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "rules" / "ours.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        config = QualityConfig.model_validate(yaml.safe_load(example)["quality"])
        resolve_signals(config)
        config.keep.resolved()
        config.drop.resolved()
        if config.signals.custom:
            own = CustomSignals(config.signals.custom)
            assert own.measure(CustomDocument("d", "Stop! Now! Please.")) == {"exclamation_ratio": 2 / 3}
