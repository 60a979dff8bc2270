"""Word vectors: one place of the text at a time in ``theory``, and the compiled inner loops that learn them.

Production changes weights in place, so its gradient is what a step at rate 1 takes away.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw, normal
from zhixing.models import word_vector_kernels as kernels
from zhixing.models import word_vector_tables as tables
from zhixing.models import word_vectors as practice
from zhixing.theory import word_vectors as theory

WORDS, WIDTH, CONTEXT, NEGATIVES, BUCKETS = 12, 7, 4, 5, 50
SUMS = "sums of a few products in float32, and a sigmoid within 2e-7"


def _counts(rng: np.random.Generator) -> Any:
    return rng.integers(1, 500, WORDS)


def _noise(rng: np.random.Generator) -> Any:
    """Noise words; not 0, which is the word predicted."""
    return rng.integers(1, WORDS, NEGATIVES)


def _context(rng: np.random.Generator) -> Any:
    """Neighbours; one may stand there twice."""
    return rng.integers(1, WORDS, CONTEXT)


def _text(rng: np.random.Generator) -> Any:
    return rng.integers(0, WORDS, 60)


TABLES = {"inputs": normal(WORDS, WIDTH), "outputs": normal(WORDS, WIDTH)}


def step(inputs: Any, outputs: Any, near: Any, far: Any, labels: Any, cbow: bool) -> tuple[Any, Any]:
    """Return what one place of the text takes away from both tables at rate 1."""
    source, target = inputs.astype(np.float32), outputs.astype(np.float32)
    held = kernels.make_scratch(source.shape[1], len(near), len(far), 1)
    held.near_rows[: len(near)], held.far_rows[: len(far)] = near, far
    held.near[: len(near)], held.far[: len(far)] = source[near], target[far]
    held.labels[: len(far)] = labels
    place = kernels.cbow_place if cbow else kernels.skip_gram_place
    place(source, target, len(near), len(far), np.float32(1), held)
    return inputs.astype(np.float32) - source, outputs.astype(np.float32) - target


def _labels(noise: Any) -> Any:
    return np.array([1.0, *(0.0 for _ in noise)])


def _skip_gram(inputs: Any, outputs: Any, context: Any, noise: Any) -> Any:
    """All neighbours of a place, which share its noise."""
    found = [theory.skip_gram_gradient(inputs, outputs, int(c), 0, noise) for c in context]
    return sum(a for a, _ in found), sum(b for _, b in found)


def _skip_gram_practice(inputs: Any, outputs: Any, context: Any, noise: Any) -> Any:
    return step(inputs, outputs, context, np.append(0, noise), _labels(noise), cbow=False)


def _cbow_practice(inputs: Any, outputs: Any, context: Any, noise: Any) -> Any:
    return step(inputs, outputs, context, np.append(0, noise), _labels(noise), cbow=True)


def _tree(inputs: Any, outputs: Any, counts: Any) -> Any:
    """Word 3 predicts each word in turn."""
    of_inputs, of_nodes = np.zeros_like(inputs), np.zeros_like(outputs)
    for nodes, bits in theory.huffman_codes(counts.tolist()):
        hidden, change = theory.hierarchical_softmax_gradient(inputs[3], outputs[nodes], np.array(bits))
        of_inputs[3] += hidden
        of_nodes[nodes] += change
    return of_inputs, of_nodes


def _tree_practice(inputs: Any, outputs: Any, counts: Any) -> Any:
    paths = tables.huffman_paths(counts)
    changes = []
    for a, b in zip(paths.starts[:-1], paths.starts[1:], strict=True):
        changes.append(step(inputs, outputs, np.array([3]), paths.nodes[a:b], paths.labels[a:b], cbow=False))
    return sum(a for a, _ in changes), sum(b for _, b in changes)


def _codes(counts: Any) -> Any:
    codes = theory.huffman_codes(counts.tolist())
    return np.concatenate([n for n, _ in codes]), np.concatenate([b for _, b in codes])


def _codes_practice(counts: Any) -> Any:
    paths = tables.huffman_paths(counts)
    return paths.nodes.astype(np.float64), 1.0 - paths.labels


def _noise_practice(counts: Any) -> Any:
    """Undo the alias tables: what each word is drawn with in the end."""
    found = tables.noise_tables(tables.noise_probabilities(counts, 0.75))
    drawn = found.kept / len(counts)
    np.add.at(drawn, found.alias, (1 - found.kept) / len(counts))
    return drawn


def _co_occurrence_practice(ids: Any) -> Any:
    rows, columns, counts = tables.co_occurrences(ids.astype(np.int32), WORDS, 5)
    table = np.zeros((WORDS, WORDS))
    table[rows, columns] = counts
    return table


def _pairs(ids: Any) -> Any:
    return np.array(sorted(a * WORDS + b for a, b in theory.window_pairs(ids.tolist(), 5)))


def _pairs_practice(ids: Any) -> Any:
    found = tables.neighbours(ids.astype(np.int32), 0, len(ids), WORDS, 5)
    return np.sort(np.concatenate([keys for keys, _ in found])).astype(np.float64)


def _glove(words: Any, contexts: Any, biases: Any, context_biases: Any, counts: Any) -> Any:
    given = (words, contexts, biases, context_biases, counts)
    return (np.array(theory.glove_loss(*given)), *theory.glove_gradient(*given))


def _glove_practice(words: Any, contexts: Any, biases: Any, context_biases: Any, counts: Any) -> Any:
    """Each pair alone, from the same start: AdaGrad's first step is the gradient itself."""
    start = np.concatenate([np.c_[words, biases], np.c_[contexts, context_biases]]).astype(np.float32)
    rows, columns = np.nonzero(counts)
    values = counts[rows, columns].astype(np.float32)
    taken, loss = np.zeros(start.shape), 0.0
    for n in range(len(rows)):
        weights, given = start.copy(), (rows.astype(np.int32), columns.astype(np.int32), values)
        loss += kernels.learn_counts(np.array([n]), *given, weights, np.ones_like(start), 1.0, 100.0, 0.75)
        taken += start - weights
    return np.array(loss), taken[:WORDS, :-1], taken[WORDS:, :-1], taken[:WORDS, -1], taken[WORDS:, -1]


def _sparse_counts(rng: np.random.Generator) -> Any:
    return rng.integers(1, 300, (WORDS, WORDS)) * (rng.random((WORDS, WORDS)) < 0.4) * 1.0


SPELLED = ("where", "wo", "知行合一", "naïve", "a")


def _grams(letters: Any) -> Any:
    words = [word[: int(n)] for word, n in zip(SPELLED, letters, strict=True)]
    found = [sorted(set(theory.subwords(word))) for word in words]
    return np.array([theory.subword_bucket(gram, 1000) for grams in found for gram in grams])


def _grams_practice(letters: Any) -> Any:
    """Production gives the whole word, if it is long, a row of its own."""
    words = [word[: int(n)] for word, n in zip(SPELLED, letters, strict=True)]
    found = [sorted({*tables.word_grams(word, 3, 6), f"<{word}>"}) for word in words]
    return np.array([tables.gram_bucket(gram, 1000) for grams in found for gram in grams], np.float64)


def _compose_practice(vectors: Any) -> Any:
    """Production takes the mean, as the authors' program does."""
    grams = tables.word_grams("where", 3, 6)
    return len(grams) * practice.mean_of_grams(grams, vectors)


def _row(name: str, states: tuple[Any, ...], formula: Any, function: Any, **settings: Any) -> Row:
    given: dict[str, Any] = {"tolerance": 16.0, "reason": SUMS, "takes": "arrays", "coarsest": "float32"}
    return Row(
        name=f"word_vectors.{name}", family="word_vectors", states=states, theory=formula, practice=function,
        **given | settings,
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    _row(
        "skip_gram",
        (theory.skip_gram_gradient, theory.negative_sampling_gradient),
        _skip_gram,
        _skip_gram_practice,
        inputs=draw(context=_context, noise=_noise, **TABLES),
    ),
    _row(
        "cbow",
        (theory.cbow_gradient,),
        lambda inputs, outputs, context, noise: theory.cbow_gradient(inputs, outputs, context, 0, noise),
        _cbow_practice,
        inputs=draw(context=_context, noise=_noise, **TABLES),
    ),
    _row(
        "hierarchical_softmax",
        (theory.hierarchical_softmax_gradient,),
        _tree,
        _tree_practice,
        inputs=draw(counts=_counts, **TABLES),
    ),
    _row(
        "huffman",
        (theory.huffman_codes,),
        _codes,
        _codes_practice,
        inputs=draw(counts=_counts),
        tolerance=0.0,
        reason="a path is the same or not",
    ),
    _row(
        "noise",
        (theory.noise_distribution,),
        theory.noise_distribution,
        _noise_practice,
        inputs=draw(counts=_counts),
        coarsest=None,
        reason="a share is moved in parts and added up again",
    ),
    _row(
        "thinning",
        (theory.keep_probability,),
        lambda counts: theory.keep_probability(counts, 0.05),
        lambda counts: tables.keep_probabilities(counts, 0.05),
        inputs=draw(counts=_counts),
        coarsest=None,
        tolerance=2.0,
        reason="two divisions and a root",
    ),
    _row(
        "window_pairs",
        (theory.window_pairs,),
        _pairs,
        _pairs_practice,
        inputs=draw(ids=_text),
        tolerance=0.0,
        reason="a pair is the same or not",
    ),
    _row(
        "co_occurrence",
        (theory.co_occurrence,),
        lambda ids: theory.co_occurrence(ids.tolist(), WORDS, 5),
        _co_occurrence_practice,
        inputs=draw(ids=_text),
        tolerance=2.0,
        reason="counts are rounded to float32 once",
    ),
    _row(
        "glove",
        (theory.glove_loss, theory.glove_gradient, theory.glove_weight),
        _glove,
        _glove_practice,
        inputs=draw(
            words=normal(WORDS, WIDTH, scale=0.5),
            contexts=normal(WORDS, WIDTH, scale=0.5),
            biases=normal(WORDS),
            context_biases=normal(WORDS),
            counts=_sparse_counts,
        ),
        tolerance=64.0,
        reason="each change is the difference of two float32 weights, and dozens of them are added",
    ),
    _row(
        "subwords",
        (theory.subwords, theory.subword_bucket),
        _grams,
        _grams_practice,
        inputs=draw(letters=lambda rng: rng.integers(1, 6, len(SPELLED))),
        tolerance=0.0,
        reason="a row is the same or not",
    ),
    _row(
        "compose",
        (theory.compose,),
        lambda vectors: theory.compose(tables.word_grams("where", 3, 6), vectors),
        _compose_practice,
        inputs=draw(vectors=normal(BUCKETS, WIDTH)),
        coarsest=None,
        reason="the mean of a dozen rows, times their number",
    ),
)
