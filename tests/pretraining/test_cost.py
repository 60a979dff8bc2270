"""What a token costs follows the objective, and is what the network computes."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zhixing.config import load_settings
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.recurrent_encoder_decoder import RecurrentEncoderDecoderSettings
from zhixing.models.t5 import T5Settings
from zhixing.models.xlnet import XLNetSettings
from zhixing.pretraining.causal import DecoderWithLoss
from zhixing.pretraining.contrastive import ContrastiveSettings, TwoViewsWithLoss
from zhixing.pretraining.cost import flops_per_token
from zhixing.pretraining.masked import EncoderWithLoss, MaskedSettings
from zhixing.pretraining.neural import NeuralRun
from zhixing.pretraining.objectives import CausalSettings
from zhixing.pretraining.permutation import PermutationSettings, StreamsWithLoss
from zhixing.pretraining.prepare import prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.sequence_to_sequence import EncoderDecoderWithLoss, SequenceToSequenceSettings
from zhixing.pretraining.span_corruption import SpanSettings
from zhixing.training.machine import Machine

V, TEXT, WIDTH, LAYERS, ROWS = 600, 48, 32, 3, 2
SHAPE = {"vocab_size": V, "context_length": TEXT, "layers": LAYERS, "width": WIDTH, "heads": 2}
XLNET, BERT = XLNetSettings(**SHAPE), BertSettings(**SHAPE)


def forward_flops(forward, *arguments):
    """What a forward pass computes for each token of two windows."""
    for weights in forward.parameters():
        weights.requires_grad_(False)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        forward(*arguments)
    return counter.get_total_flops() / (ROWS * TEXT)


def ids(*shape):
    return torch.randint(0, V, shape)


@pytest.mark.parametrize("one_in", [2, 6, 7])
def test_an_xlnets_in_random_orders(one_in):
    asked = TEXT // one_in
    given = [ids(ROWS, TEXT), torch.ones(ROWS, TEXT), ids(ROWS, asked) % TEXT, torch.ones(ROWS, asked)]
    counted = forward_flops(
        StreamsWithLoss(build_decoder(XLNET)), *given, ids(ROWS, asked), torch.ones(ROWS, asked), None, None
    )
    mapped = 2 * LAYERS * 2 * TEXT * WIDTH**2 / (ROWS * TEXT)  # distances, once for all windows of a step
    found = flops_per_token(XLNET, PermutationSettings(one_in=one_in))
    assert found == pytest.approx(3 * (counted - mapped), rel=0.001)


def test_an_xlnets_from_left_to_right():
    module = DecoderWithLoss(build_decoder(XLNET))
    counted = forward_flops(module, ids(ROWS, TEXT), ids(ROWS * TEXT), None, None, None)
    mapped = 2 * LAYERS * (TEXT + 2) * WIDTH**2 / (ROWS * TEXT)
    # Twice of keys, distances and values is computed, and one distance more than there are places.
    hidden = (2 * LAYERS - 1) * 2 * WIDTH * (1.5 * TEXT + 1)
    causal = flops_per_token(XLNET, CausalSettings())
    assert causal == pytest.approx(3 * (counted - mapped - hidden), rel=0.001)
    drawn = flops_per_token(XLNET)
    mixed = flops_per_token(XLNET, PermutationSettings(left_to_right=0.25))
    assert mixed == pytest.approx(0.25 * causal + 0.75 * drawn)


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_a_berts_with_as_many_masks_as_asked_for(share):
    asked = round(share * TEXT)
    places = ids(ROWS, asked) % TEXT
    module = EncoderWithLoss(build_decoder(BERT))
    counted = forward_flops(
        module, ids(ROWS, TEXT), places, ids(ROWS, asked), torch.ones(ROWS, asked), None, None, None
    )
    # biases and norms are counted along with the blocks' weights: one in a hundred here
    assert 3 * counted <= flops_per_token(BERT, MaskedSettings(share=share)) <= 1.03 * 3 * counted


def test_a_berts_that_learns_sentences_reads_them_twice_and_has_no_head():
    settings = ContrastiveSettings()
    module = TwoViewsWithLoss(build_decoder(BERT), settings).train()
    counted = forward_flops(module, ids(ROWS, TEXT), torch.full((ROWS,), TEXT))
    assert 3 * counted <= flops_per_token(BERT, settings) <= 1.03 * 3 * counted
    assert flops_per_token(BERT.replace(vocab_size=9 * V), settings) == flops_per_token(BERT, settings)


@pytest.mark.parametrize("target_length", [None, 9])
def test_a_t5s_of_sources_and_targets(target_length):
    shape = T5Settings(**SHAPE, target_length=target_length, feed_forward="gated-gelu")
    target = target_length or TEXT // 2
    source = TEXT + 1 - target
    given = (ids(ROWS, source), torch.full((ROWS,), source), ids(ROWS, target), ids(ROWS, target))
    counted = forward_flops(EncoderDecoderWithLoss(build_decoder(shape)), *given, torch.ones(ROWS, target)) * TEXT
    hidden_half = LAYERS * 2 * target**2 * WIDTH
    found = flops_per_token(shape, SequenceToSequenceSettings()) * (source + target)
    assert found == pytest.approx(3 * (counted - hidden_half), rel=0.001)


def test_a_t5s_with_other_gaps():
    shape = T5Settings(**SHAPE)
    few, many = (flops_per_token(shape, SpanSettings(share=share)) for share in (0.15, 0.5))
    assert flops_per_token(shape) == few < many  # more is written, every id of it through the head


def test_an_objective_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="permutation does not fit"):
        flops_per_token(GPT2Settings(), PermutationSettings())


def test_a_run_reports_the_cost_of_its_own_objective(tiny_yaml, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    shape = "model={family: xlnet, context_length: 32, layers: 1, width: 16, heads: 2}"
    recipe = load_settings(Recipe, path, [shape, "objective={kind: permutation, one_in: 2}"])
    machine = Machine("cpu", "float32", compiled=False, threads=1, matmul_rate=1e9)
    run = NeuralRun(recipe, tmp_path / "run", prepare_ids(recipe, tmp_path / "ids"), machine)
    half, sixth = (flops_per_token(run.settings, PermutationSettings(one_in=k)) for k in (2, 6))
    assert run.task.flops_per_token == half > 1.1 * sixth


@pytest.mark.parametrize("attention", ["dot", "multiplicative", "concat"])
@pytest.mark.parametrize("fed", [True, False])
def test_a_recurrent_encoder_decoders_with_luongs_attentions(attention, fed):
    shape = RecurrentEncoderDecoderSettings(
        vocab_size=V, context_length=TEXT - 1, target_length=20, width=WIDTH, layers=2, attention=attention,
        input_feeding=fed, encoder="forward",
    )  # fmt: skip
    weights = {name: tensor for name, tensor in build_decoder(shape).named_parameters() if tensor.ndim == 2}
    counted = 20 * (TEXT - 20) * 2 * WIDTH  # each place of the target is scored against the source, which is mixed
    for name, matrix in weights.items():
        if "token_embedding" not in name and "score" not in name:
            of_source = name.startswith("blocks.encoder") or "attention.key" in name
            counted += matrix.numel() * ((TEXT - 20) if of_source else 20)
    assert flops_per_token(shape) * TEXT == pytest.approx(6 * counted)
