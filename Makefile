# Each target makes its own virtual environment; a new machine needs Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo_out

.PHONY: demo test test-slow fuzz test-torch tpu lint docs lock clean

# First target, so that a plain `make` shows something.
demo: $(VENV)/.base
	$(BIN)/python -m unisal_jax.samples $(DEMO)/input
	$(BIN)/unisal weights unisal --fetch
	$(BIN)/unisal predict $(DEMO)/input/photograph.jpg $(DEMO)/input/clip.mp4 --out $(DEMO) --save map,overlay,raw,json
	@echo
	@echo "Where people look: $(DEMO)/overlay/photograph.png and $(DEMO)/overlay/clip.mp4"
	@echo "The maps alone:    $(DEMO)/map/photograph.png and $(DEMO)/map/clip/"
	@echo "Numbers:           $(DEMO)/json/ and, as log-density, $(DEMO)/raw/"

# Two workers, each test file on one of them; compiled programs are shared through .cache/. Compiling
# them is most of what the suite takes, and nearly half of that LLVM's optimisation, which it goes
# without: the operations are the same. The other targets compile as users do.
test: $(VENV)/.test
	XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0" \
	  $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not torch and not fuzz"

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/.test
	$(BIN)/python -m pytest -m fuzz -s tests/fuzz

test-torch: $(VENV)/.torch
	$(BIN)/python -m pytest -m torch

# Compiles training and prediction for TPUs, without one; hours on two cores. See docs/howto/train_pod.md.
tpu: $(VENV)-tpu/.ready
	$(VENV)-tpu/bin/python -m benchmarks.tpu_compile --json benchmarks/results/tpu_compile.json

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy unisal_jax data_prep configs
	$(BIN)/lint-imports --no-logo --no-cache

# A warning, such as a link to nowhere, is an error.
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict
	@echo
	@echo "The documentation: site/index.html"

# The versions that the tests ran with, from the environment. Each other target installs the newest releases.
lock: $(VENV)/.test
	$(BIN)/python .ci/lock.py > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean:
	rm -rf $(VENV) $(VENV)-tpu .cache build dist site *.egg-info $(DEMO)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet --upgrade pip

$(VENV)/.base: $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --quiet --editable .
	@touch $@

# The extra `test` holds all of `docs`.
$(VENV)/.test: $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --quiet --editable '.[test]'
	@touch $(VENV)/.base $(VENV)/.docs $@

$(VENV)/.docs: $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --quiet --editable '.[docs]'
	@touch $@

# An environment of its own: with libtpu installed, JAX looks for a TPU and says that there is none.
$(VENV)-tpu/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-tpu
	$(VENV)-tpu/bin/python -m pip install --quiet --quiet --editable '.[test,tpu]'
	@touch $@

$(VENV)/.torch: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --quiet --editable '.[test,torch]'
	@touch $@
