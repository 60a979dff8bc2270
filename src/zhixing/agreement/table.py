"""The agreement table: every formula of ``theory``, and the production function that computes it.

One list, which the tests and ``zhixing verify`` run. A formula whose production is still to be built stands
in ``TO_COME`` with what will bring it; one that stands in neither is an error of the test suite.
"""

from __future__ import annotations

from zhixing.agreement.families import (
    attention,
    decoding,
    losses,
    measures,
    mixture,
    networks,
    ngram,
    normalisation,
    optimizers,
    positions,
    regularisation,
    schedules,
    tokenization,
    training_step,
    transformer,
    warm_start,
)
from zhixing.agreement.row import Row

ROWS: tuple[Row, ...] = (
    *networks.ROWS,
    *losses.ROWS,
    *regularisation.ROWS,
    *optimizers.ROWS,
    *training_step.ROWS,
    *schedules.ROWS,
    *attention.ROWS,
    *positions.ROWS,
    *normalisation.ROWS,
    *transformer.ROWS,
    *decoding.ROWS,
    *measures.ROWS,
    *tokenization.ROWS,
    *ngram.ROWS,
    *mixture.ROWS,
    *warm_start.ROWS,
)

CLASSIFIERS = "heads for labelled data: classification, tagging, regression"
ENCODER_DECODER = "the encoder-decoder Transformer: translation and summarisation"
OLDER_SMOOTHING = "the chapter on statistical language models"
SPECULATIVE = "speculative decoding in the serving engine"
WIDER_POSITIONS = "the encoder and long-context families: BERT, T5, BLOOM"

TO_COME: dict[str, str] = {
    "networks.squared_relu": "the wider set of feed-forward blocks",
    "networks.squared_relu_derivative": "the wider set of feed-forward blocks",
    "optimizers.nesterov": "a nesterov setting for the momentum optimizer",
    "regularisation.l1_penalty": "the penalties' values in the training report (the gradients have a row)",
    "regularisation.l2_penalty": "the penalties' values in the training report (the gradients have a row)",
    "positions.sinusoidal": ENCODER_DECODER,
    "positions.alibi_slopes": WIDER_POSITIONS,
    "positions.alibi": WIDER_POSITIONS,
    "positions.relative_bucket": WIDER_POSITIONS,
    "positions.relative_bias": WIDER_POSITIONS,
    "ngram.witten_bell": OLDER_SMOOTHING,
    "ngram.maximum_likelihood": OLDER_SMOOTHING,
    "decoding.speculative_acceptance": SPECULATIVE,
    "decoding.speculative_residual": SPECULATIVE,
    "measures.accuracy": CLASSIFIERS,
}
"""``file.function`` of ``theory`` whose practice does not exist yet, and the work that will bring it."""
