# One word does it: `make demo` runs the main job, `make test` the tests. Both first set up what they need.
#
# In an active virtual environment they install into that one; else into .venv, made here. An installed torch that is
# recent enough stays as it is: where python3 has one, .venv sees it.

PYTHON ?= python3
# Processes that test. Without a number, one for each core; where tests wait for stores and for processes, one more.
WORKERS ?=

ifdef VIRTUAL_ENV
ENV := $(VIRTUAL_ENV)
else
ENV := .venv
endif
BIN := $(ENV)/bin

PARALLEL = --dist worksteal -n $(or $(WORKERS),auto)
WAITING = --dist worksteal -n $(or $(WORKERS),$(shell expr $$(nproc) + 1))
MEANWHILE = --dist worksteal -n $(or $(WORKERS),$(shell expr \( $$(nproc) + 1 \) / 2))
INTERPRETED = tests/kernels tests/decorator tests/examples tests/cli/test_misses_stats.py
QUICK = tests/architecture tests/core tests/store tests/sweep tests/tuner tests/cli/test_command.py tests/test_settings.py
# On SQLite only, and without processes of their own.
QUICKLY = not postgresql and not process and not landscape and not lazy

.PHONY: help demo test test-quick lint docs build bundle clean
help:
	@echo "make demo        tune avg_pool1d on this machine, with or without a GPU, and look it up in a second process"
	@echo "make test        run the tests: on a GPU where there is one, else in Triton's interpreter and compiler"
	@echo "make test-quick  run those that a change most likely breaks, in under a minute"
	@echo "make lint        ruff, mypy and codespell"
	@echo "make docs        the documentation site, in build/docs; a warning is an error"
	@echo "make build       the wheel and the source distribution, in dist/"
	@echo "make bundle      tune the shipped list on this GPU, and add the winners to the bundle in the wheel"

demo: $(ENV)/.tunedb-installed
	$(BIN)/tunedb demo

# Two runs, because Triton reads once, when it is imported, whether it is to interpret. The interpreter's only computes,
# and the other one waits a lot: they run at once. What the interpreter's says is shown at the end.
test: $(ENV)/.tunedb-installed-test
	$(BIN)/python -m tests.toolchain
	@said=$$(mktemp); \
	TRITON_INTERPRET=1 $(BIN)/python -m pytest $(MEANWHILE) $(INTERPRETED) > $$said 2>&1 & interpreted=$$!; \
	echo "pytest, and meanwhile TRITON_INTERPRET=1 pytest $(INTERPRETED)"; \
	$(BIN)/python -m pytest $(WAITING); code=$$?; \
	wait $$interpreted || code=$$?; echo "TRITON_INTERPRET=1:"; cat $$said; rm -f $$said; exit $$code

test-quick: $(ENV)/.tunedb-installed-test
	$(BIN)/python -m pytest $(PARALLEL) $(QUICK) -k "$(QUICKLY)"

lint: $(ENV)/.tunedb-installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

docs: $(ENV)/.tunedb-installed-docs
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going docs build/docs

build: $(ENV)/.tunedb-installed-test
	$(BIN)/python -m build

bundle: $(ENV)/.tunedb-installed
	$(BIN)/python -m benchmarks.shipped

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The version stands in tunedb/__init__.py: what is installed has to follow it.
$(ENV)/.tunedb-installed: pyproject.toml tunedb/__init__.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(ENV)/.tunedb-installed-test: pyproject.toml tunedb/__init__.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

$(ENV)/.tunedb-installed-docs: pyproject.toml tunedb/__init__.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tunedb needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv is missing. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $$($(PYTHON) -c 'import importlib.util as u; print("--system-site-packages" * bool(u.find_spec("torch")))') $(ENV)
