"""The causal objective: its loss is the formula's, on both ways of computing it."""

import numpy as np
import pytest
import torch

from zhixing.data.windows import Batch
from zhixing.models.decoders import build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.nn import losses
from zhixing.pretraining.causal import CausalLM, DecoderWithLoss

SHAPE = {"vocab_size": 31, "context_length": 10, "layers": 2, "width": 8, "heads": 2}


def batch(weights: np.ndarray | None = None, boundary: bool = False) -> Batch:
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 31, (3, 11))
    plain = np.ones((3, 10), dtype=np.float32)
    documents = positions = None
    if boundary:  # the second half of each row is another document
        documents = np.repeat([[0] * 5 + [1] * 5], 3, axis=0).astype(np.int32)
        positions = np.repeat([[*range(5), *range(5)]], 3, axis=0)
    return Batch(ids[:, :-1].copy(), ids[:, 1:].copy(), plain if weights is None else weights, documents, positions)


def model(tied: bool = False, gpt2: bool = False) -> DecoderWithLoss:
    torch.manual_seed(0)
    settings = GPT2Settings(**SHAPE) if gpt2 else LlamaSettings(**SHAPE, inner_width=12, tied=tied)
    decoder = build_decoder(settings)
    for parameter in decoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return DecoderWithLoss(decoder)


def expected(forward: DecoderWithLoss, b: Batch) -> float:
    """The sum of -w log p(target), by NumPy from the logits."""
    decoder = forward.decoder
    with torch.no_grad():
        hidden = decoder(
            torch.as_tensor(b.inputs),
            positions=None if b.positions is None else torch.as_tensor(b.positions),
            documents=None if b.documents is None else torch.as_tensor(b.documents),
        )
        logits = (hidden @ decoder.head_weight.T).double().numpy()
    log_sum = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    chosen = np.take_along_axis(logits, b.targets[..., None], -1)[..., 0]
    return float((b.weights * (log_sum - chosen)).sum())


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("boundary", [False, True])
@pytest.mark.parametrize("uneven", [False, True])
def test_the_loss_is_the_sum_of_weighted_surprises(
    chunked: bool, boundary: bool, uneven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_LOGITS_WORTH_CHUNKING", 0 if chunked else 1 << 60)
    weights = (np.arange(10) < np.array([[3], [10], [7]])).astype(np.float32) if uneven else None
    b, forward, objective = batch(weights, boundary), model(), CausalLM("cpu")
    assert objective.loss(forward, b).total.item() == pytest.approx(expected(forward, b), rel=1e-5)
    assert objective.weight(b) == (20 if uneven else 30)


@pytest.mark.parametrize("kind", ["tied", "untied", "gpt2"])
def test_both_ways_give_the_same_gradients(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for limit in (0, 1 << 60):
        monkeypatch.setattr(losses, "_LOGITS_WORTH_CHUNKING", limit)
        forward = model(tied=kind == "tied", gpt2=kind == "gpt2")
        CausalLM("cpu").loss(forward, batch()).total.backward()
        gradients.append([p.grad for p in forward.parameters()])
    for plain, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, chunked, rtol=1e-4, atol=1e-5)


def test_documents_that_are_isolated_do_not_see_each_other() -> None:
    forward, objective = model(), CausalLM("cpu")
    whole = batch(boundary=True)
    last = (np.arange(10) >= 5).astype(np.float32) * np.ones((3, 1), dtype=np.float32)
    second = Batch(whole.inputs, whole.targets, last, whole.documents, whole.positions)
    changed = whole.inputs.copy()
    changed[:, :5] = (changed[:, :5] + 7) % 31  # another first document
    other = Batch(changed, whole.targets, last, whole.documents, whole.positions)
    assert objective.loss(forward, second).total.item() == pytest.approx(objective.loss(forward, other).total.item())
    leaky = Batch(changed, whole.targets, last)
    assert objective.loss(forward, leaky).total.item() != pytest.approx(objective.loss(forward, second).total.item())
