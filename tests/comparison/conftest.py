"""A small comparison, run once: a trigram, a hidden Markov model, a GRU, a Llama, and one that cannot be trained."""

from pathlib import Path

import pytest

from zhixing.comparison.run import compare
from zhixing.comparison.settings import CompareRecipe
from zhixing.comparison.table import CompareReport
from zhixing.config import load_settings

SMALL = "context_length: 16, layers: 1, width: 16"


@pytest.fixture(scope="session")
def recipe_text(tiny_text: Path) -> str:
    return f"""\
name: small
text: {{paths: ['{tiny_text}'], validation_fraction: 0.3}}
tokenizer: {{kind: byte}}
budget: {{tokens: 1600}}
training: {{batch_windows: 4, log_every: 5, validation_windows: 4, threads: 1, compile: no, precision: float32}}
models:
  - {{name: trigram, model: {{family: ngram, order: 3}}}}
  - {{name: hmm, model: {{family: hmm, states: 4, iterations: 2, warm_up: 2}}}}
  - {{name: gru, model: {{family: recurrent, cell: gru, {SMALL}}}}}
  - name: llama
    model: {{family: llama, {SMALL}, heads: 2, inner_width: 32}}
    training: {{optimizer: {{learning_rate: 0.01}}}}
  - name: elsewhere
    model: {{family: gpt2, {SMALL}, heads: 2}}
    training: {{device: quantum}}
evaluation: {{predictions: 200}}
"""


@pytest.fixture(scope="session")
def recipe(recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> CompareRecipe:
    path = tmp_path_factory.mktemp("recipe") / "compare.yaml"
    path.write_text(recipe_text, encoding="utf-8")
    return load_settings(CompareRecipe, path)


@pytest.fixture(scope="session")
def report(recipe: CompareRecipe, tmp_path_factory: pytest.TempPathFactory) -> CompareReport:
    return compare(recipe, tmp_path_factory.mktemp("comparison") / "out")
