# Assumes make and python3 (3.11 or later, with its venv module). Everything else is installed into .venv/ here.
#
#   make test PYTHON=python3.12     with another Python
#   make test NEWEST=python3.12     with another Python for the second run of the tests; NEWEST= leaves that run out
#   make test TESTS=ir_tests/fold-batch     some of the tests alone, once, as pytest names them

PYTHON ?= python3

# New releases of jax need Python 3.12. If $(PYTHON) is older, the tests run a second time on the newest Python here.
# Each is tried, since version managers leave commands on PATH that do not run. Looked for once, and only when needed.
# The second run asks what another jax makes of models (see docs/testing.md). The first run has all else, too.
NEWEST ?= $(eval NEWEST := $(shell $(find_newest)))$(NEWEST)
find_newest = \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))' && for minor in 13 12; do \
		for python in python3.$$minor "$$HOME"/.pyenv/versions/3.$$minor.*/bin/python3; do \
			"$$python" -c 'import ensurepip' 2>/dev/null && echo "$$python" && exit; \
		done; \
	done

PIP_INSTALL = $(@D)/bin/python -m pip install --quiet --disable-pip-version-check
PYTEST = bin/python -m pytest --quiet --numprocesses=auto --maxprocesses=4

# What `make fast` runs: goldens, and tests of what is pure. It names them, as collecting all tests takes too long, and
# leaves out of them those that search, start processes, have XLA compile or try hundreds of programs.
SLOW = fuzz cli native_passes planner planner_candidates schedule_bounds schedule_search schedule_simulate report alone \
	counts
PURE = accumulators backward_partners cheap_operations dataflow_order evaluated goldens_cover roles
FAST = ir_tests tests/test_imports.py tests/test_glossary.py tests/compiler $(SLOW:%=--ignore=tests/compiler/test_%.py) \
	$(PURE:%=tests/passes/test_%.py) tests/runtime/test_worker.py tests/runtime/test_inbox.py

.PHONY: help demo test fast lint format palm-540b bench bundle site mutations clean test-main test-newest FORCE
.NOTPARALLEL: # so that what the targets print stands in order
# Tests start hundreds of processes, and each would compile all of atoll, were what Python makes of it not kept.
export PYTHONDONTWRITEBYTECODE =

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: .venv/installed ## show what atoll does today
	@.venv/bin/atoll demo

ifdef TESTS
test: .venv/installed-test
	@.venv/$(PYTEST) $(TESTS)
else
test: lint test-main test-newest ## lint; tests; those that another jax could change on the newest Python that is here (TESTS=... for some alone)
endif

fast: .venv/installed-test ## lint; goldens, and tests of what is pure
	$(style)
	@types=$$(mktemp); .venv/bin/mypy >$$types 2>&1 & mypy=$$!; \
	.venv/$(PYTEST) $(FAST); tests=$$?; \
	wait $$mypy; is_typed=$$?; cat $$types; rm $$types; \
	exit $$((tests || is_typed))

lint: .venv/installed-test ## check format, style and types
	$(style)
	@.venv/bin/mypy

# Types are left to each target: mypy, which takes half a minute without its cache, runs beside the tests of `make fast`.
define style
@echo "lint: ruff and mypy"
@.venv/bin/ruff format --check --quiet .
@.venv/bin/ruff check --quiet .
endef

format: .venv/installed-test ## format, and correct what can be corrected of style
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format --quiet .

palm-540b: .venv/installed-test ## compile the largest PaLM for two TPU pods, and compare it with the paper (minutes)
	@.venv/bin/python -m atoll.examples.palm.pods

bench: .venv/installed-test ## measure the numbers that the documents quote, into one table (BENCH="--only step" for some)
	@.venv/bin/python benchmarks/table.py --json build/bench.json $(BENCH)

bundle: ## bundle the page that `atoll view` writes, with node and npm, after its folder view/ was changed
	@cd view && npm ci --silent --ignore-scripts && npm test --silent && npm run bundle --silent

site: .venv/installed-docs ## make a site of the documents, in build/site, with every link checked
	@.venv/bin/python docs/site/reference.py
	@.venv/bin/sphinx-build --quiet --fail-on-warning --keep-going -c docs/site . build/site
	@echo build/site/index.html

mutations: .venv/installed-test ## put known faults into copies of the code, and see that tests find each of them
	@.venv/bin/python tests/mutations/run.py --jobs 2

zoo-counts: .venv/installed-test ## count anew the loops, tasks and bytes of the zoo, where a change of them is meant
	@JAX_PLATFORMS=cpu PYTHONPATH=tests/end_to_end:tests/passes .venv/bin/python -m zoo_counts

clean: ## remove what the other targets made
	@rm -rf .venv .venv-newest .hypothesis .mypy_cache .ruff_cache atoll.egg-info atoll-demo build view/node_modules
	@find . -name __pycache__ -prune -exec rm -rf {} +

# One process more than there are processors: tests of islands in processes, and those of Ray, wait for what they started.
test-main: .venv/installed-test
	@$(call name_versions,.venv)
	@PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(nproc) + 1)) .venv/$(PYTEST)

.SECONDEXPANSION: # NEWEST is looked for when this target is considered, not when the file is read
test-newest: $$(if $$(NEWEST),.venv-newest/installed-test)
	@$(if $(NEWEST),$(call name_versions,.venv-newest),echo "tests: no second run; the first had Python 3.12 or later, or there is none here")
	@$(if $(NEWEST),.venv-newest/$(PYTEST) --quick)

name_versions = $(1)/bin/python -c 'import platform; from importlib.metadata import version; \
	print("tests: Python", platform.python_version(), "with jax", version("jax"))'

# What atoll itself needs, and Ray: enough for the demo, and installed in less time.
.venv/installed: pyproject.toml .venv/version
	@echo "installing atoll into .venv"
	@$(PIP_INSTALL) --editable '.[ray]'
	@touch $@

.venv/installed-test: pyproject.toml .venv/version
	@echo "installing atoll and what its tests need into .venv"
	@$(PIP_INSTALL) --editable '.[test]'
	@touch .venv/installed $@

.venv/installed-docs: pyproject.toml .venv/version
	@echo "installing what makes the site into .venv"
	@$(PIP_INSTALL) --editable '.[docs]'
	@touch $@

.venv-newest/installed-test: pyproject.toml .venv-newest/version
	@echo "installing atoll and what its tests need into .venv-newest, with the newest jax"
	@$(PIP_INSTALL) --upgrade --editable '.[test]' jax jaxlib
	@touch $@

# A virtual environment. The file holds the version of the Python that made it; with another Python it is made anew.
.venv/version: python = $(PYTHON)
.venv-newest/version: python = $(NEWEST)
.venv/version .venv-newest/version: FORCE
	@version=$$($(python) -c 'import sys; print(sys.version); sys.exit(sys.version_info < (3, 11))') || \
		{ echo "atoll needs Python 3.11 or later; name one: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	test "$$version" = "$$(cat $@ 2>/dev/null)" && exit; \
	echo "making $(@D) with Python $${version%% *}"; \
	$(python) -m venv --clear $(@D) >&2 || \
		{ echo "$(python) cannot make a virtual environment; install its venv module (Debian: python3-venv)" >&2; exit 1; }; \
	echo "$$version" >$@
