# Short verbs; the work is in scripts/. Nothing needs activating: every command runs from .venv.
#   make demo  test  test-all  check  format  bench  docs  reference  clean
# Variables: PYTHON=/path/to/python3.12   ARGS="-k ledger -x" (for pytest), PARALLEL= (one process)   DEMO_PROBLEMS, DEMO_N, DEMO_MODEL

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help pictures site demo env-demo env-test env-all test test-all check format bench docs reference clean

# A caller's own Python paths would shadow what is installed here.
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS
export PYTHON

BIN := .venv/bin
ARGS ?=
# Tests of a file run in one process; with few processes, for many of them talk to servers and kill programs by the clock.
PARALLEL ?= --numprocesses=auto --maxprocesses=4 --dist=loadfile

DEMO_MODEL ?= local/smollm2-135m
DEMO_N ?= 32
DEMO_PROBLEMS ?= 7,12,15,16,22,23,24,27,28,53,55,60
DEMO_RUN := runs/demo

help:
	@sed -n '2,3s/^# *//p' Makefile

env-demo:
	@sh scripts/install local report view parquet

env-test:
	@sh scripts/install dev formats hub local math prices parquet reasoning-gym report serve view

env-all: env-test
	@sh scripts/install browser clients readers ray
	@sh scripts/setup-all

# `vervet run` exits 4 when single verdicts stayed UNKNOWN (an overloaded machine): the curve then shows floor and ceiling.
demo: env-demo
	$(BIN)/vervet run humaneval -m $(DEMO_MODEL) -n $(DEMO_N) --problems $(DEMO_PROBLEMS) --max-tokens 128 -T stop_at_fence=true --seed 1 \
		--out $(DEMO_RUN) || test $$? -eq 4
	$(BIN)/vervet coverage $(DEMO_RUN)
	$(BIN)/vervet report $(DEMO_RUN) -o report.html
	@echo "open this in a browser: $$PWD/report.html"

test: env-test
	$(BIN)/python -m pytest -q -m "not slow" $(PARALLEL) $(ARGS)

# The rest: what takes long or needs other programs, which are installed first; a missing part fails here instead of skipping.
test-all: env-all
	VERVET_REQUIRE_PARTS=1 $(BIN)/python -m pytest -q -m slow $(PARALLEL) $(ARGS)

check: env-test site
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python scripts/check_tree.py

format: env-test
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

# Each benchmark prints one JSON document; a missed limit fails the target after all have run.
bench: env-test
	@status=0; for file in bench/[!_]*.py; do \
		echo "$$file" >&2; $(BIN)/python "$$file" || status=1; \
	done; exit $$status

# The pictures of the README, taken of the demo's run (made if need be), then the documentation's site.
docs: pictures site

pictures: env-test
	@sh scripts/install browser
	@test -d $(DEMO_RUN) || $(MAKE) demo
	$(BIN)/python scripts/pictures.py $(DEMO_RUN)

# In site/. What is generated from code must be up to date: `make reference` brings it there.
site: env-test
	$(BIN)/python scripts/check_docs.py
	$(BIN)/python scripts/make_reference.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

reference: env-test
	$(BIN)/python scripts/make_reference.py

# Runs are not touched: their samples cost somebody time or money.
clean:
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis report.html
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
