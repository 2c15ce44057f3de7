"""The soak's measures see what grows, and only that; its company changes a little every day and grows not at all."""

import json
import os
import random
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest
from scipy import stats

from benchmarks._prefect_database import TABLES, TIMES, database, free_megabytes, make_older, megabytes, rows
from benchmarks._processes import Peaks, disk_bytes, look
from benchmarks._soak_documents import Company
from benchmarks._soak_measures import COMMANDS, grows, joint_slope, live_bytes, of_home, of_process, slope
from tasks.machine.beside import beside
from tasks.running.progress import Display
from tasks.running.run import Resources, pipeline_run
from tasks.store import Artifact, Store
from tests.tasks.driver import chain
from tests.tasks.stages import NumbersConfig
from tests.tasks.tiny_corpus import prose

ROOT = Path(__file__).parents[2]


def company(folder: Path) -> Company:
    draw = random.Random(0)
    words = ["harbour", "lantern", "anchor", "gardener", "blossom", "watering", "the", "of", "and"]
    return Company(
        folder, files=5, each=20, change=0.05, texts=[" ".join(draw.choices(words, k=60)) for _ in range(100)]
    )


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_night_is_a_function_of_its_number(tmp_path: Path) -> None:
    one, other = company(tmp_path / "one"), company(tmp_path / "other")
    for _ in range(25):
        one.pass_night()
        one.write()
        other.pass_night()
    other.write()
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_a_little_changes_every_night_and_ids_stay_unique(tmp_path: Path) -> None:
    mill = company(tmp_path)
    mill.write()
    sizes, files = [], set()
    for night in range(1, 61):
        before = contents(tmp_path)
        mill.pass_night()
        mill.write()
        after = contents(tmp_path)
        rows = [json.loads(line) for text in after.values() for line in text.splitlines()]
        assert len({row["id"] for row in rows}) == len(rows)
        assert len({row["text"] for row in rows}) == len(rows)
        old = {line for text in before.values() for line in text.splitlines()}
        new = {line for text in after.values() for line in text.splitlines()}
        assert 5 <= len(new - old) <= (10 if night % 20 != 10 else 30)
        sizes.append(len(rows))
        files.add(len(after))
    assert files == {5, 6}
    assert abs(sum(sizes[40:]) / 20 - sum(sizes[:20]) / 20) < 12


def test_a_file_without_a_change_is_not_touched(tmp_path: Path) -> None:
    mill = company(tmp_path)
    mill.write()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    mill.write()
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def wait_for_end(ended: threading.Event) -> None:
    ended.wait()


def test_what_a_process_holds_is_seen() -> None:
    before = of_process()
    held = bytearray(os.urandom(30_000_000))
    with ExitStack() as holding, beside(wait_for_end, "held", join_seconds=None):
        for _ in range(7):
            holding.enter_context(Path(os.devnull).open())
        child = holding.enter_context(subprocess.Popen(["sleep", "60"]))
        holding.callback(child.kill)
        after = of_process()
        peaks = Peaks()
        look(os.getpid(), peaks)
    assert after["resident_mb"] - before["resident_mb"] > 25
    assert after["open_files"] - before["open_files"] == 7
    assert after["threads"] - before["threads"] == 1
    assert after["children"] - before["children"] == 1
    assert peaks.tree > peaks.process >= 25e6
    assert 0 < peaks.tree_anonymous < peaks.tree
    assert len(held) == 30_000_000
    assert of_process()["open_files"] == before["open_files"]


def test_processes_are_told_apart_by_role() -> None:
    alone = of_process()
    with ExitStack() as holding:
        for words in (COMMANDS["prefect"], COMMANDS["workers"], COMMANDS["workers"]):
            code = "import sys; held = b'x' * 20_000_000; print(); sys.stdin.read()"
            command = [sys.executable, "-c", code, *words.split()]
            child = holding.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            )
            assert child.stdout is not None
            child.stdout.readline()
        found = of_process()
    assert found["memory_prefect"] > 20
    assert found["memory_workers"] - alone["memory_workers"] > 40
    assert found["files_workers"] - alone["files_workers"] == 2 * found["files_prefect"] > 4
    assert found["children_mb"] == pytest.approx(sum(v for k, v in found.items() if k.startswith("memory_")))


def test_what_is_left_over_in_a_store_is_seen(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    temporary.mkdir()
    store = Store(home / "store")
    resources = Resources(workers=1, threads=1)
    for count in (3, 4):
        display = Display(quiet=True)
        with pipeline_run("chain", {"n": count}, resources, store=store, display=display, follow=False):
            last = chain(NumbersConfig(count=count))
    before = of_home(home, temporary)
    assert before["partial"] == before["temporary"] == 0
    assert before["run_files"] == sum(path.is_file() for path in store.runs.rglob("*"))
    live = {*last, *(Artifact(p["stage"], p["key"], "", Path()) for p in last[1].manifest()["parts"])}
    assert len(live) == 3 + 4 < len(store.list())
    assert live_bytes(store) == sum(disk_bytes(store.artifacts / a.stage / a.key) for a in live)
    (store.partial / "stage-key").mkdir()
    (store.partial / "stage-key" / "left").write_bytes(os.urandom(2_000_000))
    (temporary / "left").write_text("x")
    after = of_home(home, temporary)
    assert (after["partial"], after["temporary"]) == (1, 1)
    assert after["not_live_mb"] - before["not_live_mb"] == pytest.approx(2.0, abs=0.1)


def test_a_slope_is_found_in_noise_and_noise_is_no_slope() -> None:
    draw = random.Random(3)
    nights = [
        {
            "night": n,
            "pretrained": n == 50,
            "seconds": 5 + draw.gauss(0, 1) + 900 * (n == 50),
            "resident_mb": 500 + 0.5 * n,
        }
        for n in range(200)
    ]
    memory, seconds = slope(nights, "resident_mb"), slope(nights, "seconds")
    assert memory is not None
    assert seconds is not None
    assert memory["slope"] == pytest.approx(0.5)
    assert grows(memory, len(nights))
    assert seconds["n"] == 199
    assert seconds["low"] < 0 < seconds["high"]
    assert not grows(seconds, len(nights))
    assert slope(nights, "threads") is None


def test_the_joint_slope_of_one_group_is_that_of_theil_and_sen() -> None:
    draw = random.Random(7)
    for count in (3, 10, 40):
        points = [(float(n), round(0.1 * n + draw.gauss(0, 1), 1)) for n in range(count)]
        theirs = stats.theilslopes([y for _, y in points], [x for x, _ in points], 0.95)
        assert joint_slope([points]) == pytest.approx((theirs[0], theirs[2], theirs[3]))


def test_a_restart_hides_no_growth_and_is_none() -> None:
    """Each process starts small, warms up and grows by 2 a night: all count, and the step between them does not."""
    leaking = [
        {"night": n, "process": n // 20, "memory_prefect": 200 + 2.0 * (n % 20) + 50 * min(n % 20, 3) + 10 * (n // 20)}
        for n in range(60)
    ]
    found = slope(leaking, "memory_prefect", warm_up=0.2)
    assert found is not None
    assert (found["slope"], found["low"], found["later"]) == pytest.approx((2.0, 2.0, 2.0))
    assert found["n"] == 3 * 16
    level = [{**night, "memory_prefect": min(night["memory_prefect"], 350 + night["process"])} for night in leaking]
    found = slope(level, "memory_prefect", warm_up=0.2)
    assert found is not None
    assert found["slope"] == found["later"] == 0
    assert not grows(found, len(level))
    levels_off = [{"night": n, "process": 1, "resident_mb": 500.0 + min(n, 25)} for n in range(60)]
    found = slope(levels_off, "resident_mb", warm_up=0.1)
    assert found is not None
    assert found["slope"] > found["later"] == 0


def test_days_go_by_in_prefects_database(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    with database(tmp_path) as cursor:
        for table in TABLES:
            cursor.execute(f"CREATE TABLE {table} (id INTEGER, {TIMES.get(table, 'created')} DATETIME)")
            cursor.execute(f"INSERT INTO {table} VALUES (1, '2026-11-28 13:58:42.073123'), (2, NULL)")
    make_older(tmp_path, days=1.5)
    assert rows(tmp_path) == dict.fromkeys(TABLES, 2)
    with database(tmp_path) as cursor:
        for table in TABLES:
            found = [each[0] for each in cursor.execute(f"SELECT {TIMES.get(table, 'created')} FROM {table}")]
            assert found == ["2026-11-27 01:58:42.073000" if table in TIMES else "2026-11-28 13:58:42.073123", None]
    assert free_megabytes(tmp_path) == 0 < megabytes(tmp_path)


def write_corpora(folder: Path) -> None:
    """A folder as TEXTMILL_DATA names it, of two small corpora."""
    draw = random.Random(4)
    chinese = ["".join(draw.choices("春夏秋冬山水花草鸟虫鱼石风雨雪云天地", k=9)) + "。" for _ in range(400)]
    made = {
        "corpus_en": [prose(draw, draw.choice(["gardens", "harbours"])) for _ in range(100)],
        "corpus_zh": ["".join(draw.choices(chinese, k=40)) for _ in range(50)],
    }
    for name, texts in made.items():
        (folder / name).mkdir(parents=True)
        rows = [json.dumps({"id": f"{name}/{n}", "source": "made", "text": text}) for n, text in enumerate(texts)]
        with pa.output_stream(folder / name / "part-000.jsonl.zst", compression="zstd") as out:
            out.write("\n".join(rows).encode())


@pytest.mark.heavy
def test_a_night_in_one_process_ends_as_a_run_from_scratch(tmp_path: Path) -> None:
    write_corpora(tmp_path / "data")
    command = [sys.executable, "-m", "benchmarks.soak", tmp_path, "--nights", "1", "--every", "1", "--files", "3"]
    command += ["--each", "40", "--leg", "one-process", "--no-servers", "--workers", "1"]
    environment = {**os.environ, "TEXTMILL_DATA": str(tmp_path / "data")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "equal digests" in done.stdout
    nights = [json.loads(line) for line in (tmp_path / "one-process" / "nights.jsonl").read_text().splitlines()]
    assert [night["night"] for night in nights] == [0, 1]
    assert [night["pretrained"] for night in nights] == [True, False]
    assert all(night["partial"] == 0 and night["resident_mb"] > 100 for night in nights)
