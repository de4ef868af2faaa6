# Needs python3 (3.11 or newer), pip, git and make; everything else comes from requirements.lock into .venv.
# `uv` installs them where it can (seconds instead of half a minute), pip does where it cannot.

VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
PYTHON ?= python3
ARGS   ?=
WORKERS ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test faults bench peers lint format gen lock wheels clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Make .venv with pawl in it (fast when nothing changed)

# A stamp rather than a phony recipe: make itself sees that nothing changed.
$(READY): requirements.lock pyproject.toml clients/python/pyproject.toml
	@test -x $(PY) || PYTHON="$(PYTHON)" VENV="$(VENV)" sh deploy/venv.sh
	@VENV="$(VENV)" sh deploy/install.sh
	@touch $@

demo: setup ## Do Pawl's main job for real, show what happened and stop
	@$(PY) deploy/demo/demo.py $(ARGS)

dev: setup ## Keep the whole of Pawl up on this machine
	@$(VENV)/bin/pawl dev $(ARGS)

# Two files at a time, for most tests wait for processes and timers; tests of one file stay together, because they share
# servers. WORKERS=0 runs one after the other, which shows more of a failure; more than cores make some too late.
test: setup ## Run every test, on SQLite and on PostgreSQL (ARGS=... goes to pytest)
	@$(PY) -m pytest -q -n $(WORKERS) --dist loadfile $(ARGS)

faults: setup ## Run the tests that kill, cut and duplicate
	@PAWL_RANDOM_REQUESTS=$${PAWL_RANDOM_REQUESTS:-100000} PAWL_SCHEMATHESIS_SECONDS=$${PAWL_SCHEMATHESIS_SECONDS:-900} \
	  PAWL_RANDOM_FAULTS_SECONDS=$${PAWL_RANDOM_FAULTS_SECONDS:-120} \
	  $(PY) -m pytest -q tests/faults tests/spec/test_schemathesis.py $(ARGS)

bench: setup ## Measure, beside the floor of the same run
	@$(PY) -m tests.bench $(ARGS)

# Each peer is installed into an environment of its own under build/, where `make clean` finds it.
peers: setup ## Measure Pawl and its peers, doing the same work in turns
	@$(PY) -m tests.bench.peers $(ARGS)

# Every check runs, so that one pass shows everything.
lint: setup ## Style, types, import contracts, the proto files, staleness of generated code
	@failed=0; \
	$(VENV)/bin/ruff check . || failed=1; \
	$(VENV)/bin/ruff format --check . || failed=1; \
	$(VENV)/bin/mypy || failed=1; \
	$(VENV)/bin/lint-imports || failed=1; \
	$(PY) proto/generate.py --lint || failed=1; \
	$(PY) proto/generate.py --check || failed=1; \
	exit $$failed

format: setup ## Write the style that lint asks for
	@$(VENV)/bin/ruff check --fix-only .
	@$(VENV)/bin/ruff format .
	@$(PY) proto/generate.py --format

gen: setup ## Make all generated code and the OpenAPI document from proto/
	@$(PY) proto/generate.py

# uv does the resolving, in a throw-away environment. Names and hashes only: no index, no host, no path.
lock: ## Resolve requirements.lock anew
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	PYTHON="$(PYTHON)" VENV="$$work/venv" sh deploy/venv.sh; \
	"$$work/venv/bin/python" -m pip install --quiet uv; \
	"$$work/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-package pawl-sdk --group dev --group lock \
	  --output-file "$$work/lock" $(ARGS) pyproject.toml; \
	{ echo "# Made by 'make lock'; the reasons for pins are in pyproject.toml."; cat "$$work/lock"; } > requirements.lock

wheels: setup ## Build both wheels into dist/
	@$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist ./clients/python .

clean: ## Remove what was built or measured; .venv stays
	@rm -rf build proto/build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -path ./$(VENV) -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf
