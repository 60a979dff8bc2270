r"""The inner loops of skip-gram, CBOW, FastText and GloVe, compiled by numba where it is installed.

Papers: Mikolov et al. 2013 (a, b), Bojanowski et al. 2017, Pennington et al. 2014 (``zhixing.theory.word_vectors``).

For one place of the text, X (C, D) are the vectors that predict and T (M, D) those that are predicted: the word
there and the noise, or the nodes on its path down the tree. Skip-gram is then three small matrix products,

    S = X T^T        E = rate (labels - sigmoid(S))        T += E^T X        X += E T,

CBOW the same with the mean of X for X. What differs from the papers: the noise of a place is drawn once and shared by
its C neighbours (Ji et al. 2016, "Parallelizing Word2Vec in Shared and Distributed Memory"), so that X and T stay
in the nearest cache while each is used C or M times. FastText composes the vectors of a stretch of text first, lets
the stretch change them, and then gives each change to the n-grams of the word: C times less traffic to the big table.

Threads may run ``learn_span`` on the same matrices at the same moment without locks (Recht et al. 2011, "Hogwild!");
numba lets go of the interpreter. Without numba the same functions run as Python with NumPy rows, some fifty times
slower.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiler() -> Callable[[Function], Function] | None:
    try:
        numba = importlib.import_module("numba")
    except ImportError:
        return None
    return numba.njit(nogil=True, fastmath=True, cache=True, error_model="numpy")


_njit = _compiler()
COMPILED = _njit is not None


def compiled(function: Function) -> Function:
    """Return the function compiled on its first call; where numba is absent, plain, with integers that wrap alike."""
    return np.errstate(over="ignore")(function) if _njit is None else _njit(function)


# Rows of a matrix are named by number, not passed as views: a view costs numba as much as ten products.


def _dots_loop(a: Any, i: int, b: Any, j: int, out: Any, at: int) -> None:
    """``out[at : at + 3]`` = row i of a times rows j, j + 1, j + 2 of b."""
    first = second = third = np.float32(0)
    for d in range(a.shape[1]):
        x = a[i, d]
        first += x * b[j, d]
        second += x * b[j + 1, d]
        third += x * b[j + 2, d]
    out[at], out[at + 1], out[at + 2] = first, second, third


def _dots_rows(a: Any, i: int, b: Any, j: int, out: Any, at: int) -> None:
    out[at : at + 3] = b[j : j + 3] @ a[i]


def _add_loop(to: Any, i: int, share: Any, a: Any, j: int) -> None:
    """Row i of ``to`` += share times row j of ``a``."""
    for d in range(to.shape[1]):
        to[i, d] += share * a[j, d]


def _add_rows(to: Any, i: int, share: Any, a: Any, j: int) -> None:
    to[i] += share * a[j]


def _add_three_loop(to: Any, i: int, shares: Any, at: int, step: int, a: Any, j: int) -> None:
    """Row i of ``to`` += the sum of ``shares[at + n step]`` times row j + n of ``a``, n = 0, 1, 2."""
    first, second, third = shares[at], shares[at + step], shares[at + 2 * step]
    for d in range(to.shape[1]):
        to[i, d] += first * a[j, d] + second * a[j + 1, d] + third * a[j + 2, d]


def _add_three_rows(to: Any, i: int, shares: Any, at: int, step: int, a: Any, j: int) -> None:
    to[i] += shares[at : at + 2 * step + 1 : step] @ a[j : j + 3]


def _add_apart_loop(to: Any, i: int, share: Any, a: Any, rows: Any, at: int) -> None:
    """Row i of ``to`` += share times the sum of the rows of ``a`` that ``rows[at : at + 3]`` names."""
    j, k, m = rows[at], rows[at + 1], rows[at + 2]
    for d in range(to.shape[1]):
        to[i, d] += share * (a[j, d] + a[k, d] + a[m, d])


def _add_apart_rows(to: Any, i: int, share: Any, a: Any, rows: Any, at: int) -> None:
    to[i] += share * a[rows[at : at + 3]].sum(axis=0)


def _copy_loop(to: Any, i: int, a: Any, j: int) -> None:
    for d in range(to.shape[1]):
        to[i, d] = a[j, d]


def _copy_rows(to: Any, i: int, a: Any, j: int) -> None:
    to[i] = a[j]


_dots = compiled(_dots_loop) if COMPILED else _dots_rows
_add = compiled(_add_loop) if COMPILED else _add_rows
_add_three = compiled(_add_three_loop) if COMPILED else _add_three_rows
_add_apart = compiled(_add_apart_loop) if COMPILED else _add_apart_rows
_copy = compiled(_copy_loop) if COMPILED else _copy_rows


@compiled
def next_random(state: Any) -> Any:
    """Advance a generator (one uint64) and return its next 64 bits: xorshift64*, Marsaglia 2003, Vigna 2016."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return x * np.uint64(2685821657736338717)


@compiled
def uniform(state: Any) -> Any:
    """Return a number in [0, 1)."""
    return np.float64(next_random(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def draw_noise(state: Any, kept: Any, alias: Any) -> Any:
    """Return a word from the alias tables (V,) of a distribution: Walker 1977. Its cost does not grow with V."""
    place = uniform(state) * len(kept)
    word = int(place)
    return word if place - word < kept[word] else alias[word]


@compiled
def errors_of(scores: Any, rows: int, width: int, labels: Any, rate: Any) -> None:
    """Replace scores, ``rows`` times ``width`` of them, by ``rate (label - sigmoid(score))``; ``labels`` (width,).

    sigmoid(x) = (1 + tanh(x/2)) / 2 and tanh(2y) = 2t / (1 + t^2) with t = tanh(y) by Lambert's continued fraction:
    only products and divisions, so that the loop is vectorised; within 2e-7 of the truth.
    """
    for i in range(rows * width):
        y = min(max(scores[i], np.float32(-16)), np.float32(16)) * np.float32(0.25)
        z = y * y
        above = y * (np.float32(2027025) + z * (np.float32(270270) + z * (np.float32(6930) + z * np.float32(36))))
        below = np.float32(2027025) + z * (np.float32(945945) + z * (np.float32(51975) + z * (np.float32(630) + z)))
        scores[i] = np.float32(0.5) + above * below / (below * below + above * above)
    for row in range(rows):
        for k in range(width):
            scores[row * width + k] = rate * (labels[k] - scores[row * width + k])


class Noise(NamedTuple):
    """Alias tables of the noise distribution; empty: hierarchical softmax."""

    kept: Any
    """(V,) float64."""
    alias: Any
    """(V,) int32."""


class Paths(NamedTuple):
    """The way from the tree's root to each word; empty: negative sampling."""

    starts: Any
    """(V + 1,) int64: the path of w is ``nodes[starts[w] : starts[w + 1]]``."""
    nodes: Any
    """int32 rows of the outputs."""
    labels: Any
    """float32: 1 minus the bit."""


class Grams(NamedTuple):
    """The rows a word is the mean of; empty: a word is its own row."""

    starts: Any
    """(V + 1,) int64."""
    rows: Any
    """int32 rows of the inputs."""


class Plan(NamedTuple):
    """What a span is learned with."""

    window: int
    negatives: int
    cbow: bool
    stretch: int
    """Words at most between which neighbours are looked for."""
    first_rate: float
    last_rate: float


class Scratch(NamedTuple):
    """Room for one stretch and one place."""

    words: Any
    """(stretch,) int32: what thinning left."""
    rows: Any
    """(stretch,) int32: the rows of ``source`` that stand for the words."""
    near: Any
    """(2 window + 3, D): X, and zeros up to a multiple of three."""
    near_rows: Any
    far: Any
    """(longest + 3, D): T, likewise."""
    far_rows: Any
    labels: Any
    """(longest + 3,)."""
    scores: Any
    """((2 window + 3) * (longest + 3),): S, then E."""
    mean: Any
    """(2, D): CBOW's mean, and the change to it."""
    nothing: Any
    """(1, D): zeros."""


@compiled
def make_scratch(width: int, window: int, longest: int, stretch: int) -> Any:
    """Return room for ``window`` neighbours on each side and ``longest`` rows predicted."""
    near, far = 2 * window + 3, longest + 3
    return Scratch(
        np.zeros(stretch, np.int32),
        np.zeros(stretch, np.int32),
        np.zeros((near, width), np.float32),
        np.zeros(near, np.int32),
        np.zeros((far, width), np.float32),
        np.zeros(far, np.int32),
        np.zeros(far, np.float32),
        np.zeros(near * far, np.float32),
        np.zeros((2, width), np.float32),
        np.zeros((1, width), np.float32),
    )


@compiled
def _read_stretch(text: Any, position: int, end: int, keep: Any, words: Any, state: Any) -> tuple[int, int]:
    """Fill ``words`` up to the end of a sentence (-1); return how many, and where to go on."""
    count = 0
    while position < end and count < len(words):
        word = text[position]
        position += 1
        if word < 0:
            if count:
                break
        elif keep[word] >= 1.0 or uniform(state) < keep[word]:
            words[count] = word
            count += 1
    return count, position


@compiled
def _gather_far(word: int, outputs: Any, noise: Noise, paths: Paths, negatives: int, held: Scratch, state: Any) -> int:
    """Fill T and the labels; return M. Noise that is the word itself is left out, as in the authors' program."""
    far, rows, labels = held.far, held.far_rows, held.labels
    count = 0
    if negatives:
        kept, alias = noise.kept, noise.alias
        rows[0], labels[0] = word, 1.0
        count = 1
        for _ in range(negatives):
            drawn = draw_noise(state, kept, alias)
            if drawn != word:
                rows[count], labels[count] = drawn, 0.0
                count += 1
    else:
        nodes, bits = paths.nodes, paths.labels
        for i in range(paths.starts[word], paths.starts[word + 1]):
            rows[count], labels[count] = nodes[i], bits[i]
            count += 1
    for k in range(count):
        _copy(far, k, outputs, rows[k])
    for k in range(count, (count + 2) // 3 * 3):
        _copy(far, k, held.nothing, 0)
    return count


@compiled
def _gather_near(t: int, low: int, high: int, source: Any, copied: bool, held: Scratch) -> int:
    """List the neighbours of place t, and fill X with their vectors if they are to be copied; return C."""
    near, near_rows, rows = held.near, held.near_rows, held.rows
    count = 0
    for place in range(low, high):
        if place != t:
            near_rows[count] = rows[place]
            if copied:
                _copy(near, count, source, rows[place])
            count += 1
    for c in range(count, (count + 2) // 3 * 3):
        _copy(near, c, held.nothing, 0)
    return count


@compiled
def skip_gram_place(source: Any, outputs: Any, near: int, far: int, rate: Any, held: Scratch) -> None:
    """Each of C neighbours' vectors predicts the place."""
    x, x_rows, t, t_rows, scores = held.near, held.near_rows, held.far, held.far_rows, held.scores
    width = (far + 2) // 3 * 3
    for c in range(near):
        for k in range(0, far, 3):
            _dots(x, c, t, k, scores, c * width + k)
    errors_of(scores, near, width, held.labels, rate)
    for k in range(far):
        for c in range(0, near, 3):
            _add_three(outputs, t_rows[k], scores, c * width + k, width, x, c)
    for c in range(near):
        for k in range(0, far, 3):
            _add_three(source, x_rows[c], scores, c * width + k, 1, t, k)


@compiled
def cbow_place(source: Any, outputs: Any, near: int, far: int, rate: Any, held: Scratch) -> None:
    """The mean of C neighbours' vectors predicts the place; each gets its share, 1/C, of the change."""
    x_rows, t, t_rows, scores, mean = held.near_rows, held.far, held.far_rows, held.scores, held.mean
    share = np.float32(1) / np.float32(near)
    _copy(mean, 0, held.nothing, 0)
    _copy(mean, 1, held.nothing, 0)
    threes = near // 3 * 3
    for c in range(0, threes, 3):
        _add_apart(mean, 0, share, source, x_rows, c)
    for c in range(threes, near):
        _add(mean, 0, share, source, x_rows[c])
    for k in range(0, far, 3):
        _dots(mean, 0, t, k, scores, k)
    errors_of(scores, 1, far, held.labels, rate)
    for k in range(far):
        _add(outputs, t_rows[k], scores[k], mean, 0)
    for k in range(0, far, 3):
        _add_three(mean, 1, scores, k, 1, t, k)
    for c in range(near):
        _add(source, x_rows[c], share, mean, 1)


@compiled
def _compose(
    words: Any, count: int, inputs: Any, grams: Grams, slots: Any, before: Any, slot_of: Any, rows: Any
) -> int:
    """Give each distinct word of a stretch a slot, the mean of its rows; return how many."""
    used = 0
    for t in range(count):
        word = words[t]
        slot = slot_of[word]
        if slot < 0:
            slot, used = used, used + 1
            slot_of[word] = slot
            first, last = grams.starts[word], grams.starts[word + 1]
            share = np.float32(1) / np.float32(last - first)
            for d in range(slots.shape[1]):
                slots[slot, d] = 0
            for i in range(first, last):
                _add(slots, slot, share, inputs, grams.rows[i])
            _copy(before, slot, slots, slot)
        rows[t] = slot
    return used


@compiled
def _spread(words: Any, count: int, inputs: Any, grams: Grams, slots: Any, before: Any, slot_of: Any) -> None:
    """Give the change of each slot to every row of its word, and free the slots."""
    for t in range(count):
        word = words[t]
        slot = slot_of[word]
        if slot >= 0:
            slot_of[word] = -1
            _add(slots, slot, np.float32(-1), before, slot)
            for i in range(grams.starts[word], grams.starts[word + 1]):
                _add(inputs, grams.rows[i], np.float32(1), slots, slot)


@compiled
def learn_stretch(
    count: int,
    source: Any,
    outputs: Any,
    noise: Noise,
    paths: Paths,
    plan: Plan,
    rate: Any,
    held: Scratch,
    state: Any,
) -> None:
    """Learn every place of a stretch with a window drawn for it."""
    for t in range(count):
        reach = 1 + int(uniform(state) * plan.window)
        near = _gather_near(t, max(0, t - reach), min(count, t + reach + 1), source, not plan.cbow, held)
        if near:
            far = _gather_far(held.words[t], outputs, noise, paths, plan.negatives, held, state)
            if plan.cbow:
                cbow_place(source, outputs, near, far, rate, held)
            else:
                skip_gram_place(source, outputs, near, far, rate, held)


@compiled
def learn_span(
    text: Any,
    begin: int,
    end: int,
    inputs: Any,
    outputs: Any,
    keep: Any,
    noise: Noise,
    paths: Paths,
    grams: Grams,
    longest: int,
    plan: Plan,
    state: Any,
) -> int:
    """Learn from ``text[begin:end]`` in place; return how many words thinning left.

    Args:
        text: int32 words, -1 between sentences.
        begin: the first place.
        end: after the last.
        inputs: (rows, D) float32.
        outputs: (V, D) float32, or (V - 1, D) for the nodes of a tree.
        keep: (V,) float64, how often each word is kept.
        noise: for negative sampling.
        paths: for hierarchical softmax.
        grams: for FastText.
        longest: most rows that one place predicts.
        plan: window, rates, ...
        state: (1,) uint64, of the random numbers; left where the next span begins.
    """
    held = make_scratch(inputs.shape[1], plan.window, longest, plan.stretch)
    composed = len(grams.starts) > 0
    room = plan.stretch if composed else 1
    slots = np.zeros((room, inputs.shape[1]), np.float32)
    before = np.zeros((room, inputs.shape[1]), np.float32)
    slot_of = np.full(len(keep) if composed else 1, -1, np.int32)
    position, learned = begin, 0
    while position < end:
        rate = np.float32(plan.first_rate + (plan.last_rate - plan.first_rate) * (position - begin) / (end - begin))
        count, position = _read_stretch(text, position, end, keep, held.words, state)
        if composed:
            _compose(held.words, count, inputs, grams, slots, before, slot_of, held.rows)
            learn_stretch(count, slots, outputs, noise, paths, plan, rate, held, state)
            _spread(held.words, count, inputs, grams, slots, before, slot_of)
        else:
            held.rows[:count] = held.words[:count]
            learn_stretch(count, inputs, outputs, noise, paths, plan, rate, held, state)
        learned += count
    return learned


@compiled
def learn_counts(
    order: Any, rows: Any, columns: Any, counts: Any, weights: Any, sums: Any, rate: float, cap: float, power: float
) -> float:
    """Fit GloVe to the co-occurrences ``order`` names, in place, by AdaGrad; return the loss met on the way.

    Args:
        order: int64 numbers of co-occurrences.
        rows: int32 words.
        columns: int32 words beside them.
        counts: float32 how often, weighed by distance.
        weights: (2 V, D + 1) float32: the words' vectors and biases, then the contexts'.
        sums: likewise, the squared gradients so far (they start at 1).
        rate: AdaGrad's.
        cap: count from which a pair weighs 1.
        power: of the weight below.
    """
    width, size, loss = weights.shape[1] - 1, len(weights) // 2, 0.0
    for at in range(len(order)):
        n = order[at]
        i, j, count = rows[n], columns[n] + size, counts[n]
        fitted = weights[i, width] + weights[j, width]
        for d in range(width):
            fitted += weights[i, d] * weights[j, d]
        off = fitted - np.float32(np.log(count))
        share = np.float32(min(1.0, (count / cap) ** power))
        loss += share * off * off
        slope = np.float32(2) * share * off
        for d in range(width + 1):
            of_row = slope * (weights[j, d] if d < width else np.float32(1))
            of_column = slope * (weights[i, d] if d < width else np.float32(1))
            weights[i, d] -= np.float32(rate) * of_row / np.sqrt(sums[i, d])
            weights[j, d] -= np.float32(rate) * of_column / np.sqrt(sums[j, d])
            sums[i, d] += of_row * of_row
            sums[j, d] += of_column * of_column
    return loss
