"""Muon: what its update is, against the singular value decomposition."""

import pytest
import torch

from zhixing.training.muon import Muon, orthogonalise


def polar(matrix: torch.Tensor) -> torch.Tensor:
    u, _, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    return (u @ vh).float()


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8), (1, 5), (5, 1)])
def test_five_steps_are_close_to_the_polar_factor(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    found = orthogonalise(matrix[None], 5)[0]
    values = torch.linalg.svdvals(found)
    # The iteration pushes every singular value near 1; the smallest of a square Gaussian matrix is near 0.
    assert values.max() < 1.2
    if shape[0] != shape[1]:
        assert values.min() > 0.8
        assert torch.cosine_similarity(found.flatten(), polar(matrix).flatten(), dim=0) > 0.99


def test_more_steps_come_closer() -> None:
    matrix = random(12, 30)
    errors = [(orthogonalise(matrix[None], steps)[0] - polar(matrix)).norm().item() for steps in (1, 3, 5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


def test_a_batch_is_its_matrices_and_scale_does_not_matter() -> None:
    batch = random(3, 6, 9)
    together = orthogonalise(batch, 4)
    for alone, found in zip(batch, together, strict=True):
        torch.testing.assert_close(orthogonalise(alone[None], 4)[0], found, rtol=0, atol=1e-6)
    torch.testing.assert_close(orthogonalise(batch * 1000, 4), together, rtol=0, atol=1e-5)
    assert torch.equal(orthogonalise(torch.zeros(1, 3, 4), 4), torch.zeros(1, 3, 4))


def step(weight: torch.Tensor, gradient: torch.Tensor, **options: object) -> torch.Tensor:
    parameter = torch.nn.Parameter(weight.clone())
    parameter.grad = gradient.clone()
    Muon([{"params": [parameter], **options}], lr=0.1).step()
    return parameter.detach()


def test_one_step_by_hand() -> None:
    weight, gradient = random(8, 4), random(8, 4, seed=1)
    nesterov = gradient + 0.95 * (0.05 * gradient - gradient)  # gradient.lerp(average, momentum)
    expected = weight * (1 - 0.1 * 0.5) - 0.1 * (8 / 4) ** 0.5 * orthogonalise(nesterov[None], 4)[0]
    torch.testing.assert_close(step(weight, gradient, weight_decay=0.5), expected, rtol=0, atol=1e-6)


def test_momentum_accumulates_over_steps() -> None:
    parameter = torch.nn.Parameter(random(4, 6))
    optimizer = Muon([{"params": [parameter]}], lr=0.1, momentum=0.9)
    average = torch.zeros(4, 6)
    for seed in range(3):
        gradient = random(4, 6, seed=seed)
        average = 0.9 * average + 0.1 * gradient
        parameter.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(optimizer.state[parameter]["momentum"], average)


def test_packed_maps_are_orthogonalised_one_by_one() -> None:
    weight, gradient = random(12, 6), random(12, 6, seed=1)
    together = step(weight, gradient, sections=[6, 2, 4])
    parts = [step(w, g) for w, g in zip(weight.split([6, 2, 4]), gradient.split([6, 2, 4]), strict=True)]
    torch.testing.assert_close(together, torch.cat(parts), rtol=0, atol=1e-6)
    assert not torch.allclose(together, step(weight, gradient))


def test_a_weight_without_gradient_stays() -> None:
    used, unused = (torch.nn.Parameter(random(3, 3)) for _ in range(2))
    used.grad = random(3, 3, seed=1)
    Muon([{"params": [used, unused], "weight_decay": 0.5}], lr=0.1).step()
    assert torch.equal(unused.detach(), random(3, 3))
    assert not torch.equal(used.detach(), random(3, 3))
