"""An S3 server that goes away again and again, and whose connections are cut: a clear error or equal digests, and then
machine after machine that finds all of it."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests import s3
from tests.asked import Answer, Ask
from tests.chaos.asking import QUIET
from tests.chaos.checks import problems
from tests.chaos.proxy import Proxy, outages

MADE_ANEW = """
import sys
from tests.chaos.mill import _import
assert "asyncio" not in sys.modules  # else this shows nothing
_import({names})
import asyncio
async def task():
    async with asyncio.timeout(60):
        return asyncio.current_task() is not None
assert asyncio.run(task())
"""


def test_an_s3_server_that_goes_away_again_and_again(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path
) -> None:
    store, machines = "s3://team/store", [tmp_path / name for name in ("one", "two", "three")]
    with s3.served() as port:
        s3.make_bucket("team", port)
        proxy, well = Proxy(port, seed=3, rate=0.1), {"environment": s3.environment(port)}
        with outages(proxy, random.Random(3)):
            ill = mill(machines[0], scope="chain", store=store, faults={"environment": s3.environment(proxy.port)})
        proxy.close()
        ended = [mill(machine, scope="chain", store=store, faults=well) for machine in machines]
    assert proxy.suffered
    assert ill["exit"] == 0 or ill["failed"].startswith(("ObjectError: cannot ", "StoreError: ")), ill["failed"]
    for answer in ended:
        assert answer["exit"] == 0, answer["failed"]
        assert answer["digests"] == undisturbed("chain")["digests"]
    assert set(ended[1]["states"].values()) == set(ended[2]["states"].values()) == {"cached"}
    assert problems(machines[2] / "store") == []


def test_what_an_attempt_has_imported_is_imported_in_its_order() -> None:
    """CPython 3.11 with `_asyncio` before `asyncio` has tasks that do not know that they are some."""
    listed = "import s3fs; from tests.chaos.mill import imported; print(imported())"
    begun = subprocess.run([sys.executable, "-c", listed], env=QUIET, capture_output=True, text=True, check=True).stdout
    code = MADE_ANEW.format(names=begun)
    done = subprocess.run([sys.executable, "-c", code], env=QUIET, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
