# make run   the quickstart, end to end, from a fresh clone        make up / down   servers and a worker
# make test  the tests        make lint  style, types, imports     make setup       the environment alone
# make test-servers  the tests that start servers and clusters

# The first that works: a name on PATH may be a shim with nothing behind it. Not the environment's own, which stands first
# on PATH where it is activated: it would be cleared by itself.
PYTHON ?= $(shell PATH=$$(echo "$$PATH" | tr ':' '\n' | grep -vxF '$(CURDIR)/.venv/bin' | paste -sd: -); \
	for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$python && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
CONFIG ?= configs/quickstart.yaml

.PHONY: setup run test test-servers lint up down bench clean
.DEFAULT_GOAL := run

# The environment belongs to one lock, one project file, one place and one interpreter: the stamp is named
# by the hash of the four, so that a changed lock or a moved checkout sets up anew and nothing else does.
KEY   := $(shell { cat requirements.lock pyproject.toml; echo '$(CURDIR)' '$(PYTHON)'; } | cksum | tr ' ' -)
STAMP := $(VENV)/textmill-$(KEY).stamp

setup: $(STAMP)

$(STAMP):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	rm -f $(VENV)/textmill-*.stamp
# Scripts in an environment hold its path, so that a moved one is made anew; else only differences are installed.
	[ "$$(cat $(VENV)/place 2>/dev/null)" = "$(CURDIR) $(PYTHON)" ] \
	  || { "$(PYTHON)" -m venv --clear $(VENV) && echo "$(CURDIR) $(PYTHON)" > $(VENV)/place; }
	$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
# A torch built for CUDA wants libraries that the lock, which serves every machine, does not list.
	$(BIN)/python -m pip check || $(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

run: setup
	$(BIN)/textmill run $(CONFIG)

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not server"

# The rest: what starts real servers of Prefect and MLflow, or a Dask cluster, and waits for them.
test-servers: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m server

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

up: setup
	$(BIN)/textmill up

down:
	@test ! -x $(BIN)/textmill || $(BIN)/textmill down

bench: setup
	@set -e; for file in benchmarks/[a-z]*.py; do name=$$(basename $$file .py); echo "== $$name"; \
		$(BIN)/python -m benchmarks.$$name; done

clean: down
	rm -rf $(VENV)
