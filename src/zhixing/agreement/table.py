"""The agreement table: every formula of ``theory``, and the production function that computes it.

One list, which the tests and ``zhixing verify`` run. A formula whose production is still to be built stands
in ``TO_COME`` with what will bring it; one that stands in neither is an error of the test suite.
"""

from __future__ import annotations

from zhixing.agreement.families import (
    attention,
    convolution,
    decoding,
    encoder_decoder,
    hmm,
    losses,
    measures,
    mixture,
    networks,
    ngram,
    normalisation,
    optimizers,
    positions,
    recurrent,
    regularisation,
    relative_attention,
    relative_bias,
    schedules,
    span_corruption,
    subwords,
    tokenization,
    training_step,
    transformer,
    warm_start,
    word_vectors,
)
from zhixing.agreement.row import Row

ROWS: tuple[Row, ...] = (
    *networks.ROWS,
    *losses.ROWS,
    *regularisation.ROWS,
    *optimizers.ROWS,
    *training_step.ROWS,
    *schedules.ROWS,
    *convolution.ROWS,
    *recurrent.ROWS,
    *attention.ROWS,
    *relative_attention.ROWS,
    *positions.ROWS,
    *relative_bias.ROWS,
    *normalisation.ROWS,
    *transformer.ROWS,
    *encoder_decoder.ROWS,
    *decoding.ROWS,
    *measures.ROWS,
    *tokenization.ROWS,
    *subwords.ROWS,
    *ngram.ROWS,
    *hmm.ROWS,
    *mixture.ROWS,
    *warm_start.ROWS,
    *word_vectors.ROWS,
    *span_corruption.ROWS,
)

CLASSIFIERS = "heads for labelled data: classification, tagging, regression"
OLDER_SMOOTHING = "the chapter on statistical language models"
SPECULATIVE = "speculative decoding in the serving engine"
COMPRESSION = "quantisation, pruning and distillation"
PRIVACY = "private training and its audit"
ATTRIBUTION = "attributions of a prediction to its input"
VECTORS = "the loss in the report of word vectors (the gradients have rows)"

TO_COME: dict[str, str] = {
    "networks.squared_relu": "the wider set of feed-forward blocks",
    "networks.squared_relu_derivative": "the wider set of feed-forward blocks",
    "optimizers.nesterov": "a nesterov setting for the momentum optimizer",
    "regularisation.l1_penalty": "the penalties' values in the training report (the gradients have a row)",
    "regularisation.l2_penalty": "the penalties' values in the training report (the gradients have a row)",
    "ngram.witten_bell": OLDER_SMOOTHING,
    "ngram.maximum_likelihood": OLDER_SMOOTHING,
    "decoding.speculative_acceptance": SPECULATIVE,
    "decoding.speculative_residual": SPECULATIVE,
    "measures.accuracy": CLASSIFIERS,
    "compression.largest_code": COMPRESSION,
    "compression.quantise": COMPRESSION,
    "compression.dequantise": COMPRESSION,
    "compression.grouped": COMPRESSION,
    "compression.quantise_groups": COMPRESSION,
    "compression.quantisation_error_bound": COMPRESSION,
    "compression.product_error_bound": COMPRESSION,
    "compression.magnitude_mask": COMPRESSION,
    "compression.soft_target_loss": COMPRESSION,
    "compression.soft_target_loss_gradient": COMPRESSION,
    "compression.distillation_loss": COMPRESSION,
    "compression.distillation_loss_gradient": COMPRESSION,
    "trust.gaussian_mechanism_sigma": PRIVACY,
    "trust.clip_record": PRIVACY,
    "trust.gaussian_rdp": PRIVACY,
    "trust.sampled_gaussian_rdp": PRIVACY,
    "trust.rdp_to_epsilon": PRIVACY,
    "trust.private_training_epsilon": PRIVACY,
    "trust.integrated_gradients": ATTRIBUTION,
    "trust.attention_rollout": ATTRIBUTION,
    "word_vectors.cbow_loss": VECTORS,
    "word_vectors.hierarchical_softmax_loss": VECTORS,
    "word_vectors.negative_sampling_loss": VECTORS,
    "word_vectors.skip_gram_loss": VECTORS,
}
"""``file.function`` of ``theory`` whose practice does not exist yet, and the work that will bring it."""
