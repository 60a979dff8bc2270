"""Who may look at whom within one row of a batch, for showing it: the masks are those that the networks use.

An objective says what may be looked at (``before``, ``around``), a family how far it can look (``reach``).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from zhixing.config import Settings
from zhixing.models.convolutional import ConvolutionalSettings
from zhixing.models.feedforward import FeedForwardSettings
from zhixing.models.llama import LlamaSettings
from zhixing.nn.attention import document_mask, visible_mask

Seen = NDArray[np.bool_]


def before(documents: NDArray[np.integer]) -> Seen:
    """Return (T, T): each place of a row sees itself and what stands before it in its document; documents (T,)."""
    return document_mask(torch.as_tensor(documents)[None])[0, 0].numpy()


def around(documents: NDArray[np.integer] | None, size: int, length: int | None = None) -> Seen:
    """Return (T, T): each place sees all of its document, before and after it, but no padding.

    Args:
        documents: (T,); None: one document.
        size: T.
        length: real places of the row, the others are padding; None: all, in every row of the batch.
    """
    rows = torch.zeros(1, size, dtype=torch.int64)
    numbers = None if documents is None else torch.as_tensor(documents)[None]
    mask = visible_mask(rows, numbers, None if length is None else torch.tensor([length]))
    whole = torch.ones(1, 1, size, size, dtype=torch.bool) if mask is None else mask.expand(1, 1, size, size)
    return whole[0, 0].numpy()


def reach(settings: Settings) -> int | None:
    """Return how many tokens all layers together see at most, the one stood on included; None: no limit in a row."""
    if isinstance(settings, FeedForwardSettings):
        return settings.window
    if isinstance(settings, ConvolutionalSettings):
        return 1 + settings.layers * (settings.kernel - 1)
    if isinstance(settings, LlamaSettings) and settings.attention_window and not settings.full_layers:
        return 1 + settings.layers * (settings.attention_window - 1)
    return None


def within(size: int, most: int | None) -> Seen:
    """Return (size, size): True where two places are less than ``most`` apart; None: everywhere."""
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    return apart < (size + 1 if most is None else most)
