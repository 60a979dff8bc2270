"""Zhixing (知行): language models from theory to practice.

The verbs of the command line are plain functions here: ``zhixing.train(recipe)``, ``zhixing.load(path)``,
``zhixing.pipeline("text-generation", model=path)``. They are imported on first use, so that
``import zhixing`` stays fast and does not import torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "load": "zhixing.models.load",
    "load_tokenizer": "zhixing.tokenizers.load",
    "train": "zhixing.pretraining.run",
    "resume": "zhixing.pretraining.run",
    "evaluate": "zhixing.evaluation.run",
    "compare": "zhixing.comparison.run",
    "pipeline": "zhixing.generation.pipeline",
    "quickstart": "zhixing.main_job",
    "export_model": "zhixing.exchange.run",
    "import_model": "zhixing.exchange.run",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'zhixing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
