# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
ifneq ($(wildcard ../shared/data),)
export SONOSEG_DATA ?= $(abspath ../shared/data)
endif
# Tests start some hundred processes. Each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test integration coverage bench clean

demo: .venv/reader
	$(BIN)/sonoseg demo

test: .venv/lab .venv/typescript
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

integration: .venv/integration
	$(BIN)/python -m pytest -q --timeout=900 tests/integration

coverage: .venv/lab .venv/typescript
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov=sonoseg --cov-report=term:skip-covered

bench: .venv/lab
	$(PIP) --editable '.[lab,video,bench]'
	$(BIN)/python benchmarks/reader_speed.py
	$(BIN)/python benchmarks/reader_cine.py
	$(BIN)/python benchmarks/reader_start.py
	$(BIN)/python benchmarks/training_speed.py

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sonoseg needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/reader: .venv/made pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

.venv/lab: .venv/made pyproject.toml constraints.txt
	@echo "Installing PyTorch and the tools for the tests: some minutes, once."
	$(PIP) --editable '.[lab,dev]'
	@touch $@ .venv/reader

# Checks the types of the page. Where npm is missing and cannot be installed, that test is skipped.
TYPESCRIPT := typescript@5.9.3

.venv/typescript: .venv/made
	@command -v npm >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q npm; } \
	  || echo "npm is missing: the types of the page are not checked"
	@if command -v npm >/dev/null; then \
	  rm -rf $@ && mkdir $@ && cd $@ && npm pack --silent $(TYPESCRIPT) && tar -xzf *.tgz && rm *.tgz \
	    || echo "TypeScript cannot be fetched: the types of the page are not checked"; \
	fi

# What is missing of Debian's packages is installed, which needs root. The viewer and its writer come out of their npm packages.
DEBIAN := orthanc orthanc-dicomweb dcmtk chromium chromium-driver
VIEWER := @ohif/app@3.13.2
# The library with which OHIF writes segmentations.
WRITER := dcmjs@0.51.1

.venv/integration: .venv/lab
	@missing=; \
	for package in $(DEBIAN); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	if [ -n "$$missing" ]; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q $$missing; \
	fi
	$(PIP) --editable '.[lab,dev,integration]'
	rm -rf .venv/ohif && mkdir .venv/ohif
	cd .venv/ohif && npm pack --silent $(VIEWER) && tar -xzf *.tgz && rm *.tgz
	rm -rf .venv/dcmjs && mkdir .venv/dcmjs
	cd .venv/dcmjs && npm pack --silent $(WRITER) && tar -xzf *.tgz && rm *.tgz
	@touch $@

clean:
	rm -rf .venv demo integration .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
