# Every target sets up what it needs; nothing else has to be installed but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDIES ?= 60
DEMO ?= demo
DATA ?= data
WEIGHTS ?= imagenet
SUBMISSION ?= submission
REHEARSAL ?= rehearsal
DEMO_REAL ?= demo-real
PYTHON_KAGGLE ?= python3.12
KAGGLE := .venv-kaggle
AUDIT := .venv-audit

.DEFAULT_GOAL := help
.PHONY: help demo demo-real paper submission weights figures bench bench-gpu test test-slow \
  test-browser test-kaggle mutate trust audit rehearse lint clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@

$(KAGGLE)/.ready: requirements-kaggle.txt
	$(PYTHON_KAGGLE) -m venv $(KAGGLE)
	$(KAGGLE)/bin/python -m pip install --quiet --requirement requirements-kaggle.txt
	touch $@

demo: $(VENV)/.ready ## phantom cohort to finished report, in demo/
	$(BIN)/python -m src.demo --folder $(DEMO) --studies $(STUDIES)

demo-real: $(VENV)/.ready ## a real T2 series from a folder of DICOM files to a page, no training
	$(BIN)/python -m src.demo_real --folder $(DEMO_REAL)

submission: $(VENV)/.ready ## the whole real run on DATA, sized to this machine, in submission/
	$(BIN)/python -m src.kaggle.full_run --data $(DATA) --folder $(SUBMISSION) \
	  --weights $(WEIGHTS) $(if $(OWNER),--owner $(OWNER)) $(FLAGS)

# The 2 x 2: study or row split, neighbours or one slice.
paper: $(VENV)/.ready ## the paper's experiment on DATA, in full: hours, better on a GPU
	$(BIN)/python input_prep.py --data $(DATA) --cache cache
	for split in study row; do for slices in neighbours repeat; do \
	  $(BIN)/python train.py --cache cache --runs runs --task condition --backbone paper \
	    --config configs/paper.toml --weights $(WEIGHTS) \
	    --split $$split --slices $$slices || exit 1; \
	done; done
	$(BIN)/python evaluate.py --cache cache --runs runs --out report

weights: $(VENV)/.ready ## train the canal locator in weights/ on DATA, marked real T2 series
	$(BIN)/python -m weights.make_canal_locator --data $(DATA) --weights $(WEIGHTS) $(FLAGS)

figures: demo demo-real $(VENV)/.ready-dev ## the pictures in README and docs, from both demos
	$(BIN)/python -m docs.make_figures --demo $(DEMO) --demo-real $(DEMO_REAL)

bench: $(VENV)/.ready ## speed on the demo against plain code and bounds: docs/benchmarks.md
	test -d $(DEMO)/report || $(BIN)/python -m src.demo --folder $(DEMO) --studies $(STUDIES)
	$(BIN)/python -m benchmarks.prep_speed --data $(DEMO)/data --write
	$(BIN)/python -m benchmarks.training_speed --cache $(DEMO)/cache --write
	$(BIN)/python -m benchmarks.inference_speed --data $(DEMO)/data --runs $(DEMO)/runs --write

bench-gpu: $(VENV)/.ready ## whether training keeps this GPU busy; how long Table 2 takes here
	test -d $(DEMO)/cache || $(BIN)/python input_prep.py --data $(DEMO)/data \
	  --cache $(DEMO)/cache --phantom $(STUDIES)
	$(BIN)/python -m benchmarks.gpu_table2 --cache $(DEMO)/cache --out bench-gpu.json

test: $(VENV)/.ready-dev ## all tests but the slow ones, with coverage
	$(BIN)/python -m pytest -n auto -m "not slow and not trust and not browser" --cov

test-slow: $(VENV)/.ready-dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-browser: $(VENV)/.ready-dev ## the pages in a headless Chromium, where one is installed
	$(BIN)/python -m pytest -m browser

test-kaggle: $(KAGGLE)/.ready ## the same with the package versions of Kaggle's image
	$(KAGGLE)/bin/python -m pytest -n auto -m "not slow and not trust and not browser"

mutate: $(VENV)/.ready-dev ## plant small bugs and see which the tests notice: docs/mutation.md
	$(BIN)/python tests/mutate.py --write

trust: $(VENV)/.ready-dev ## prove what faults the kit survives: docs/reliability.md
	$(BIN)/python tests/prove.py --write

# In an environment of its own, so that it changes none of the versions it asks about.
audit: ## ask for known faults of the packages' versions: needs the network
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet pip-audit==2.10.1
	for file in requirements*.txt; do \
	  $(AUDIT)/bin/pip-audit --requirement $$file || exit 1; \
	done

rehearse: $(VENV)/.ready-dev ## the Kaggle notebook offline, under both mount layouts
	$(BIN)/python -m src.kaggle.rehearse --folder $(REHEARSAL)

lint: $(VENV)/.ready-dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove the demos, the rehearsal and the environments
	rm -rf $(VENV) $(KAGGLE) $(AUDIT) $(DEMO) $(DEMO_REAL) $(REHEARSAL)
