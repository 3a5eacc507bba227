# Every target sets up what it needs; nothing else has to be installed but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDIES ?= 60
DEMO ?= demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@

demo: $(VENV)/.ready ## phantom cohort to finished report, in demo/
	$(BIN)/python -m src.reporting.demo --folder $(DEMO) --studies $(STUDIES)

test: $(VENV)/.ready-dev ## all tests but the slow ones
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: $(VENV)/.ready-dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.ready-dev ## check style and types' presence
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## remove the demo and the environment
	rm -rf $(VENV) $(DEMO)
