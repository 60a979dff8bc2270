"""The production code agrees with the formulas, and code that is broken on purpose does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from zhixing.agreement.row import Row, draw, normal
from zhixing.agreement.run import check, distance, select, slope, verify
from zhixing.agreement.table import ROWS
from zhixing.errors import ConfigError
from zhixing.evaluation import perplexity, significance
from zhixing.generation import filters, sampling
from zhixing.models import gpt2, hmm, llama, mixture, ngram_counts, rotary_scaling, word_vector_tables
from zhixing.nn import (
    attention,
    convolution,
    dropout,
    feedforward,
    losses,
    norms,
    positions,
    recurrent,
    relative_attention,
    sliding_window,
)
from zhixing.pretraining import span_corruption, warm_start
from zhixing.tokenizers import train
from zhixing.training import loop, muon, optimizers, schedules

CPU = torch.device("cpu")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_practice_computes_what_the_theory_says(row, dtype) -> None:
    result = check(row, CPU, dtype, seed=0)
    assert result.ok, result


@pytest.mark.parametrize("row", [row for row in ROWS if row.takes == "tensors"], ids=lambda row: row.name)
def test_it_does_so_in_bfloat16(row) -> None:
    result = check(row, CPU, torch.bfloat16, seed=1)
    assert result.ok, result


def _nothing_carried_back(ctx, upstream):
    """Back-propagation through time, cut off after one step."""
    states, first, weight = ctx.saved_tensors
    deltas = upstream * (1 - states.square())
    before = torch.cat([first[None], states[:-1]])
    return deltas, deltas[0] @ weight, recurrent._weight_gradient(deltas, before)


def _newest_first(x, before, documents=None, right=convolution.windows):
    blocks = right(x, before, documents).unflatten(-1, (-1, x.shape[2]))
    return blocks.flip(-2).flatten(-2)


def _without_scale(query, key, value, mask=None, causal=False):
    grouped = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped, scale=1.0
    )


def _without_mask(query, key, value, mask=None, causal=False):
    return functional.scaled_dot_product_attention(query, key, value, enable_gqa=query.shape[1] != key.shape[1])


def _same_document(documents):
    return (documents[:, :, None] == documents[:, None, :]).unsqueeze(1)


def _one_slot_short(where, slots):
    return (torch.arange(slots) < where[:, :, None].clamp(min=1)).unsqueeze(1)


RIGHT_POSITION_MASK, RIGHT_WINDOW_MASK = sliding_window.position_mask, sliding_window.window_mask


def _one_too_many(queries, keys, window):
    return RIGHT_POSITION_MASK(queries, keys, window + 1)


def _one_too_few(length, window, device=None):
    return RIGHT_WINDOW_MASK(length, window - 1, device)


def _turned_back(x, cosine, sine):
    half = x.shape[-1] // 2
    return x * cosine + torch.cat([x[..., half:], -x[..., :half]], dim=-1) * sine


def _unweighted(logits, targets, weights=None):
    return functional.cross_entropy(logits, targets, reduction="sum")


def _mirrored_gradient(ctx, *gradients):
    hidden, weight = ctx.saved_tensors
    return -hidden * gradients[0], weight * gradients[0], None, None, None


def _unscaled_dropout(self, x):
    return x * (dropout.random_bytes(x.numel()) >= round(self.probability * 256)).view(x.shape)


def _no_residual(self, x, reading, layer):
    x = self.attention(self.attention_norm(x), reading, layer)
    return x + self.feed_forward(self.feed_forward_norm(x))


def _gate_and_up_exchanged(self, x):
    gate, up = self.gate_up(x).chunk(2, dim=-1)
    return self.down(gate * functional.silu(up))


def _exact_gelu(self, x):
    return self.contract(functional.gelu(self.expand(x)))


def _mean_kept(self, x):
    return functional.rms_norm(x, x.shape[-1:], self.weight) + self.bias


def _gain_forgotten(self, x):
    return functional.rms_norm(x, x.shape[-1:], None, self.epsilon)


def _queries_only(x, cosine, sine):
    return x if x.shape[1] == 2 else positions.rotate(x, cosine, sine)


def _always_divided(scores, seen, penalty):
    return np.where(np.isin(np.arange(len(scores)), seen), scores / penalty, scores)


def _measured_only(parameters, limit):
    return torch.stack([parameter.grad.norm() for parameter in parameters if parameter.grad is not None]).norm()


BROKEN = {
    "networks.swiglu: gate and up exchanged": (
        "networks.swiglu",
        lambda patch: patch.setattr(feedforward.SwiGLU, "forward", _gate_and_up_exchanged),
    ),
    "networks.gelu_feed_forward: the exact form": (
        "networks.gelu_feed_forward",
        lambda patch: patch.setattr(feedforward.GeluFeedForward, "forward", _exact_gelu),
    ),
    "losses.causal_lm: padding counted": (
        "losses.causal_lm",
        lambda patch: patch.setattr(losses, "cross_entropy_sum", _unweighted),
    ),
    "losses.linear_cross_entropy: a gradient's sign": (
        "losses.linear_cross_entropy",
        lambda patch: patch.setattr(losses._ChunkedHead, "backward", staticmethod(_mirrored_gradient)),
    ),
    "regularisation.dropout: no scale": (
        "regularisation.dropout",
        lambda patch: patch.setattr(dropout.Dropout, "forward", _unscaled_dropout),
    ),
    "optimizers.l1_and_l2: penalty forgotten": (
        "optimizers.l1_and_l2",
        lambda patch: patch.setattr(
            optimizers.Optimizer, "step", lambda self: [part.step() for part in self.parts]
        ),
    ),
    "optimizers.decoupled_decay: decay forgotten": (
        "optimizers.decoupled_decay",
        lambda patch: patch.setattr(
            optimizers.Optimizer, "step", lambda self: [part.step() for part in self.parts]
        ),
    ),
    "optimizers.muon: shape forgotten": (
        "optimizers.muon",
        lambda patch: patch.setattr(muon, "max", lambda *_: 1.0, raising=False),
    ),
    "optimizers.newton_schulz: one step short": (
        "optimizers.newton_schulz",
        lambda patch: patch.setattr(muon, "COEFFICIENTS", muon.COEFFICIENTS[:2]),
    ),
    "optimizers.clipping: measured, not clipped": (
        "optimizers.clipping",
        lambda patch: patch.setattr(torch.nn.utils, "clip_grad_norm_", _measured_only),
    ),
    "optimizers.accumulation: divided by the first micro-batch's weight": (
        "optimizers.accumulation",
        lambda patch: patch.setattr(loop, "sum", lambda parts: next(iter(parts)), raising=False),
    ),
    "schedules.cosine: half the cycle": (
        "schedules.cosine",
        lambda patch: patch.setitem(schedules._SHAPES, "cosine", lambda p, a, d: math.cos(math.pi * a / 2)),
    ),
    "attention.scaled_dot_product: no scale": (
        "attention.scaled_dot_product",
        lambda patch: patch.setattr(attention, "attend", _without_scale),
    ),
    "attention.grouped_query: no mask": (
        "attention.grouped_query",
        lambda patch: patch.setattr(attention, "attend", _without_mask),
    ),
    "attention.document_mask: the future seen": (
        "attention.document_mask",
        lambda patch: patch.setattr(attention, "document_mask", _same_document),
    ),
    "attention.with_cache: blind to itself": (
        "attention.with_cache",
        lambda patch: patch.setattr(attention, "cache_mask", _one_slot_short),
    ),
    "attention.window_with_cache: one token too many": (
        "attention.window_with_cache",
        lambda patch: patch.setattr(sliding_window, "position_mask", _one_too_many),
    ),
    "attention.window_mask: one token too few": (
        "attention.window_mask",
        lambda patch: patch.setattr(sliding_window, "window_mask", _one_too_few),
    ),
    "positions.llama3_scaling: fast and slow exchanged": (
        "positions.llama3_scaling",
        lambda patch: patch.setattr(
            rotary_scaling, "stretched_by_wavelength", lambda f, factor, **_: torch.where(f > 0.01, f / factor, f)
        ),
    ),
    "positions.linear_scaling: multiplied": (
        "positions.linear_scaling",
        lambda patch: patch.setattr(rotary_scaling, "stretched_evenly", lambda f, factor: f * factor),
    ),
    "positions.turned_waves: the other way": (
        "positions.turned_waves",
        lambda patch: patch.setattr(
            positions, "turned_waves", lambda d, *shape, own=positions.turned_waves: own(-d, *shape)
        ),
    ),
    "positions.rotary: turned back": (
        "positions.rotary",
        lambda patch: patch.setattr(positions, "rotate", _turned_back),
    ),
    "normalisation.layer_norm: mean kept": (
        "normalisation.layer_norm",
        lambda patch: patch.setattr(norms.LayerNorm, "forward", _mean_kept),
    ),
    "normalisation.rms_norm: gain forgotten": (
        "normalisation.rms_norm",
        lambda patch: patch.setattr(norms.RMSNorm, "forward", _gain_forgotten),
    ),
    "transformer.gpt2: a residual path lost": (
        "transformer.gpt2",
        lambda patch: patch.setattr(gpt2.Block, "forward", _no_residual),
    ),
    "transformer.llama_with_cache: positions restart": (
        "transformer.llama_with_cache",
        lambda patch: patch.setattr(
            positions.Rotary, "forward", lambda self, _, length: (self.cosine[:length], self.sine[:length])
        ),
    ),
    "transformer.qwen3: keys not turned": (
        "transformer.qwen3",
        lambda patch: patch.setattr(llama, "rotate", _queries_only),
    ),
    "transformer.qwen3_loss: prompt learned too": (
        "transformer.qwen3_loss",
        lambda patch: patch.setattr(losses, "cross_entropy_sum", _unweighted),
    ),
    "decoding.repetition_penalty: sign rule lost": (
        "decoding.repetition_penalty",
        lambda patch: patch.setattr(filters, "repetition", _always_divided),
    ),
    "decoding.top_k: one more": (
        "decoding.top_k",
        lambda patch: patch.setattr(filters, "top_k", lambda s, k, right=filters.top_k: right(s, k + 1)),
    ),
    "decoding.exponential_race: the last arrival": (
        "decoding.exponential_race",
        lambda patch: patch.setattr(sampling.np, "argmax", np.argmin),
    ),
    "measures.perplexity: base two": (
        "measures.perplexity",
        lambda patch: patch.setattr(
            perplexity.Scores, "perplexity", property(lambda self: 2**self.nats_per_token)
        ),
    ),
    "measures.mcnemar: one-sided": (
        "measures.mcnemar",
        lambda patch: patch.setattr(
            significance, "mcnemar", lambda a, b, right=significance.mcnemar: right(a, b) / 2
        ),
    ),
    "mixture.interpolate: equal weights": (
        "mixture.interpolate",
        lambda patch: patch.setattr(
            mixture, "mix", lambda log_probs, weights: np.log(np.exp(log_probs).mean(axis=0))
        ),
    ),
    "tokenization.learn_merges: other text": (
        "tokenization.learn_merges",
        lambda patch: patch.setattr(
            train, "train_tokenizer", lambda s, t, right=train.train_tokenizer: right(s, [*t, "dd " * 99])
        ),
    ),
    "warm_start.bigram_table: discount dropped": (
        "warm_start.bigram_table",
        lambda patch: patch.setattr(
            warm_start, "bigram_table", lambda c, _, right=warm_start.bigram_table: right(c, 0.0)
        ),
    ),
    "warm_start.bigram_fit_loss: norm forgotten": (
        "warm_start.bigram_fit_loss",
        lambda patch: patch.setattr(warm_start.functional, "rms_norm", lambda x, *_, **__: x),
    ),
    "warm_start.bigram_fit_loss: sign flipped": (
        "warm_start.bigram_fit_loss",
        lambda patch: patch.setattr(
            warm_start, "fit_loss", lambda right=warm_start.fit_loss, **given: -right(**given)
        ),
    ),
    "ngram.kneser_ney: one discount for all": (
        "ngram.kneser_ney",
        lambda patch: patch.setattr(ngram_counts, "modified_discounts", lambda counts: (0.75, 0.75, 0.75)),
    ),
    "convolution.causal: the kernel is turned round": (
        "convolution.causal",
        lambda patch: patch.setattr(convolution, "windows", _newest_first),
    ),
    "word_vectors.noise: the power dropped": (
        "word_vectors.noise",
        lambda patch: patch.setattr(
            word_vector_tables, "noise_probabilities", lambda counts, power: counts / counts.sum()
        ),
    ),
    "hmm.baum_welch: smoothing dropped": (
        "hmm.baum_welch",
        lambda patch: patch.setattr(hmm, "maximise", lambda c, _, right=hmm.maximise: right(c, 0.0)),
    ),
    "recurrent.rnn: nothing carried back": (
        "recurrent.rnn",
        lambda patch: patch.setattr(recurrent._RNN, "backward", staticmethod(_nothing_carried_back)),
    ),
    "relative_attention.relative_shift: one column off": (
        "relative_attention.relative_shift",
        lambda patch: patch.setattr(
            relative_attention,
            "relative_shift",
            lambda x, keys, f=relative_attention.relative_shift: f(x.roll(1, -1), keys),
        ),
    ),
    "sequence_to_sequence.span_counts: one too many": (
        "sequence_to_sequence.span_counts",
        lambda patch: patch.setattr(
            span_corruption.SpanSettings,
            "counts",
            lambda self, length, f=span_corruption.SpanSettings.counts: tuple(n + 1 for n in f(self, length)),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_caught(what, monkeypatch) -> None:
    name, breaks = BROKEN[what]
    (row,) = (row for row in ROWS if row.name == name)
    assert check(row, CPU, torch.float32, seed=0).ok
    breaks(monkeypatch)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert result.error > 10 * result.bound
    if row.takes != "arrays" or row.tolerance > 0:
        assert math.isfinite(result.error), result.worst  # it computed something, and that was wrong


def test_every_family_has_something_broken() -> None:
    assert {BROKEN[what][0].split(".")[0] for what in BROKEN} == {row.family for row in ROWS}


def test_code_that_raises_has_failed(monkeypatch) -> None:
    def raises(*_args, **_settings):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(attention, "attend", raises)
    (result,) = verify(only="attention.grouped_query")
    assert (result.ok, result.error, result.worst) == (False, math.inf, "RuntimeError: no such kernel")


def test_a_wrong_gradient_behind_a_right_value_is_caught() -> None:
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    row = Row("test.square", "test", (), lambda x: x**2, Halved.apply, draw(x=normal(5)), 4.0, "-", gradient=True)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert result.worst == "gradient of x"


def test_distance_knows_infinities_and_shapes() -> None:
    inf = np.inf
    assert distance(np.array([-inf, 100.0]), np.array([-inf, 101.0])) == pytest.approx(0.01)
    assert distance(np.array([-inf, 1.0]), np.array([0.0, 1.0])) == inf
    assert distance(np.array([1.0]), np.array([np.nan])) == inf
    assert distance(np.zeros(2), np.zeros(3)) == inf
    assert distance(np.zeros(2), np.array([0.0, 0.25])) == 0.25


def test_slope() -> None:
    assert slope(lambda t: math.exp(2 * t)) == pytest.approx(2.0, abs=1e-10)


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert verify(only="attention", seed=3) == verify(only="attention", seed=3)
    assert verify(only="attention", seed=3) != verify(only="attention", seed=4)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="attention"):
        select(ROWS, "atention")
    with pytest.raises(ConfigError, match="float32"):
        verify(dtype="float31")
    with pytest.raises(ConfigError) as caught:
        verify(device="nowhere")
    words = str(caught.value)
    assert "no device 'nowhere'; it has: cpu" in words and len(words) < 120
    for empty in ("", "  "):
        with pytest.raises(ConfigError, match="--only is empty"):
            verify(only=empty)
    with pytest.raises(ConfigError, match=r"did you mean 'attention\.grouped_query'"):
        verify(only="attention.gruoped_query")
    with pytest.raises(ConfigError, match="did you mean 'grouped_query'"):
        verify(only="groped_query")
    with pytest.raises(ConfigError, match="known: attention, ") as caught:
        verify(only="xyzzy")
    assert len(str(caught.value)) < 500  # families, not all rows
