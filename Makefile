# `make run` starts everything on this machine; `make test` is what has to pass. `make help` lists the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run cluster failover test lint types imports pytest livekit frontend programs provider toxiproxy bench faults prove soak fuzz lock clean distclean

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST_ARGS ?=
BENCH_ARGS ?=
# The project's own: an operator's plugin beside config.yaml is not held to its style.
SOURCES := wsgi.py gunicorn.conf.py setup.py webcall plugins scripts benchmarks tests
DEPLOYED := wsgi.py gunicorn.conf.py setup.py webcall plugins

help: ## list what can be made
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

run: $(INSTALLED) frontend ## start LiveKit and the service, and print a line that calls it
	@$(BIN)/python -m scripts.run

cluster: $(INSTALLED) livekit programs ## two nodes of everything behind nginx, on this machine
	@$(BIN)/python -m scripts.cluster

failover: $(INSTALLED) livekit programs ## its tests, with those that take a minute
	@WEBCALL_CLUSTER_LONG=1 $(BIN)/python -m pytest tests/scripts/test_cluster.py $(PYTEST_ARGS)

test: lint types imports pytest ## everything that has to pass

lint: $(INSTALLED) ## ruff: faults and format; bandit: what could be attacked, in what is deployed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(DEPLOYED)

types: $(INSTALLED) ## mypy, and TypeScript's compiler on the pages' code, both strict
	$(BIN)/mypy
	$(BIN)/python -m scripts.frontend types

imports: $(INSTALLED) ## who may import whom
	$(BIN)/lint-imports --no-cache

# Coverage data of this run in a folder of its own: two runs at once would combine each other's.
pytest: $(INSTALLED) livekit frontend programs provider toxiproxy ## the tests with branch coverage; PYTEST_ARGS goes to pytest
	@data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && \
	COVERAGE_FILE=$$data/coverage $(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

livekit: $(INSTALLED) ## the LiveKit server, fetched or built once
	@$(BIN)/python -m scripts.livekit_server > /dev/null

frontend: $(INSTALLED) ## LiveKit's library for browsers, fetched once
	@$(BIN)/python -m scripts.frontend > /dev/null

programs: $(INSTALLED) ## Chromium, Redis, nginx, promtool and others for the tests, installed once where apt can
	@$(BIN)/python -m scripts.programs

provider: $(INSTALLED) ## an OpenID Connect provider for the tests, built once
	@$(BIN)/python -m scripts.oidc_provider > /dev/null

toxiproxy: $(INSTALLED) ## a proxy that makes a network's faults, for the tests, built once
	@$(BIN)/python -m scripts.toxiproxy > /dev/null

bench: $(INSTALLED) livekit ## what a token costs, beside what one would write instead, and its picture; BENCH_ARGS goes to it
	@for kind in stand-in stand-in-5ms stand-in-50ms real; do \
	  echo "LiveKit: $$kind" && \
	  $(BIN)/python -m benchmarks.compare --livekit $$kind --json instance/bench/$$kind.json $(BENCH_ARGS) || exit 1; \
	done
	@$(BIN)/python -m benchmarks.plot $(foreach kind,stand-in stand-in-5ms stand-in-50ms real,instance/bench/$(kind).json) --to docs/benchmark.svg

prove: $(INSTALLED) livekit ## try what the README promises, and print the table
	@$(BIN)/python -m benchmarks.prove

soak: $(INSTALLED) livekit frontend programs ## an hour of mixed load with faults, and a verdict; WEBCALL_SOAK_S: seconds
	@$(BIN)/python -m benchmarks.soak

fuzz: $(INSTALLED) livekit ## parsers and API with new inputs; WEBCALL_FUZZ: how many
	@WEBCALL_FUZZ=$${WEBCALL_FUZZ:-100000} $(BIN)/python -m pytest tests/fuzz $(PYTEST_ARGS)

lock: $(INSTALLED) ## the lock files anew: what deployments install, with hashes
	$(BIN)/python -m scripts.lock

faults: $(INSTALLED) livekit programs toxiproxy ## every fault at its full time-outs, into docs/reliability.md
	$(BIN)/python -m scripts.faults_table

clean: ## remove what tools left behind; data, programs and the environment stay
	rm -rf build dist .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache .grimp_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environment and the fetched programs too; instance/ stays
	rm -rf $(VENV) .tools webcall/http/static/vendor

$(INSTALLED): setup.py
	@python=; for name in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
			python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2> /dev/null; then \
		echo "$$python cannot make virtual environments: on Debian and Ubuntu install python3-venv or python3.11-venv" >&2; exit 1; fi; \
	echo "installing into $(VENV): about a minute, once"; \
	{ [ -x $(BIN)/python ] || $$python -m venv $(VENV); } && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' && touch $@
