"""Rules of names as rules: each undoes itself, and nothing is lost on the way."""

import pytest
import torch

from zhixing.models.interop.names import Packed, Rename, to_ours, to_theirs

TABLE = (
    Rename("embedding", "wte"),
    Rename("blocks.{}.weight", "h.{}.w", transposed=True),
    Packed("blocks.{}.qkv", ("h.{}.q", "h.{}.k", "h.{}.v"), (4, 2, 2)),
)
OURS = {
    "embedding": torch.randn(5, 3),
    **{f"blocks.{layer}.weight": torch.randn(2, 3) for layer in range(3)},
    **{f"blocks.{layer}.qkv": torch.randn(8, 3) for layer in range(3)},
}


def test_there():
    theirs = to_theirs(TABLE, 3, OURS)
    assert len(theirs) == 1 + 3 + 9 and all(tensor.is_contiguous() for tensor in theirs.values())
    assert torch.equal(theirs["h.1.w"], OURS["blocks.1.weight"].T)
    assert torch.equal(theirs["h.2.k"], OURS["blocks.2.qkv"][4:6])


def test_and_back():
    again = to_ours(TABLE, 3, to_theirs(TABLE, 3, OURS))
    assert again.keys() == OURS.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in OURS.items())


def test_the_given_tables_are_not_emptied():
    theirs = to_theirs(TABLE, 3, OURS)
    before = set(OURS), set(theirs)
    to_ours(TABLE, 3, theirs)
    assert (set(OURS), set(theirs)) == before


def test_what_has_no_rule_is_an_error():
    with pytest.raises(ValueError, match="stray"):
        to_theirs(TABLE, 3, OURS | {"stray": torch.zeros(1)})
    with pytest.raises(ValueError, match="stray"):
        to_ours(TABLE, 3, to_theirs(TABLE, 3, OURS) | {"stray": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"blocks\.2"):
        to_theirs(TABLE, 2, OURS)


def test_shapes_travel_without_memory():
    shapes = {name: tensor.to("meta") for name, tensor in OURS.items()}
    assert {n: t.shape for n, t in to_theirs(TABLE, 3, shapes).items()} == {
        n: t.shape for n, t in to_theirs(TABLE, 3, OURS).items()
    }
