"""What a model writes after the beginnings of held-out documents: for the report, and for whoever just trained it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from zhixing.data.pairs import find_pairs
from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.generation.text2text import Text2TextPipeline
from zhixing.models.encoder import EncoderModel, mask_id, mask_token, wrap
from zhixing.models.encoder_decoder import source_and_target_length
from zhixing.models.protocol import LanguageModel
from zhixing.models.sentence_embedding import SentenceEncoder
from zhixing.pretraining.prepare import Ids
from zhixing.training.report import Sample

PROMPTS, PROMPT_TOKENS, NEW_TOKENS = 2, 24, 120
SENTENCES, SHOWN = 200, 4
"""Held-out sentences among which a sentence encoder looks, and for how many of them the report shows the nearest."""
ANSWERS = 6
"""Held-out sources that the report shows the answers to."""
HIDDEN = 4
"""Tokens of a prompt that a masked model has to fill in."""


def draw_samples(name: str, model: LanguageModel, ids: Ids, seed: int) -> list[Sample]:
    """Return continuations of the first held-out documents' beginnings, as far as the model's context reaches."""
    shards, tokenizer = ids.prepared.validation, ids.tokenizer
    room = PROMPT_TOKENS if model.context_length is None else min(PROMPT_TOKENS, model.context_length // 2)
    starts = [shards.document(index)[1 : 1 + room] for index in range(min(PROMPTS, shards.document_count))]
    prompts = [tokenizer.decode(ids) for ids in starts]
    settings = GenerationSettings(max_new_tokens=NEW_TOKENS, temperature=0.8, top_p=0.95, seed=seed)
    texts = generate(model, tokenizer, prompts, settings)
    return [Sample(name, prompt, found.text) for prompt, found in zip(prompts, texts, strict=True)]


def draw_answers(name: str, module: nn.Module, ids: Ids) -> list[Sample]:
    """Return the first held-out sources that the model has room for, its most probable answers, and the references."""
    shards, tokenizer = ids.prepared.validation, ids.tokenizer
    if not shards.document_count:
        return []
    settings: Any = module.settings
    read, _ = source_and_target_length(settings)
    pairs = find_pairs(shards, tokenizer)
    fits = np.flatnonzero(pairs.sources < read)[:ANSWERS]
    found = [[tokenizer.decode(part.tolist()) for part in pairs.ids(shards, int(number))] for number in fits]
    answers = Text2TextPipeline(module, tokenizer)([source for source, _ in found], do_sample=False)
    return [
        Sample(name, source, answer[0]["generated_text"], reference)
        for (source, reference), answer in zip(found, answers, strict=True)
    ]


def draw_fillings(name: str, model: EncoderModel, ids: Ids, seed: int) -> list[Sample]:
    """Return the same beginnings with some tokens masked, and what a masked model reads there."""
    shards, tokenizer = ids.prepared.validation, ids.tokenizer
    mask = mask_token(tokenizer)
    samples = []
    for index in range(min(PROMPTS, shards.document_count)):
        whole = wrap(tokenizer, shards.document(index)[1 : 1 + min(2 * PROMPT_TOKENS, model.context_length - 2)])
        may = [place for place, token in enumerate(whole) if int(token) not in tokenizer.special_ids]
        if not may:
            continue
        places = np.sort(np.random.default_rng([seed, index]).permutation(may)[:HIDDEN])
        hidden = whole.copy()
        hidden[places] = mask_id(tokenizer)
        filled = whole.copy()
        filled[places] = model.masked_log_probs(hidden[None], np.zeros_like(places), places).argmax(axis=1)
        pieces = [mask if place in places else tokenizer.decode([int(token)]) for place, token in enumerate(whole)]
        samples.append(Sample(name, "".join(pieces), tokenizer.decode(int(token) for token in filled)))
    return samples


def draw_neighbours(name: str, encoder: SentenceEncoder, sentences: Sequence[str]) -> list[Sample]:
    """Return some sentences, and which of the others an encoder of sentences finds nearest."""
    shown = min(SHOWN, len(sentences))
    if len(sentences) < 2:
        return []
    cosines = encoder.similarity(sentences[:shown], sentences)
    cosines[np.arange(shown), np.arange(shown)] = -np.inf
    nearest = cosines.argmax(axis=1)
    return [
        Sample(name, sentences[row], f" → {sentences[other]} ({cosines[row, other]:.2f})")
        for row, other in enumerate(nearest)
    ]
