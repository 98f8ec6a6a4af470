# Each target makes its own virtual environment. Requires Python 3.11 or later, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo_out

.PHONY: demo test test-slow fuzz test-torch tpu lint docs lock clean

# The first target, which plain `make` runs.
demo: $(VENV)/.base
	$(BIN)/python -m unisal_jax.samples $(DEMO)/input
	$(BIN)/unisal weights unisal --fetch
	$(BIN)/unisal predict $(DEMO)/input/photograph.jpg $(DEMO)/input/clip.mp4 --out $(DEMO) --save map,overlay,raw,json
	@echo
	@echo "Overlays:      $(DEMO)/overlay/photograph.png and $(DEMO)/overlay/clip.mp4"
	@echo "Maps:          $(DEMO)/map/photograph.png and $(DEMO)/map/clip/"
	@echo "Numbers:       $(DEMO)/json/"
	@echo "Log-densities: $(DEMO)/raw/"

# Two workers, each test file on one of them, share compiled programs through .cache/. Compilation takes
# most of the time, and LLVM's optimisation nearly half of that, so it is off here; the operations are the
# same. The other targets compile with optimisation, as users do.
test: $(VENV)/.test
	XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0" \
	  $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not torch and not fuzz"

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/.test
	$(BIN)/python -m pytest -m fuzz -s tests/fuzz

test-torch: $(VENV)/.torch
	$(BIN)/python -m pytest -m torch

# Compiles training and prediction for TPUs, on any machine; hours on two cores. See docs/howto/train_pod.md.
tpu: $(VENV)-tpu/.ready
	$(VENV)-tpu/bin/python -m benchmarks.tpu_compile --json benchmarks/results/tpu_compile.json

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy unisal_jax data_prep configs
	$(BIN)/lint-imports --no-logo --no-cache

# Warnings, such as broken links, are errors.
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict
	@echo
	@echo "Documentation: site/index.html"

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

# A separate environment: with libtpu installed, JAX looks for a TPU and warns that there is none.
$(VENV)-tpu/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-tpu
	$(VENV)-tpu/bin/python -m pip install --quiet --quiet --editable '.[test,tpu]'
	@touch $@

$(VENV)/.torch: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --quiet --editable '.[test,torch]'
	@touch $@
