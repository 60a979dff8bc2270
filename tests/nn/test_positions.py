"""Positions against the formulas, and the two ways in which a model asks for rotary ones."""

import numpy as np
import pytest
import torch

from zhixing.nn.positions import (
    Rotary,
    rotary_tables,
    rotate,
    sinusoidal,
    stretched_by_wavelength,
    stretched_evenly,
)
from zhixing.theory import positions as theory


@pytest.mark.parametrize("theta", [10_000.0, 500_000.0, 7.0])
@pytest.mark.parametrize("width", [2, 6, 64])
def test_it_is_the_formula(width, theta):
    rng = np.random.default_rng(width)
    x = rng.normal(size=(2, 3, 50, width))
    ours = rotate(torch.tensor(x, dtype=torch.float32), *rotary_tables(width, 50, theta))
    np.testing.assert_allclose(ours.numpy(), theory.rotary(x, np.arange(50), theta), atol=5e-5)


def test_given_positions_are_used_row_by_row():
    rng = np.random.default_rng(0)
    x, places = rng.normal(size=(2, 3, 4, 8)), np.array([[5, 6, 0, 1], [2, 2, 19, 0]])
    rotary = Rotary(8, 20, 100.0)
    ours = rotate(torch.tensor(x, dtype=torch.float32), *rotary(torch.tensor(places), 4)).numpy()
    for row in range(2):
        np.testing.assert_allclose(ours[row], theory.rotary(x[row], places[row], 100.0), atol=1e-5)
    plain = rotate(torch.ones(1, 1, 4, 8), *rotary(None, 4))
    given = rotate(torch.ones(1, 1, 4, 8), *rotary(torch.arange(4)[None], 4))
    assert torch.equal(plain, given)


def test_far_positions_stay_exact_enough():
    """Angles in float32 lose digits as positions grow; at 32,768 they still are good to a thousandth."""
    cosine, sine = rotary_tables(8, 32_769, 10_000.0)
    exact = theory.rotary_angles(np.array([32_768]), 8, 10_000.0)[0]
    np.testing.assert_allclose(cosine[-1, :4].numpy(), np.cos(exact), atol=5e-3)
    np.testing.assert_allclose(sine[-1, 4:].numpy(), np.sin(exact), atol=5e-3)


@pytest.mark.parametrize("context", [64, 4096])
def test_stretched_frequencies_are_the_formulas(context):
    frequencies = theory.rotary_angles(np.array([1]), 64, 10_000.0)[0]
    ours = stretched_by_wavelength(torch.tensor(frequencies), 8.0, 1.0, 4.0, context).numpy()
    np.testing.assert_allclose(ours, theory.llama3_scaling(frequencies, 8.0, 1.0, 4.0, context), rtol=1e-12)
    assert ours[0] == frequencies[0] and ours[-1] == frequencies[-1] / 8
    even = stretched_evenly(torch.tensor(frequencies), 4.0).numpy()
    np.testing.assert_array_equal(even, theory.linear_scaling(frequencies, 4.0))


@pytest.mark.parametrize("width", [2, 8, 64])
def test_sinusoids_are_the_formula_and_one_map_shifts_them(width):
    table = sinusoidal(50, width).numpy()
    np.testing.assert_allclose(table, theory.sinusoidal(np.arange(50), width), atol=1e-7)
    shift = np.linalg.lstsq(table[3:], table[:-3], rcond=None)[0]
    np.testing.assert_allclose(table[3:] @ shift, table[:-3], atol=1e-3)
    assert sinusoidal(50, width - 1).shape == (50, width - 1)


def test_the_tables_are_no_weights():
    rotary = Rotary(8, 20, 100.0)
    assert not rotary.state_dict() and not list(rotary.parameters())
    assert {name for name, _ in rotary.named_buffers()} == {"cosine", "sine"}
