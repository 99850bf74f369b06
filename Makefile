# Everything lives in $(VENV); an own folder can be given: make test VENV=/some/folder
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
REPORT_LANG ?= en
OUT ?= reports/sample

# Imports are byte-compiled once; recompiling them in every process costs more than the work itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup report test lint lab lock bench clean

help: ## this list
	@echo "cxroi: what better customer experience is worth. Verbs:"
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY) ## the environment in .venv, from requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "cxroi needs Python 3.11 or newer; $(PYTHON) is '$$($(PYTHON) --version 2>&1)'." \
	    "Name another one, for instance: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@echo "Setting up $(VENV): a few minutes, once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib cxroi >/dev/null || true
	@touch $(READY)

report: $(READY) ## the sample company's report, in reports/sample
	@$(BIN)/cxroi run data/sample --out "$(OUT)" --lang $(REPORT_LANG)

test: $(READY) ## all tests
	@$(BIN)/python -m pytest -n 2 -q

lint: $(READY) ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lab: $(READY) ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab notebooks

bench: $(READY) ## speed and memory against named peers, as ratios
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

lock: ## requirements.lock anew from pyproject.toml (needs uv)
	@UV=$$(command -v uv || echo $(BIN)/uv); "$$UV" pip compile pyproject.toml --extra dev --universal \
	  --fork-strategy fewest --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --upgrade --quiet \
	  --custom-compile-command "make lock" --output-file requirements.lock

clean: ## remove caches and reports, keep the environment
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	@find cxroi tests benchmarks notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
	@find reports -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
