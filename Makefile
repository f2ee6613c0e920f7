PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Made anew when the dependencies change: what the commands need, and what everything else needs.
SMALL := $(VENV)/.small
READY := $(VENV)/.ready
# Neighbours share templates and servers, so each process begins with one stretch of the suite; who is done takes over.
# One process more than processors: a sixth of the time a test waits, for a lock, a server or a program.
PARALLEL := --numprocesses $(shell expr $$(nproc) + 1) --dist worksteal
# The one procedure that commits, which PostgreSQL allows only without a SET clause: it sets its search_path itself.
COMMITS := integrity.backfill_markers(batch integer,pause_seconds double precision)

.DEFAULT_GOAL := help
.PHONY: help venv demo test quick slow mutants citus races histories crashes matrix test-matrix moving plpgsql-check docs site lint dist release bench bench-adoption clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(SMALL): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(READY): $(SMALL)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

venv: $(READY) ## Set up .venv with everything the other targets need

demo: $(SMALL) ## Replay the incident on an embedded PostgreSQL, repair it, try to cause it again
	$(BIN)/quest-integrity demo

test: $(READY) ## Run the whole suite on an embedded PostgreSQL (PG_BINDIR=… for another one)
	$(BIN)/pytest $(PARALLEL) $(ARGS)

quick: $(READY) ## Run one test of every constraint, trigger, rule, repair, command and format, in under a minute
	$(BIN)/pytest $(PARALLEL) -m quick $(ARGS)

slow: $(READY) ## Run the tests that take too long for `make test`; histories, crashes and moving have targets of their own
	$(BIN)/pytest $(PARALLEL) -m slow --ignore tests/races --ignore tests/moving $(ARGS)
	$(BIN)/pytest $(PARALLEL) --hypothesis-profile long tests/repair/test_repair_property.py

mutants: $(READY) ## Weaken each part of the layer, ask guards and tests whether they notice, write docs/mutants.md
	$(BIN)/python -m tests.mutants $(ARGS)

citus: $(READY) ## Run the tests on a Citus cluster: QUEST_INTEGRITY_CITUS_URL names its coordinator
	$(BIN)/pytest -m "slow or not slow" tests/citus $(ARGS)

races: $(READY) ## Run every race there is and write docs/races.md
	$(BIN)/python -m tests.races explore $(ARGS)

histories: $(READY) ## Search long for a history that the database and the model of the rules tell differently
	$(BIN)/pytest -s -m slow tests/races/test_histories.py $(ARGS)

crashes: $(READY) ## Kill backends and postmasters two hundred times under load
	$(BIN)/pytest -m slow -s tests/races/test_crashes.py $(ARGS)

matrix: $(READY) ## Run the whole suite on PostgreSQL 14, 15, 16, 17 and 18 (ARGS="14 16 -- tests/law" for less)
	$(BIN)/python tests/matrix.py $(or $(ARGS),-- $(PARALLEL))

test-matrix: matrix

moving: $(READY) ## Move from PostgreSQL 14 to 18 and 15 to 17: dump, pg_upgrade, a promoted logical replica
	$(BIN)/pytest -m slow tests/moving $(ARGS)

plpgsql-check: $(READY) ## Read every function with plpgsql_check (apt install postgresql-15-plpgsql-check)
	PG_BINDIR=$(or $(PG_BINDIR),/usr/lib/postgresql/15/bin) $(BIN)/pytest tests/migrations/test_plpgsql_check.py

docs: $(READY) ## Write docs/rules.md and docs/architecture.md from the catalog
	$(BIN)/python docs/generate.py

site: $(READY) ## Build the guide into build/site, strictly: a link that leads nowhere is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs . build/site

lint: $(READY) ## Check style and types of the Python, style and search_path of the SQL
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/sqlfluff lint sql checks/demo docs tests/migrations/next_release
	find sql -name '*.sql' | LC_ALL=C sort | xargs cat .ci/pgspot.sql | $(BIN)/pgspot --proc-without-search-path '$(COMMITS)'

dist: $(READY) ## Build sdist and wheel into dist/, and check them
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

release: $(READY) ## Freeze the SQL and the revisions as they are, then build the packages
	$(BIN)/python -m tests.frozen
	$(MAKE) dist

bench: $(READY) ## Measure what the layer costs and saves, on embedded servers (ARGS='--tiny' for a quick look)
	$(BIN)/python -m benchmarks $(ARGS)

bench-adoption: $(READY) ## Measure an adoption under traffic
	$(BIN)/python -m benchmarks.adoption $(ARGS)

clean: ## Remove .venv and everything generated
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
