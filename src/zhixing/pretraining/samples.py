"""What a model writes after the beginnings of held-out documents: for the report, and for whoever just trained it."""

from __future__ import annotations

from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.models.protocol import LanguageModel
from zhixing.pretraining.prepare import Ids
from zhixing.training.report import Sample

PROMPTS, PROMPT_TOKENS, NEW_TOKENS = 2, 24, 120


def draw_samples(name: str, model: LanguageModel, ids: Ids, seed: int) -> list[Sample]:
    """Return continuations of the first held-out documents' beginnings, as far as the model's context reaches."""
    shards, tokenizer = ids.prepared.validation, ids.tokenizer
    room = PROMPT_TOKENS if model.context_length is None else min(PROMPT_TOKENS, model.context_length // 2)
    starts = [shards.document(index)[1 : 1 + room] for index in range(min(PROMPTS, shards.document_count))]
    prompts = [tokenizer.decode(ids) for ids in starts]
    settings = GenerationSettings(max_new_tokens=NEW_TOKENS, temperature=0.8, top_p=0.95, seed=seed)
    texts = generate(model, tokenizer, prompts, settings)
    return [Sample(name, prompt, found.text) for prompt, found in zip(prompts, texts, strict=True)]
