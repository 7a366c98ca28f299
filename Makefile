# make demo, make test: each sets up the virtual environment first; a second call installs nothing.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= $(shell nproc)
WORKERS ?= $(CORES)
THREADS ?= 1

.PHONY: help setup setup-tests demo test test-restricted coverage check lint format schema docs clean

help:
	@echo "make demo    run the embedded demo; results under results/"
	@echo "make test    run all tests; THREADS=4 gives each process four threads"
	@echo "make test-restricted    the same as on a processor with AVX2 and nothing wider"
	@echo "make coverage    run the unit tests and print which lines of each module they reach"
	@echo "make check   lint and the quick unit tests, in under two minutes: run it after each edit"
	@echo "make lint    check style of code and workflow, spelling and types"
	@echo "make format  format code and workflow"
	@echo "make schema  write the JSON schema of the settings, for editors"
	@echo "make docs    build the documentation under site/"
	@echo "make clean   delete what the demo computed"

setup:
	@$(PYTHON) envs/set_up.py $(VENV)

setup-tests:
	@$(PYTHON) envs/set_up.py $(VENV) --tests

demo: setup
	$(BIN)/snakemake --cores $(CORES)

test: lint
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-restricted: export ATEN_CPU_CAPABILITY := avx2
test-restricted: export ONEDNN_MAX_CPU_ISA := AVX2
test-restricted: export MKL_ENABLE_INSTRUCTIONS := AVX2
test-restricted: test

# Not in `test`: counting lines costs 8 % of processor time.
coverage: setup-tests
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	  -m "not (cluster or workflow)" --cov=realitycheck --cov-report=term:skip-covered tests/unit

# Modules of unit tests that start Snakemake, other processes or a browser, or compute for long.
SLOW := test_adapted_sam or test_alignment or test_answers or test_benchmarks or test_everyday \
  or test_figures or test_fuzz or test_grounding_dino or test_hard_images or test_imports \
  or test_killed_runs or test_latex or test_layouts or test_miniatures or test_official_keys \
  or test_page or test_panels_stage or test_parity or test_pictures or test_repository \
  or test_resnet_mlp or test_tuned_clip or test_waiting or test_where_bytes_go

check: lint
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	  -m "not (cluster or long or workflow)" -k "not ($(SLOW))" tests/unit

lint: setup-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/codespell
	$(BIN)/mypy

format: setup-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

schema: setup
	$(BIN)/python -m realitycheck schema > configs/settings.schema.json

docs: setup-tests
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf results logs .snakemake
