# Everything starts here, with Python 3.11-3.13, pip and make:
#
#   make demo       draw four pictures and a contact sheet into pictures/
#   make test       the tests; `make test-all` adds the slow ones
#   make train-mini the whole training plan at toy scale, into runs/train-mini (PACK=folder: on the data pack)
#   make lint       style, types, direction of imports
#   make clean      remove the environment and the caches; pictures/ and runs/ stay
#
# The first call sets up .venv; later ones are quick until pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip

.PHONY: demo test test-all train-mini lint gpu-leg gpu-wheels setup clean

demo: setup
	@$(BIN)/python -m darkroom.demo

test: $(VENV)/.installed-dev
	$(TEST) -m "not slow"

# What ours is held against: public checkpoints, published samplers (of k-diffusion only one file is read, without what it
# depends on) and colour-science; playwright, which drives the chromium that is there through the page; and schemathesis,
# which asks the server for all that its schema allows, and for what it does not.
test-all: $(VENV)/.installed-dev
	$(PIP) install -q -e ".[public]" scipy tqdm colour-science playwright schemathesis && $(PIP) install -q --no-deps k-diffusion
	DARKROOM_EXAMPLES=10000 $(TEST)

# A process for each core (at most eight: each holds a model or two), whole files each; one thread in each of them.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

train-mini: $(VENV)/.installed-dev
	$(BIN)/python tests/train_mini.py runs/train-mini $(PACK)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The first queued gpu leg of docs/training-plan.md (or LEG=name), for seven minutes, so that with what comes before and
# after it a call ends within ten. A bare machine needs PyTorch, numpy, Pillow, rich and safetensors; the other packages
# travel as wheels, fetched beforehand with `make gpu-wheels`, and the pictures as runs/pack, made by `darkroom data
# excerpt`. GPU_MORE="--from FOLDER --run 3" goes on from what came back of the call before, on new scenes.
WHEELS := .wheels
WHEELS_PYTHON ?= 3.12
SITE := /tmp/darkroom-site
gpu-leg:
	if ls $(WHEELS)/*.whl >/dev/null 2>&1 && ! [ -d $(SITE) ]; then $(PYTHON) -m pip install -q --no-index --no-deps \
		--target $(SITE) $(WHEELS)/*.whl; fi
	[ -e runs/data/ledger.jsonl ] || ! [ -d runs/pack ] || $(GPU_RUN) data build --source runs/pack --out runs/data
	$(GPU_RUN) train next --leg $(LEG) $(GPU_LEG) $(GPU_MORE)
LEG ?= $(firstword $(shell sed -n 's/^```leg \(gpu-[^ ]*\) (queued)$$/\1/p' docs/training-plan.md))
GPU_RUN = DARKROOM_TRACEBACK=1 PYTHONPATH=src:$(SITE) $(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m darkroom.cli
GPU_LEG ?= --device cuda --minutes 7

gpu-wheels:
	rm -rf $(WHEELS)
	$(PYTHON) -m pip download -q --only-binary=:all: --python-version $(WHEELS_PYTHON) --implementation cp \
		--platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d $(WHEELS) pydantic cyclopts jaxtyping
	rm -f $(WHEELS)/numpy-*

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +

# --- set-up ------------------------------------------------------------------------------------------------------

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@$(PIP) install -e . >&2
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/pip
	@$(PIP) install -e ".[dev]" >&2
	@touch $@ $(VENV)/.installed

# Made without pip, so that it works where Debian's python3-venv is not installed; the pip outside then puts one in, so that
# everything goes on working, `pip` too, once the environment is activated.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
		echo "error: darkroom needs Python 3.11, 3.12 or 3.13 and $(PYTHON) is $$($(PYTHON) --version 2>&1 | tail -n 1); name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import pip; assert tuple(map(int, pip.__version__.split(".")[:2])) >= (22, 3)' 2>/dev/null || { \
		echo "error: $(PYTHON) has no pip of version 22.3 or newer; install it (Debian: apt install python3-pip; elsewhere: $(PYTHON) -m ensurepip --upgrade)" >&2; exit 1; }
	@echo "setting up $(VENV) (once; PyTorch is large)" >&2
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(PYTHON) -m pip --python $(BIN)/python install -q pip >&2
