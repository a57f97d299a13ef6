# `make run` does the main job on a fresh machine, `make test` runs every test. Both install what they need first.
# Variables: PYTHON (3.11 or 3.12), VENV (where to install), RECIPE, TESTS (which tests; all), RUN_ARGS, PIP_ARGS.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV   ?= .venv
RECIPE ?= recipes/sentiment.yaml
TESTS  ?=
BIN    := $(VENV)/bin
# Real data of the recipes, for machines without a network: the mirror beside the checkout, where there is one.
export FTDEPLOY_MIRROR ?= $(if $(wildcard ../shared/data/index.json),$(abspath ../shared/data))

.DEFAULT_GOAL := help
.PHONY: help run test lint bench clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(VENV)/.installed  ## run the sentiment recipe: from public data to a bundle that answers over HTTP
	@$(BIN)/ftdeploy run $(RECIPE) $(RUN_ARGS)

# What measures, or wants idle processors, has the machine to itself.
test: $(VENV)/.installed  ## run the whole test suite, end to end included
ifeq ($(strip $(TESTS)),)
	$(BIN)/python -m pytest tests -m "not alone" -n auto --dist loadfile
	$(BIN)/python -m pytest tests -m alone
else
	$(BIN)/python -m pytest $(TESTS)
endif

lint: $(VENV)/.installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed runs/sentiment/bundle  ## the shipped model against fp32 and other runtimes, side by side
	@$(BIN)/ftdeploy bench runs/sentiment/bundle --against fp32,openvino,torch,optimum-int8

runs/sentiment/bundle:
	@$(BIN)/ftdeploy run recipes/sentiment.yaml

clean:  ## remove the environment, the runs and the caches of the tools
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Pins stand in constraints.txt; without them pip may take a CUDA build of torch of several gigabytes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV), about two minutes"
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else "ftdeploy wants Python 3.11 or 3.12; this is %s: make PYTHON=python3.11" % sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[all,dev]'
	@touch $@
