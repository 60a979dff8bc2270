from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.theory import positions


def test_rotary_products_depend_on_the_distance_alone(rng):
    query, key = rng.normal(size=(1, 8)), rng.normal(size=(1, 8))

    def product(p, q):
        return (positions.rotary(query, np.array([p])) @ positions.rotary(key, np.array([q])).T).item()

    assert product(3, 1) == pytest.approx(product(103, 101))
    assert product(3, 1) != pytest.approx(product(1, 3))


def test_rotary_is_a_rotation(rng):
    x = rng.normal(size=(5, 8))
    turned = positions.rotary(x, np.arange(5))
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1))
    np.testing.assert_array_equal(turned[0], x[0])


def test_rotary_against_the_reference(rng):
    transformers = pytest.importorskip("transformers.models.llama.modeling_llama")
    x, places = rng.normal(size=(2, 6, 8)), np.arange(6)
    angles = np.concatenate([positions.rotary_angles(places, 8)] * 2, axis=-1)
    oracle, _ = transformers.apply_rotary_pos_emb(
        *(torch.tensor(x)[None],) * 2, torch.tensor(np.cos(angles))[None], torch.tensor(np.sin(angles))[None]
    )
    np.testing.assert_allclose(positions.rotary(x, places), oracle[0].numpy())


@pytest.mark.parametrize("kind", ["linear", "llama3"])
def test_stretched_frequencies_against_the_reference(kind):
    transformers = pytest.importorskip("transformers")
    rope = pytest.importorskip("transformers.modeling_rope_utils")
    extra = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}
    parameters = {"rope_type": kind, "rope_theta": 1e4, "factor": 8.0} | (extra if kind == "llama3" else {})
    config = transformers.LlamaConfig(hidden_size=64, num_attention_heads=1, rope_parameters=parameters)
    oracle, _ = rope.ROPE_INIT_FUNCTIONS[kind](config)
    plain = positions.rotary_angles(np.array([1]), 64)[0]
    scaled = {
        "linear": lambda: positions.linear_scaling(plain, 8.0),
        "llama3": lambda: positions.llama3_scaling(plain, 8.0, 1.0, 4.0, 512),
    }[kind]()
    np.testing.assert_allclose(scaled, oracle.numpy(), rtol=1e-5)


def test_sinusoidal_pairs_lie_on_the_circle():
    table = positions.sinusoidal(np.arange(50), 16)
    np.testing.assert_allclose(table[:, 0::2] ** 2 + table[:, 1::2] ** 2, 1.0)


def test_alibi_slopes_against_the_reference():
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    for heads in (4, 6, 8, 12):
        bias = bloom.build_alibi_tensor(torch.ones(1, 2), heads, torch.float64)
        np.testing.assert_allclose(positions.alibi_slopes(heads), bias[:, 0, 1].numpy(), rtol=1e-6)


@pytest.mark.parametrize("both_ways", [True, False])
def test_relative_buckets_against_the_reference(both_ways):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distance = np.arange(-300, 301)
    oracle = t5.T5Attention._relative_position_bucket(torch.tensor(distance), both_ways, 32, 128)
    np.testing.assert_array_equal(positions.relative_bucket(distance, both_ways=both_ways), oracle.numpy())


def test_biases_of_a_cached_query_are_the_last_rows(rng):
    table = rng.normal(size=(32, 2))
    np.testing.assert_array_equal(positions.alibi(2, 6, 4), positions.alibi(6, 6, 4)[:, 4:])
    np.testing.assert_array_equal(positions.relative_bias(2, 6, table), positions.relative_bias(6, 6, table)[:, 4:])
