import numpy as np
import pytest

from zhixing.errors import ConfigError, ContextLengthError, ModelFolderError
from zhixing.models.mixture import Gate, MixtureModel, MixtureSettings, mix, running_advantage
from zhixing.models.protocol import LanguageModel
from zhixing.theory.mixture import interpolate

V = 9
RNG = np.random.default_rng(0)
TEXT = RNG.integers(0, V, (4, 30))


class Bigram:
    """A table of p(next | last id); with ``order_of_id`` it also says how much context it matched."""

    family = "bigram"

    def __init__(self, seed, context_length=None, vocab_size=V):
        rng = np.random.default_rng(seed)
        self.table = np.log(rng.dirichlet(np.full(vocab_size, 0.3), vocab_size)).clip(-30)
        self.table = (self.table - np.log(np.exp(self.table).sum(1, keepdims=True))).astype(np.float32)
        self.vocab_size, self.context_length = vocab_size, context_length

    def initial_state(self, batch):
        return np.zeros(batch, np.int64)

    def next_log_probs(self, ids, state, lengths=None):
        lengths = np.full(len(ids), ids.shape[1]) if lengths is None else lengths
        read = state + lengths
        if self.context_length is not None and read.max() > self.context_length:
            raise ContextLengthError(int(read.max()), self.context_length)
        return self.table[ids[np.arange(len(ids)), lengths - 1]], read

    def score(self, ids, lengths=None):
        out = self.table[ids[:, :-1], ids[:, 1:]].copy()
        if lengths is not None:
            out[np.arange(out.shape[1]) >= lengths[:, None] - 1] = 0
        return out

    def keep_rows(self, state, rows):
        return state[list(rows)]

    def join_states(self, states):
        return np.concatenate(states)


class OrderedBigram(Bigram):
    """Ids above 5 count as never seen: matched order 0."""

    order = 2

    def score_with_order(self, ids, lengths=None):
        return self.score(ids, lengths), (ids[:, :-1] <= 5).astype(np.int64)

    def next_with_order(self, ids, state, lengths=None):
        log_probs, state = self.next_log_probs(ids, state, lengths)
        last = ids[np.arange(len(ids)), (np.full(len(ids), ids.shape[1]) if lengths is None else lengths) - 1]
        return log_probs, (last <= 5).astype(np.int64), state


def _gate(levels=2, knots=3, members=2, span=4):
    weights = np.random.default_rng(7).dirichlet(np.ones(members), (levels, knots))
    return Gate(weights, np.linspace(-1.5, 1.5, knots) if knots > 1 else np.zeros(1), span)


MODELS = {
    "static": lambda: MixtureModel([Bigram(1), Bigram(2)], _gate(1, 1)),
    "order": lambda: MixtureModel([Bigram(1), OrderedBigram(2)], _gate(2, 1)),
    "advantage": lambda: MixtureModel([Bigram(1), Bigram(2)], _gate(1, 4)),
    "both": lambda: MixtureModel([Bigram(1), OrderedBigram(2)], _gate(2, 3)),
    "three": lambda: MixtureModel([Bigram(1), OrderedBigram(2), Bigram(3)], _gate(2, 5, 3, span=2)),
}


@pytest.fixture(params=list(MODELS))
def model(request):
    return MODELS[request.param]()


def test_it_is_a_language_model(model):
    assert isinstance(model, LanguageModel)
    assert (model.family, model.vocab_size, model.context_length) == ("mixture", V, None)


def test_probabilities_sum_to_one_and_score_is_their_chain(model):
    scores, state = model.score(TEXT), model.initial_state(4)
    for t in range(TEXT.shape[1] - 1):
        expected, state = model.next_log_probs(TEXT[:, t : t + 1], state)
        np.testing.assert_allclose(np.exp(expected.astype(float)).sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(expected[np.arange(4), TEXT[:, t + 1]], scores[:, t], rtol=1e-5, atol=1e-6)


def test_reading_in_any_pieces_gives_the_same(model):
    whole, _ = model.next_log_probs(TEXT, model.initial_state(4))
    for cuts in ([1], [7, 8], [1, 2, 3, 20], [29]):
        state, last = model.initial_state(4), None
        for piece in np.split(TEXT, cuts, axis=1):
            last, state = model.next_log_probs(piece, state)
        np.testing.assert_allclose(last, whole, rtol=1e-5)


def test_a_batch_gives_what_its_texts_give_one_by_one(model):
    lengths = np.array([30, 2, 11, 5])
    batch, state = model.next_log_probs(TEXT, model.initial_state(4), lengths)
    after, _ = model.next_log_probs(TEXT[:, :1], state)
    scores = model.score(TEXT, lengths)
    for row, n in enumerate(lengths):
        alone, own = model.next_log_probs(TEXT[row : row + 1, :n], model.initial_state(1))
        np.testing.assert_allclose(batch[row], alone[0], rtol=1e-6)
        then, _ = model.next_log_probs(TEXT[row : row + 1, :1], own)
        np.testing.assert_allclose(after[row], then[0], rtol=1e-6)
        np.testing.assert_allclose(scores[row, : n - 1], model.score(TEXT[row : row + 1, :n])[0], rtol=1e-6)
        assert (scores[row, n - 1 :] == 0).all()


def test_rows_can_be_kept_repeated_and_joined(model):
    _, state = model.next_log_probs(TEXT, model.initial_state(4))
    direct, _ = model.next_log_probs(TEXT[[2, 0, 2], :1], _state_of(model, [2, 0, 2]))
    kept, _ = model.next_log_probs(TEXT[[2, 0, 2], :1], model.keep_rows(state, [2, 0, 2]))
    np.testing.assert_allclose(kept, direct, rtol=1e-6)
    joined = model.join_states([_state_of(model, [2]), _state_of(model, [0, 2])])
    np.testing.assert_allclose(model.next_log_probs(TEXT[[2, 0, 2], :1], joined)[0], direct, rtol=1e-6)


def test_a_fresh_row_can_join_rows_that_have_read(model):
    joined = model.join_states([_state_of(model, [1]), model.initial_state(1)])
    both, _ = model.next_log_probs(TEXT[[3, 3], :1], joined)
    for row, state in enumerate([_state_of(model, [1]), model.initial_state(1)]):
        alone, _ = model.next_log_probs(TEXT[[3], :1], state)
        np.testing.assert_allclose(both[row], alone[0], rtol=1e-6)


def _state_of(model, rows):
    return model.next_log_probs(TEXT[rows], model.initial_state(len(rows)))[1]


def test_weights_never_look_at_the_token_they_weigh(model):
    changed = TEXT.copy()
    changed[:, 20] = (changed[:, 20] + 1) % V
    np.testing.assert_array_equal(model.score(TEXT)[:, :19], model.score(changed)[:, :19])
    if model.gate.uses_advantage:
        scores = np.stack([member.score(TEXT) for member in model.members])
        other = scores.copy()
        other[0, :, 19] -= 2
        before = running_advantage(scores, 4), running_advantage(other, 4)
        np.testing.assert_array_equal(before[0][:, :20], before[1][:, :20])
        assert (before[0][:, 20] != before[1][:, 20]).any()


def test_static_mixture_agrees_with_the_formula():
    model = MODELS["static"]()
    members = np.exp(np.stack([m.score(TEXT).astype(float) for m in model.members], axis=-1))
    expected = np.log(interpolate(members.reshape(-1, 2), model.gate.weights[0, 0]))
    np.testing.assert_allclose(model.score(TEXT).ravel(), expected, rtol=1e-5)


def test_mixing_is_stable_far_below_what_a_float_holds():
    log_probs = np.array([[-2000.0, -np.inf, -3.0], [-2001.0, -np.inf, -np.inf]])
    mixed = mix(log_probs, np.full((2, 3), 0.5))
    assert mixed[0] == pytest.approx(-2000 + np.log(0.5 * (1 + np.exp(-1))))
    assert mixed[1] == -np.inf
    assert mixed[2] == pytest.approx(-3 + np.log(0.5))


def test_weights_are_continuous_in_the_advantage():
    gate = _gate(1, 6)
    fine = np.linspace(-3, 3, 20001)
    weights = gate.weigh(np.zeros(len(fine), int), fine)
    assert np.abs(np.diff(weights, axis=0)).max() < 1e-3
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    at_knots = gate.weigh(np.zeros(6, int), gate.knots)
    np.testing.assert_allclose(at_knots, gate.weights[0])


def test_running_advantage_is_a_plain_average():
    scores = np.log(RNG.uniform(0.01, 1, (3, 2, 12)))
    found = running_advantage(scores, 5)
    gains = np.clip(scores[0] - np.maximum(scores[1], scores[2]), -8, 8)
    for t in range(12):
        np.testing.assert_allclose(found[:, t], gains[:, max(0, t - 5) : t].sum(axis=1) / 5, atol=1e-12)


def test_the_shortest_context_holds():
    model = MixtureModel([Bigram(1, 20), Bigram(2, 8), Bigram(3)], _gate(1, 3, 3))
    assert model.context_length == 8
    with pytest.raises(ContextLengthError):
        model.next_log_probs(TEXT, model.initial_state(4))


def test_saved_and_loaded_it_gives_the_same(model):
    config, tensors = model.config(), model.save_tensors()
    loaded = MixtureModel.from_tensors(config, tensors, model.members)
    np.testing.assert_array_equal(loaded.score(TEXT), model.score(TEXT))
    assert config["members"] == [str(n) for n in range(len(model.members))]


@pytest.mark.parametrize("damage", ["missing", "nan", "sum", "negative", "span"])
def test_damaged_weights_are_refused(damage):
    model = MODELS["both"]()
    config, tensors = model.config(), {name: array.copy() for name, array in model.save_tensors().items()}
    if damage == "missing":
        del tensors["knots"]
    elif damage == "span":
        config["span"] = 0
    else:
        tensors["weights"][0, 0] = {"nan": [np.nan, 1], "sum": [0.9, 0.9], "negative": [-0.5, 1.5]}[damage]
    with pytest.raises(ModelFolderError):
        MixtureModel.from_tensors(config, tensors, model.members)


def test_members_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"two members|两个成员"):
        MixtureModel([Bigram(1)], _gate(1, 1, 1))
    with pytest.raises(ConfigError, match=r"\[9, 5\]"):
        MixtureModel([Bigram(1), Bigram(1, vocab_size=5)], _gate(1, 1))
    with pytest.raises(ConfigError, match="3"):
        MixtureModel([Bigram(1), Bigram(2), Bigram(3)], _gate(1, 1, 2))


def test_settings_refuse_what_they_do_not_know():
    settings = MixtureSettings(members=("a", "b"))
    assert settings.weights == "context"
    with pytest.raises(ValueError, match="weights"):
        settings.replace(weights="magic")
