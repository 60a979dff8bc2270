"""A model of ours as a reader: which questions fit it, and what its scores are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zhixing.errors import InputError
from zhixing.exchange.parity import Bounds, Measure, Reader, Scores
from zhixing.exchange.questions import Sample, ask_causal, ask_hidden, ask_masked
from zhixing.language import tr
from zhixing.models.encoder import EncoderModel
from zhixing.models.families import ENCODER_DECODERS
from zhixing.models.load import Loaded
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.protocol import Ids, LanguageModel

Kind = Literal["causal", "masked", "hidden", "pairs"]
Questions = Callable[[Loaded, Reader, Reader, Sample, Bounds], list[Measure]]


@dataclass(frozen=True)
class Asked:
    """What a model can be asked, and its answers."""

    kind: Kind
    ask: Questions
    reader: Reader


def asked(loaded: Loaded) -> Asked:
    """Return the questions that fit a model.

    Raises:
        InputError: none do.
    """
    model: Any = loaded.model
    if isinstance(model, EncoderModel):
        if model.has_head:
            return Asked("masked", ask_masked, _encoder_reader(model))
        return Asked("hidden", ask_hidden, model.hidden)
    if loaded.model.family in ENCODER_DECODERS:
        from zhixing.exchange.pairs import PairReader, ask_pairs

        return Asked("pairs", ask_pairs, PairReader(loaded))
    if isinstance(model, NeuralLanguageModel):
        return Asked("causal", ask_causal, _decoder_reader(model))
    if loaded.model.family == "ngram":
        return Asked("causal", ask_causal, step_reader(model))
    raise InputError(
        tr(
            f"{loaded.path}: models of the family '{loaded.model.family}' have no form in other programs",
            f"{loaded.path}：'{loaded.model.family}' 类模型在其他程序中没有对应形式",
        )
    )


def _decoder_reader(model: NeuralLanguageModel) -> Reader:
    import torch

    module: Any = model.module

    def read(ids: Ids, lengths: Ids) -> Scores:
        with torch.inference_mode():
            logits: Scores = (module(torch.from_numpy(ids)) @ module.head_weight.T).float().numpy()
        return logits

    return read


def _encoder_reader(model: EncoderModel) -> Reader:
    import torch

    module: Any = model.module

    def read(ids: Ids, lengths: Ids) -> Scores:
        with torch.inference_mode():
            hidden = module(torch.from_numpy(ids), lengths=torch.from_numpy(lengths))
            logits: Scores = module.logits(hidden).float().numpy()
        return logits

    return read


def step_reader(model: LanguageModel) -> Reader:
    """Return the log-probabilities of any model, asked for one token after the other."""

    def read(ids: Ids, lengths: Ids) -> Scores:
        state = model.initial_state(len(ids))
        steps = []
        for place in range(ids.shape[1]):
            found, state = model.next_log_probs(ids[:, place : place + 1], state)
            steps.append(found)
        return np.stack(steps, axis=1)

    return read
