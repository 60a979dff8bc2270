"""Biases by distance against the formulas, at every place and length."""

import numpy as np
import pytest
import torch

from zhixing.nn.relative_bias import RelativeBias, alibi, alibi_slopes, attend_with_bias, relative_bucket
from zhixing.theory import positions as theory

SHAPES = [(32, 128, True), (32, 128, False), (8, 16, True), (16, 128, False), (32, 20, False), (4, 3, True)]


@pytest.mark.parametrize(("buckets", "farthest", "both_ways"), SHAPES)
def test_every_distance_has_the_bucket_of_the_formula(buckets, farthest, both_ways):
    distance = np.arange(-700, 701)
    ours = relative_bucket(torch.tensor(distance), buckets, farthest, both_ways).numpy()
    np.testing.assert_array_equal(ours, theory.relative_bucket(distance, buckets, farthest, both_ways))
    assert ours.min() == 0 and ours.max() == buckets - 1


@pytest.mark.parametrize("both_ways", [True, False])
def test_a_row_of_queries_anywhere_is_a_row_of_the_whole(both_ways):
    torch.manual_seed(0)
    bias = RelativeBias(3, 8, 20, both_ways)
    whole = bias(torch.arange(30), 30)
    expected = theory.relative_bias(30, 30, bias.embedding.weight.detach().double().numpy(), 20, both_ways)
    np.testing.assert_allclose(whole[0].detach().numpy(), expected, atol=1e-6)
    some = bias(torch.tensor([[4, 17], [29, 0]]), 30)
    for row, places in enumerate([[4, 17], [29, 0]]):
        assert torch.equal(some[row], whole[0][:, places])


@pytest.mark.parametrize("heads", [1, 4, 6, 12, 16])
def test_alibi_is_the_formula(heads):
    np.testing.assert_allclose(alibi_slopes(heads).numpy(), theory.alibi_slopes(heads), rtol=1e-6)
    ours = alibi(torch.arange(3, 9), 9, alibi_slopes(heads))
    np.testing.assert_allclose(ours[0].numpy(), theory.alibi(6, 9, heads), rtol=1e-6)


def test_scores_are_not_scaled():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 5, 8)
    bias = torch.randn(1, 4, 5, 5)
    expected = torch.softmax(query @ key.mT + bias, dim=-1) @ value
    torch.testing.assert_close(attend_with_bias(query, key, value, bias), expected, rtol=1e-5, atol=1e-5)
