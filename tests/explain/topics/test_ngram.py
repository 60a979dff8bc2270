from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import ngram


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_counting_by_hand():
    followers, total, every, p = values(ngram.n_gram())  # </s> cat dog ran sat the
    np.testing.assert_array_equal(followers, [0, 2, 1, 0, 0, 0])
    assert total == 3
    np.testing.assert_allclose(every, followers / 3)
    assert p == pytest.approx(1 / 3)


def test_witten_bell_by_hand():
    even, table, total = values(ngram.witten_bell())
    assert even == pytest.approx(1 / 6)
    unigram = (1 + 6 / 6) / (12 + 6)
    np.testing.assert_allclose(table[:, :3], [[1, 12, 6], [1, 3, 2]])
    np.testing.assert_allclose(table[:, 4], [unigram, (1 + 2 * unigram) / (3 + 2)])
    assert total == pytest.approx(1)


def test_kneser_ney_by_hand():
    ones_and_twos, discounts, table, total = values(ngram.kneser_ney())
    np.testing.assert_array_equal(ones_and_twos, [[4, 2], [5, 2]])
    np.testing.assert_allclose(discounts[:, 0], [4 / 8, 5 / 9])
    unigram = (1 - 0.5) / 8 + 0.5 * 6 / 8 / 6
    np.testing.assert_allclose(table[:, 4], [unigram, (1 - 5 / 9) / 3 + 5 / 9 * 2 / 3 * unigram])
    assert total == pytest.approx(1)


@pytest.mark.parametrize("topic", [ngram.witten_bell, ngram.kneser_ney])
def test_the_tree_backs_off_to_the_even_share(topic):
    made = topic()
    tree, texts = made.picture(made.inputs(context="the cat", word="ran")), []
    while True:
        texts.append(tree.text.split(" = ")[0])
        if not tree.children:
            break
        (tree,) = tree.children
    assert texts == ["p(ran | the cat)", "p(ran | cat)", "p(ran)", "1 / V"]


def test_words_that_the_corpus_lacks_are_refused():
    with pytest.raises(ValidationError, match="not a word of the corpus: fish; it has </s>, cat, dog"):
        ngram.NgramInputs(word="fish")
    with pytest.raises(ValidationError, match="not a word of the corpus: a"):
        ngram.KneserNeyInputs(context="a")
