"""A model that is being served: its name, its engine, and what the folder says about using it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from zhixing.generation.settings import GenerationSettings
from zhixing.serving.engine import Engine
from zhixing.tokenizers.chat_template import ChatTemplate
from zhixing.tokenizers.protocol import Tokenizer


@dataclass(frozen=True)
class ServedModel:
    """One entry of ``/v1/models``.

    Attributes:
        chat_template: how a conversation becomes ids; None: the model answers plain completions only.
        defaults: from the folder's ``generation_config.json``; a request overrides field by field.
    """

    name: str
    engine: Engine
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None = None
    defaults: GenerationSettings = field(default_factory=GenerationSettings)
    created: int = field(default_factory=lambda: int(time.time()))

    def card(self) -> dict[str, Any]:
        """Return the OpenAI model object; ``max_model_len`` is the context (tokens), as vLLM names it."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "zhixing",
            "shutdown_date": None,
            "max_model_len": self.engine.context,
        }
