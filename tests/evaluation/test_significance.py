import math

import numpy as np
import pytest

from zhixing.errors import DataError
from zhixing.evaluation.perplexity import Scores
from zhixing.evaluation.significance import compare, mcnemar
from zhixing.theory import measures


def _scores(losses, text_bytes):
    return Scores(np.asarray(losses, float), np.full(len(losses), 10), np.asarray(text_bytes))


def _pair(count=50, gain=0.0, seed=0):
    rng = np.random.default_rng(seed)
    size = rng.integers(50, 5000, count)
    difficulty = size * rng.uniform(0.5, 2.0, count)
    a = difficulty + size * rng.normal(0, 0.05, count)
    return _scores(a, size), _scores(a - size * (gain + rng.normal(0, 0.05, count)), size)


def test_agrees_with_the_formulas_on_the_same_draws():
    a, b = _pair(gain=0.01)
    found = compare("a", a, "b", b, seed=5)
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, 50, (10_000, 50))
    difference, low, high = measures.paired_bootstrap(a.losses, b.losses, a.text_bytes, drawn)
    bits = math.log(2)
    expected = (difference / bits, low / bits, high / bits)
    assert (found.difference, found.low, found.high) == pytest.approx(expected)
    signs = rng.integers(0, 2, (10_000, 50), dtype=np.int8) * 2 - 1
    assert found.p_value == pytest.approx(measures.permutation_p(a.losses, b.losses, signs))


def test_small_steady_gain_is_seen_through_large_differences_of_difficulty():
    found = compare("old", *_pair(gain=0.05)[:1], "new", _pair(gain=0.05)[1])
    assert found.better == "new"
    assert "new" in found.verdict
    assert found.low > 0


def test_without_a_gain_nothing_is_claimed_but_rarely():
    claims = [compare("a", *_pair(seed=s)[:1], "b", _pair(seed=s)[1]).better for s in range(20)]
    assert sum(claim is not None for claim in claims) <= 4


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_documents_proves_nothing(count):
    size = np.full(count, 100)
    found = compare("a", _scores(size * 1.0, size), "b", _scores(size * 0.5, size))
    assert found.better is None
    assert found.too_few and found.verdict == "too few documents to tell"
    assert found.as_dict()["too_few"] is True


def test_six_documents_can_be_enough():
    size = np.full(6, 100)
    found = compare("a", _scores(size * 1.0, size), "b", _scores(size * 0.5, size))
    assert not found.too_few and found.better == "b"


def test_too_few_in_chinese(monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    size = np.full(2, 100)
    assert compare("a", _scores(size * 1.0, size), "b", _scores(size * 0.5, size)).verdict == "文档太少，无从判断"


def test_the_same_model_is_not_distinguishable_and_the_seed_decides_the_draws():
    a, b = _pair(gain=0.01)
    same = compare("a", a, "b", a)
    assert (same.difference, same.low, same.high, same.p_value, same.better) == (0, 0, 0, 1, None)
    assert compare("a", a, "b", b, seed=1) == compare("a", a, "b", b, seed=1)
    assert compare("a", a, "b", b, seed=1) != compare("a", a, "b", b, seed=2)


def test_different_documents_are_refused():
    with pytest.raises(DataError, match=r"different documents|不同"):
        compare("a", _scores([1.0], [5]), "b", _scores([1.0, 2.0], [5, 6]))
    with pytest.raises(DataError):
        compare("a", _scores([1.0], [5]), "b", _scores([1.0], [6]))


def test_mcnemar_agrees_with_the_formula():
    rng = np.random.default_rng(0)
    for count in (1, 10, 400):
        a, b = rng.random(count) < 0.7, rng.random(count) < 0.6
        expected = measures.mcnemar(int((a & ~b).sum()), int((~a & b).sum()))
        assert mcnemar(a, b) == pytest.approx(expected)
