# make book: set up, run what changed, render the site.   make test: set up, run all tests.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two cores and two test workers: more threads in each only get in each other's way.
export OMP_NUM_THREADS ?= 1

.PHONY: book test store lint mutants oracles bench faults clean help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  /'

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "This needs Python 3.11 or newer, and found none. Name yours: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up $(VENV) (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing (Debian: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

book: $(READY) ## run every chapter that changed and render the site in _build/html
	@$(BIN)/mmc book

test: $(READY) ## run all tests, nbval over every chapter included
	@$(BIN)/python -m pytest -n 2 --dist loadscope --nbval --nbval-current-env tests notebooks

store: $(READY) ## rerun chapters and store their text outputs in notebooks/
	@$(BIN)/mmc store

lint: $(READY) ## ruff over code and notebooks
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

mutants: $(READY) ## change every formula and attack in one place at a time, and list what no test notices (hours)
	@$(BIN)/python -m pytest -n 2 --all-mutants tests/test_mutations.py

bench: $(READY) ## what a training step costs: ratios, side by side in one run (an idle machine, ten minutes)
	@$(BIN)/mmc bench

oracles: $(READY) ## put every attack before hundreds of models whose robustness is known exactly
	@$(BIN)/python -m pytest -n 2 --all-oracles tests/attacks/test_acceptance.py

faults: $(READY) ## kill runs and sweeps at 30 random moments each
	@$(BIN)/python -m pytest --all-faults tests/test_faults.py

clean: ## remove everything that was built (the environment stays)
	rm -rf _build
