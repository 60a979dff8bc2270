"""The course of training word vectors: portion after portion of the text, each shared out among threads.

With one worker the result is a function of text, settings and seed, whether or not it was interrupted: random
numbers are drawn from the seed and the portion's number. With more, threads write into each other's rows without locks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.models.word_vector_kernels import Plan, learn_counts, learn_span
from zhixing.models.word_vector_tables import (
    co_occurrences,
    gram_tables,
    huffman_paths,
    keep_probabilities,
    no_grams,
    no_noise,
    no_paths,
    noise_probabilities,
    noise_tables,
)
from zhixing.models.word_vectors import WordVectors, WordVectorSettings
from zhixing.pretraining.word_text import WordText, number_words

_PLACES = 200_000
"""Places of the text, or co-occurrences, that a worker learns from before all meet: a second or less."""
_STRETCH, _COMPOSED_STRETCH = 1000, 128
"""Words among which neighbours are looked for; where words are composed, a stretch sees its own changes only."""
_LEAST_RATE = 1e-4
"""Share of the learning rate that is left at the end."""

Span = tuple[int, int]


class Learner:
    """Weights on their way; ``done`` of ``portions`` are learned."""

    weights: dict[str, NDArray[np.float32]]

    def __init__(self, places: int, settings: WordVectorSettings, seed: int) -> None:
        self.settings, self.seed, self.done = settings, seed, 0
        self.places = places
        step = _PLACES * settings.workers
        self._spans: list[Span] = [(begin, min(begin + step, places)) for begin in range(0, places, step)]

    @property
    def portions(self) -> int:
        """Portions of all passes together."""
        return len(self._spans) * self.settings.epochs

    def advance(self) -> int:
        """Learn the next portion; return its places. A signal that comes meanwhile is raised when it is done."""
        epoch, number = divmod(self.done, len(self._spans))
        begin, end = self._spans[number]
        cuts = np.linspace(begin, end, self.settings.workers + 1).astype(np.int64).tolist()
        jobs = [self._job(epoch, first, last, worker) for worker, (first, last) in enumerate(pairwise(cuts))]
        with np.errstate(over="ignore"), ThreadPoolExecutor(len(jobs)) as pool:
            running = [pool.submit(job) for job in jobs]
            try:
                for future in running:
                    future.result()
            finally:
                pool.shutdown(wait=True)
                self.done += all(future.done() and future.exception() is None for future in running)
        return end - begin

    def _job(self, epoch: int, begin: int, end: int, worker: int) -> Callable[[], object]:
        raise NotImplementedError

    def finished(self) -> WordVectors:
        """Return the vectors as they are now."""
        raise NotImplementedError

    def restore(self, weights: Mapping[str, NDArray[Any]], done: int) -> None:
        """Go on from weights saved after ``done`` portions."""
        for name, value in weights.items():
            self.weights[name][...] = value
        self.done = done


class TextLearner(Learner):
    """Skip-gram, CBOW and FastText: from the text itself."""

    def __init__(self, words: WordText, settings: WordVectorSettings, seed: int) -> None:
        super().__init__(len(words.text), settings, seed)
        self.words = words
        tree = settings.loss == "hierarchical_softmax"
        self.keep = keep_probabilities(words.counts, settings.thinning)
        noise = no_noise() if tree else noise_tables(noise_probabilities(words.counts, settings.noise_power))
        paths = huffman_paths(words.counts) if tree else no_paths()
        longest = int(np.diff(paths.starts).max()) if tree else settings.negatives + 1
        sizes = (settings.shortest_gram, settings.longest_gram, settings.buckets)
        grams = gram_tables(words.words, *sizes) if settings.subwords else no_grams()
        self.tables = (noise, paths, grams, longest)
        rows = len(words.words) + settings.buckets * settings.subwords
        scale = (1.0 if settings.subwords else 0.5) / settings.width
        drawn = np.random.default_rng(seed).random((rows, settings.width), np.float32)
        drawn -= np.float32(0.5)
        drawn *= np.float32(2 * scale)
        self.weights = {"inputs": drawn, "outputs": np.zeros((len(words.words), settings.width), np.float32)}

    def _rate(self, epoch: int, place: int) -> float:
        passed = (epoch * self.places + place) / (self.settings.epochs * self.places)
        return self.settings.rate * max(1 - passed, _LEAST_RATE)

    def _job(self, epoch: int, begin: int, end: int, worker: int) -> Callable[[], object]:
        settings = self.settings
        plan = Plan(
            settings.window,
            0 if settings.loss == "hierarchical_softmax" else settings.negatives,
            settings.kind == "cbow",
            _COMPOSED_STRETCH if settings.subwords else _STRETCH,
            self._rate(epoch, begin),
            self._rate(epoch, end),
        )
        state = np.random.SeedSequence([self.seed, self.done, worker]).generate_state(1, np.uint64) | np.uint64(1)
        inputs, outputs = self.weights["inputs"], self.weights["outputs"]
        text = self.words.text
        return lambda: learn_span(text, begin, end, inputs, outputs, self.keep, *self.tables, plan, state)

    def finished(self) -> WordVectors:
        """Return the vectors as they are now; with n-grams, each word's mean."""
        settings, inputs = self.settings, self.weights["inputs"]
        made_by, names = settings.model_dump(mode="json"), self.words.words
        if not settings.subwords:
            return WordVectors(names, inputs, made_by=made_by)
        starts, rows = self.tables[2]
        vectors = np.stack([inputs[rows[a:b]].mean(axis=0) for a, b in pairwise(starts)])
        lengths = (settings.shortest_gram, settings.longest_gram)
        return WordVectors(names, vectors, inputs[len(names) :], lengths, made_by)


class CountLearner(Learner):
    """GloVe: from how often words stand beside each other."""

    def __init__(self, words: WordText, settings: WordVectorSettings, seed: int) -> None:
        self.words = words
        self.counted = co_occurrences(words.text, len(words.words), settings.window)
        super().__init__(len(self.counted[0]), settings, seed)
        shape = (2 * len(words.words), settings.width + 1)
        drawn = (np.random.default_rng(seed).random(shape, np.float32) - np.float32(0.5)) / np.float32(shape[1])
        self.weights = {"weights": drawn, "sums": np.ones(shape, np.float32)}
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def _job(self, epoch: int, begin: int, end: int, worker: int) -> Callable[[], object]:
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.places))
        order, settings = self._order[1][begin:end], self.settings
        weights, sums = self.weights["weights"], self.weights["sums"]
        shape = (settings.rate, settings.count_cap, settings.count_power)
        return lambda: learn_counts(order, *self.counted, weights, sums, *shape)

    def finished(self) -> WordVectors:
        """Return the sum of each word's two vectors."""
        size, weights = len(self.words.words), self.weights["weights"]
        vectors = weights[:size, :-1] + weights[size:, :-1]
        return WordVectors(self.words.words, vectors, made_by=self.settings.model_dump(mode="json"))


def learner_for(words: WordText, settings: WordVectorSettings, seed: int) -> Learner:
    """Return what learns vectors of the settings' kind, at its start."""
    kind: type[CountLearner] | type[TextLearner] = CountLearner if settings.kind == "glove" else TextLearner
    return kind(words, settings, seed)


def learn(sentences: Sequence[list[str]], settings: WordVectorSettings, seed: int = 0) -> WordVectors:
    """Return vectors of the words of sentences: the whole of training in one call.

    Raises:
        DataError: fewer than two words are frequent enough.
    """
    learner = learner_for(number_words(sentences, settings), settings, seed)
    while learner.done < learner.portions:
        learner.advance()
    return learner.finished()
