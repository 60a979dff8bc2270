"""Contrastive losses: what they are zero for, and that training by them does what it should."""

import pytest
import torch
from torch.nn import functional

from zhixing.nn.contrastive_losses import alignment_sum, info_nce_sum, retrieved_sum, triplet_sum, uniformity


def test_one_pair_has_no_negatives():
    assert info_nce_sum(torch.randn(1, 4), torch.randn(1, 4), 0.1).item() == pytest.approx(0.0, abs=1e-6)


def test_lengths_do_not_matter():
    torch.manual_seed(0)
    query, key = torch.randn(5, 4), torch.randn(5, 4)
    scaled = info_nce_sum(query * torch.tensor([[1.0], [2.0], [0.1], [7.0], [3.0]]), 5 * key, 0.1)
    torch.testing.assert_close(scaled, info_nce_sum(query, key, 0.1))


def test_learning_by_it_brings_pairs_together():
    torch.manual_seed(0)
    query, key = torch.randn(8, 4, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    optimizer = torch.optim.Adam([query, key], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        info_nce_sum(query, key, 0.1).backward()
        optimizer.step()
    cosine = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).T
    assert cosine.argmax(-1).tolist() == list(range(8))


def test_triplet_counts_only_violated_margins():
    anchor, positive = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    negative = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    assert triplet_sum(anchor, positive, negative, 0.5).item() == 0.0  # 1 - 9 and 1 - 2 are below -0.5
    assert triplet_sum(anchor, positive, negative, 1.5).item() == 0.5


def test_measures_of_a_batch():
    torch.manual_seed(0)
    x = torch.randn(6, 4)
    assert alignment_sum(x, 2 * x).item() == pytest.approx(0, abs=1e-5) and alignment_sum(
        x, -x
    ).item() == pytest.approx(24)
    assert retrieved_sum(x, x + 0.01).item() == 6 and retrieved_sum(x, x.roll(1, 0)).item() == 0
    assert uniformity(torch.ones(3, 4)).item() == pytest.approx(0, abs=1e-5)
    assert uniformity(x).item() == pytest.approx(uniformity(7 * x).item(), rel=1e-5) and uniformity(x).item() < -1
