# Every target sets up .venv first, when pyproject.toml or constraints.txt changed since the last time.

# The first Python on PATH that is new enough; the versions in constraints.txt were resolved for the first named.
# Another one: make setup PYTHON=python3.12
PYTHON ?= $(shell for name in python3.11 python3.12 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$name; break; }; done)
VENV ?= .venv
WORKERS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
RESULTS ?= results
# More options for pytest, such as PYTEST="-m slow" or PYTEST="tests/rules -x"
PYTEST ?=
TORCH ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One thread a process: small matrices gain nothing from more, and the processes already use every core.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench lint format docs constraints

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with the library and all its extras, at the versions of constraints.txt

# What the tests meet of other simulators and libraries, without what these ask for and do not need there.
OTHERS := tests/norse/graphs/simulators.txt tests/recording/other_libraries.txt

$(READY): pyproject.toml constraints.txt $(OTHERS)
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer on PATH: name one, as in make setup PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	$(BIN)/python -m pip install --quiet --no-deps $(OTHERS:%=--requirement %)
	@touch $@

# The second part: how the gain grows with correlations that are added to digits.
DOSE := --strengths 0,1,2 --dose '' --arms center,interneuron --credits backprop,node_perturbation

demo: $(READY)  ## answer the main question on real images, with tables and figures
	$(BIN)/neuro-decorr run natural_images --out $(RESULTS)/demo --workers $(WORKERS)
	$(BIN)/neuro-decorr run credit_assignment $(DOSE) --out $(RESULTS)/dose --workers $(WORKERS)
	@echo "Tables, figures and all that made them: $(RESULTS)/demo and $(RESULTS)/dose"

test: $(READY)  ## run the tests, on every core
	$(BIN)/pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal $(PYTEST)

bench: $(READY)  ## run every benchmark
	@set -e; for benchmark in benchmarks/[a-z]*.py; do \
		test -e "$$benchmark" || { echo "There are no benchmarks yet."; break; }; \
		echo "== $$benchmark"; $(BIN)/python "$$benchmark"; \
	done

lint: $(READY)  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## mend style and format where that needs no thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## build the site into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

constraints: $(READY)  ## resolve all versions anew; another torch: make constraints TORCH=2.13.0
	$(BIN)/python tools/constraints.py $(if $(TORCH),--torch $(TORCH))
