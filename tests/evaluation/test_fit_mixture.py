import numpy as np
import pytest

from zhixing.errors import ConfigError, DataError
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.evaluation.fit_mixture import context_gate, em_step, fit_mixture, gate_loss, gather, static_gate
from zhixing.evaluation.perplexity import score_documents
from zhixing.theory.mixture import table_em_step

V = 16


class Unigram:
    """The same distribution whatever the context."""

    family = "unigram"
    vocab_size, context_length = V, None

    def __init__(self, probabilities):
        self.log_probs = np.log(probabilities).astype(np.float32)

    def initial_state(self, batch):
        return batch

    def next_log_probs(self, ids, state, lengths=None):
        return np.tile(self.log_probs, (len(ids), 1)), state

    def score(self, ids, lengths=None):
        out = self.log_probs[ids[:, 1:]]
        return out if lengths is None else np.where(np.arange(out.shape[1]) < lengths[:, None] - 1, out, 0)

    def keep_rows(self, state, rows):
        return len(list(rows))

    def join_states(self, states):
        return sum(states)


FIRST = Unigram(np.r_[np.full(8, 0.12), np.full(8, 0.005)] / 1.0)
SECOND = Unigram(np.r_[np.full(8, 0.005), np.full(8, 0.12)] / 1.0)


def _documents(share, count=40, length=150, regimes=False, seed=0):
    """Draw each id from FIRST with probability ``share``; with regimes, whole documents."""
    rng = np.random.default_rng(seed)
    p = np.exp(np.stack([FIRST.log_probs, SECOND.log_probs]).astype(float))
    p /= p.sum(axis=1, keepdims=True)
    documents = []
    for number in range(count):
        which = rng.random(length) >= share if not regimes else np.full(length, rng.random() >= share)
        ids = np.array([rng.choice(V, p=p[int(w)]) for w in which])
        documents.append(HeldOutDocument(ids, length, str(number)))
    return documents


def test_static_weights_are_recovered():
    model = fit_mixture([FIRST, SECOND], _documents(0.7), "static")
    assert model.gate.weights[0, 0, 0] == pytest.approx(0.7, abs=0.04)
    assert model.fitted["weights"] == "static"
    assert model.fitted["tokens"] == 40 * 149


def test_mixture_beats_its_members_on_other_text():
    model = fit_mixture([FIRST, SECOND], _documents(0.7))
    fresh = _documents(0.7, seed=9)
    mixed, *alone = (score_documents(m, fresh).bits_per_byte for m in (model, FIRST, SECOND))
    assert mixed < min(alone)


def test_context_is_used_where_it_helps():
    documents, fresh = _documents(0.5, regimes=True), _documents(0.5, regimes=True, seed=9)
    static = score_documents(fit_mixture([FIRST, SECOND], documents, "static"), fresh)
    by_context = fit_mixture([FIRST, SECOND], documents)
    assert by_context.fitted["weights"].startswith("advantage")
    assert score_documents(by_context, fresh).bits_per_byte < 0.9 * static.bits_per_byte


def test_context_does_little_harm_where_it_cannot_help():
    documents, fresh = _documents(0.7, count=10), _documents(0.7, seed=9)
    static = score_documents(fit_mixture([FIRST, SECOND], documents, "static"), fresh)
    by_context = score_documents(fit_mixture([FIRST, SECOND], documents), fresh)
    assert by_context.bits_per_byte < 1.003 * static.bits_per_byte


def test_fitted_loss_is_what_the_mixture_then_scores():
    documents = _documents(0.5, count=12, regimes=True)
    evidence = gather([FIRST, SECOND], documents)
    model = fit_mixture([FIRST, SECOND], documents)
    scored = score_documents(model, documents)
    assert gate_loss(model.gate, evidence) == pytest.approx(scored.nats_per_token, rel=1e-5)


def test_em_step_agrees_with_the_formula_and_never_lowers_the_posterior():
    rng = np.random.default_rng(3)
    p, prior, table = rng.uniform(0.01, 1, (3, 400)), np.array([0.2, 0.3, 0.5]), rng.dirichlet(np.ones(3), 6)
    left = rng.integers(0, 5, 400)
    share = rng.random(400)
    phi = np.zeros((400, 6))
    phi[np.arange(400), left] = 1 - share
    phi[np.arange(400), left + 1] += share
    posteriors = []
    for _ in range(30):
        new, posterior = em_step(p, (left, left + 1), share, table, prior, 4.0)
        np.testing.assert_allclose(new, table_em_step(p.T, phi, table, prior, 4.0), rtol=1e-10)
        posteriors.append(posterior)
        table = new
    assert (np.diff(posteriors) >= -1e-12).all()


def test_a_cell_without_tokens_has_the_static_weights():
    evidence = gather([FIRST, SECOND], _documents(0.7, count=10))
    evidence.order[:] = np.where(np.arange(len(evidence.order)) % 2, 3, 0)
    gate = context_gate(evidence, use_order=True, span=None)
    assert gate.weights.shape == (4, 1, 2)
    np.testing.assert_allclose(gate.weights[[1, 2], 0], static_gate(evidence).weights[[0, 0], 0], rtol=1e-6)


def test_one_short_document_is_enough_and_none_is_an_error():
    model = fit_mixture([FIRST, SECOND], [HeldOutDocument(np.array([1, 2]), 1, "")])
    assert np.isfinite(score_documents(model, _documents(0.7, count=3)).bits_per_byte)
    with pytest.raises(DataError):
        fit_mixture([FIRST, SECOND], [])
    with pytest.raises(ConfigError):
        fit_mixture([FIRST], _documents(0.7, count=3))
