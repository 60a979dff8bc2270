"""Rows come and go without disturbing each other."""

import numpy as np

from zhixing.errors import ZhixingError
from zhixing.generation.batch import Batch
from zhixing.generation.generate import generate
from zhixing.generation.sequence import make_sequences
from zhixing.generation.settings import GenerationSettings

SETTINGS = GenerationSettings(max_new_tokens=12, seed=3)


def finish(batch):
    while batch.active:
        batch.step()


def test_rows_may_enter_at_any_time(model, tokenizer):
    prompts = ["the cat", "狗", "a long prompt with many words", ""]
    alone = [text.ids for text in generate(model, tokenizer, prompts, SETTINGS, batch_size=1)]
    batch, sequences = Batch(model), []
    for prompt in prompts:
        sequences += make_sequences(prompt, model, tokenizer, SETTINGS)
        batch.add(sequences[-1:])
        batch.step()
        batch.step()
    finish(batch)
    assert [sequence.result().ids for sequence in sequences] == alone


def test_a_reader_may_go_away(model, tokenizer):
    sequences = [
        sequence for prompt in ("the", "cat", "sat") for sequence in make_sequences(prompt, model, tokenizer, SETTINGS)
    ]
    batch = Batch(model)
    batch.add(sequences)
    batch.step()
    batch.remove(sequences[1])
    finish(batch)
    assert not sequences[1].finished
    for prompt, sequence in (("the", sequences[0]), ("sat", sequences[2])):
        assert sequence.result().ids == generate(model, tokenizer, [prompt], SETTINGS)[0].ids


def test_a_row_that_fails_takes_only_itself_out(recurrent, tokenizer):
    ids = {prompt: generate(recurrent, tokenizer, [prompt], SETTINGS)[0].ids for prompt in ("the", "sat")}
    sequences = [
        sequence
        for prompt in ("the", "cat", "sat")
        for sequence in make_sequences(prompt, recurrent, tokenizer, SETTINGS)
    ]
    batch = Batch(recurrent)
    batch.add(sequences)
    hidden, used = batch._state
    hidden[1] = np.nan
    batch._state = hidden, used
    outcomes = dict(zip(("the", "cat", "sat"), batch.step(), strict=True))
    assert isinstance(outcomes["cat"][1], ZhixingError)
    assert sequences[1] not in batch.active
    finish(batch)
    assert sequences[0].result().ids == ids["the"] and sequences[2].result().ids == ids["sat"]


def test_finished_rows_cost_nothing(recurrent, tokenizer):
    each = [SETTINGS.replace(max_new_tokens=count, stop_at_separator=False) for count in (1, 2, 9)]
    generate(recurrent, tokenizer, ["the", "cat", "sat"], each)
    assert recurrent.rows_read == 1 + 2 + 9
