"""The journal that is written before anything is sent."""

import json
import math
import threading
from pathlib import Path

import pytest

from tasks.running.journal import JOURNAL, Journal, history, read_events


def events(directory: Path) -> list[dict[str, object]]:
    return [event for _, event in read_events(directory / JOURNAL)]


def test_a_torn_last_line_is_dropped_and_the_next_event_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.metrics({"loss": 3.0}, step=0)
    journal.close()
    with (tmp_path / JOURNAL).open("a") as handle:
        handle.write('{"event": "metric", "key": "loss", "val')
    assert len(events(tmp_path)) == 1  # a reader leaves it for later

    journal = Journal(tmp_path)
    journal.metrics({"loss": 2.0}, step=1)
    journal.close()
    assert [event["step"] for event in events(tmp_path)] == [0, 1]


def test_zeros_after_a_power_cut_do_not_hide_what_follows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / JOURNAL).write_bytes(b"\0\0\0\0\n")
    journal = Journal(tmp_path)
    journal.metrics({"loss": 2.0}, step=1)
    assert [event["step"] for event in events(tmp_path)] == [1]
    assert "journal.jsonl: the line that ends at byte 5 is no event in JSON; skipped" in caplog.text


def test_steps_repeated_after_a_resume_are_not_written_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in range(5):
        journal.metrics({"loss": 5.0 - step}, step)
    journal.close()
    resumed = Journal(tmp_path)
    for step in range(3, 7):  # from the checkpoint at step 3
        resumed.metrics({"loss": 5.0 - step, "rate": 0.1}, step)
    resumed.close()
    found = [(e["key"], e["step"]) for e in events(tmp_path)]
    assert len(found) == len(set(found))
    assert [step for key, step in found if key == "loss"] == list(range(7))
    assert resumed.next_step("loss") == 7
    assert resumed.next_step("unknown") == 0


def test_not_a_number_is_kept_and_left_out_of_the_history(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.metrics({"loss": math.nan}, step=0)
    journal.metrics({"loss": math.inf}, step=1)
    journal.metrics({"loss": 1.5}, step=3)
    journal.metrics({"loss": 2.5}, step=2)
    assert math.isnan(float(str(events(tmp_path)[0]["value"])))
    assert history(tmp_path / JOURNAL) == {"loss": [(2, 2.5), (3, 1.5)]}


def test_reading_goes_on_at_an_offset(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("input", name="corpus, größer")
    ((offset, _),) = read_events(journal.path)
    journal.write("end", status="FINISHED")
    assert [event["event"] for _, event in read_events(journal.path, offset)] == ["end"]
    assert list(read_events(tmp_path / "missing.jsonl")) == []


def test_a_resumed_journal_keeps_its_name(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path)
        journal.start(name="squares", parent=None, tags={}, params={})
        journal.close()
    other = Journal(tmp_path / "other")
    other.start(name="squares", parent=None, tags={}, params={})
    names = [event["journal"] for event in events(tmp_path) + events(tmp_path / "other")]
    assert names[0] == names[1] != names[2]


def test_the_sampler_may_write_while_the_training_does(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def sample() -> None:
        for _ in range(200):
            journal.metrics({"memory": 1.0}, journal.next_step("memory"))

    threads = [threading.Thread(target=sample) for _ in range(2)]
    for thread in threads:
        thread.start()
    for step in range(2000):
        journal.metrics({"loss": 1.0}, step)
    for thread in threads:
        thread.join()
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    assert sum(json.loads(line)["key"] == "loss" for line in lines) == 2000
    assert journal.next_step("memory") >= 200


@pytest.mark.parametrize(
    "damaged",
    ['{"event": "metric", "kez": "loss", "value": 1.0, "step": 2, "time": 1}', '{"event": 7}', '{"event": "end"}'],
)
def test_an_event_that_lacks_what_it_must_say_costs_that_event_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    journal = Journal(tmp_path)
    journal.metrics({"loss": 3.0}, step=1)
    journal.close()
    with journal.path.open("a") as handle:
        handle.write(damaged + "\n")
    resumed = Journal(tmp_path)
    resumed.metrics({"loss": 2.0}, step=2)
    resumed.close()
    assert history(journal.path) == {"loss": [(1, 3.0), (2, 2.0)]}
    assert "is no event in JSON; skipped" in caplog.text
