# make demo | test | lint | bench | setup; each does what it needs first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.12 python3.13 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && echo "$$p" && break; done)
BIN := .venv/bin
UV_VERSION := 0.13.8
PLAYWRIGHT_VERSION := 1.65.2
unexport PYTHONDONTWRITEBYTECODE  # else every worker process compiles every package anew

.PHONY: help setup demo test suite test-all test-cluster test-browser chaos soak mutants docs lint bench bench-quick gpu-check format lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 22

setup: .venv/installed  ## make .venv with the pinned versions, each checked against its hash

# uv inside the venv: it resolves torch and torchvision as a matching pair, and is fast
.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; name one: make setup PYTHON=/path/to/python" >&2; exit 2; }
	@echo "setting up .venv with $$("$(PYTHON)" --version) (takes a minute or a few: PyTorch is large)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup  ## run the whole pipeline on the embedded digits
	@$(BIN)/autosparse demo

lint: setup  ## style, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

PYTEST := $(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadgroup

test: setup  ## lint, and the test suite beside it
	@$(MAKE) --no-print-directory --jobs=2 lint suite

suite: setup
	$(PYTEST)

test-all: lint  ## lint, then all that takes one machine, with new random examples
	$(PYTEST) -m 'not cluster' --hypothesis-profile=explore

test-cluster: setup  ## clusters of several nodes, servers and full disks, each broken on purpose
	$(BIN)/python -m pytest tests/cluster tests/manifests -m '' --timeout=900

test-browser: setup .browser/installed  ## the report's page in a headless Chromium, which it takes from npm
	$(BIN)/python -m pytest tests/report/browser

.browser/installed: tests/report/browser/package-lock.json
	@command -v npm >/dev/null || { echo "error: npm, which installs Chromium, is missing: install Node.js 20 or newer" >&2; exit 2; }
	@mkdir -p .browser && cp tests/report/browser/package*.json .browser/
	@cd .browser && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@cd .browser && TMPDIR=$$PWD node -e "import('@sparticuz/chromium').then((found) => found.default.executablePath())"
	@$(BIN)/uv pip install --quiet --target .browser/python playwright==$(PLAYWRIGHT_VERSION)
	@touch $@

chaos: setup  ## 200 random faults over a grid of 500 cells; writes cluster/RELIABILITY.md
	@$(BIN)/python scripts/chaos.py $(if $(S3),--s3 --faults 40 --cells 100 --page cluster/RELIABILITY-S3.md) \
		$(if $(HOSTS),--hosts --faults 60 --cells 150 --page cluster/RELIABILITY-HOSTS.md)

soak: setup  ## a grid of two hours, and whether memory, files and threads stay flat; writes soak.json
	@$(BIN)/python scripts/soak.py

mutants: setup  ## change the code in small ways, and see which changes the tests notice; writes tests/MUTANTS.md
	@$(BIN)/python scripts/mutants.py $(if $(ALL),--all) $(if $(ONLY),--only $(ONLY))

docs: setup  ## the API reference from the docstrings; writes site/autosparse.html
	@$(BIN)/python scripts/api_docs.py

bench: setup  ## every speed claim beside what it is compared with
	@$(BIN)/python scripts/bench.py

bench-quick: setup  ## the same, less of each
	@$(BIN)/python scripts/bench.py --quick

gpu-check: setup  ## whether a GPU does all of this right, in 8 minutes; writes gpu.json
	@$(BIN)/python scripts/gpu_check.py --out gpu.json

format: setup  ## put the code in its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra cluster --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --generate-hashes --quiet --output-file requirements.lock
	$(BIN)/python scripts/cluster_versions.py

clean:  ## remove .venv and what runs left here
	rm -rf .venv results report site mlflow.db* mlartifacts
