"""Any state as safetensors plus JSON, and back exactly: optimizer states, and all random generators.

A tree is made of dicts, lists, tuples, tensors, arrays, numbers, strings and None. Its tensors go to
safetensors (bit-exact, dtype and shape kept), the rest to JSON, with ``{"$tensor": name}`` in a tensor's
place. JSON keeps a Python float exactly: it is written with as many digits as distinguish it (Steele and
White, 1990).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zhixing.errors import ResumeError
from zhixing.language import tr

Generators = Mapping[str, "torch.Generator | np.random.Generator"]


def flatten_state(tree: Any) -> tuple[dict[str, torch.Tensor], Any]:
    """Return (tensors by path, JSON skeleton) of a tree. Tensors are not copied.

    Two places that share one tensor become two tensors when read back; ``requires_grad`` is not kept.

    Raises:
        TypeError: a leaf or key that would not come back exactly; the message names its path.
    """
    tensors: dict[str, torch.Tensor] = {}
    return tensors, _flatten(tree, "", tensors)


def unflatten_state(tensors: Mapping[str, torch.Tensor], skeleton: Any) -> Any:
    """Return the tree that ``flatten_state`` was given, its tensors on the CPU.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(skeleton, list):
        return [unflatten_state(tensors, item) for item in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    match skeleton:
        case {"$tensor": name}:
            return tensors[name]
        case {"$array": name}:
            return tensors[name].numpy()
        case {"$tuple": items}:
            return tuple(unflatten_state(tensors, item) for item in items)
        case {"$dict": pairs}:
            return {key: unflatten_state(tensors, value) for key, value in pairs}
    return {key: unflatten_state(tensors, value) for key, value in skeleton.items()}


def random_state(generators: Generators | None = None) -> dict[str, Any]:
    """Return the state of every random generator, as a tree for ``flatten_state``; nothing is drawn.

    They are Python's ``random``, NumPy's global one, torch's on the CPU and the GPUs in use, and the given.
    """
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": {"version": version, "words": np.array(words, dtype=np.int64), "gauss": gauss},
        "numpy": _plain(np.random.get_state(legacy=False)),
        "torch": torch.get_rng_state(),
        "given": {name: _generator_state(generator) for name, generator in (generators or {}).items()},
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: Mapping[str, Any], generators: Generators | None = None) -> None:
    """Put every generator back to where ``random_state`` found it.

    Raises:
        ResumeError: the generators or the number of GPUs are not those that were saved.
    """
    given = dict(generators or {})
    if given.keys() != state["given"].keys():
        raise _differs(tr("random generators", "随机数发生器"), sorted(state["given"]), sorted(given))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if "cuda" in state and len(state["cuda"]) != gpus:
        raise _differs(tr("GPUs", "GPU 数"), len(state["cuda"]), gpus)
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
    for name, generator in given.items():
        if isinstance(generator, torch.Generator):
            generator.set_state(state["given"][name])
        else:
            generator.bit_generator.state = state["given"][name]


def _flatten(node: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        return {"$tensor": _store(node, path, tensors)}
    if isinstance(node, np.ndarray):
        return {"$array": _store(torch.from_numpy(node), path, tensors)}
    if type(node) is list:
        return [_flatten(item, f"{path}/{index}", tensors) for index, item in enumerate(node)]
    if type(node) is tuple:
        return {"$tuple": [_flatten(item, f"{path}/{index}", tensors) for index, item in enumerate(node)]}
    if isinstance(node, Mapping):
        return _flatten_mapping(node, path, tensors)
    if node is None or type(node) in (bool, int, float, str):
        return node
    raise TypeError(f"{path or '/'}: {type(node).__name__} cannot be saved exactly")


def _flatten_mapping(node: Mapping[Any, Any], path: str, tensors: dict[str, torch.Tensor]) -> Any:
    for key in node:
        if type(key) not in (str, int):
            raise TypeError(f"{path or '/'}: the key {key!r} is neither text nor an integer")
    pairs = [(key, _flatten(value, f"{path}/{key}", tensors)) for key, value in node.items()]
    plain = all(type(key) is str and not key.startswith("$") for key in node)
    return dict(pairs) if plain else {"$dict": [list(pair) for pair in pairs]}


def _store(tensor: torch.Tensor, path: str, tensors: dict[str, torch.Tensor]) -> str:
    name = path.removeprefix("/") or "value"
    while name in tensors:  # {"a/b": x} beside {"a": {"b": y}}
        name += "'"
    tensors[name] = tensor.detach()
    return name


def _generator_state(generator: torch.Generator | np.random.Generator) -> Any:
    return generator.get_state() if isinstance(generator, torch.Generator) else _plain(generator.bit_generator.state)


def _plain(node: Any) -> Any:
    """Turn NumPy's state dicts into a tree: string keys, plain numbers, arrays as they are."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    return node.item() if isinstance(node, np.generic) else node


def _differs(what: str, saved: object, now: object) -> ResumeError:
    return ResumeError(
        tr(
            f"cannot continue exactly: {what} saved: {saved}, here: {now}",
            f"无法精确续训：{what} 保存时为 {saved}，此处为 {now}",
        )
    )
