# `make demo` alone, or `make test` alone, sets a fresh machine up and runs. Everything is installed into $(VENV);
# the demo model goes to the folder that NUGGETS_CACHE names (default ~/.cache/nuggets_ray).
#
#   PYTHON=python3.11     the interpreter $(VENV) is made with
#   VENV=.venv            the environment, made if it is not there
#   EXTRA=cpu|gpu         which of the two locked sets of packages; gpu: with vllm and torch for CUDA
#   TORCH_INDEX=URL       cpu: where torch comes from, for those who want a CPU build; empty: where pip looks anyway
#   NAME=first            the name of a submitted job: of submit, status, logs and stop
#   ARGS="key=value ..."  passed on by demo, bench, show, test, test-fast, fuzz, chaos and submit
#   TEST_PROCESSES=2      how many processes test and test-fast share the files of tests among
#   CLUSTER_PORT= ...     ports and folder of ray-up: see docker/ray_cluster.sh

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
LOCK = $(wildcard docker/requirements-$(EXTRA).lock)
DEV_LOCK := docker/requirements-dev.lock
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
# The two extras own the same module, so an environment holds one of them, and its stamp says which.
HELD := $(patsubst $(VENV)/.installed-%,%,$(wildcard $(VENV)/.installed-*))
EXTRA ?= $(or $(HELD),cpu)

CREATED := $(VENV)/.created
INSTALLED := $(VENV)/.installed-$(EXTRA)
DEMO_MODEL := $(VENV)/.demo-model
KERNELS := $(VENV)/share/nuggets_ray/kernels/.built

# Figures of this machine go where the others are, unless ARGS names another bench.log.
BENCH_LOG := nuggets_ray/bench/LOG.md

TEST_PROCESSES ?= 2
# by name: most tests first, as xdist orders files, leaves the longest of few to the end, alone
SHARED := -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# pytest's exit code where ARGS, such as -k NAME, selects none of a half
NO_TESTS := 5

PY := $(VENV)/bin/python
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip
# Ray, ninja and the jobs' own children are found in the environment's bin.
RUN := PATH="$(abspath $(VENV))/bin:$$PATH"

.PHONY: help setup demo bench test test-fast test-slow fuzz chaos check format lint type golden architectures lock audit show ray-up ray-down submit status logs stop clean

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' Makefile

setup: $(DEMO_MODEL) $(KERNELS)  ## Set up what the others need: environment, demo model, kernels; does nothing the second time

demo: setup  ## Run every stage of the main job on the demo model and the demo data
	@$(RUN) python jobs/pipeline.py experiment=demo $(ARGS)

bench: setup  ## Measure speed here: make bench ARGS="bench=peers bench.make_peer_env=true"
	@$(RUN) python jobs/bench.py $(if $(findstring bench.log=,$(ARGS)),,bench.log=$(BENCH_LOG)) $(ARGS)

show: setup  ## Print rows of a scored run: make show ARGS="out_dir=runs/demo show.num=3"
	@$(RUN) python jobs/show.py $(ARGS)

test: setup  ## Run all tests
	@$(RUN) python -m pytest $(SHARED) tests/unit $(ARGS) || [ $$? -eq $(NO_TESTS) ]
	@$(RUN) python -m pytest $(SHARED) tests/integration $(ARGS) || [ $$? -eq $(NO_TESTS) ]

test-fast: setup  ## Run the unit tests but the long ones: no Ray, about 2 minutes
	@$(RUN) python -m pytest $(SHARED) -m "not slow and not long" tests/unit $(ARGS)

test-slow: setup  ## Run the tests that make test leaves out, and list them: every ZeRO stage, more kills and signals
	@$(RUN) python -m pytest -m slow -v tests/unit tests/integration $(ARGS)

chaos: setup  ## Break runs at random moments and hold them against undisturbed ones: make chaos ARGS="--faults 100 --seed 0"
	@PYTHONPATH=tests/support $(RUN) RAY_worker_niceness=0 python tests/chaos/chaos_runs.py $(ARGS)

fuzz: setup  ## Read 100,000 hostile files and more, for hours: make fuzz ARGS="--only files --cases 2000"
	@$(RUN) python tests/fuzz/run.py $(ARGS)

check: lint type  ## What CI runs before the tests: lint and type

lint: $(INSTALLED)  ## Check rules and format with ruff; changes nothing
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

type: $(INSTALLED)  ## Check the types with mypy, strict
	@$(PY) -m mypy

format: $(INSTALLED)  ## Mend what ruff can mend
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

golden: setup  ## Write the golden files and the tables of formats again; review them as a diff
	@$(PY) tests/support/regenerate_prompts.py
	@$(PY) tests/support/formats_table.py

architectures: setup  ## Measure every architecture of transformers, tiny: the table of score/README.md, 5 minutes
	@$(PY) tests/support/architectures.py

lock: $(INSTALLED)  ## Resolve the locks in docker/ again, with uv
	@$(PY) -m uv --version >/dev/null 2>&1 || $(PIP) install -qq uv
	@$(PY) docker/lock.py

audit:  ## Look the locked packages up among the known vulnerabilities: needs pip-audit and its database
	@for lock in cpu dev gpu; do pip-audit --disable-pip --no-deps -r docker/requirements-$$lock.lock; done

ray-up: setup  ## Start a Ray cluster of this folder's own on this machine
	@$(RUN) docker/ray_cluster.sh up

submit: setup  ## Run a job on it: make submit JOB=score NAME=first ARGS="key=value ..."
	@[ -f "jobs/$(JOB).py" ] || { echo "error: JOB=$(JOB): there is no jobs/$(JOB).py; take one of:" \
	   $(basename $(notdir $(wildcard jobs/*.py))) >&2; exit 2; }
	@NAME="$(NAME)" $(RUN) docker/ray_cluster.sh submit $(JOB) python jobs/$(JOB).py $(ARGS)

status: setup  ## Show the submitted jobs and how their runs are: make status NAME=first
	@NAME="$(NAME)" $(RUN) docker/ray_cluster.sh status

logs: setup  ## Show what a submitted job says, until Ctrl-C: make logs NAME=first
	@NAME="$(NAME)" $(RUN) docker/ray_cluster.sh logs

stop: setup  ## End a submitted job in order: make stop NAME=first
	@NAME="$(NAME)" $(RUN) docker/ray_cluster.sh stop

ray-down:  ## End that cluster, and no other
	@docker/ray_cluster.sh down

clean:  ## Remove what make made: environment, caches, Ray's temp folder; never your runs
	@docker/ray_cluster.sh clean
	@if grep -qs made $(CREATED); then rm -rf $(VENV); \
	 elif [ -d $(VENV) ]; then rm -rf $(VENV)/.installed-* $(DEMO_MODEL) $(VENV)/share/nuggets_ray $(CREATED); \
	   echo "$(VENV) was there before make: left in place"; fi
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis nuggets_ray.egg-info
	@find nuggets_ray jobs tests -name __pycache__ -prune -exec rm -rf {} +

$(CREATED):
	@command -v $(PYTHON) >/dev/null || { echo "error: PYTHON=$(PYTHON) is not there: install Python 3.11," \
	   "3.12 or 3.13, or name one with PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	   echo "error: PYTHON=$(PYTHON) is $$($(PYTHON) -V): 3.11, 3.12 or 3.13 is needed, name one with PYTHON=" >&2; exit 2; }
	@if $(PY) -m pip --version >/dev/null 2>&1; then how=found; else $(PYTHON) -m venv $(VENV); how=made; fi; echo $$how > $@

# torch comes first and with its own dependencies, so that a machine with a local CPU wheel takes that one.
$(INSTALLED): pyproject.toml $(LOCK) $(DEV_LOCK) | $(CREATED)
	@case "$(EXTRA)" in cpu | gpu) ;; *) echo "error: EXTRA=$(EXTRA): take cpu or gpu" >&2; exit 2 ;; esac
	@[ -z "$(filter-out $(EXTRA),$(HELD))" ] || { echo "error: $(VENV) was set up with EXTRA=$(HELD):" \
	   "name another folder with VENV=, or run make clean first" >&2; exit 2; }
	@rm -f $@
	@echo "installing $(TORCH) and the $(EXTRA) packages into $(VENV): about 3 minutes and 4 GB on a CPU machine"
ifeq ($(EXTRA),cpu)
	@$(PIP) install -qq $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
endif
	@$(PIP) install -qq --no-deps -r $(LOCK) -r $(DEV_LOCK)
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

$(DEMO_MODEL): $(INSTALLED)
	@TQDM_DISABLE=1 $(RUN) python -c "from nuggets_ray.demo.model import demo_folder; \
	   print(demo_folder())"
	@touch $@

# DeepSpeed compiles at first use, for a minute: now, so that the first training does not wait for it.
$(KERNELS): $(INSTALLED)
	@$(RUN) python -m nuggets_ray.finetune.deepspeed_kernels > /dev/null
	@mkdir -p $(@D) && touch $@
