"""One battery for every ``LanguageModel`` in the tree: what is promised of one is promised of all.

The models are random but have opinions: weights are large enough that a wrong position, a leaking neighbour
or a stale cache entry changes the answer by far more than rounding.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.errors import ContextLengthError
from zhixing.model_folder import write_folder
from zhixing.models.decoders import build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.hmm import HmmModel, HmmSettings
from zhixing.models.llama import LlamaSettings
from zhixing.models.load import load
from zhixing.models.mixture import Gate, MixtureModel
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.ngram import NgramModel
from zhixing.models.protocol import LanguageModel
from zhixing.models.save import companion_files, hmm_files, mixture_files, neural_files, ngram_files
from zhixing.nn.losses import cross_entropy_sum
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
V = TOKENIZER.vocab_size + 2
"""Two ids more than the tokenizer has: a padded vocabulary is usual."""
CONTEXT = 13
SHAPE = {"vocab_size": V, "context_length": CONTEXT, "layers": 2, "width": 16, "heads": 4}
DECODERS = {
    "gpt2": GPT2Settings(**SHAPE),
    "gpt2-narrow": GPT2Settings(**SHAPE, inner_width=24),
    "llama": LlamaSettings(**SHAPE, inner_width=24),
    "llama-plain": LlamaSettings(**SHAPE, inner_width=24, query_key_norm=False),
    "llama-tied": LlamaSettings(**SHAPE, inner_width=24, tied=True),
    "llama-grouped": LlamaSettings(**SHAPE, inner_width=24, key_value_heads=2),
    "llama-one-group": LlamaSettings(**SHAPE, inner_width=20, key_value_heads=1, query_key_norm=False),
    "llama-wide-heads": LlamaSettings(**SHAPE, inner_width=24, key_value_heads=2, head_width=6, tied=True),
}
NGRAMS = {"ngram": 3, "ngram-5": 5, "unigram": 1}
MIXTURES = {
    "mixture-static": ("gpt2", "ngram", (1, 1)),
    "mixture-order": ("llama", "ngram", (3, 1)),
    "mixture-context": ("llama-grouped", "ngram-5", (5, 3)),
    "mixture-neural": ("gpt2", "llama-tied", (1, 3)),
}
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


def random_decoder(settings):
    torch.manual_seed(1)
    module = build_decoder(settings)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if "norm.weight" in name else 0.0, 0.25)
    return module


def build(name):
    if name in DECODERS:
        return NeuralLanguageModel(random_decoder(DECODERS[name]))
    if name in NGRAMS:
        text = np.random.default_rng(3).choice([5, 6, 7, 8, TOKENIZER.separator_id], size=400)
        return NgramModel.fit([text], V, TOKENIZER.separator_id, order=NGRAMS[name])
    if name == "hmm":
        states = HmmSettings(states=6, iterations=60, tolerance=0.0)
        return HmmModel.fit([np.tile([5, 6, 7, 8, TOKENIZER.separator_id], 80)], V, states)
    first, second, cells = MIXTURES[name]
    weights = np.random.default_rng(4).dirichlet(np.ones(2), cells)
    knots = np.linspace(-1.0, 1.0, cells[1]) if cells[1] > 1 else np.zeros(1)
    return MixtureModel([build(first), build(second)], Gate(weights, knots, span=3))


@pytest.fixture(scope="module", params=[*DECODERS, *NGRAMS, "hmm", *MIXTURES])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return build(name)


@pytest.fixture(scope="module", params=list(DECODERS))
def decoder(request):
    return random_decoder(DECODERS[request.param])


def draw(batch, length, seed=0):
    """Ids that the n-grams know and do not know, mixed."""
    rng = np.random.default_rng(seed)
    known, any_id = rng.integers(5, 9, (batch, length)), rng.integers(0, V, (batch, length))
    return np.where(rng.random((batch, length)) < 0.7, known, any_id).astype(np.int64)


def fresh(model, ids, lengths=None):
    """What a model says that reads everything at once."""
    return model.next_log_probs(ids, model.initial_state(len(ids)), lengths)[0]


def alone(model, row):
    return fresh(model, np.asarray(row, np.int64)[None])[0]


# ---------------------------------------------------------------- shapes and probabilities


def test_it_is_a_language_model(model, name):
    assert isinstance(model, LanguageModel)
    assert model.family == name.split("-")[0].replace("unigram", "ngram")
    assert model.vocab_size == V
    assert model.context_length == (None if name in (*NGRAMS, "hmm") else CONTEXT)


@pytest.mark.parametrize("batch, length", [(1, 1), (1, CONTEXT), (3, 2), (4, 5)])
def test_shapes_and_types(model, batch, length):
    log_probs, state = model.next_log_probs(draw(batch, length), model.initial_state(batch))
    assert log_probs.shape == (batch, V) and log_probs.dtype == np.float32
    assert len(model.next_log_probs(draw(batch, 1), state)[0]) == batch if length < CONTEXT else True
    scores = model.score(draw(batch, length + 1))
    assert scores.shape == (batch, length) and scores.dtype == np.float32
    assert (scores <= 0).all()


def test_probabilities_sum_to_one(model):
    ids = draw(5, 9)
    for lengths in (None, np.array([1, 9, 4, 2, 7])):
        log_probs = fresh(model, ids, lengths).astype(np.float64)
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-5)


def test_it_has_opinions(model, name):
    """The other tests would pass on a model that says the same whatever it reads."""
    said = fresh(model, draw(4, 6))
    assert np.ptp(said, axis=1).min() > 0.5
    if name != "unigram":
        assert np.abs(said[0] - said[1]).max() > 0.05


# ---------------------------------------------------------------- what depends on what


@pytest.mark.parametrize("place", [1, 4, 8])
def test_a_later_token_changes_nothing_before_it(model, place):
    ids = draw(3, 9)
    changed = ids.copy()
    changed[:, place:] = draw(3, 9, seed=7)[:, place:]
    np.testing.assert_allclose(model.score(ids)[:, : place - 1], model.score(changed)[:, : place - 1], **TOLERANCE)


def test_an_earlier_token_changes_what_follows(model, name):
    ids = draw(1, 3)
    changed = ids.copy()
    changed[0, -1] = 5 if ids[0, -1] != 5 else 6
    assert np.abs(fresh(model, ids) - fresh(model, changed)).max() > 1e-3 or name == "unigram"


def test_padding_is_never_seen(model):
    ids, lengths = draw(4, 8), np.array([3, 8, 1, 6])
    outside = np.arange(8) >= lengths[:, None]
    other = np.where(outside, draw(4, 8, seed=11), ids)
    zero = np.where(outside, 0, ids)
    for padded in (ids, other, zero):
        said = fresh(model, padded, lengths)
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(said[row], alone(model, ids[row, :length]), **TOLERANCE)
        scores = model.score(padded, lengths)
        for row, length in enumerate(lengths):
            assert (scores[row, max(0, length - 1) :] == 0).all()
            if length > 1:
                expected = model.score(ids[row : row + 1, :length])[0]
                np.testing.assert_allclose(scores[row, : length - 1], expected, **TOLERANCE)


def test_full_lengths_are_no_lengths(model):
    ids = draw(3, 6)
    np.testing.assert_allclose(fresh(model, ids, np.full(3, 6)), fresh(model, ids), **TOLERANCE)
    np.testing.assert_allclose(model.score(ids, np.full(3, 6)), model.score(ids), **TOLERANCE)


def test_neighbours_do_not_matter(model):
    ids = draw(5, 7)
    np.testing.assert_allclose(fresh(model, ids[[3, 0]]), fresh(model, ids)[[3, 0]], **TOLERANCE)


# ---------------------------------------------------------------- states


def test_one_by_one_to_the_end_of_the_context(model):
    ids, state = draw(3, CONTEXT), model.initial_state(3)
    for place in range(CONTEXT):
        said, state = model.next_log_probs(ids[:, place : place + 1], state)
        np.testing.assert_allclose(said, fresh(model, ids[:, : place + 1]), **TOLERANCE)


@pytest.mark.parametrize("seed", range(4))
def test_ragged_blocks(model, seed):
    """Every call gives each row a block of its own length; every answer is that of the row read alone."""
    rng = np.random.default_rng(seed)
    batch = int(rng.integers(2, 5))
    texts, read = draw(batch, CONTEXT, seed), np.zeros(batch, np.int64)
    state = model.initial_state(batch)
    while (read < CONTEXT).all():
        lengths = np.minimum(rng.integers(1, 6, batch), CONTEXT - read)
        block = np.full((batch, int(lengths.max())), int(rng.integers(0, V)))
        for row in range(batch):
            block[row, : lengths[row]] = texts[row, read[row] : read[row] + lengths[row]]
        said, state = model.next_log_probs(block, state, lengths)
        read += lengths
        for row in range(batch):
            np.testing.assert_allclose(said[row], alone(model, texts[row, : read[row]]), **TOLERANCE)


def test_one_row_reaches_the_end_while_others_do_not(model):
    """The full row's padding stands one place beyond the context."""
    texts, state = draw(3, CONTEXT), model.initial_state(3)
    read = np.array([CONTEXT - 1, 2, 5])
    _, state = model.next_log_probs(texts, state, read)
    lengths = np.array([1, 4, 3])
    block = np.zeros((3, 4), np.int64)
    for row in range(3):
        block[row, : lengths[row]] = texts[row, read[row] : read[row] + lengths[row]]
    said, state = model.next_log_probs(block, state, lengths)
    for row, end in enumerate(read + lengths):
        np.testing.assert_allclose(said[row], alone(model, texts[row, :end]), **TOLERANCE)
    state = model.keep_rows(state, [2, 1])
    said, _ = model.next_log_probs(texts[[2, 1], [8, 6]][:, None], state)
    np.testing.assert_allclose(said[0], alone(model, texts[2, :9]), **TOLERANCE)
    np.testing.assert_allclose(said[1], alone(model, texts[1, :7]), **TOLERANCE)


def test_keep_rows(model):
    ids, lengths, more = draw(4, 6), np.array([2, 6, 1, 4]), draw(5, 2, seed=2)
    chosen = [3, 0, 0, 1, 3]
    _, state = model.next_log_probs(ids, model.initial_state(4), lengths)
    said, _ = model.next_log_probs(more, model.keep_rows(state, chosen))
    for place, row in enumerate(chosen):
        together = np.concatenate([ids[row, : lengths[row]], more[place]])
        np.testing.assert_allclose(said[place], alone(model, together), **TOLERANCE)


def test_the_kept_rows_of_a_state_are_copies(model):
    """Beams branch: what one branch reads, the other and the trunk do not see."""
    ids = draw(2, 3)
    _, trunk = model.next_log_probs(ids, model.initial_state(2))
    branch = model.keep_rows(trunk, [0, 0])
    model.next_log_probs(np.array([[5], [6]]), branch)
    said, _ = model.next_log_probs(np.array([[7], [7]]), trunk)
    for row in range(2):
        np.testing.assert_allclose(said[row], alone(model, [*ids[row], 7]), **TOLERANCE)


def test_join_states(model):
    """States of different lengths, one of which has read nothing."""
    first, second, more = draw(2, 7, seed=1), draw(1, 2, seed=2), draw(4, 3, seed=3)
    _, long = model.next_log_probs(first, model.initial_state(2), np.array([7, 3]))
    _, short = model.next_log_probs(second, model.initial_state(1))
    joined = model.join_states([long, model.initial_state(1), short])
    said, joined = model.next_log_probs(more, joined)
    texts = [[*first[0], *more[0]], [*first[1, :3], *more[1]], list(more[2]), [*second[0], *more[3]]]
    for row, text in enumerate(texts):
        np.testing.assert_allclose(said[row], alone(model, text), **TOLERANCE)
    said, _ = model.next_log_probs(np.array([[5], [6], [7], [8]]), joined)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(said[row], alone(model, [*text, 5 + row]), **TOLERANCE)


def test_score_is_the_chain_of_next_log_probs(model):
    ids, state = draw(3, CONTEXT + 1), model.initial_state(3)
    scores = model.score(ids)
    for place in range(CONTEXT):
        said, state = model.next_log_probs(ids[:, place : place + 1], state)
        np.testing.assert_allclose(said[np.arange(3), ids[:, place + 1]], scores[:, place], **TOLERANCE)


# ---------------------------------------------------------------- limits and inputs


def test_the_context_ends_where_it_says(model, name):
    if name in (*NGRAMS, "hmm"):
        assert model.score(draw(1, 500)).shape == (1, 499)
        return
    full, one_more = draw(2, CONTEXT), draw(2, CONTEXT + 1)
    said, state = model.next_log_probs(full, model.initial_state(2))
    assert np.isfinite(said).all() and np.isfinite(model.score(one_more)).all()
    for call in (
        lambda: model.next_log_probs(full[:, :1], state),
        lambda: model.next_log_probs(one_more, model.initial_state(2)),
        lambda: model.next_log_probs(one_more, model.initial_state(2), np.array([1, CONTEXT + 1])),
        lambda: model.score(draw(1, CONTEXT + 2)),
    ):
        with pytest.raises(ContextLengthError) as caught:
            call()
        assert (caught.value.ids, caught.value.limit) == (CONTEXT + 1, CONTEXT)


def test_inputs_in_any_layout(model):
    ids = draw(4, 6)
    frozen = ids.copy()
    frozen.flags.writeable = False
    lengths = np.array([2, 6, 1, 4])
    lengths.flags.writeable = False
    wide = np.repeat(ids, 2, axis=1)
    for same in (frozen, wide[:, ::2], np.asfortranarray(ids), ids.astype(np.int32), ids[::-1][::-1]):
        np.testing.assert_array_equal(fresh(model, same, lengths), fresh(model, ids, lengths))
        np.testing.assert_array_equal(model.score(same, lengths), model.score(ids, lengths))
    before = ids.copy()
    fresh(model, ids)
    np.testing.assert_array_equal(ids, before)


def test_the_same_call_gives_the_same_bits(model):
    ids, lengths = draw(3, 7), np.array([7, 2, 5])
    np.testing.assert_array_equal(fresh(model, ids, lengths), fresh(model, ids, lengths))
    np.testing.assert_array_equal(model.score(ids, lengths), model.score(ids, lengths))
    torch.manual_seed(5)
    first = fresh(model, ids)
    torch.manual_seed(6)
    np.testing.assert_array_equal(fresh(model, ids), first)


# ---------------------------------------------------------------- the folder


def save(model, folder):
    if isinstance(model, NeuralLanguageModel):
        files = neural_files(model.module, model.module.settings, TOKENIZER.separator_id)
    elif isinstance(model, NgramModel):
        files = ngram_files(model)
    elif isinstance(model, HmmModel):
        files = hmm_files(model)
    else:
        members = [folder.parent / f"{folder.name}-{index}" for index in range(len(model.members))]
        for member, place in zip(model.members, members, strict=True):
            save(member, place)
        files = mixture_files(model, members)
    write_folder(folder, {**files, **companion_files(TOKENIZER)}, facts={"seed": 1})


def test_a_saved_model_is_the_same_model(model, tmp_path):
    save(model, tmp_path / "first")
    again = load(tmp_path / "first")
    assert type(again.model) is type(model) and again.model.family == model.family
    assert again.tokenizer.fingerprint == TOKENIZER.fingerprint and again.facts == {"seed": 1}
    ids, lengths = draw(4, 9), np.array([9, 1, 4, 7])
    np.testing.assert_array_equal(again.model.score(ids, lengths), model.score(ids, lengths))
    np.testing.assert_array_equal(fresh(again.model, ids, lengths), fresh(model, ids, lengths))
    save(again.model, tmp_path / "second")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


# ---------------------------------------------------------------- training (neural)


def summed_loss(module, ids):
    hidden = module(torch.from_numpy(ids[:, :-1])).flatten(0, 1)
    return cross_entropy_sum(hidden @ module.head_weight.T, torch.from_numpy(ids[:, 1:]).flatten())


def test_the_loss_is_minus_the_score(decoder):
    ids = draw(3, CONTEXT + 1)
    expected = -NeuralLanguageModel(decoder).score(ids).sum()
    assert summed_loss(decoder, ids).item() == pytest.approx(expected, rel=1e-5)


def test_a_gradient_reaches_every_weight(decoder):
    decoder.zero_grad()
    summed_loss(decoder, draw(4, CONTEXT + 1)).backward()
    for name, weights in decoder.named_parameters():
        assert weights.grad is not None and (weights.grad != 0).any(), name
        if weights.ndim == 2 and "embedding" not in name:
            assert (weights.grad != 0).any(dim=1).all(), f"a row of {name} learns nothing"


def test_the_gradient_is_the_slope(decoder):
    """Against central differences in float64 along a random direction."""
    module = random_decoder(decoder.settings).double()
    ids, step = draw(2, 8), 1e-6
    summed_loss(module, ids).backward()
    torch.manual_seed(0)
    weights = list(module.parameters())
    direction = [torch.randn_like(w) for w in weights]
    slope = sum((w.grad * d).sum() for w, d in zip(weights, direction, strict=True)).item()
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            for w, d in zip(weights, direction, strict=True):
                w.add_(d, alpha=sign * step)
            values.append(summed_loss(module, ids).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "llama-tied", "llama-grouped"])
def test_it_learns_a_tiny_text_by_heart(kind):
    """From the family's own initial weights."""
    torch.manual_seed(0)
    module = build_decoder(DECODERS[kind])
    ids = draw(4, CONTEXT + 1)
    ids[:, 0] = np.arange(4)  # the first id tells which text it is
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.02, weight_decay=0.0)
    for _ in range(80):
        optimizer.zero_grad()
        loss = summed_loss(module, ids) / (4 * CONTEXT)
        if loss.item() < 0.1:
            break
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_writing_in_the_middle_of_training_disturbs_nothing(decoder):
    """Tensors of inference mode must not enter the graph."""
    model, ids = NeuralLanguageModel(decoder), draw(2, 6)
    expected = torch.autograd.grad(summed_loss(decoder.train(), ids), list(decoder.parameters()))
    _, state = model.next_log_probs(ids, model.initial_state(2))
    model.join_states([model.keep_rows(state, [1]), state])
    model.score(ids)
    found = torch.autograd.grad(summed_loss(decoder.train(), ids), list(decoder.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    decoder.eval()
