# `make demo` and `make test` set up what they need; after that they work offline.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test check format wheel clean
setup: .venv/ready

# Installed again only when what is required changes.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT="$(CURDIR)/constraints.txt" $(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

demo: setup  ## the main job on the embedded sample
	$(BIN)/qprune run solver=hybrid_qubo sparsity=0.5 baselines=standard

test: setup  ## lint, types, tests, and the wheel in a clean environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal
	scripts/smoke_wheel.sh $(BIN)/python

check: setup  ## format and lint in place, types, fast tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal -m "not slow"

clean:  ## remove what was set up; outputs stay
	rm -rf .venv dist build
