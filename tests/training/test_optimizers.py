"""Optimizers by name: each learns, each is torch's, penalties act as their formulas say, state goes round."""

from typing import Any, get_args

import pytest
import torch
from torch import nn

from zhixing.models.decoders import build_decoder
from zhixing.models.llama import LlamaSettings
from zhixing.training.optimizers import Kind, Optimizer, OptimizerSettings

KINDS = get_args(Kind)


class Network(nn.Module):
    """Two maps with biases, the first inside ``blocks`` where Muon looks for matrices."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Linear(6, 8)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.blocks[0](x)))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(32, 6, generator=generator), torch.randn(32, 3, generator=generator)


def loss_of(model: nn.Module) -> torch.Tensor:
    x, y = data()
    return ((model(x) - y) ** 2).mean()


def train(settings: OptimizerSettings, steps: int) -> Network:
    model = Network()
    optimizer = Optimizer(model, settings)
    for _ in range(steps):
        model.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    return model


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reduces_a_loss(kind: str) -> None:
    rate = 0.05 if kind in ("sgd", "momentum") else 0.01
    settings = OptimizerSettings(kind=kind, learning_rate=rate, momentum=0.8)
    assert loss_of(train(settings, 40)).item() < 0.9 * loss_of(Network()).item()


S = OptimizerSettings()


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.01)),
        ("momentum", lambda p: torch.optim.SGD(p, lr=0.01, momentum=S.momentum)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=S.beta2, eps=S.epsilon)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.01, betas=(S.beta1, S.beta2), eps=S.epsilon)),
        (
            "adamw",
            lambda p: torch.optim.AdamW(
                [{"params": p[::2], "weight_decay": 0.1}, {"params": p[1::2], "weight_decay": 0.0}],
                lr=0.01,
                betas=(S.beta1, S.beta2),
                eps=S.epsilon,
            ),
        ),
    ],
)
def test_the_classics_are_torchs(kind: str, make: Any) -> None:
    decay = 0.1 if kind == "adamw" else 0.0
    ours = train(OptimizerSettings(kind=kind, learning_rate=0.01, weight_decay=decay), 5)
    theirs = Network()
    optimizer = make(list(theirs.parameters()))  # weights and biases take turns
    for _ in range(5):
        theirs.zero_grad()
        loss_of(theirs).backward()
        optimizer.step()
    for mine, other in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


def one_step(**changes: Any) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """Return weights before, plain gradients, weights after one step."""
    model = Network()
    before = weights(model)
    loss_of(model).backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    Optimizer(model, OptimizerSettings(**{"kind": "sgd", "learning_rate": 0.1, **changes})).step()
    return before, gradients, weights(model)


@pytest.mark.parametrize(
    ("changes", "penalty"),
    [
        ({"l2": 0.3}, lambda w: 0.3 * w),
        ({"l1": 0.2}, lambda w: 0.2 * w.sign()),
        ({"weight_decay": 0.5}, lambda w: 0.5 * w),  # for plain SGD decoupled decay and L2 are the same
        ({"l1": 0.2, "l2": 0.3, "weight_decay": 0.5}, lambda w: 0.2 * w.sign() + 0.8 * w),
    ],
)
def test_penalties_act_on_matrices_alone(changes: dict[str, float], penalty: Any) -> None:
    for weight, gradient, after in zip(*one_step(**changes), strict=True):
        expected = weight - 0.1 * (gradient + (penalty(weight) if weight.ndim >= 2 else 0))
        torch.testing.assert_close(after, expected, rtol=1e-6, atol=1e-7)


def test_decoupled_decay_of_adam_is_adamw() -> None:
    adam, adamw = (train(OptimizerSettings(kind=kind, weight_decay=0.3), 4) for kind in ("adam", "adamw"))
    for a, b in zip(weights(adam), weights(adamw), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    l2 = train(OptimizerSettings(kind="adam", l2=0.3), 4)
    assert not torch.allclose(weights(l2)[0], weights(adamw)[0], atol=1e-4)  # Loshchilov and Hutter 2019


@pytest.mark.parametrize("kind", ["momentum", "rmsprop", "muon"])
def test_decoupled_decay_shrinks_without_touching_the_averages(kind: str) -> None:
    plain, decayed = Network(), Network()
    for model, decay in ((plain, 0.0), (decayed, 0.5)):
        loss_of(model).backward()
        settings = OptimizerSettings(kind=kind, learning_rate=0.1, matrix_learning_rate=0.1, weight_decay=decay)
        Optimizer(model, settings).step()
    start = Network().blocks[0].weight.detach()
    difference = (plain.blocks[0].weight - decayed.blocks[0].weight).detach()
    torch.testing.assert_close(difference, 0.1 * 0.5 * start, rtol=1e-4, atol=1e-6)


def test_rates_follow_the_factor_and_keep_their_peaks() -> None:
    optimizer = Optimizer(Network(), OptimizerSettings(learning_rate=0.004, matrix_learning_rate=0.02))
    for factor in (0.5, 0.0, 1.0):
        optimizer.set_rate(factor)
        assert optimizer.rates() == pytest.approx({"muon": 0.02 * factor, "adamw": 0.004 * factor})


def test_muon_takes_the_maps_of_the_blocks_and_nothing_else() -> None:
    settings = LlamaSettings(vocab_size=20, context_length=8, layers=2, width=8, heads=2, inner_width=12)
    model = build_decoder(settings)
    muon, adamw = Optimizer(model, OptimizerSettings()).parts
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = [{names[p] for group in part.param_groups for p in group["params"]} for part in (muon, adamw)]
    assert groups[0] == {n for n in names.values() if n.startswith("blocks.") and "norm" not in n}
    assert groups[0] | groups[1] == set(names.values())
    assert not groups[0] & groups[1]
    for group in muon.param_groups:  # query, key, value and gate, up are orthogonalised one by one
        assert group["sections"] is None or sum(group["sections"]) == group["params"][0].shape[0]
    assert sum(group["sections"] is not None for group in muon.param_groups) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_state_goes_round(kind: str) -> None:
    settings = OptimizerSettings(kind=kind)
    straight = train(settings, 6)
    first = Network()
    optimizer = Optimizer(first, settings)
    for _ in range(3):
        first.zero_grad()
        loss_of(first).backward()
        optimizer.step()
    second = Network()
    second.load_state_dict(first.state_dict())
    again = Optimizer(second, settings)
    again.load_state({name: {k: v.clone() for k, v in s.items()} for name, s in optimizer.state().items()})
    for _ in range(3):
        second.zero_grad()
        loss_of(second).backward()
        again.step()
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(second), strict=True))


def test_a_tied_weight_is_moved_once() -> None:
    model = build_decoder(
        LlamaSettings(vocab_size=20, context_length=8, layers=1, width=8, heads=2, inner_width=12, tied=True)
    )
    parts = Optimizer(model, OptimizerSettings()).parts
    moved = [id(p) for part in parts for group in part.param_groups for p in group["params"]]
    assert len(moved) == len(set(moved)) == len(list(model.parameters()))
