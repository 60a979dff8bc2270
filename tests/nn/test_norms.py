"""The two norms against their formulas."""

import numpy as np
import torch

from zhixing.nn.norms import LayerNorm, RMSNorm
from zhixing.theory import normalisation

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 12))


def _numbers(tensor):
    return tensor.detach().double().numpy()


def _single(array):
    return torch.tensor(array, dtype=torch.float32)


def test_rms_norm():
    norm = RMSNorm(12, 1e-6)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 2, 12))
    expected = normalisation.rms_norm(X, _numbers(norm.weight), 1e-6)
    np.testing.assert_allclose(_numbers(norm(_single(X))), expected, atol=1e-5)


def test_rms_norm_of_nothing_is_nothing():
    assert torch.equal(RMSNorm(4, 1e-6)(torch.zeros(2, 4)), torch.zeros(2, 4))


def test_layer_norm():
    norm = LayerNorm(12, 1e-5)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 2, 12))
        norm.bias.copy_(torch.linspace(0, 1, 12))
    expected = normalisation.layer_norm(X, _numbers(norm.weight), _numbers(norm.bias), 1e-5)
    np.testing.assert_allclose(_numbers(norm(_single(X))), expected, atol=1e-5)
