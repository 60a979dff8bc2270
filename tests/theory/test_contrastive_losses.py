from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import contrastive_losses as theory


def test_unit_gradient(differences, rng):
    x, upstream = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    np.testing.assert_allclose(theory.unit_gradient(x, upstream), differences(theory.unit, x, upstream), atol=1e-9)


def test_info_nce_gradient(differences, rng):
    query, key = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    of_query, of_key = theory.info_nce_gradient(query, key, 0.3)
    np.testing.assert_allclose(of_query, differences(lambda v: theory.info_nce(v, key, 0.3), query), atol=1e-8)
    np.testing.assert_allclose(of_key, differences(lambda v: theory.info_nce(query, v, 0.3), key), atol=1e-8)


def test_vectors_all_alike_cost_the_logarithm_of_the_batch():
    same = np.ones((7, 3))
    assert theory.info_nce(same, same, 0.1) == pytest.approx(np.log(7))


def test_alignment_and_uniformity_at_their_extremes(rng):
    x = rng.normal(size=(5, 4))
    assert theory.alignment(x, 3 * x) == pytest.approx(0) and theory.alignment(x, -x) == pytest.approx(4)
    assert theory.uniformity(np.ones((6, 3))) == pytest.approx(0)
    corners = np.vstack([np.eye(4), -np.eye(4)])  # as even as eight directions of four dimensions can be
    assert theory.uniformity(corners) < theory.uniformity(np.abs(rng.normal(size=(8, 4)))) < 0
    assert theory.retrieval_accuracy(x, 2 * x) == 1 and theory.retrieval_accuracy(x, -x) == 0


def test_triplet_loss_gradient(differences, rng):
    anchor, positive, negative = rng.normal(size=(3, 6, 4))
    negative[:3] += 3.0  # three triplets are apart already
    assert 0 < (((anchor - positive) ** 2 - (anchor - negative) ** 2).sum(-1) + 0.5 > 0).sum() < 6
    parts = theory.triplet_loss_gradient(anchor, positive, negative, 0.5)
    given = [anchor, positive, negative]
    for place in range(3):
        expected = differences(
            lambda v, place=place: theory.triplet_loss(*given[:place], v, *given[place + 1 :], 0.5), given[place]
        )
        np.testing.assert_allclose(parts[place], expected, atol=1e-9)
