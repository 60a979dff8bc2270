"""State trees come back exactly: optimizers by name, random generators bit for bit."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zhixing.errors import ResumeError
from zhixing.model_folder import read_tensors, write_tensors
from zhixing.training.state_trees import flatten_state, random_state, restore_random_state, unflatten_state


def through_files(tree: Any, folder: Path) -> Any:
    tensors, skeleton = flatten_state(tree)
    write_tensors(folder / "state.safetensors", tensors)
    read = read_tensors(folder, stem="state", check_finite=False)
    return unflatten_state(read, json.loads(json.dumps(skeleton)))


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and left.equal(right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return repr(left) == repr(right)


def test_adamw_state_comes_back_exactly(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2).bfloat16())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1 + 0.2, betas=(0.9, 0.95))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    state = optimizer.state_dict()  # integer keys, tuples, 0-dimensional tensors, None
    names = [name for name, _ in model.named_parameters()]
    by_name = {"state": {names[i]: entry for i, entry in state["state"].items()}, "numbered": state}
    assert same(through_files(by_name, tmp_path), by_name)


def test_odd_trees(tmp_path: Path) -> None:
    tree = {
        "": torch.zeros(0),
        "a/b": torch.tensor(1.0),
        "a": {"b": torch.tensor(2), "$tensor": "not one", 7: [(), (1, [None, True])]},
        "floats": [math.inf, -math.inf, math.nan, 5e-324, -0.0, 1e300 * 1.1],
        "big": 2**127 + 1,
        "like a mark": [{"$tensor": "a"}, {"$tuple": []}, {"$dict": {}}, {"$array": 1}],
    }
    assert same(through_files(tree, tmp_path), tree)
    assert same(through_files(torch.tensor(3), tmp_path), torch.tensor(3))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"))
keys = st.text(st.characters(codec="utf-8")) | st.integers()
trees: st.SearchStrategy[Any] = st.deferred(
    lambda: leaves | st.lists(trees, max_size=3) | st.dictionaries(keys, trees, max_size=3) | st.tuples(trees, trees)
)


@given(trees)
@settings(max_examples=60, deadline=None)
def test_any_tree_without_tensors(tree: Any) -> None:
    tensors, skeleton = flatten_state(tree)
    assert tensors == {}
    assert same(unflatten_state({}, json.loads(json.dumps(skeleton))), tree)


@pytest.mark.parametrize("leaf", [{1, 2}, object(), np.float32(1), 1j, {1.5: 2}, {None: 1}])
def test_what_would_not_come_back_is_refused_by_path(leaf: object) -> None:
    with pytest.raises(TypeError, match=r"/outer/0"):
        flatten_state({"outer": [leaf]})


def draw(generators: dict[str, Any]) -> list[Any]:
    own = [torch.rand(3, generator=g) if isinstance(g, torch.Generator) else g.random(3) for g in generators.values()]
    values = [random.random(), random.gauss(0, 1), np.random.rand(3), np.random.randn(), torch.randn(5), *own]
    return [np.asarray(value).tolist() for value in values]


def test_random_generators_go_on_exactly(tmp_path: Path) -> None:
    generators = {
        "dropout": torch.Generator().manual_seed(5),
        "shuffle": np.random.default_rng(3),
        "philox": np.random.Generator(np.random.Philox(8)),
    }
    random.seed(4), np.random.seed(4), torch.manual_seed(4)
    draw(generators)  # leaves the second half of a Gaussian pair behind in Python and NumPy
    state = through_files(random_state(generators), tmp_path)
    first, second = draw(generators), draw(generators)
    restore_random_state(state, generators)
    assert [draw(generators), draw(generators)] == [first, second]


def test_taking_the_state_draws_nothing() -> None:
    torch.manual_seed(9), random.seed(9)
    expected = (torch.rand(2).tolist(), random.random())
    torch.manual_seed(9), random.seed(9)
    random_state()
    assert (torch.rand(2).tolist(), random.random()) == expected


def test_other_generators_are_refused() -> None:
    state = random_state({"dropout": torch.Generator()})
    with pytest.raises(ResumeError, match="dropout"):
        restore_random_state(state, {})
