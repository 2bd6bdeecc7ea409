# What people type. Needs Python 3.11 or newer; everything else goes into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# Processes that share the tests, and how: each takes a part in order, and helps another when it has finished.
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN)
SHARED  := -n $(WORKERS) --maxprocesses 8 --dist worksteal

# Not empty: `make test` shows what the tests cover, and takes half as long again.
COVERAGE ?=

DEFENSES ?= standard at prs jacobian
DEMO     ?= --model cnn6 --dataset digits --battery quick --epochs 15 --trials 3 --test-size 100

.PHONY: demo test test-slow test-all lint audit format docs bench clean

demo: $(VENV)/.installed
	@for defense in $(DEFENSES); do \
	  $(BIN)/bench run --defense $$defense $(DEMO) || exit $$?; \
	done
	@echo
	@echo "pages:  runs/site/index.html"
	@echo "MLflow: mlflow.db; open it with  $(BIN)/bench ui"

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" $(SHARED) $(if $(COVERAGE),--cov --cov-report=term)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "slow and not long" $(SHARED)

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(SHARED)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is installed, beside PyPI's list of known vulnerabilities.
audit: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip_audit --skip-editable --progress-spinner off

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "pages: build/docs/index.html"

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.speed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# Most of what is installed is never imported, so Python compiles what is, when it is.
$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .peers runs site figures build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
