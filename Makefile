# Needs Python >= 3.11 and make, nothing else. Every target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MINUTES ?= 5

.PHONY: quickstart test test-exchange setup check bench docs schema

quickstart: $(READY)  ## the main job on the Python standard library's own text
	$(BIN)/zhixing quickstart --minutes $(MINUTES)

test: $(READY)  ## the whole suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-exchange: $(READY)  ## exports computed by llama.cpp (built for minutes), ONNX Runtime, KenLM and gensim
	CMAKE_ARGS=-DLLAVA_BUILD=OFF $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,exchange-tests]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'exchange or not exchange' tests/exchange

setup: $(READY)  ## the environment with everything the tests need

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Zhixing needs Python 3.11 or newer, not " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

check: $(READY)  ## style, strict types, import layers
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## side by side with the peers; needs the extra "bench"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/ngram.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/startup.py

docs: $(READY)  ## run every code block of the documentation
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/docs

schema: $(READY)  ## rewrite the JSON schema of recipes that editors and --fields read
	$(BIN)/python -m zhixing.pretraining.recipe > src/zhixing/pretraining/recipe.schema.json
	$(BIN)/python -m zhixing.comparison.settings > src/zhixing/comparison/recipe.schema.json
