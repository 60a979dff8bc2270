"""What is promised of every ``LanguageModel``, as checks of one: from the 1-gram to a mixture with a Llama.

The models that are checked are random but have opinions: a wrong position, a leaking neighbour or a stale state changes
the answer by far more than rounding. Part of ``contract.py``, which adds what only neural families promise.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.errors import ContextLengthError
from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.models.protocol import LanguageModel
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
V = TOKENIZER.vocab_size + 2
"""Two ids more than the tokenizer has: a padded vocabulary is usual."""
CONTEXT = 13
"""Every text of the battery fits into this many ids."""
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


def draw(batch, length, seed=0):
    """Ids of which counted models know some and do not know others."""
    rng = np.random.default_rng(seed)
    known, any_id = rng.integers(5, 9, (batch, length)), rng.integers(0, V, (batch, length))
    return np.where(rng.random((batch, length)) < 0.7, known, any_id).astype(np.int64)


def fresh(model, ids, lengths=None):
    """What a model says that reads everything at once."""
    return model.next_log_probs(ids, model.initial_state(len(ids)), lengths)[0]


def alone(model, row):
    """What a model says after one text read at once."""
    return fresh(model, np.asarray(row, np.int64)[None])[0]


def remembers(model):
    """Whether it remembers anything: a 1-gram does not."""
    return getattr(model, "order", None) != 1


def padded(texts, starts, lengths, filler):
    """A block that gives row ``i`` the next ``lengths[i]`` ids of its text."""
    block = np.full((len(texts), int(np.max(lengths))), filler)
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        block[row, :length] = texts[row, start : start + length]
    return block


# ---------------------------------------------------------------- shapes and probabilities


def shapes_and_types(model):
    assert isinstance(model, LanguageModel) and model.vocab_size == V
    assert model.context_length in (None, CONTEXT)
    for batch, length in ((1, 1), (1, CONTEXT), (3, 2), (4, 5)):
        said, state = model.next_log_probs(draw(batch, length), model.initial_state(batch))
        assert said.shape == (batch, V) and said.dtype == np.float32
        if length < CONTEXT:
            assert len(model.next_log_probs(draw(batch, 1), state)[0]) == batch
        scores = model.score(draw(batch, length + 1))
        assert scores.shape == (batch, length) and scores.dtype == np.float32 and (scores <= 0).all()


def probabilities_sum_to_one(model):
    for lengths in (None, np.array([1, 9, 4, 2, 7])):
        said = fresh(model, draw(5, 9), lengths).astype(np.float64)
        np.testing.assert_allclose(np.exp(said).sum(axis=1), 1, atol=1e-5)


def it_has_opinions(model):
    """The other checks would pass on a model that says the same whatever it reads."""
    said = fresh(model, draw(4, 6))
    assert np.ptp(said, axis=1).min() > 0.5
    assert np.abs(said[0] - said[1]).max() > 0.05 or not remembers(model)


# ---------------------------------------------------------------- what depends on what


def a_later_token_changes_nothing_before_it(model):
    ids = draw(3, 9)
    for place in (1, 4, 8):
        changed = ids.copy()
        changed[:, place:] = draw(3, 9, seed=7)[:, place:]
        before, after = model.score(ids)[:, : place - 1], model.score(changed)[:, : place - 1]
        np.testing.assert_allclose(before, after, **TOLERANCE)


def the_newest_token_changes_what_is_said(model):
    ids = draw(1, 3)
    changed = ids.copy()
    changed[0, -1] = 5 if ids[0, -1] != 5 else 6
    assert np.abs(fresh(model, ids) - fresh(model, changed)).max() > 1e-3 or not remembers(model)


def padding_is_never_seen(model):
    ids, lengths = draw(4, 8), np.array([3, 8, 1, 6])
    outside = np.arange(8) >= lengths[:, None]
    for block in (ids, np.where(outside, draw(4, 8, seed=11), ids), np.where(outside, 0, ids)):
        said, scores = fresh(model, block, lengths), model.score(block, lengths)
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(said[row], alone(model, ids[row, :length]), **TOLERANCE)
            assert (scores[row, length - 1 :] == 0).all()
            if length > 1:
                expected = model.score(ids[row : row + 1, :length])[0]
                np.testing.assert_allclose(scores[row, : length - 1], expected, **TOLERANCE)


def full_lengths_are_no_lengths(model):
    ids = draw(3, 6)
    np.testing.assert_allclose(fresh(model, ids, np.full(3, 6)), fresh(model, ids), **TOLERANCE)
    np.testing.assert_allclose(model.score(ids, np.full(3, 6)), model.score(ids), **TOLERANCE)


def neighbours_do_not_matter(model):
    ids = draw(5, 7)
    np.testing.assert_allclose(fresh(model, ids[[3, 0]]), fresh(model, ids)[[3, 0]], **TOLERANCE)


# ---------------------------------------------------------------- states


def token_by_token_is_all_at_once(model):
    """To the end of the context; and the score of a text is the chain of what is said on the way."""
    ids, state = draw(3, CONTEXT + 1), model.initial_state(3)
    scores = model.score(ids)
    for place in range(CONTEXT):
        said, state = model.next_log_probs(ids[:, place : place + 1], state)
        np.testing.assert_allclose(said, fresh(model, ids[:, : place + 1]), **TOLERANCE)
        np.testing.assert_allclose(said[np.arange(3), ids[:, place + 1]], scores[:, place], **TOLERANCE)


def ragged_blocks_are_rows_read_alone(model):
    """Every call gives each row a block of its own length; every answer is that of the row read alone."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        batch = int(rng.integers(2, 5))
        texts, read, state = draw(batch, CONTEXT, seed), np.zeros(batch, np.int64), model.initial_state(batch)
        while (read < CONTEXT).all():
            lengths = np.minimum(rng.integers(1, 6, batch), CONTEXT - read)
            block = padded(texts, read, lengths, filler=int(rng.integers(0, V)))
            said, state = model.next_log_probs(block, state, lengths)
            read += lengths
            for row in range(batch):
                np.testing.assert_allclose(said[row], alone(model, texts[row, : read[row]]), **TOLERANCE)


def one_row_reaches_the_end_while_others_do_not(model):
    """The full row's padding stands one place beyond the context."""
    texts, read, lengths = draw(3, CONTEXT), np.array([CONTEXT - 1, 2, 5]), np.array([1, 4, 3])
    _, state = model.next_log_probs(texts, model.initial_state(3), read)
    said, state = model.next_log_probs(padded(texts, read, lengths, filler=0), state, lengths)
    for row, end in enumerate(read + lengths):
        np.testing.assert_allclose(said[row], alone(model, texts[row, :end]), **TOLERANCE)
    said, _ = model.next_log_probs(texts[[2, 1], [8, 6]][:, None], model.keep_rows(state, [2, 1]))
    np.testing.assert_allclose(said[0], alone(model, texts[2, :9]), **TOLERANCE)
    np.testing.assert_allclose(said[1], alone(model, texts[1, :7]), **TOLERANCE)


def rows_are_kept_in_any_order(model):
    ids, lengths, more = draw(4, 6), np.array([2, 6, 1, 4]), draw(5, 2, seed=2)
    chosen = [3, 0, 0, 1, 3]
    _, state = model.next_log_probs(ids, model.initial_state(4), lengths)
    said, _ = model.next_log_probs(more, model.keep_rows(state, chosen))
    for place, row in enumerate(chosen):
        together = np.concatenate([ids[row, : lengths[row]], more[place]])
        np.testing.assert_allclose(said[place], alone(model, together), **TOLERANCE)


def kept_rows_are_copies(model):
    """Beams branch: what one branch reads, the other and the trunk do not see."""
    ids = draw(2, 3)
    _, trunk = model.next_log_probs(ids, model.initial_state(2))
    branch = model.keep_rows(trunk, [0, 0])
    model.next_log_probs(np.array([[5], [6]]), branch)
    said, _ = model.next_log_probs(np.array([[7], [7]]), trunk)
    for row in range(2):
        np.testing.assert_allclose(said[row], alone(model, [*ids[row], 7]), **TOLERANCE)


def states_of_any_length_are_joined(model):
    """One of them has read nothing."""
    first, second, more = draw(2, 7, seed=1), draw(1, 2, seed=2), draw(4, 3, seed=3)
    _, long = model.next_log_probs(first, model.initial_state(2), np.array([7, 3]))
    _, short = model.next_log_probs(second, model.initial_state(1))
    said, joined = model.next_log_probs(more, model.join_states([long, model.initial_state(1), short]))
    texts = [[*first[0], *more[0]], [*first[1, :3], *more[1]], list(more[2]), [*second[0], *more[3]]]
    for row, text in enumerate(texts):
        np.testing.assert_allclose(said[row], alone(model, text), **TOLERANCE)
    said, _ = model.next_log_probs(np.array([[5], [6], [7], [8]]), joined)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(said[row], alone(model, [*text, 5 + row]), **TOLERANCE)


def rows_come_and_go(model):
    """What the batching engine does: join a prompt, drop a finished row, branch."""
    first, second, more = draw(2, 7, seed=1), draw(1, 2, seed=2), draw(4, 1, seed=3)
    _, long = model.next_log_probs(first, model.initial_state(2), np.array([7, 3]))
    _, short = model.next_log_probs(second, model.initial_state(1))
    state = model.keep_rows(model.join_states([long, model.initial_state(1), short]), [3, 0, 0, 1])
    said, _ = model.next_log_probs(more, model.keep_rows(state, range(4)))
    again, _ = model.next_log_probs(more, state)  # the kept rows were copies
    for row, text in enumerate([[*second[0]], [*first[0]], [*first[0]], [*first[1, :3]]]):
        np.testing.assert_allclose(said[row], alone(model, [*text, *more[row]]), **TOLERANCE)
    np.testing.assert_allclose(said, again, **TOLERANCE)


def a_batch_of_prompts_is_one_by_one(model):
    prompts, chosen = ["a", "seven b", "bc"], GenerationSettings(max_new_tokens=4, temperature=0.7, seed=3)
    together = [text.ids for text in generate(model, TOKENIZER, prompts, chosen)]
    assert together == [text.ids for prompt in prompts for text in generate(model, TOKENIZER, [prompt], chosen)]


# ---------------------------------------------------------------- limits, inputs, the same again


def the_context_ends_where_it_says(model):
    if model.context_length is None:
        assert model.score(draw(1, 500)).shape == (1, 499)
        return
    full, one_more = draw(2, CONTEXT), draw(2, CONTEXT + 1)
    said, state = model.next_log_probs(full, model.initial_state(2))
    assert np.isfinite(said).all() and np.isfinite(model.score(one_more)).all()
    for call in (
        lambda: model.next_log_probs(full[:, :1], state),
        lambda: fresh(model, one_more),
        lambda: fresh(model, one_more, np.array([1, CONTEXT + 1])),
        lambda: model.score(draw(1, CONTEXT + 2)),
    ):
        with pytest.raises(ContextLengthError) as caught:
            call()
        assert (caught.value.ids, caught.value.limit) == (CONTEXT + 1, CONTEXT)


def inputs_may_have_any_layout(model):
    ids, lengths = draw(4, 6), np.array([2, 6, 1, 4])
    frozen = ids.copy()
    frozen.flags.writeable = lengths.flags.writeable = False
    wide = np.repeat(ids, 2, axis=1)
    for same in (frozen, wide[:, ::2], np.asfortranarray(ids), ids.astype(np.int32), ids[::-1][::-1]):
        np.testing.assert_array_equal(fresh(model, same, lengths), fresh(model, ids, lengths))
        np.testing.assert_array_equal(model.score(same, lengths), model.score(ids, lengths))
    before = ids.copy()
    fresh(model, ids)
    np.testing.assert_array_equal(ids, before)


def the_same_call_gives_the_same_bits(model):
    ids, lengths = draw(3, 7), np.array([7, 2, 5])
    torch.manual_seed(5)
    first = fresh(model, ids, lengths)
    torch.manual_seed(6)
    np.testing.assert_array_equal(fresh(model, ids, lengths), first)
    np.testing.assert_array_equal(model.score(ids, lengths), model.score(ids, lengths))


CHECKS = (
    shapes_and_types,
    probabilities_sum_to_one,
    it_has_opinions,
    a_later_token_changes_nothing_before_it,
    the_newest_token_changes_what_is_said,
    padding_is_never_seen,
    full_lengths_are_no_lengths,
    neighbours_do_not_matter,
    token_by_token_is_all_at_once,
    ragged_blocks_are_rows_read_alone,
    one_row_reaches_the_end_while_others_do_not,
    rows_are_kept_in_any_order,
    kept_rows_are_copies,
    states_of_any_length_are_joined,
    rows_come_and_go,
    a_batch_of_prompts_is_one_by_one,
    the_context_ends_where_it_says,
    inputs_may_have_any_layout,
    the_same_call_gives_the_same_bits,
)
