"""What is installed: locked by hash, under licences that are allowed, from no host that the project names."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from flows.project.audit import verdict
from flows.project.bill import differences, listed
from flows.project.licences import PAGE, locked_names, page
from flows.servers.doctor import read_lock
from tasks.machine.licences import Licence, is_allowed, of_dependencies, read_licences, refused, required

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_and_hashed_and_no_host_is_named(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", re.sub(r"(?m)^#.*\n", "", text))
    for block in filter(str.strip, blocks):
        first, *rest = block.strip().split("\\\n")
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;]+( ; .+)?", first.strip()), first
        assert rest, f"{first}: no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line.strip()) for line in rest), first


def test_the_builds_of_torch_are_of_one_version() -> None:
    of_index, of_cpu = (read_lock(ROOT / name) for name in ("requirements.lock", "requirements-cpu.lock"))
    assert of_cpu == {"torch": of_index["torch"]}
    assert not set(of_index) & set(read_lock(ROOT / "requirements-cuda.lock"))


def test_make_installs_nothing_without_its_hash() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install .*", recipe)
    assert len(installs) >= 4
    assert [line for line in installs if "--require-hashes" not in line and "--editable ." not in line] == []


def test_licences_are_on_the_list_and_in_the_table() -> None:
    licences = read_licences(locked_names())
    assert len(licences) > 200
    assert refused(licences) == []
    assert PAGE.read_text(encoding="utf-8") == page(licences), "python -m flows.project.licences"


def test_what_a_card_counts_is_what_textmill_requires_and_has_locked() -> None:
    names = required("textmill")
    assert {"torch", "prefect", "numpy", "sympy"} < names  # sympy by way of torch
    assert names.isdisjoint({"pytest", "optuna", "textmill"})
    assert names <= set(map(canonicalize_name, locked_names()))
    found = of_dependencies()
    assert sum(found["by_licence"].values()) + len(found["named"]) == found["packages"] == len(names)


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-or-later", False),
        ("LGPL-2.1", False),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("BSD License, Apache Software License", True),
        ("Apache-2.0 with Commons Clause", False),
        ("", False),
    ],
)
def test_which_licences_are_allowed(licence: str, allowed: bool) -> None:
    assert is_allowed(licence) is allowed
    assert bool(refused([Licence("some", "1", licence)])) is not allowed


def test_an_audit_that_looked_nothing_up_is_none() -> None:
    """pip-audit passes over what its service does not know, and then says that it found nothing."""
    unknown = {"name": "a", "skip_reason": "not found"}
    fine, hit = {"name": "b", "version": "1", "vulns": []}, {"name": "c", "version": "2"}
    vulnerable = {**hit, "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}]}
    assert verdict([unknown, unknown])[0] == 2
    assert verdict([])[0] == 2
    assert verdict([fine, unknown]) == (0, ["not looked up: a"])
    assert verdict([fine, vulnerable]) == (1, ["c 2: PYSEC-1 (CVE-1), mended in 3"])


def test_what_is_installed_is_what_is_locked() -> None:
    """`make sbom` lists the distributions of the environment, from the same metadata."""
    installed = [(each.metadata["Name"], each.version) for each in metadata.distributions()]
    locks = [read_lock(ROOT / name) for name in ("requirements.lock", "requirements-cuda.lock")]
    beside = [said for said in differences(installed, *locks) if said.endswith("is in no lock")]
    assert len(locks[0]) > 200
    assert differences(installed, *locks) == beside  # an environment may have more; what `make setup` makes has not


def test_a_bill_of_materials_is_of_the_locks() -> None:
    locks = [read_lock(ROOT / name) for name in ("requirements.lock", "requirements-cuda.lock")]
    wanted = next(iter(locks[1].items()))
    torch = locks[0].pop("torch")
    whole = [*locks[0].items(), ("torch", f"{torch}+cpu"), ("pip", "23.2.1"), ("Textmill", "0.1.0"), wanted]
    locks[0]["torch"] = torch
    bill = {"components": [{"name": name, "version": version} for name, version in whole]}
    assert listed(bill) == whole
    assert differences(whole, *locks) == []
    other = [("Evil.Package", "1"), ("NumPy", "0.1"), *(each for each in whole if each[0] not in ("numpy", "mlflow"))]
    assert differences(other, *locks) == [
        "evil-package 1 is in no lock",
        f"mlflow {locks[0]['mlflow']} is not listed",
        f"numpy is 0.1, locked is {locks[0]['numpy']}",
    ]


def test_make_compares_the_bill_that_it_writes() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nsbom:")[2].partition("\n\n")[0]
    assert "cyclonedx-py environment" in recipe
    assert recipe.rstrip().endswith("$(BIN)/python -m flows.project.bill sbom.cdx.json")
