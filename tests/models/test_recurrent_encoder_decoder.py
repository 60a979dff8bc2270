"""Recurrent encoder-decoders: the encoder is torch's, read either way; what the decoder looks at; what is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from tests.models.contract import random_decoder
from torch.utils._python_dispatch import TorchDispatchMode

from zhixing.errors import ModelFolderError
from zhixing.models.decoders import build_decoder, export_tensors, load_tensors, parameter_count
from zhixing.models.interop.recurrent_encoder_decoder import from_config, to_config
from zhixing.models.recurrent_encoder_decoder import PRESETS, RecurrentEncoderDecoderSettings, turned
from zhixing.nn.compiled import compiled
from zhixing.pretraining.sequence_to_sequence import EncoderDecoderWithLoss

SHAPE = {"vocab_size": 20, "context_length": 15, "width": 6}
LENGTHS = torch.tensor([7, 2, 5])
KINDS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def ids(batch, length, seed=0):
    return torch.randint(0, 20, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cell", KINDS)
def test_an_encoder_that_reads_both_ways_is_torchs(cell):
    """By the names in the folder, with padded rows."""
    settings = RecurrentEncoderDecoderSettings(**SHAPE, cell=cell, layers=2)
    module = random_decoder(settings)
    theirs = KINDS[cell](6, 6, num_layers=2, bidirectional=True, batch_first=True)
    stored = export_tensors(module, settings)
    theirs.load_state_dict({k.removeprefix("encoder."): v for k, v in stored.items() if k.startswith("encoder.")})
    source = ids(3, 7)
    with torch.no_grad():
        found = module.encode(source, LENGTHS)
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            module.token_embedding(source), LENGTHS, batch_first=True, enforce_sorted=False
        )
        expected, end = theirs(packed)
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)
        real = (torch.arange(7) < LENGTHS[:, None])[..., None]
        torch.testing.assert_close(found.annotations * real, expected, rtol=1e-5, atol=1e-6)
        last = end[0] if cell == "lstm" else end
        for layer in range(2):  # the decoder begins in a map of what the backward reader has reached
            mapped = module.begin[layer](last[2 * layer + 1])
            torch.testing.assert_close(found.states[layer][0], torch.tanh(mapped[:, :6]), rtol=1e-5, atol=1e-6)


def test_a_turned_row_keeps_its_padding():
    x = torch.arange(12.0).view(2, 6, 1)
    found = turned(x, torch.tensor([4, 6]))[..., 0]
    assert found.tolist() == [[3, 2, 1, 0, 4, 5], [11, 10, 9, 8, 7, 6]]
    assert torch.equal(turned(x, None), x.flip(1))


@pytest.mark.parametrize("encoder", ["forward", "backward"])
def test_without_attention_the_last_state_is_all_the_decoder_knows(encoder):
    settings = RecurrentEncoderDecoderSettings(**SHAPE, attention="none", cell="lstm", encoder=encoder)
    module = random_decoder(settings)
    with torch.no_grad():
        memory = module.encode(ids(3, 7), LENGTHS)
        other = memory._replace(annotations=torch.randn_like(memory.annotations))
        assert torch.equal(module.decode(ids(3, 4, 1), memory), module.decode(ids(3, 4, 1), other))
        place = 0 if encoder == "backward" else 6
        torch.testing.assert_close(memory.states[0][0][0], memory.annotations[0, place])


@pytest.mark.parametrize("attention", ["additive", "multiplicative", "dot", "concat"])
def test_the_decoder_looks_at_real_places_only(attention):
    settings = RecurrentEncoderDecoderSettings(**SHAPE, attention=attention, layers=2, cell="lstm", encoder="backward")
    module = random_decoder(settings)
    with torch.no_grad():
        memory = module.encode(ids(3, 7), LENGTHS)
        real = (torch.arange(7) < LENGTHS[:, None])[..., None]
        padded = memory._replace(annotations=memory.annotations.where(real, torch.tensor(9.0)))
        seen = memory._replace(annotations=memory.annotations.where(~real, torch.tensor(9.0)))
        expected = module.decode(ids(3, 4, 1), memory, LENGTHS)
        torch.testing.assert_close(module.decode(ids(3, 4, 1), padded, LENGTHS), expected)
        assert (module.decode(ids(3, 4, 1), seen, LENGTHS) - expected).abs().amax() > 1e-3


def test_feeding_the_attentional_state_changes_what_follows_only():
    fed = RecurrentEncoderDecoderSettings(**SHAPE, attention="multiplicative")
    first, second = random_decoder(fed), random_decoder(fed)
    with torch.no_grad():
        weight = second.blocks["decoder"][0].input.weight
        weight[:, 6:] = 0.0  # what was seen is not read
        memory = first.encode(ids(2, 5))
        a, b = first.decode(ids(2, 4, 1), memory), second.decode(ids(2, 4, 1), memory)
        torch.testing.assert_close(a[:, 0], b[:, 0])
        assert (a[:, 1:] - b[:, 1:]).abs().amin(dim=(0, 2)).max() > 0


def test_a_target_without_a_source_is_an_error():
    module = random_decoder(RecurrentEncoderDecoderSettings(**SHAPE))
    with pytest.raises(ValueError, match="needs a source"):
        module.decode(ids(1, 2), None, cache=module.new_cache(1))
    with pytest.raises(ValidationError, match="target_length"):
        RecurrentEncoderDecoderSettings(**SHAPE, target_length=16)


def test_a_stored_model_says_everything_and_unknown_values_are_refused():
    settings = RecurrentEncoderDecoderSettings(**SHAPE, attention="multiplicative", input_feeding=False, start_id=4)
    config = to_config(settings, 2)
    assert from_config(config) == settings
    for field, value in {"cell": "qrnn", "attention": "cosine", "encoder_direction": "up", "hidden_size": 2.5}.items():
        with pytest.raises(ModelFolderError, match=field):
            from_config({**config, field: value})


@pytest.mark.parametrize("attention", ["dot", "concat"])
def test_luongs_other_attentions_are_stored_whole(attention):
    settings = RecurrentEncoderDecoderSettings(**SHAPE, attention=attention, encoder="forward")
    assert from_config(to_config(settings, 2)) == settings
    module = random_decoder(settings)
    stored = export_tensors(module, settings)
    assert sum(tensor.numel() for tensor in stored.values()) == parameter_count(settings)
    again = build_decoder(settings)
    load_tensors(again, settings, stored, "here")
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))


def test_dot_needs_states_of_one_width():
    with pytest.raises(ValidationError, match="set encoder: forward or backward"):
        RecurrentEncoderDecoderSettings(**SHAPE, attention="dot")
    for attention in ("multiplicative", "concat"):
        RecurrentEncoderDecoderSettings(**SHAPE, attention=attention)


class Operations(TorchDispatchMode):
    """Counts what is handed to torch's kernels."""

    count = 0

    def __torch_dispatch__(self, function, types, given=(), named=None):
        self.count += 1
        return function(*given, **(named or {}))


@pytest.mark.parametrize(("fields", "most"), [({}, 40), ({"attention": "multiplicative", "encoder": "forward"}, 40)])
def test_a_step_of_the_decoder_is_few_operations(fields, most):
    """What does not depend on the step is not in it: for small batches, operations are what a step costs."""
    module = random_decoder(RecurrentEncoderDecoderSettings(**SHAPE, **fields)).train()
    memory, counts = module.encode(ids(3, 7), LENGTHS), []
    for length in (8, 16):
        with Operations() as counted:
            module.decode(ids(3, length, 1), memory, LENGTHS)
        counts.append(counted.count)
    assert (counts[1] - counts[0]) / 8 <= most


@pytest.mark.filterwarnings("ignore")  # those within torch._dynamo
@pytest.mark.parametrize("attention", ["additive", "concat"])
def test_compiled_it_learns_the_same(attention):
    """The loop over time stays outside of the graph, and its gradients come back into it."""
    module = random_decoder(RecurrentEncoderDecoderSettings(**SHAPE, attention=attention)).train()
    given = ids(3, 7), LENGTHS, ids(3, 4, 1), ids(3, 4, 2), torch.ones(3, 4)
    found = []
    for forward in (EncoderDecoderWithLoss(module), compiled(EncoderDecoderWithLoss(module), backend="aot_eager")):
        module.zero_grad()
        forward(*given).backward()
        found.append([weights.grad.clone() for weights in module.parameters()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_published_shapes_have_the_published_size():
    """Sutskever et al.: 384 M parameters, 64 M of them recurrent, two embeddings; here source and target share one."""
    sutskever = PRESETS["sutskever"].replace(vocab_size=2)  # as good as no words
    assert parameter_count(sutskever) == pytest.approx(64e6, rel=0.01)
