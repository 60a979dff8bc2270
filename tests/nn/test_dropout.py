"""Dropout: how much, how scaled, the same mask in both directions, the same mask for the same seed."""

import math

import pytest
import torch

from zhixing.nn.dropout import Dropout, random_bytes, rounded_probability


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.2, 0.5, 0.9])
def test_fraction_and_scale(probability):
    torch.manual_seed(0)
    count = 200_000
    dropped_share = rounded_probability(probability)
    result = Dropout(probability)(torch.ones(count))
    zeros = int((result == 0).sum())
    deviation = math.sqrt(count * dropped_share * (1 - dropped_share))
    assert abs(zeros - count * dropped_share) < 5 * deviation
    assert result[result != 0].unique().tolist() == pytest.approx([1 / (1 - dropped_share)])
    assert abs(dropped_share - probability) <= 1 / 512


def test_every_element_is_dropped_independently():
    """Neighbours share a random word, so their bytes are looked at together."""
    torch.manual_seed(1)
    dropped = (Dropout(0.5)(torch.ones(20_000, 16)) == 0).double()
    together = (dropped.T @ dropped) / len(dropped)  # 1/2 on the diagonal, 1/4 elsewhere
    expected = torch.full((16, 16), 0.25, dtype=torch.float64).fill_diagonal_(0.5)
    assert (together - expected).abs().max() < 0.02
    later = (dropped[1:] * dropped[:-1]).mean(dim=0)
    assert (later - 0.25).abs().max() < 0.02


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (1,)])
def test_the_gradient_uses_the_same_mask(shape):
    torch.manual_seed(2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    result = Dropout(0.4)(x)
    upstream = torch.randn(shape, dtype=torch.float64)
    result.backward(upstream)
    mask = (result / x).detach()
    torch.testing.assert_close(x.grad, upstream * mask)


@pytest.mark.parametrize(
    "view",
    [lambda x: x.T, lambda x: x[::2], lambda x: x[:, 1:4], lambda x: x[:1].expand(6, -1)],
    ids=["transposed", "every-second", "columns", "expanded"],
)
def test_inputs_that_are_not_contiguous(view):
    torch.manual_seed(3)
    base = torch.rand(6, 8) + 1
    base.requires_grad_()
    part = view(base)
    result = Dropout(0.5)(part)
    assert result.shape == part.shape
    ratio = result.detach() / part.detach()
    assert set(ratio.round(decimals=4).unique().tolist()) == {0.0, 2.0}
    result.sum().backward()
    probe = torch.zeros_like(base, requires_grad=True)
    (view(probe) * ratio).sum().backward()
    torch.testing.assert_close(base.grad, probe.grad)


def test_the_seed_decides():
    layer, x = Dropout(0.3), torch.ones(1000)

    def drawn(seed):
        torch.manual_seed(seed)
        return layer(x)

    assert torch.equal(drawn(5), drawn(5))
    assert not torch.equal(drawn(5), drawn(6))
    torch.manual_seed(5)
    assert not torch.equal(layer(x), layer(x)), "each call draws anew"


def test_identity_where_nothing_is_to_be_dropped():
    x = torch.randn(10)
    before = torch.get_rng_state()
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert torch.equal(torch.get_rng_state(), before), "no random number is spent"


@pytest.mark.parametrize("probability", [0.001, 0.99, 0.997, 0.999])
def test_extreme_probabilities_stay_finite(probability):
    torch.manual_seed(0)
    result = Dropout(probability)(torch.ones(50_000))
    assert torch.isfinite(result).all()
    assert 0 <= rounded_probability(probability) < 1
    assert (result == 0).double().mean().item() == pytest.approx(rounded_probability(probability), abs=0.01)


def test_bfloat16_keeps_its_type():
    torch.manual_seed(0)
    assert Dropout(0.5)(torch.ones(64, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 4096])
def test_bytes_in_any_number(count):
    drawn = random_bytes(count, torch.Generator().manual_seed(0))
    assert drawn.shape == (count,) and drawn.dtype == torch.uint8


def test_bytes_are_uniform():
    counts = torch.bincount(random_bytes(256_000, torch.Generator().manual_seed(0)).long(), minlength=256)
    chi_squared = ((counts - 1000.0) ** 2 / 1000).sum().item()
    assert 170 < chi_squared < 350  # 255 degrees of freedom: mean 255, deviation 22.6
