"""The two feed-forward blocks against their formulas."""

import numpy as np
import torch

from zhixing.nn.feedforward import GeluFeedForward, SwiGLU
from zhixing.theory import networks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 12))


def _numbers(tensor):
    return tensor.detach().double().numpy()


def _single(array):
    return torch.tensor(array, dtype=torch.float32)


def test_gelu_feed_forward():
    block = GeluFeedForward(12, 20)
    inner = networks.gelu_tanh(networks.affine(X, _numbers(block.expand.weight).T, _numbers(block.expand.bias)))
    expected = networks.affine(inner, _numbers(block.contract.weight).T, _numbers(block.contract.bias))
    np.testing.assert_allclose(_numbers(block(_single(X))), expected, atol=1e-5)


def test_the_exact_gelu():
    block = GeluFeedForward(12, 20, approximate="none")
    inner = networks.gelu(networks.affine(X, _numbers(block.expand.weight).T, _numbers(block.expand.bias)))
    expected = networks.affine(inner, _numbers(block.contract.weight).T, _numbers(block.contract.bias))
    np.testing.assert_allclose(_numbers(block(_single(X))), expected, atol=1e-5)


def test_swiglu():
    block = SwiGLU(12, 20)
    gate, up = np.split(_numbers(block.gate_up.weight).T, 2, axis=1)
    expected = networks.swiglu(X, gate, up, _numbers(block.down.weight).T)
    np.testing.assert_allclose(_numbers(block(_single(X))), expected, atol=1e-5)
