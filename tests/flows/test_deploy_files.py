"""deploy/: what can be checked of compose file and manifests without the machines that they are for.

Always: structure, names of settings and passwords, and that no password stands in them. Rendering by `kubectl
kustomize`, by `docker compose` or `docker-compose`, and Kubernetes' schemas (kubernetes-validate), where they are
installed.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.config import stack as stack_config
from flows.servers import postgres
from tasks.machine import credentials

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
SECRETS = {name: f"a-secret-{number}-of-the-environment" for number, name in enumerate(credentials._NEEDED)}
SECRETS[credentials.PREFECT] = f"textmill:{SECRETS[credentials.PREFECT]}"
STORES = {"TEXTMILL_STORE": "s3://bucket/store", "TEXTMILL_ARTIFACTS": "s3://bucket/mlflow"}
VARIABLES = {*stack_config.VARIABLES, *credentials._NEEDED, "PREFECT_API_URL", "MLFLOW_TRACKING_URI"}
"""What Textmill reads; with it the variables of the storage's library and of PostgreSQL's image."""


def known(name: str) -> bool:
    return name in VARIABLES or name.startswith(("AWS_", "POSTGRES_")) or name == "PGDATA"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


@cache
def objects() -> list[dict[str, Any]]:
    return [item for path in MANIFESTS for item in yaml.safe_load_all(path.read_text())]


def pods() -> dict[str, dict[str, Any]]:
    found = {
        item["metadata"]["name"]: item["spec"]["template"] for item in objects() if "template" in item.get("spec", {})
    }
    assert set(found) == {"postgres", "prefect", "mlflow", "deploy", "worker-cpu", "worker-gpu"}
    return found


def test_compose_gives_each_service_its_own_passwords_only(compose: dict[str, Any]) -> None:
    services = compose["services"]
    given = {name: set(service["environment"]) for name, service in services.items()}
    assert all(known(variable) for variables in given.values() for variable in variables)
    server_only = {credentials.POSTGRES, credentials.MLFLOW_KEY}
    assert {name for name, variables in given.items() if server_only & variables} == {"prefect", "mlflow"}
    assert given["prefect"].isdisjoint({credentials.MLFLOW_PASSWORD, credentials.MLFLOW_KEY})
    assert credentials.PREFECT not in given["mlflow"]
    for name, service in services.items():
        for variable, value in service["environment"].items():
            secret = variable in SECRETS or variable == "POSTGRES_PASSWORD"
            assert not secret or re.fullmatch(r"\$\{[A-Z_]+:\?in secrets\.env\}", value), f"{name}: {variable}"


def test_compose_publishes_on_loopback_and_keeps_postgresql_inside(compose: dict[str, Any]) -> None:
    services = compose["services"]
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {
        "prefect": ["${TEXTMILL_PUBLISH:-127.0.0.1}:4200:4200"],
        "mlflow": ["${TEXTMILL_PUBLISH:-127.0.0.1}:5000:5000"],
    }
    assert services["postgres"]["networks"] == ["servers"]
    assert compose["networks"]["servers"] == {"internal": True}
    inside = {name for name, service in services.items() if "servers" in service["networks"]}
    assert inside == {"postgres", "prefect", "mlflow"}


def test_what_containers_run_is_a_command_of_ours(compose: dict[str, Any]) -> None:
    commands = [service["command"] for service in compose["services"].values() if "command" in service]
    commands += [
        container["args"] for pod in pods().values() for container in pod["spec"]["containers"] if "args" in container
    ]
    stack = stack_config.StackConfig().model_copy(update={"gpu": stack_config.PoolSection(workers=1)})
    names = {"prefect", "mlflow", *(f"worker-{pool}-1" for pool in stack.pools())}
    wanted = [["service", name] for name in sorted(names)] + [["deploy"]]
    assert sorted(commands) == sorted(2 * wanted)
    user = re.search(r"^USER (\d+)$", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert user is not None
    assert {pod["spec"]["securityContext"]["runAsUser"] for name, pod in pods().items() if name != "postgres"} == {
        int(user[1])
    }


def test_manifests_take_passwords_from_the_secret_and_none_is_made() -> None:
    assert "Secret" not in {item["kind"] for item in objects()}
    for name, pod in pods().items():
        [container] = pod["spec"]["containers"]
        for entry in container.get("env", []):
            assert known(entry["name"]), f"{name}: {entry['name']}"
            secret = entry["name"] in {*SECRETS, "POSTGRES_PASSWORD"} or entry["name"].startswith("AWS_")
            assert ("value" in entry) != secret
            if secret:
                reference = entry["valueFrom"]["secretKeyRef"]
                assert reference["name"] == "textmill"
                assert reference["key"] == entry["name"].replace("POSTGRES_PASSWORD", credentials.POSTGRES)
    maps = {item["metadata"]["name"]: set(item["data"]) for item in objects() if item["kind"] == "ConfigMap"}
    assert all(known(name) for names in maps.values() for name in names)


def test_no_pod_is_privileged_and_every_selector_meets_a_pod() -> None:
    for name, pod in pods().items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"], name
        assert not pod["spec"]["automountServiceAccountToken"], name
        [container] = pod["spec"]["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "memory" in container["resources"]["limits"], name
    labels = [pod["metadata"]["labels"] for pod in pods().values()]
    for item in objects():
        if item["kind"] == "Service":
            assert item["spec"]["selector"] in labels, item["metadata"]["name"]
    [rule] = [item for item in objects() if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == "postgres"]
    [source] = rule["spec"]["ingress"][0]["from"]
    assert source["podSelector"]["matchExpressions"][0]["values"] == ["prefect", "mlflow"]


def test_the_image_holds_no_password() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {".textmill", "**/secrets.env"} <= set(ignored)


def installs_of_the_image() -> str:
    """The Dockerfile's instructions up to the one that brings the code, as lines of a shell."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text()).partition("\nCOPY . .")[0]
    return "\n".join(found for found in re.findall(r"^RUN (.*)$", text, flags=re.MULTILINE) if "pip" in found)


def installs_of_make() -> str:
    """The Makefile's recipe of the environment, as lines of a shell."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY.parent / "Makefile").read_text())
    recipe = text.partition("\n$(STAMP):\n")[2].partition("\n\n")[0]
    lines = [line.lstrip("\t@") for line in recipe.splitlines() if "-m pip" in line and "--editable" not in line]
    return "\n".join(line.replace("$(BIN)/python -m pip", "pip") for line in lines)


PIP = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in
  *requirements-cpu.lock) test -n "$WHEELS" && touch "$CALLS.whole" ;;
  *requirements-cuda.lock) touch "$CALLS.whole" ;;
  check) test -e "$CALLS.whole" ;;
esac
"""
"""Stands in for pip: it has the CPU build if there are wheels, and without it the libraries of CUDA are missing."""


QUIETLY = ("--quiet", "--no-cache-dir", "--no-compile")


@pytest.mark.parametrize("wheels", ["", "wheels"])
@pytest.mark.parametrize("script", [installs_of_the_image, installs_of_make])
def test_the_image_installs_what_make_does_and_torch_finds_its_libraries(
    tmp_path: Path, script: Callable[[], str], wheels: str
) -> None:
    fake, calls = tmp_path / "pip", tmp_path / "calls"
    fake.write_text(PIP)
    fake.chmod(0o755)
    place = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls), "WHEELS": wheels}
    for line in script().splitlines():  # as docker and make do: each by itself, up to the first that fails
        subprocess.run(["sh", "-c", line], env=place, check=True, capture_output=True)
    hashed = ["--no-deps", "--require-hashes"]
    assert [[word for word in call.split() if word not in QUIETLY] for call in calls.read_text().splitlines()] == [
        ["install", *hashed, "--no-index", "-r", "requirements-cpu.lock"],
        ["install", *hashed, "-r", "requirements.lock"],
        ["check"],
        *([] if wheels else [["install", *hashed, "-r", "requirements-cuda.lock"]]),
        ["check"],
    ]


def test_the_image_has_the_locks_that_it_installs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    [copied] = re.findall(r"^COPY (requirements.*) \./$", text, flags=re.MULTILINE)
    used = set(re.findall(r"-r (\S+)", text))
    assert set(copied.split()) == used == set(re.findall(r"-r (\S+)", installs_of_make()))
    assert all((DEPLOY.parent / name).is_file() for name in used)


def rendered() -> list[dict[str, Any]]:
    done = subprocess.run(["kubectl", "kustomize", DEPLOY / "kubernetes"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_renders_all_of_it() -> None:
    found = rendered()
    assert len(found) == len(list(objects()))
    assert {item["metadata"].get("namespace", "textmill") for item in found} == {"textmill"}
    images = {
        c["image"]
        for item in found
        if "template" in item.get("spec", {})
        for c in item["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example.com/textmill:latest", "postgres:15"}


def test_manifests_are_what_kubernetes_schemas_allow() -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    for item in rendered() if shutil.which("kubectl") else objects():
        schemas.validate(item, "1.32", strict=True)


def compose_program() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and not subprocess.run([*command, "version"], capture_output=True, check=False).returncode
        ):
            return command
    return None


def test_compose_renders_it(tmp_path: Path) -> None:
    program = compose_program()
    if program is None:
        pytest.skip("needs docker compose")
    file = tmp_path / "secrets.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in {**SECRETS, **STORES}.items()))
    command = [*program, "--env-file", str(file), "-f", str(DEPLOY / "compose.yaml"), "--profile", "gpu", "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == SECRETS[credentials.POSTGRES]
    file.write_text("")
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "in secrets.env" in refused.stderr + refused.stdout


def test_the_databases_of_containers_are_ours(compose: dict[str, Any]) -> None:
    address = f"postgresql://{postgres.ROLE}@postgres:5432"
    assert compose["services"]["postgres"]["environment"]["POSTGRES_USER"] == postgres.ROLE
    assert {compose["services"][name]["environment"]["TEXTMILL_POSTGRES_URL"] for name in ("prefect", "mlflow")} == {
        address
    }
    stack_config.PostgresSection(url=address)
