"""The questions to an encoder-decoder: each asked text is a source, and the target is the text itself.

A reader is given ids once, as for other models: it encodes them, decodes the start id and all but the last of them, and
returns the scores at each place. Greedy text is written after each source from the start id, with a cache here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from zhixing.exchange.parity import (
    Bounds,
    Measure,
    Reader,
    Scores,
    agreement,
    choices,
    compare_readers,
    padded,
    perplexity_change,
)
from zhixing.exchange.questions import Sample, cut, mean_loss, pieces
from zhixing.models.encoder_decoder import start_id
from zhixing.models.load import Loaded
from zhixing.models.protocol import Ids

_LONGEST = 64
"""ids of a source."""


def ask_pairs(loaded: Loaded, ours: Reader, theirs: Reader, sample: Sample, bounds: Bounds) -> list[Measure]:
    """Return the figures of an encoder-decoder; the perplexity is that of a text after itself."""
    model: Any = loaded.model
    context = int(model.module.settings.context_length)
    longest = min(_LONGEST, context)
    windows = cut(loaded, sample, longest, 0)
    measures = compare_readers(ours, theirs, pieces(windows, longest), bounds)
    sources = [window[:length] for window, length in zip(windows * 4, (1, 4, 9, 17), strict=False)]
    written = _write(loaded, sources, min(sample.greedy_tokens, context))  # the other side may know no further places
    found = [_their_words(theirs, source, text, bounds) for source, text in zip(sources, written, strict=True)]
    measures.append(agreement(written, found, bounds))
    losses = [mean_loss(reader, windows, windows, loaded.model.vocab_size) for reader in (ours, theirs)]
    return measures + perplexity_change(losses[0], losses[1], sum(map(len, windows)), bounds)


def start_id_of(loaded: Loaded) -> int:
    """Return the id that opens every target."""
    module: Any = loaded.model
    return start_id(module.module.settings, loaded.tokenizer.separator_id)


class PairReader:
    """Our encoder-decoder as a reader, which may be given another target than the source."""

    def __init__(self, loaded: Loaded) -> None:
        model: Any = loaded.model
        self.module, self.start = model.module, start_id_of(loaded)

    def __call__(self, ids: Ids, lengths: Ids, targets: Ids | None = None) -> Scores:
        """Return (B, T, V) scores; ``targets`` (B, T) stand in the place of the ids themselves."""
        decoded = torch.from_numpy(shifted(ids if targets is None else targets, self.start))
        real = torch.from_numpy(lengths)
        with torch.inference_mode():
            hidden = self.module.decode(decoded, self.module.encode(torch.from_numpy(ids), real), real)
            scores: Scores = (hidden @ self.module.head_weight.T).float().numpy()
        return scores


def shifted(ids: Ids, start: int) -> Ids:
    """Return what a decoder reads to predict (B, T) ids: the start id, then all but the last."""
    return np.concatenate([np.full((len(ids), 1), start, np.int64), ids[:, :-1]], axis=1)


def _write(loaded: Loaded, sources: Sequence[Ids], tokens: int) -> list[Ids]:
    """Return the greedy target of each source, all in one batch, with a cache."""
    model: Any = loaded.model
    module, (ids, lengths) = model.module, padded(sources)
    latest = torch.full((len(sources), 1), start_id_of(loaded), dtype=torch.int64)
    written = []
    with torch.inference_mode():
        real = torch.from_numpy(lengths)
        memory, cache = module.encode(torch.from_numpy(ids), real), module.new_cache(len(sources))
        for _ in range(tokens):
            hidden = module.decode(latest, memory, real, cache)
            latest = (hidden[:, -1] @ module.head_weight.T).argmax(dim=-1, keepdim=True)
            written.append(latest)
    return list(torch.cat(written, dim=1).numpy())


def _their_words(theirs: Any, source: Ids, text: Ids, bounds: Bounds) -> Ids:
    """Return what the other side finds most likely at each place of a target."""
    ids, lengths = padded([source])
    return choices(theirs(ids, lengths, text[None])[0], text, bounds)
