"""The compositions against the reference models: same weights, same logits, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.theory import transformer
from zhixing.theory.attention import Projections


def numbers(tensor):
    return tensor.detach().numpy().astype(np.float64)


def test_gpt2_against_the_reference(rng):
    library = pytest.importorskip("transformers")
    config = library.GPT2Config(vocab_size=13, n_positions=8, n_embd=12, n_layer=2, n_head=3)
    model = library.GPT2LMHeadModel(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)

    def pair(layer):
        return numbers(layer.weight), numbers(layer.bias)

    blocks = [
        transformer.Gpt2Block(*map(pair, (h.ln_1, h.attn.c_attn, h.attn.c_proj, h.ln_2, h.mlp.c_fc, h.mlp.c_proj)))
        for h in model.transformer.h
    ]
    ids = rng.integers(13, size=7)
    embedding, places = numbers(model.transformer.wte.weight), numbers(model.transformer.wpe.weight)
    ours = transformer.gpt2_logits(ids, embedding, places, blocks, pair(model.transformer.ln_f), heads=3)
    np.testing.assert_allclose(ours, numbers(model(torch.tensor(ids)[None]).logits[0]), atol=1e-9)


def test_llama_against_the_reference(rng):
    library = pytest.importorskip("transformers")
    config = library.LlamaConfig(
        vocab_size=13, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=3, rms_norm_eps=1e-5, max_position_embeddings=16,
    )  # fmt: skip
    model = library.LlamaForCausalLM(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)

    def turned(layer):
        return numbers(layer.weight).T

    blocks = [
        transformer.LlamaBlock(
            numbers(layer.input_layernorm.weight),
            Projections(*(turned(getattr(layer.self_attn, f"{name}_proj")) for name in "qkvo")),
            numbers(layer.post_attention_layernorm.weight),
            *(turned(getattr(layer.mlp, f"{name}_proj")) for name in ("gate", "up", "down")),
        )
        for layer in model.model.layers
    ]
    ids = rng.integers(13, size=7)
    embedding, norm = numbers(model.model.embed_tokens.weight), numbers(model.model.norm.weight)
    ours = transformer.llama_logits(ids, embedding, blocks, norm, turned(model.lm_head), heads=(6, 3))
    # the reference computes its rotary angles in float32 whatever the model's type
    np.testing.assert_allclose(ours, numbers(model(torch.tensor(ids)[None]).logits[0]), atol=1e-5)


def test_the_future_does_not_leak(rng):
    norm = (np.ones(6), np.zeros(6))
    shapes = ((6, 18), (18,)), ((6, 6), (6,)), ((6, 10), (10,)), ((10, 6), (6,))
    fused, output, up, down = (tuple(rng.normal(size=s) for s in pair) for pair in shapes)
    blocks = [transformer.Gpt2Block(norm, fused, output, norm, up, down)] * 2
    embedding, places = rng.normal(size=(9, 6)), rng.normal(size=(8, 6))
    first = transformer.gpt2_logits(np.array([1, 2, 3, 4]), embedding, places, blocks, norm, heads=2)
    second = transformer.gpt2_logits(np.array([1, 2, 8, 0]), embedding, places, blocks, norm, heads=2)
    np.testing.assert_array_equal(first[:2], second[:2])
    assert np.abs(first[2:] - second[2:]).max() > 1e-3
