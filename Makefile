# make demo               the main job end to end, on sample videos it makes itself
# make cache VIDEOS=dir/  a cache of your own videos, in dir.cache; more flags: ARGS="--format zarr --size 256"
# make test               every check
# make docs               API pages from the docstrings, in build/api
# make test-pythons       the store's and the builder's tests on every Python from 3.11 that is at hand, in .venvs
# `cache` ends well where the cache is finished, though videos of it are not whole (cache-build ends with 1, and its
# report is on standard output) and with an error where it is not (the same 1, and no report).
# The first four set up .venv by themselves; they need Python 3.11 or newer and nothing else.
# Tests start some hundred processes: Python keeps its bytecode, so that not each of them compiles it.
# `worksteal` leaves the tests of a file to one process as long as it can: both would build what the file needs.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "$(PYTHON) is older than 3.11; give another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }

.PHONY: demo cache test docs test-pythons clean
.DELETE_ON_ERROR:

demo: .venv/.ready
	$(BIN)/python -m frame_cache_tools.demo demo

cache: .venv/.ready
	@test -n "$(VIDEOS)" || { echo "usage: make cache VIDEOS=dir/ [ARGS=\"--format zarr ...\"]"; exit 2; }
	$(info $(BIN)/cache-build "$(VIDEOS)" $(ARGS))
	@report=$$($(BIN)/cache-build "$(VIDEOS)" $(ARGS)); code=$$?; \
	test -z "$$report" || printf '%s\n' "$$report"; \
	if [ $$code = 1 ] && [ -n "$$report" ]; then code=0; fi; \
	exit $$code

test: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist worksteal

docs: .venv/.ready-docs
	$(BIN)/pdoc --output-directory build/api frame_store cache_builder loader

test-pythons:
	@$(CHECK_PYTHON)
	$(PYTHON) -m tests.other_pythons $(ARGS)

clean:
	rm -rf .venv .venvs demo

.venv/.ready: pyproject.toml
	@$(CHECK_PYTHON)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo "$(PYTHON) cannot make virtual environments; install the package python3-venv and try again"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.ready-dev: .venv/.ready
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs,frameworks]'
	@touch $@

.venv/.ready-docs: .venv/.ready
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@
