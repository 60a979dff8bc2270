r"""Word vectors: what each model makes small, and the gradient by hand.

Legend: V words, D width, C words of context, K negative samples, L steps down a tree. ``inputs`` (V, D) are the
vectors one keeps, ``outputs`` those of the words (or tree nodes) being predicted. Losses are in nats.

Skip-gram and CBOW: Mikolov, Chen, Corrado & Dean 2013, "Efficient Estimation of Word Representations in Vector
Space" (a), and Mikolov, Sutskever, Chen, Corrado & Dean 2013, "Distributed Representations of Words and Phrases and
their Compositionality" (b). GloVe: Pennington, Socher & Manning 2014. FastText: Bojanowski, Grave, Joulin & Mikolov
2017, "Enriching Word Vectors with Subword Information".
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.networks import sigmoid

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


def window_pairs(ids: Sequence[int], window: int) -> list[tuple[int, int]]:
    r"""$\{(w_t, w_{t+j}) : 0 < |j| \le c\}$: every word with each of its neighbours. Mikolov et al. (b), equation 1.
    Equation (word_vectors.1).

    >>> window_pairs([7, 8, 9], window=1)
    [(7, 8), (8, 7), (8, 9), (9, 8)]
    """
    places = [(t, t + j) for t in range(len(ids)) for j in range(-window, window + 1) if j]
    return [(ids[t], ids[s]) for t, s in places if 0 <= s < len(ids)]


def noise_distribution(counts: Array, power: float = 0.75) -> Array:
    r"""$P_n(w) = n(w)^{3/4} / \sum_v n(v)^{3/4}$; (V,). Mikolov et al. (b), section 2.2. Equation (word_vectors.2).

    >>> noise_distribution(np.array([81.0, 16.0, 0.0])).round(4)
    array([0.7714, 0.2286, 0.    ])
    """
    raised: Array = counts**power
    return raised / raised.sum()


def keep_probability(counts: Array, threshold: float = 1e-5) -> Array:
    r"""$\min(1, \sqrt{t / f(w)})$ with $f$ the word's share: how often a word is kept when frequent ones are thinned.

    Mikolov et al. (b), equation 5 (which states the probability to discard). All counts above 0.
    Equation (word_vectors.3).

    >>> keep_probability(np.array([90.0, 9.0, 1.0]), threshold=0.09).round(4)
    array([0.3162, 1.    , 1.    ])
    """
    return np.minimum(1.0, np.sqrt(threshold / (counts / counts.sum())))


def negative_sampling_loss(hidden: Array, output: Array, noise: Array) -> float:
    r"""$-\log\sigma(u_o^\top h) - \sum_{k=1}^{K} \log\sigma(-u_k^\top h)$. Mikolov et al. (b), equation 4.

    ``hidden`` (D,) predicts, ``output`` (D,) is the right word's vector, ``noise`` (K, D) the drawn words'.
    $-\log\sigma(x) = \log(e^0 + e^{-x})$, which ``logaddexp`` computes without overflow.
    Equation (word_vectors.4).

    >>> round(negative_sampling_loss(np.array([1.0]), np.array([0.0]), np.array([[0.0], [0.0]])), 4)  # 3 log 2
    2.0794
    """
    return float(np.logaddexp(0, -output @ hidden) + np.logaddexp(0, noise @ hidden).sum())


def negative_sampling_gradient(hidden: Array, output: Array, noise: Array) -> tuple[Array, Array, Array]:
    r"""With $e_o = \sigma(u_o^\top h) - 1$ and $e_k = \sigma(u_k^\top h)$: $\partial h = e_o u_o + \sum_k e_k u_k$,
    $\partial u_o = e_o h$, $\partial u_k = e_k h$. Shapes (D,), (D,), (K, D). Equation (word_vectors.5).

    >>> negative_sampling_gradient(np.array([1.0]), np.array([0.0]), np.array([[0.0]]))
    (array([0.]), array([-0.5]), array([[0.5]]))
    """
    right, wrong = float(sigmoid(output @ hidden)) - 1.0, sigmoid(noise @ hidden)
    return right * output + wrong @ noise, right * hidden, wrong[:, None] * hidden


def skip_gram_loss(inputs: Array, outputs: Array, centre: int, context: int, noise: Ids) -> float:
    r"""The centre word's own vector predicts one neighbour: ``negative_sampling_loss`` with $h = v_{w_t}$.
    Equation (word_vectors.6).

    >>> round(skip_gram_loss(np.ones((3, 2)), np.zeros((3, 2)), centre=0, context=1, noise=np.array([2])), 4)
    1.3863
    """
    return negative_sampling_loss(inputs[centre], outputs[context], outputs[noise])


def skip_gram_gradient(inputs: Array, outputs: Array, centre: int, context: int, noise: Ids) -> tuple[Array, Array]:
    r"""Gradients (V, D) with respect to ``inputs`` and ``outputs``; a word drawn twice counts twice.
    Equation (word_vectors.6).

    >>> skip_gram_gradient(np.ones((3, 1)), np.zeros((3, 1)), centre=0, context=1, noise=np.array([2, 2]))[1]
    array([[ 0. ],
           [-0.5],
           [ 1. ]])
    """
    hidden, output, drawn = negative_sampling_gradient(inputs[centre], outputs[context], outputs[noise])
    of_inputs, of_outputs = np.zeros_like(inputs), np.zeros_like(outputs)
    of_inputs[centre] = hidden
    of_outputs[context] = output
    np.add.at(of_outputs, noise, drawn)
    return of_inputs, of_outputs


def cbow_loss(inputs: Array, outputs: Array, context: Ids, centre: int, noise: Ids) -> float:
    r"""The neighbours' mean predicts the centre word: $h = \frac1C \sum_{j} v_{w_{t+j}}$. Mikolov et al. (a), 3.1.
    Equation (word_vectors.7).

    >>> inputs, outputs = np.array([[1.0], [3.0], [0.0]]), np.array([[0.0], [0.0], [1.0]])
    >>> round(cbow_loss(inputs, outputs, np.array([0, 1]), centre=2, noise=np.array([0])), 4)
    0.8201
    """
    return negative_sampling_loss(inputs[context].mean(axis=0), outputs[centre], outputs[noise])


def cbow_gradient(inputs: Array, outputs: Array, context: Ids, centre: int, noise: Ids) -> tuple[Array, Array]:
    r"""Gradients (V, D) with respect to ``inputs`` and ``outputs``. Each of the C neighbours gets $\partial h / C$.
    Equation (word_vectors.7).

    >>> inputs, outputs = np.array([[1.0], [3.0], [0.0]]), np.array([[0.0], [0.0], [1.0]])
    >>> cbow_gradient(inputs, outputs, np.array([0, 1]), centre=2, noise=np.array([0]))[0].round(4)
    array([[-0.0596],
           [-0.0596],
           [ 0.    ]])
    """
    hidden, output, drawn = negative_sampling_gradient(inputs[context].mean(axis=0), outputs[centre], outputs[noise])
    of_inputs, of_outputs = np.zeros_like(inputs), np.zeros_like(outputs)
    np.add.at(of_inputs, context, hidden / len(context))
    of_outputs[centre] = output
    np.add.at(of_outputs, noise, drawn)
    return of_inputs, of_outputs


def huffman_codes(counts: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    r"""For every word the inner nodes from the root down, and the bit (branch) taken at each: short for the frequent.

    Huffman (1952); inner nodes are numbered 0 to V - 2 in the order they are made, so the root is V - 2. The
    rarer of the two joined gets bit 0; of equals the older. Equation (word_vectors.8).

    >>> huffman_codes([5, 2, 1])
    [([1], [1]), ([1, 0], [0, 1]), ([1, 0], [0, 0])]
    """
    queue = [(count, word) for word, count in enumerate(counts)]
    heapq.heapify(queue)
    paths: list[list[tuple[int, int]]] = [[] for _ in counts]
    below = {word: [word] for word in range(len(counts))}
    for node in range(len(counts) - 1):
        first, second = heapq.heappop(queue), heapq.heappop(queue)
        for bit, (_, child) in enumerate((first, second)):
            for word in below[child]:
                paths[word].insert(0, (node, bit))
        below[len(counts) + node] = below.pop(first[1]) + below.pop(second[1])
        heapq.heappush(queue, (first[0] + second[0], len(counts) + node))
    return [([node for node, _ in path], [bit for _, bit in path]) for path in paths]


def hierarchical_softmax_loss(hidden: Array, nodes: Array, bits: Ids) -> float:
    r"""$-\log p(w) = -\sum_{l=1}^{L} \log\sigma\big((1 - 2 b_l)\, u_l^\top h\big)$. Mikolov et al. (b), equation 3.

    ``nodes`` (L, D) are the vectors of the inner nodes on the way to w, ``bits`` (L,) the branches taken. The V
    probabilities sum to one, at a cost of L, about $\log_2 V$, products instead of V. Equation (word_vectors.9).

    >>> round(hierarchical_softmax_loss(np.array([1.0]), np.array([[np.log(3.0)], [0.0]]), np.array([0, 1])), 4)
    0.9808
    """
    return float(np.logaddexp(0, -(1 - 2 * bits) * (nodes @ hidden)).sum())


def hierarchical_softmax_gradient(hidden: Array, nodes: Array, bits: Ids) -> tuple[Array, Array]:
    r"""With $e_l = \sigma(u_l^\top h) - (1 - b_l)$: $\partial h = \sum_l e_l u_l$, $\partial u_l = e_l h$.
    Equation (word_vectors.10).

    >>> hierarchical_softmax_gradient(np.array([2.0]), np.array([[0.0]]), np.array([0]))
    (array([0.]), array([[-1.]]))
    """
    error = sigmoid(nodes @ hidden) - (1 - bits)
    return error @ nodes, error[:, None] * hidden


def co_occurrence(ids: Sequence[int], vocab_size: int, window: int, weigh_distance: bool = True) -> Array:
    r"""$X_{ij} = \sum 1/d$ over the places where $j$ stands $d \le c$ words from $i$, on either side; (V, V).

    Pennington et al., sections 3 and 4.2. ``weigh_distance=False`` counts every place as 1. Equation (word_vectors.11).

    >>> co_occurrence([0, 1, 0, 2], vocab_size=3, window=2)
    array([[1. , 2. , 1. ],
           [2. , 0. , 0.5],
           [1. , 0.5, 0. ]])
    """
    counts = np.zeros((vocab_size, vocab_size))
    for distance in range(1, min(window, len(ids) - 1) + 1):
        for left, right in zip(ids[:-distance], ids[distance:], strict=True):
            counts[left, right] += 1 / distance if weigh_distance else 1.0
            counts[right, left] += 1 / distance if weigh_distance else 1.0
    return counts


def glove_weight(counts: Array, cap: float = 100.0, power: float = 0.75) -> Array:
    r"""$f(x) = \min(1, (x / x_{\max})^{\alpha})$: rare pairs weigh less, frequent ones not without end. Equation 9.
    Equation (word_vectors.12).

    >>> glove_weight(np.array([0.0, 6.25, 100.0, 500.0]))
    array([0.   , 0.125, 1.   , 1.   ])
    """
    return np.minimum(1.0, (counts / cap) ** power)


def _glove_error(words: Array, contexts: Array, biases: Array, context_biases: Array, counts: Array) -> Array:
    """Return prediction minus log count (V, V), 0 where the count is 0."""
    fitted = words @ contexts.T + biases[:, None] + context_biases
    return np.where(counts > 0, fitted - np.log(np.where(counts > 0, counts, 1.0)), 0.0)


def glove_loss(
    words: Array,
    contexts: Array,
    biases: Array,
    context_biases: Array,
    counts: Array,
    cap: float = 100.0,
    power: float = 0.75,
) -> float:
    r"""$J = \sum_{ij} f(X_{ij}) (w_i^\top \tilde w_j + b_i + \tilde b_j - \log X_{ij})^2$. Equation 8.

    ``words``, ``contexts`` (V, D); the biases (V,); ``counts`` (V, V). Pairs never seen have weight 0.
    Equation (word_vectors.13).

    >>> words, biases = np.zeros((2, 1)), np.zeros(2)
    >>> round(glove_loss(words, words, biases, biases, np.array([[0.0, 100.0], [100.0, 0.0]])), 4)  # 2 (log 100)^2
    42.4152
    """
    error = _glove_error(words, contexts, biases, context_biases, counts)
    return float((glove_weight(counts, cap, power) * error**2).sum())


def glove_gradient(
    words: Array,
    contexts: Array,
    biases: Array,
    context_biases: Array,
    counts: Array,
    cap: float = 100.0,
    power: float = 0.75,
) -> tuple[Array, Array, Array, Array]:
    r"""With $e_{ij} = 2 f(X_{ij}) (\ldots)$: $\partial W = e \tilde W$, $\partial \tilde W = e^\top W$,
    $\partial b = \sum_j e_{ij}$, $\partial \tilde b = \sum_i e_{ij}$. Equation (word_vectors.14).

    >>> words, biases = np.ones((2, 1)), np.zeros(2)
    >>> glove_gradient(words, words, biases, biases, np.array([[0.0, 100.0], [0.0, 0.0]]))[2].round(4)
    array([-7.2103,  0.    ])
    """
    error = _glove_error(words, contexts, biases, context_biases, counts)
    error *= 2.0 * glove_weight(counts, cap, power)
    return error @ contexts, error.T @ words, error.sum(axis=1), error.sum(axis=0)


def subwords(word: str, shortest: int = 3, longest: int = 6) -> list[str]:
    r"""$\mathcal{G}_w$: the n-grams of ``<word>``, and ``<word>`` itself. Bojanowski et al., section 3.2.
    Equation (word_vectors.15).

    >>> subwords("where", 3, 3)
    ['<wh', 'whe', 'her', 'ere', 're>', '<where>']
    """
    marked = f"<{word}>"
    grams = [marked[i : i + n] for n in range(shortest, longest + 1) for i in range(len(marked) - n + 1)]
    return [*(gram for gram in grams if gram != marked), marked]


def subword_bucket(gram: str, buckets: int) -> int:
    r"""$h \leftarrow (h \oplus b) \cdot 16777619 \bmod 2^{32}$ over the bytes b: the shared row of an n-gram.

    FNV-1a (Fowler, Noll & Vo; Bojanowski et al., section 3.2). The authors' program reads bytes as signed numbers,
    which changes the result for letters outside ASCII; so does this. Equation (word_vectors.16).

    >>> subword_bucket("<wh", 2_000_000)
    167652
    """
    value = 2166136261
    for byte in gram.encode():
        signed = byte | 0xFFFFFF00 if byte >= 128 else byte
        value = ((value ^ signed) * 16777619) % 2**32
    return value % buckets


def compose(grams: Iterable[str], vectors: Array) -> Array:
    r"""$v_w = \sum_{g \in \mathcal{G}_w} z_g$ with $z$ the rows (buckets, D); (D,). Bojanowski et al., section 3.2.

    A word never met has n-grams that were, and so a vector. The gradient of each $z_g$ is the gradient of $v_w$.
    Equation (word_vectors.17).

    >>> compose(["<wh", "whe"], np.ones((10, 2)))
    array([2., 2.])
    """
    return np.sum([vectors[subword_bucket(gram, len(vectors))] for gram in grams], axis=0)
