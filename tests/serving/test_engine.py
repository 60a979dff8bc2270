"""The engine without a socket."""

from __future__ import annotations

import math
import time

import pytest

from zhixing.generation.generate import generate
from zhixing.generation.sampling import derived_seed
from zhixing.generation.settings import GenerationSettings
from zhixing.serving.engine import Counts, Engine, Refused
from zhixing.serving.writer import Ended, Failed, Order, Piece


class Log(Counts):
    def __init__(self):
        self.tokens_read = self.tokens_written = self.ended = self.failures = self.sheds = self.left = 0

    def read(self, tokens):
        self.tokens_read += tokens

    def wrote(self, tokens):
        self.tokens_written += tokens

    def finished(self, reason, seconds):
        self.ended += 1

    def failed(self):
        self.failures += 1

    def shed(self):
        self.sheds += 1

    def abandoned(self):
        self.left += 1


@pytest.fixture
def engines(ngram, tokenizer):
    made = []

    def make(model=None, **options):
        made.append(Engine(model or ngram, tokenizer, counts=Log(), **options))
        made[-1].start()
        return made[-1]

    yield make
    for engine in made:
        engine.stop(5)
        assert engine.taken == 0


def order(tokenizer, text="the", seed=1, **settings):
    ids = (tokenizer.separator_id, *tokenizer.encode(text))
    return Order(ids, GenerationSettings(**({"max_new_tokens": 20} | settings)), seed)


def ask(engine, orders, seconds=30.0, listener=None):
    events = []
    ticket = engine.reserve(len(orders))
    engine.submit(ticket, orders, listener or events.append, seconds)
    return ticket, events


def ends(events):
    return [event for event in events if not isinstance(event, Piece)]


def wait(condition, seconds=10.0):
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.002)
    assert condition()


def test_texts_written_together_are_what_generate_writes(engines, ngram, tokenizer):
    engine = engines(slots=3, queue=20)
    settings = GenerationSettings(max_new_tokens=30, n=7, seed=4)
    expected = generate(ngram, tokenizer, ["the"], settings)
    shared = order(tokenizer, max_new_tokens=30)
    orders = [Order(shared.ids, shared.settings, derived_seed(4, index)) for index in range(7)]
    _, events = ask(engine, orders)
    wait(lambda: len(ends(events)) == 7)
    texts = ["".join(e.text for e in events if isinstance(e, Piece) and e.index == i) for i in range(7)]
    assert texts == [text.text for text in expected]
    counts = {e.index: (e.reason, e.tokens) for e in ends(events)}
    assert counts == {i: (t.finish_reason, t.completion_tokens) for i, t in enumerate(expected)}
    assert engine.counts.tokens_written == sum(t.completion_tokens for t in expected)
    assert engine.counts.ended == 7


def test_a_prompt_shared_by_several_texts_is_read_once(engines, tokenizer):
    engine = engines(slots=8)
    shared = order(tokenizer)
    _, events = ask(engine, [shared] * 5)
    wait(lambda: len(ends(events)) == 5)
    assert engine.counts.tokens_read == len(shared.ids)


def test_places_are_bounded_and_come_back(engines, tokenizer):
    engine = engines(slots=1, queue=2)
    first, second = engine.reserve(2), engine.reserve(1)
    assert not engine.ready()
    with pytest.raises(Refused) as refusal:
        engine.reserve(1)
    assert refusal.value.reason == "overloaded" and 1 <= refusal.value.retry_after <= 30
    with pytest.raises(Refused, match="too_many"):
        engine.reserve(4)
    first.release()
    first.release()
    second.release()
    assert engine.taken == 0 and engine.ready() and engine.counts.sheds == 1


def test_a_cancelled_request_stops_within_two_steps_and_is_counted_once(engines, slow, tokenizer):
    engine = engines(slow(0.01))
    stay = order(tokenizer, max_new_tokens=60, logit_bias=((120, 100.0),))
    ticket, events = ask(engine, [stay] * 3)
    wait(lambda: engine.running == 3)
    other, others = ask(engine, [stay])
    ticket.cancel()
    ticket.cancel()
    steps = engine.steps
    wait(lambda: engine.running == 1)
    assert engine.steps - steps <= 2
    wait(lambda: len(ends(others)) == 1)
    other.cancel()
    assert ends(events) == [] and engine.counts.left == 1 and engine.taken == 0


def test_a_deadline_ends_running_and_waiting_texts(engines, slow, tokenizer):
    engine = engines(slow(0.01), slots=1)
    stay = order(tokenizer, max_new_tokens=5000, logit_bias=((120, 100.0),))
    _, events = ask(engine, [stay, stay], seconds=0.1)
    wait(lambda: len(ends(events)) == 2)
    assert sorted((e.index, e.code) for e in ends(events)) == [(0, "timeout"), (1, "timeout")]
    assert engine.counts.failures == 2


def test_a_listener_that_raises_loses_only_its_own_text(engines, tokenizer):
    engine = engines()

    def broken(event):
        raise ValueError("no")

    _, events = ask(engine, [order(tokenizer)])
    ask(engine, [order(tokenizer)], listener=broken)
    wait(lambda: len(ends(events)) == 1 and engine.taken == 0)
    assert isinstance(ends(events)[0], Ended)


def test_a_sampler_that_raises_ends_one_text(engines, tokenizer, monkeypatch):
    from zhixing.generation.sampling import Draw

    real = Draw.choose
    engine = engines()
    doomed = derived_seed(9, 9)
    made = Draw.__init__

    def remember(self, seed):
        made(self, seed)
        self.seed = seed

    def choose(self, scores):
        if self.seed == doomed:
            raise IndexError("forced")
        return real(self, scores)

    monkeypatch.setattr(Draw, "__init__", remember)
    monkeypatch.setattr(Draw, "choose", choose)
    orders = [order(tokenizer, seed=seed) for seed in (1, doomed, 2)]
    _, events = ask(engine, orders)
    wait(lambda: len(ends(events)) == 3)
    kinds = {event.index: type(event) for event in ends(events)}
    assert kinds == {0: Ended, 1: Failed, 2: Ended}
    assert next(e for e in ends(events) if e.index == 1).code == "model_error"


def test_nothing_to_write_ends_at_once(engines, tokenizer):
    engine = engines()
    _, events = ask(engine, [order(tokenizer, max_new_tokens=0)])
    wait(lambda: len(events) == 1)
    assert events == [Ended(0, "length", 0)]


def test_scoring_a_prompt_reports_every_id_but_the_first(engines, ngram, tokenizer):
    import numpy as np

    engine = engines(slots=2)
    base = order(tokenizer, "the cat sat", max_new_tokens=3)
    scored = Order(base.ids, base.settings, base.seed, score_prompt=True)
    _, events = ask(engine, [scored, scored])
    wait(lambda: len(ends(events)) == 2)
    for index in (0, 1):
        tokens = [e.token for e in events if isinstance(e, Piece) and e.index == index]
        prompt = [token for token in tokens if token.of_prompt]
        assert [token.token_id for token in prompt] == list(base.ids[1:])
        expected = ngram.score(np.array([base.ids]))[0]
        np.testing.assert_allclose([token.log_prob for token in prompt], expected, rtol=1e-5)
        assert all(math.isfinite(token.log_prob) for token in tokens)


def test_draining_and_stopping(engines, slow, tokenizer):
    engine = engines(slow(0.01), slots=1)
    stay = order(tokenizer, max_new_tokens=5000, logit_bias=((120, 100.0),))
    _, events = ask(engine, [stay, stay])
    wait(lambda: engine.running == 1)
    engine.drain()
    assert not engine.ready()
    with pytest.raises(Refused, match="shutting_down"):
        engine.reserve(1)
    engine.stop(5)
    assert sorted((e.index, e.code) for e in ends(events)) == [(0, "shutting_down"), (1, "shutting_down")]


def test_as_many_orders_as_places(engines, tokenizer):
    engine = engines()
    ticket = engine.reserve(2)
    with pytest.raises(ValueError, match="1 texts for 2 places"):
        engine.submit(ticket, [order(tokenizer)], lambda event: None, 1.0)
    ticket.release()
