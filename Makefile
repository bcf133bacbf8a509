# A machine with Python 3.11 and make needs two commands: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test check bench format clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/.installed ## start the gateway on http://127.0.0.1:8000, with its data in ./data
	@exec $(BIN)/gateway serve

test: $(VENV)/.installed-dev ## run the whole test suite
	$(BIN)/pytest -n 3 --dist loadfile

check: $(VENV)/.installed-dev ## format, lint, types and import arrows, without changing a file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-bench ## measure it next to peers, under kills and on several nodes; this takes ten minutes or more
	@mkdir -p data/benchmarks
	$(BIN)/python -m benchmarks.transport --seconds 1 --rounds 2 --connecting 1000 --idle 2000 \
	  --json data/benchmarks/transport.json
	$(BIN)/python -m benchmarks.chart data/benchmarks/transport.json data/benchmarks/transport.svg
	$(BIN)/python -m benchmarks.durable --seconds 2 --json data/benchmarks/durable.json
	$(BIN)/python -m benchmarks.crash --kills 50 --seconds 90
	$(BIN)/python -m benchmarks.nodes --seconds 2 --json data/benchmarks/nodes.json
	$(BIN)/python -m benchmarks.cluster

format: $(VENV)/.installed-dev ## format the code and fix what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove everything that these commands have made, except ./data
	rm -rf $(VENV) dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "json-gateway needs Python 3.11 or newer; name one with: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[dev,bench]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev
