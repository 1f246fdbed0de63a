# `make demo` and `make test` do all the set-up by themselves; the second time they start at once.
.PHONY: demo test test-all check docs install clean
# What is imported is compiled once and kept, also where the environment forbids it: hundreds of processes import it.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

demo: .venv/installed
	$(BIN)/shroomcurate demo

test: .venv/installed
	$(BIN)/pytest -n $(WORKERS) -m "not slow"

test-all: .venv/installed
	$(BIN)/pytest -n $(WORKERS)

check: .venv/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

# Into build/docs/html; a broken link, anchor or picture is an error.
docs: .venv/installed
	$(BIN)/python docs/site/build.py

install: .venv/installed

# uv where it is there, pip where not. The lock names what is tested; the project itself is installed editable.
.venv/installed: requirements.lock pyproject.toml hatch_build.py src/shroomcurate/catalogue/scan.c
	@if command -v uv >/dev/null; then \
		set -x; uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
		uv pip install --quiet --python $(BIN)/python -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps -e .; \
	else \
		set -x; $(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
	fi
	@touch $@

# Pins every dependency again, names and versions only.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --no-header --no-annotate --quiet --upgrade -o requirements.lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/shroomcurate/catalogue/_scan.so
