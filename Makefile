# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BROWSER_STAMP := $(VENV)/.browser
# pytest-xdist workers of `make test`; 0 runs all tests in one process.
WORKERS ?= 2

# One thread per process: the models are tiny, and workers share the cores.
test: export OMP_NUM_THREADS = 1

.DEFAULT_GOAL := help
.PHONY: help install run demo test check format bench

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */\1\t/' | expand -t 10

install: $(STAMP)  ## create .venv and install anygpt with all its extras, at the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "anygpt needs Python 3.10 or newer; name one with 'make install PYTHON=python3.11' (and remove an older $(VENV))" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[audio,media,demo,serve,dev]'
	@touch $@

run: install  ## answer a first request with the embedded default
	$(BIN)/python examples/first_request.py

demo: install  ## open the chat page at http://127.0.0.1:7860
	$(BIN)/anygpt demo

test: install $(BROWSER_STAMP)  ## run the tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup

# An installed Chromium or Chrome, else Playwright's own, else Debian's; without one the page's tests skip and say so.
$(BROWSER_STAMP): | $(STAMP)
	@for name in chromium chromium-browser google-chrome; do command -v $$name && break; done >/dev/null || \
		timeout 300 $(BIN)/playwright install chromium >/dev/null 2>&1 || \
		{ apt-get update && apt-get install -y chromium; } >/dev/null 2>&1 || \
		echo "no browser to be had: the tests of the page will skip; install Chromium or Chrome for them" >&2
	@touch $@

check: install  ## lint, formatting, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install  ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install  ## measure speed
	$(BIN)/python -m benchmarks
