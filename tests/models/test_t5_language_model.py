"""T5 as a language model: plain, and as one that fills the gap at the end of a text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.models.language_model_contract import CHECKS, CONTEXT, V, draw

from zhixing.models.encoder_decoder import EncoderDecoderModel
from zhixing.models.gaps import Continued, continued
from zhixing.models.t5 import T5, T5Settings

SHAPE = {"vocab_size": V, "context_length": CONTEXT, "layers": 1, "width": 16, "heads": 2, "buckets": 8, "farthest": 9}
SENTINELS = (V - 2, V - 1)
VARIANTS = {
    "plain": T5Settings(**SHAPE, target_length=4),
    "gaps": T5Settings(**SHAPE, target_length=4, gap_ids=SENTINELS),
    "gaps, own head and start": T5Settings(**SHAPE, tied=False, gap_ids=SENTINELS, start_id=3, decoder_layers=2),
}


def network(settings):
    torch.manual_seed(1)
    module = T5(settings)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.5)
    return module.eval()


@pytest.fixture(scope="module", params=VARIANTS)
def model(request):
    return EncoderDecoderModel(network(VARIANTS[request.param]))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(model, check):
    check(model)


def test_it_fills_the_gap_behind_the_text_and_says_no_sentinel():
    """By hand: the source is what stands before the block and a sentinel, the target that sentinel and the block."""
    module = network(VARIANTS["gaps"])
    model, ids = EncoderDecoderModel(module), draw(1, 7)
    said, _ = model.next_log_probs(ids, model.initial_state(1))
    source = torch.tensor([[*ids[0, :5], SENTINELS[0]]])  # the block of places 5 to 8 holds ids 5 and 6
    target = torch.tensor([[ids[0, 0], SENTINELS[0], *ids[0, 5:]]])
    with torch.no_grad():
        logits = module.decode(target, module.encode(source))[:, -1] @ module.head_weight.T
    logits[:, list(SENTINELS)] = -torch.inf
    expected = torch.log_softmax(logits, dim=-1)[0].numpy()
    np.testing.assert_allclose(said[0, :-2], expected[:-2], rtol=1e-5, atol=1e-5)
    assert (said[0, list(SENTINELS)] < -1000).all()


def test_only_what_has_sentinels_fills_gaps():
    plain = network(VARIANTS["plain"])
    assert continued(plain) is plain and isinstance(continued(network(VARIANTS["gaps"])), Continued)
    with pytest.raises(ValueError, match="without sentinels"):
        Continued(plain)
