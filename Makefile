# make run   the quickstart, end to end, from a fresh clone        make up / down   servers and a worker
# make test  the tests        make lint  style, types, imports     make setup       the environment alone
# make test-servers  the tests that start servers and clusters, and those that break things
# make audit  known vulnerabilities of the locked packages    make sbom  a bill of materials    make licences  their table

# The first that works: a name on PATH may be a shim with nothing behind it. Not the environment's own, which stands first
# on PATH where it is activated: it would be cleared by itself.
PYTHON ?= $(shell PATH=$$(echo "$$PATH" | tr ':' '\n' | grep -vxF '$(CURDIR)/.venv/bin' | paste -sd: -); \
	for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$python && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
CONFIG ?= configs/quickstart.yaml

.PHONY: setup run test test-servers lint up down bench clean audit sbom licences lock
.DEFAULT_GOAL := run

# The environment belongs to one lock, one project file, one place and one interpreter: the stamp is named
# by the hash of the four, so that a changed lock or a moved checkout sets up anew and nothing else does.
KEY   := $(shell { cat requirements*.lock pyproject.toml; echo '$(CURDIR)' '$(PYTHON)'; } | cksum | tr ' ' -)
STAMP := $(VENV)/textmill-$(KEY).stamp

setup: $(STAMP)

$(STAMP):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	rm -f $(VENV)/textmill-*.stamp
# Scripts in an environment hold its path, so that a moved one is made anew; else only differences are installed.
	[ "$$(cat $(VENV)/place 2>/dev/null)" = "$(CURDIR) $(PYTHON)" ] \
	  || { "$(PYTHON)" -m venv --clear $(VENV) && echo "$(CURDIR) $(PYTHON)" > $(VENV)/place; }
# Nothing is installed whose hash is not in a lock. A CPU build of torch in a folder of wheels is taken; else the index's
# is, and where that is built for CUDA the libraries that it wants. Byte code is compiled on all cores, which pip does not.
	@$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes --no-index -r requirements-cpu.lock 2>/dev/null \
	  || echo "no CPU build of torch in a folder of wheels: taking that of the index"
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip check >/dev/null \
	  || $(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r requirements-cuda.lock
	$(BIN)/python -m pip check
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || echo "not all of it could be compiled (some packages have templates that are no Python)"
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

run: setup
	$(BIN)/textmill run $(CONFIG)

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not server and not heavy"

# The rest: what starts real servers of Prefect and MLflow, or a Dask cluster, and waits for them; and what breaks a mill.
test-servers: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "server or heavy"

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

# The tools that look at the environment live in one of their own, which the same rules hold for: pip-audit and CycloneDX.
AUDIT := $(VENV)-audit
LOOKS := $(AUDIT)/textmill-$(shell cksum < requirements-audit.lock | tr ' ' -).stamp

$(LOOKS):
	"$(PYTHON)" -m venv --clear $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements-audit.lock
	touch $@

audit: $(LOOKS)
	$(AUDIT)/bin/python -m flows.project.audit

sbom: setup $(LOOKS)
	$(AUDIT)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON \
	  -o sbom.cdx.json $(BIN)/python
	@$(BIN)/python -m flows.project.bill sbom.cdx.json

licences: setup
	$(BIN)/python -m flows.project.licences

# After a version was changed in requirements.lock: the hashes of its files, from the index that pip uses.
lock: $(LOOKS)
	sed -n 's/^\([A-Za-z0-9][^ ]*==[^ ]*\).*/\1/p' requirements.lock > .lock.in
	$(AUDIT)/bin/uv pip compile --quiet --no-deps --generate-hashes --no-header --no-annotate --universal \
	  --python-version 3.11 .lock.in --output-file .lock.out
	{ grep '^#' requirements.lock; cat .lock.out; } > .lock.new && mv .lock.new requirements.lock && rm .lock.in .lock.out

clean: down
	rm -rf $(VENV) $(AUDIT)
