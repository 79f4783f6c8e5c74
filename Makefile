# Two commands for a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
CORES ?= 2
PIP_ARGS ?=
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONNOUSERSITE := 1

.PHONY: setup demo test lint unit docs clean

setup: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 setup")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	touch $@

demo: setup  ## the quick-start study on simulated images
	snakemake --profile profiles/local --cores $(CORES) --config run=quickstart
	@echo "The report: $(CURDIR)/results/studies/quickstart/report.html"

lint: setup  ## style, types, layers, workflow
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check Snakefile workflow
	tests/lint_workflow

test: lint  ## everything that CI runs
	pytest tests/browser
	# The longest files first; they have processes of their own, and those of Slurm's tests often wait.
	OMP_NUM_THREADS=1 pytest -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder \
		tests/cluster tests/studies tests/workflow tests/unit tests/oracles

unit: setup  ## the fast tests only
	pytest -n $(CORES) tests/unit

docs: setup  ## the schema and the reference page, from the config models
	mirage schema

clean:  ## remove everything made; raw data stay
	rm -rf results logs .snakemake
