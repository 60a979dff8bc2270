"""The smoothing formulas: they sum to one, agree with worked examples, and with the production model."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pytest

from zhixing.models.ngram import NgramModel
from zhixing.theory import ngram as theory

V = 5


def random_corpus(seed: int, documents: int = 25) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    return [[0, *(1 + rng.choice(4, rng.integers(0, 9), p=weights)).tolist(), 0] for _ in range(documents)]


def test_examples() -> None:
    assert doctest.testmod(theory).failed == 0


@pytest.mark.parametrize("modified", [True, False])
def test_kneser_ney_sums_to_one(modified: bool) -> None:
    model = theory.kneser_ney(random_corpus(0), 3, 0, V, modified)
    for context in itertools.product(range(V), repeat=2):
        assert sum(model.probability(w, context) for w in range(V)) == pytest.approx(1, abs=1e-12)


def test_witten_bell_and_maximum_likelihood() -> None:
    counts = theory.count_ngrams(random_corpus(1), 3, 0)
    for context in itertools.product(range(V), repeat=2):
        assert sum(theory.witten_bell(w, context, counts, V) for w in range(V)) == pytest.approx(1)
        assert sum(theory.maximum_likelihood(w, context, counts, V) for w in range(V)) in (
            0,
            pytest.approx(1),
        )


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("documents", [0, 1, 10, 80])
def test_production_agrees_in_every_context(order: int, documents: int) -> None:
    corpus = random_corpus(order, documents)
    expected = theory.kneser_ney(corpus, order, 0, V)
    model = NgramModel.fit([np.array(d) for d in corpus], V, 0, order)
    contexts = np.array(list(itertools.product(range(V), repeat=max(order - 1, 1))))
    found, _ = model.next_log_probs(contexts, model.initial_state(len(contexts)))
    wanted = [[expected.probability(w, tuple(c.tolist())[: order - 1]) for w in range(V)] for c in contexts]
    np.testing.assert_allclose(np.exp(found), wanted, rtol=2e-6)


def test_sequences_that_do_not_begin_with_the_separator() -> None:
    corpus = [[1, 2, 3], [2, 3, 1, 2, 4], [4, 4, 0, 1, 2], [3], []]
    expected = theory.kneser_ney(corpus, 3, 0, V)
    model = NgramModel.fit([np.array(d, np.int64) for d in corpus], V, 0, 3)
    contexts = np.array(list(itertools.product(range(V), repeat=2)))
    found, _ = model.next_log_probs(contexts, model.initial_state(len(contexts)))
    wanted = [[expected.probability(w, tuple(c.tolist())) for w in range(V)] for c in contexts]
    np.testing.assert_allclose(np.exp(found), wanted, rtol=2e-6)
