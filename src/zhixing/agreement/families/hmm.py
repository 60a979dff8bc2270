"""Hidden Markov models, one text at a time in ``theory`` and as matrices of texts in ``zhixing.models.hmm``."""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw
from zhixing.models import hmm as practice
from zhixing.models import hmm_passes as passes
from zhixing.theory import hmm as theory

STATES, VOCABULARY, TEXTS, LENGTH, SMOOTHING = 4, 9, 6, 25, 0.1
TOLERANCE = 64.0
REASON = "25 steps, each a sum over 4 states that BLAS may add in another order"


def _shares(rows: int, columns: int) -> Any:
    return lambda rng: rng.dirichlet(np.ones(columns), rows)


def _ids(rng: np.random.Generator) -> Any:
    return rng.integers(VOCABULARY, size=(TEXTS, LENGTH))


def _tags(rng: np.random.Generator) -> Any:
    return rng.integers(STATES, size=(TEXTS, LENGTH))


PARAMETERS = {
    "start": _shares(1, STATES),
    "transition": _shares(STATES, STATES),
    "emission": _shares(STATES, VOCABULARY),
}


def _stated(start: Any, transition: Any, emission: Any) -> theory.HiddenMarkovModel:
    return theory.HiddenMarkovModel(start[0], transition, emission)


def _built(start: Any, transition: Any, emission: Any) -> passes.Parameters:
    return passes.Parameters(start[0], transition, emission)


def _step(ids: Any, **parameters: Any) -> Any:
    model = theory.baum_welch_step(_stated(**parameters), ids, SMOOTHING)
    return model.start, model.transition, model.emission


def _step_practice(ids: Any, **parameters: Any) -> Any:
    found = practice.maximise(passes.expected_counts(_built(**parameters), ids), SMOOTHING)
    return found.start, found.transition, found.emission


def _ragged(ids: Any) -> Any:
    """Texts of 25, 24, ... ids."""
    return [row[: len(row) - index] for index, row in enumerate(ids)]


def _counts(ids: Any, **parameters: Any) -> Any:
    texts, model = _ragged(ids), _stated(**parameters)
    nats = sum(theory.log_likelihood(model, text) for text in texts)
    return (*theory.expected_counts(model, texts), np.array(nats))


def _counts_practice(ids: Any, **parameters: Any) -> Any:
    windows = passes.cut_windows(_ragged(ids), LENGTH, VOCABULARY)
    found = passes.expected_counts(_built(**parameters), windows)
    return found.start, found.transition, found.emission, np.array(found.nats)


def _posteriors_summed(ids: Any, **parameters: Any) -> Any:
    """The starts two ways, and the moves: what the recursions give for one text."""
    model, (text,) = _stated(**parameters), ids[:1]
    alpha, scale = theory.forward(model, text)
    first = alpha[0] * theory.backward(model, text, scale)[0]
    moves = theory.transition_posteriors(model, text).sum(axis=0)
    return first, theory.state_posteriors(model, text)[0], moves


def _posteriors_practice(ids: Any, **parameters: Any) -> Any:
    found = passes.expected_counts(_built(**parameters), ids[:1])
    return found.start, found.start, found.transition


def _next(ids: Any, **parameters: Any) -> Any:
    return np.log([theory.next_symbol(_stated(**parameters), row) for row in ids])


def _next_practice(ids: Any, **parameters: Any) -> Any:
    model = practice.HmmModel(_built(**parameters))
    return model.next_log_probs(ids, model.initial_state(len(ids)))[0]


def _score(ids: Any, **parameters: Any) -> Any:
    return [np.log(theory.forward(_stated(**parameters), row)[1][1:]) for row in ids]


def _paths(ids: Any, **parameters: Any) -> Any:
    return np.array([theory.viterbi(_stated(**parameters), row) for row in ids])


def _tagged(tags: Any, ids: Any) -> Any:
    model = theory.count_tagged(tags, ids, STATES, VOCABULARY, SMOOTHING)
    return model.start, model.transition, model.emission


def _tagged_practice(tags: Any, ids: Any) -> Any:
    found = practice.HmmModel.fit_tagged(tags, ids, STATES, VOCABULARY, SMOOTHING).parameters
    return found.start, found.transition, found.emission


def _row(name: str, states: tuple[Any, ...], formula: Any, function: Any, **settings: Any) -> Row:
    given: dict[str, Any] = {
        "inputs": draw(ids=_ids, **PARAMETERS),
        "tolerance": TOLERANCE,
        "reason": REASON,
        "takes": "arrays",
    }
    return Row(name=f"hmm.{name}", family="hmm", states=states, theory=formula, practice=function, **given | settings)


ROWS: tuple[Row, ...] = (
    _row("expected_counts", (theory.expected_counts, theory.log_likelihood), _counts, _counts_practice),
    _row(
        "posteriors",
        (theory.forward, theory.backward, theory.state_posteriors, theory.transition_posteriors),
        _posteriors_summed,
        _posteriors_practice,
    ),
    _row("baum_welch", (theory.baum_welch_step, theory.normalise), _step, _step_practice),
    _row(
        "next_symbol",
        (theory.next_symbol,),
        _next,
        _next_practice,
        tolerance=2.0,
        reason="log-probabilities are rounded to float32 once",
        coarsest="float32",
    ),
    _row(
        "score",
        (theory.forward,),
        _score,
        lambda ids, **parameters: list(practice.HmmModel(_built(**parameters)).score(ids)),
        tolerance=2.0,
        reason="log-probabilities are rounded to float32 once",
        coarsest="float32",
    ),
    _row(
        "viterbi",
        (theory.viterbi, theory.viterbi_scores),
        _paths,
        lambda ids, **parameters: practice.HmmModel(_built(**parameters)).tag(ids),
        tolerance=0.0,
        reason="a path is the same or not",
    ),
    _row(
        "tagged",
        (theory.count_tagged,),
        _tagged,
        _tagged_practice,
        inputs=draw(tags=_tags, ids=_ids),
        tolerance=2.0,
        reason="whole numbers are counted, and divided once",
    ),
)
