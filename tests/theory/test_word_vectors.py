"""Gradients against differences, the tree's probabilities against one, and the papers' own examples."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import word_vectors as words

V, D = 6, 3


@pytest.fixture
def vectors(rng):
    return rng.normal(size=(V, D)), rng.normal(size=(V, D))


def test_negative_sampling_gradients(differences, rng):
    hidden, output, noise = rng.normal(size=D), rng.normal(size=D), rng.normal(size=(4, D))
    found = words.negative_sampling_gradient(hidden, output, noise)
    loss = words.negative_sampling_loss
    for gradient, slopes in zip(
        found,
        (
            differences(lambda h: loss(h, output, noise), hidden),
            differences(lambda o: loss(hidden, o, noise), output),
            differences(lambda n: loss(hidden, output, n), noise),
        ),
        strict=True,
    ):
        np.testing.assert_allclose(gradient, slopes, atol=1e-9)


def test_skip_gram_gradients(differences, vectors):
    """The noise holds a word twice and the context word itself, as draws do."""
    inputs, outputs = vectors
    given = {"centre": 1, "context": 2, "noise": np.array([4, 4, 2, 0])}
    found = words.skip_gram_gradient(inputs, outputs, **given)
    of_inputs = differences(lambda v: words.skip_gram_loss(v, outputs, **given), inputs)
    of_outputs = differences(lambda v: words.skip_gram_loss(inputs, v, **given), outputs)
    np.testing.assert_allclose(found[0], of_inputs, atol=1e-9)
    np.testing.assert_allclose(found[1], of_outputs, atol=1e-9)


def test_cbow_gradients(differences, vectors):
    """A context may hold the same word twice."""
    inputs, outputs = vectors
    given = {"context": np.array([0, 5, 5]), "centre": 3, "noise": np.array([1, 1])}
    found = words.cbow_gradient(inputs, outputs, **given)
    of_inputs = differences(lambda v: words.cbow_loss(v, outputs, **given), inputs)
    of_outputs = differences(lambda v: words.cbow_loss(inputs, v, **given), outputs)
    np.testing.assert_allclose(found[0], of_inputs, atol=1e-9)
    np.testing.assert_allclose(found[1], of_outputs, atol=1e-9)


def test_cbow_with_one_neighbour_is_skip_gram(vectors):
    inputs, outputs = vectors
    noise = np.array([4, 0])
    assert words.cbow_loss(inputs, outputs, np.array([1]), 2, noise) == pytest.approx(
        words.skip_gram_loss(inputs, outputs, 1, 2, noise)
    )


def test_hierarchical_softmax_gradients(differences, rng):
    hidden, nodes, bits = rng.normal(size=D), rng.normal(size=(4, D)), np.array([0, 1, 1, 0])
    of_hidden, of_nodes = words.hierarchical_softmax_gradient(hidden, nodes, bits)
    loss = words.hierarchical_softmax_loss
    np.testing.assert_allclose(of_hidden, differences(lambda h: loss(h, nodes, bits), hidden), atol=1e-9)
    np.testing.assert_allclose(of_nodes, differences(lambda n: loss(hidden, n, bits), nodes), atol=1e-9)


@pytest.mark.parametrize("counts", [[1, 1], [5, 2, 1], [40, 30, 20, 9, 1, 1, 1], [3] * 8])
def test_the_tree_makes_a_distribution(counts, rng):
    hidden, nodes = rng.normal(size=D), rng.normal(size=(len(counts) - 1, D))
    codes = words.huffman_codes(counts)
    probabilities = [
        np.exp(-words.hierarchical_softmax_loss(hidden, nodes[path], np.array(bits))) for path, bits in codes
    ]
    assert sum(probabilities) == pytest.approx(1, abs=1e-12)


def test_codes_are_prefix_free_and_as_short_as_the_entropy_allows():
    counts = [60, 25, 10, 3, 1, 1]
    codes = ["".join(map(str, bits)) for _, bits in words.huffman_codes(counts)]
    assert not any(a != b and b.startswith(a) for a in codes for b in codes)
    share = np.array(counts) / sum(counts)
    mean = sum(p * len(code) for p, code in zip(share, codes, strict=True))
    entropy = -(share * np.log2(share)).sum()
    assert entropy <= mean < entropy + 1
    assert [len(code) for code in codes] == sorted(len(code) for code in codes)


def test_equal_counts_give_equal_lengths():
    assert {len(bits) for _, bits in words.huffman_codes([7] * 8)} == {3}


def test_co_occurrence_is_symmetric_and_counts_pairs(rng):
    ids = rng.integers(V, size=40).tolist()
    plain = words.co_occurrence(ids, V, window=3, weigh_distance=False)
    np.testing.assert_array_equal(plain, plain.T)
    pairs = words.window_pairs(ids, 3)
    counted = np.zeros((V, V))
    np.add.at(counted, tuple(np.array(pairs).T), 1)
    np.testing.assert_array_equal(plain, counted)
    nearest = words.co_occurrence(ids, V, window=1)
    np.testing.assert_array_equal(nearest, words.co_occurrence(ids, V, window=1, weigh_distance=False))


def test_a_window_wider_than_the_text():
    np.testing.assert_array_equal(words.co_occurrence([0, 1], 2, window=9), [[0, 1], [1, 0]])
    assert words.window_pairs([3], 5) == []


def test_glove_gradients(differences, vectors, rng):
    given = [*vectors, rng.normal(size=V), rng.normal(size=V)]
    counts = np.round(rng.gamma(0.5, 100.0, size=(V, V)))
    assert (counts == 0).any() and (counts > 100).any()
    found = words.glove_gradient(*given, counts)
    for index in range(4):

        def loss(value, index=index):
            return words.glove_loss(*given[:index], value, *given[index + 1 :], counts)

        np.testing.assert_allclose(found[index], differences(loss, given[index]), atol=1e-6)


def test_glove_is_zero_where_the_logarithms_are_fitted(rng):
    word, context = rng.normal(size=(V, D)), rng.normal(size=(V, D))
    biases, zero = rng.normal(size=V), np.zeros(V)
    counts = np.exp(word @ context.T + biases[:, None])
    assert words.glove_loss(word, context, biases, zero, counts) == pytest.approx(0, abs=1e-20)


def test_noise_is_flatter_than_the_counts():
    counts = np.array([1000.0, 10.0])
    assert words.noise_distribution(counts)[1] > counts[1] / counts.sum()
    np.testing.assert_allclose(words.noise_distribution(counts, 1.0), counts / counts.sum())


def test_subwords_of_a_short_word_hold_it_once():
    assert words.subwords("a", 3, 6) == ["<a>"]
    assert "her" in words.subwords("where") and "<her>" not in words.subwords("where")


def test_unseen_words_share_the_vectors_of_their_parts(rng):
    rows = rng.normal(size=(5000, 50))

    def cosine(a, b):
        a, b = (words.compose(words.subwords(word), rows) for word in (a, b))
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    assert cosine("walking", "walkings") > 0.5 > cosine("walking", "quiet") + 0.2


def test_bytes_above_127_are_read_as_signed():
    """The published reference value of FNV-1a for 'a', and another hash for letters outside ASCII."""
    assert words.subword_bucket("a", 2**32) == 0xE40C292C
    plain = 2166136261
    for byte in "é".encode():
        plain = ((plain ^ byte) * 16777619) % 2**32
    assert words.subword_bucket("é", 2**32) != plain
