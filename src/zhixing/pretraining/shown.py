"""What a batch looks like from the network's side, the same for every objective: ``zhixing data show`` prints it.

A batch of an encoder-decoder has two parts (``source`` and ``target``), any other one (``inputs``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zhixing.models.protocol import Ids
from zhixing.pretraining.visibility import around, before


@dataclass(frozen=True)
class ShownPart:
    """One row of a batch, as one stack of layers reads it: T places.

    Attributes:
        name: ``inputs``, ``source`` or ``target``.
        ids: (T,) what the network is shown.
        targets: (T,) what it is to say there; -1: nothing is asked.
        weights: (T,) how much the answer counts in the loss, 0 where nothing is asked.
        positions: (T,) the place it believes each id to have.
        documents: (T,) ordinal of each id's document within the row.
        visible: (T, T) True where place t may look at place s of this part.
        sees_source: (T, S) True where place t of a target may look at place s of the source; None: there is no source.
    """

    name: str
    ids: Ids
    targets: Ids
    weights: NDArray[np.float32]
    positions: Ids
    documents: Ids
    visible: NDArray[np.bool_]
    sees_source: NDArray[np.bool_] | None = None


def shown_pair(
    source: Ids, read: int, inputs: Ids, targets: Ids, weights: NDArray[np.float32]
) -> tuple[ShownPart, ShownPart]:
    """Return one pair as the encoder and as the decoder read it.

    Args:
        source: (S,), of which ``read`` ids are real.
        inputs: (T,) what the decoder is shown; targets (T,) what it is to say there; weights (T,).
    """
    size, nothing, documents = len(source), np.zeros(len(source), np.int64), np.zeros(len(inputs), np.int64)
    return ShownPart(
        name="source",
        ids=source,
        targets=nothing - 1,
        weights=nothing.astype(np.float32),
        positions=np.arange(size),
        documents=nothing,
        visible=around(None, size, read),
    ), ShownPart(
        name="target",
        ids=inputs,
        targets=np.where(weights > 0, targets, -1),
        weights=weights,
        positions=np.arange(len(inputs)),
        documents=documents,
        visible=before(documents),
        sees_source=np.broadcast_to(np.arange(size) < read, (len(inputs), size)),
    )
