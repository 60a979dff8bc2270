"""Weights: safetensors only, one file or shards with an index, digests checked, every value finite.

safetensors (Hugging Face, format of 2022) holds a JSON header and raw bytes, so that reading cannot run code.
What the library leaves unchecked is checked here: a name given twice, values that are not finite, shard names
that lead elsewhere, and the digest. A file is read into memory once, so what was checked is what is used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.model_folder.durable import Content
from zhixing.model_folder.manifest import MANIFEST_NAME, read_manifest
from zhixing.model_folder.paths import check_names, parse_json
from zhixing.model_folder.reading import read_bytes, read_json

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Framework = Literal["torch", "numpy"]
UNSAFE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".pt2", ".joblib", ".npz", ".h5"})
"""Weight files that hold, or may hold, a pickle or code. They are never opened."""
HEADER_LIMIT = 100_000_000
"""bytes; the library's own limit of a header."""


def write_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor | np.ndarray[Any, Any]]) -> None:
    """Write one safetensors file; the same tensors give the same bytes. NumPy arrays alone need no torch.

    Two names for one tensor (tied weights) are written twice: leave one out if the reader ties them itself.

    Raises:
        OSError: the disk is full, ...
    """
    from safetensors import SafetensorError

    save_file, dense = _dense(tensors)
    try:
        save_file(dense, str(path), metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from error


def tensor_files(
    tensors: Mapping[str, torch.Tensor | np.ndarray[Any, Any]],
    *,
    shard_bytes: int = 5 * 10**9,
    stem: str = "model",
) -> dict[str, Content]:
    """Return the weight files for ``write_folder``: one, or shards (at most ``shard_bytes``) and an index."""
    shards: list[dict[str, Any]] = [{}]
    room = shard_bytes
    for name, tensor in sorted(tensors.items()):
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    if len(shards) == 1:
        return {f"{stem}.safetensors": _writer(shards[0])}
    names = [f"{stem}-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    weight_map = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": weight_map}
    files: dict[str, Content] = {file: _writer(shard) for file, shard in zip(names, shards, strict=True)}
    return files | {f"{stem}.safetensors.index.json": json.dumps(index, indent=2, sort_keys=True) + "\n"}


def read_tensors(
    folder: str | Path, *, framework: Framework = "torch", check_finite: bool = True, stem: str = "model"
) -> dict[str, Any]:
    """Return the tensors of ``STEM.safetensors``, or of the shards that ``STEM.safetensors.index.json``.

    Args:
        folder: the model folder.
        framework: ``"torch"`` (CPU tensors) or ``"numpy"`` (no torch needed; bfloat16 becomes float32).
        check_finite: refuse NaN and infinity.
        stem: the weight file's name without its suffix.

    Raises:
        ModelFolderError: no safetensors weights, or they are unsafe, damaged or not finite.
    """
    folder = Path(folder)
    if read_manifest(folder) is None:
        logger.info(
            tr(
                f"{folder} has no {MANIFEST_NAME}: its weights cannot be checked for damage",
                f"{folder} 没有 {MANIFEST_NAME}：无法检查权重是否损坏",
            )
        )
    single = f"{stem}.safetensors"
    if (folder / single).is_symlink() or (folder / single).exists():
        tensors = _read_file(folder, single, framework)
    elif (folder / f"{single}.index.json").exists():
        tensors = _read_shards(folder, f"{single}.index.json", framework)
    else:
        raise _no_weights(folder, single)
    if check_finite:
        _refuse_non_finite(folder, tensors)
    return tensors


def tensor_shapes(tensors: Mapping[str, torch.Tensor | np.ndarray[Any, Any]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor, for ``check_tensor_names``."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check_tensor_names(
    expected: Mapping[str, Sequence[int]], got: Mapping[str, Sequence[int]], where: str = "model.safetensors"
) -> None:
    """Compare the names and shapes that a model needs with those that a file holds.

    Raises:
        ModelFolderError: listing what is missing, what is too much, and what has another shape.
    """
    missing = [name for name in expected if name not in got]
    extra = [name for name in got if name not in expected]
    wrong = [
        f"{name} {tuple(got[name])} ≠ {tuple(shape)}"
        for name, shape in expected.items()
        if name in got and tuple(got[name]) != tuple(shape)
    ]
    problems = [
        f"{label}: {_listed(names)}"
        for label, names in (
            (tr("missing", "缺少"), missing),
            (tr("not part of the model", "不属于该模型"), extra),
            (tr("of another shape (found ≠ needed)", "形状不同（实际 ≠ 所需）"), wrong),
        )
        if names
    ]
    if problems:
        raise ModelFolderError(
            tr(f"{where} does not fit config.json; ", f"{where} 与 config.json 不符；") + "; ".join(problems)
        )


def _dense(tensors: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the library's saver and the tensors as it wants them: contiguous, no two sharing memory."""
    if all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
        from safetensors.numpy import save_file

        return save_file, {name: np.require(tensor, requirements="C") for name, tensor in tensors.items()}
    import torch
    from safetensors.torch import save_file as save_torch_file

    dense: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        whole = torch.as_tensor(tensor).detach().cpu().contiguous()
        if whole.untyped_storage().data_ptr() in storages:
            whole = whole.clone()
        storages.add(whole.untyped_storage().data_ptr())
        dense[name] = whole
    return save_torch_file, dense


def _writer(tensors: Mapping[str, Any]) -> Content:
    return lambda path: write_tensors(path, tensors)


def _read_shards(folder: Path, index_name: str, framework: Framework) -> dict[str, Any]:
    index = read_json(folder, index_name)
    where = str(folder / index_name)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFolderError(tr(f"{where} has no 'weight_map'", f"{where} 没有 'weight_map'"))
    shard_names = dict.fromkeys(name for name in weight_map.values() if isinstance(name, str))
    not_names = [value for value in weight_map.values() if not isinstance(value, str)]
    check_names([*not_names, *shard_names], where, nested=False)
    tensors: dict[str, Any] = {}
    for shard_name in shard_names:
        shard = _read_file(folder, shard_name, framework)
        listed = {name for name, file in weight_map.items() if file == shard_name}
        if listed != shard.keys():
            names = _listed(sorted(listed ^ shard.keys()))
            raise ModelFolderError(
                tr(
                    f"{folder / shard_name} and {index_name} differ in their tensors: {names}",
                    f"{folder / shard_name} 的张量与 {index_name} 所列不符：{names}",
                )
            )
        tensors |= shard
    return tensors


def _read_file(folder: Path, name: str, framework: Framework) -> dict[str, Any]:
    if not name.endswith(".safetensors"):
        raise ModelFolderError(
            tr(f"{folder / name} is not a .safetensors file", f"{folder / name} 不是 .safetensors 文件")
        )
    data = read_bytes(folder, name)
    _check_header(data, str(folder / name))
    from safetensors import SafetensorError

    try:
        if framework == "numpy":
            return _numpy_arrays(data, folder / name)
        from safetensors.torch import load

        loaded: dict[str, Any] = load(data)
        return loaded
    except SafetensorError as error:
        raise ModelFolderError(
            tr(
                f"{folder / name} is not a whole safetensors file: {error}",
                f"{folder / name} 不是完整的 safetensors 文件：{error}",
            )
        ) from error


def _check_header(data: bytes, where: str) -> None:
    """Refuse a header that is not JSON or names a tensor twice; the library refuses the rest."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, HEADER_LIMIT):
        raise ModelFolderError(
            tr(f"{where} is cut off or not a safetensors file", f"{where} 被截断或不是 safetensors 文件")
        )
    parse_json(data[8 : 8 + length], where)


def _numpy_arrays(data: bytes, path: Path) -> dict[str, np.ndarray[Any, Any]]:
    from safetensors import deserialize

    kinds = {"F64": "f8", "F32": "f4", "F16": "f2", "BOOL": "?", "C64": "c8"}
    kinds |= {f"{sign}{8 * size}": f"{sign.lower()}{size}" for sign in "IU" for size in (1, 2, 4, 8)}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, view in deserialize(data):  # type: ignore[no-untyped-call]
        if view["dtype"] == "BF16":  # the upper half of a float32
            wide = np.frombuffer(view["data"], "<u2").astype("<u4") << np.uint32(16)
            arrays[name] = wide.view("<f4").reshape(view["shape"])
        elif view["dtype"] in kinds:
            arrays[name] = np.frombuffer(view["data"], f"<{kinds[view['dtype']]}").reshape(view["shape"])
        else:
            raise ModelFolderError(
                tr(
                    f"{path}: tensor '{name}' is {view['dtype']}, which NumPy does not have",
                    f"{path}：张量 '{name}' 的类型 {view['dtype']} 在 NumPy 中不存在",
                )
            )
    return arrays


def _refuse_non_finite(folder: Path, tensors: Mapping[str, Any]) -> None:
    bad = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if bad:
        raise ModelFolderError(
            tr(
                f"{folder}: NaN or infinite values in {_listed(bad)}: the training that wrote them diverged, "
                "or the file is damaged",
                f"{folder}：{_listed(bad)} 含 NaN 或无穷大：写出它的训练已发散，或文件已损坏",
            )
        )


def _is_finite(tensor: Any) -> bool:
    if isinstance(tensor, np.ndarray):
        return tensor.dtype.kind not in "fc" or bool(np.isfinite(tensor).all())
    import torch

    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    wide = tensor.float() if tensor.dtype.itemsize == 1 else tensor
    return bool(torch.isfinite(wide).all())


def _no_weights(folder: Path, single: str) -> ModelFolderError:
    unsafe = sorted(p.name for p in folder.iterdir() if p.suffix in UNSAFE_SUFFIXES) if folder.is_dir() else []
    if unsafe:
        return ModelFolderError(
            tr(
                f"{folder} has only {_listed(unsafe)}, a format that can run code: never opened; convert "
                "it to safetensors with the tool that wrote it (transformers: model.save_pretrained(folder))",
                f"{folder} 只有 {_listed(unsafe)}，该格式可运行代码，绝不打开；"
                "请用写出它的工具转换为 safetensors（transformers：model.save_pretrained(folder)）",
            )
        )
    return ModelFolderError(
        tr(
            f"{folder} has no {single}: not a model folder, or incomplete",
            f"{folder} 没有 {single}：不是模型文件夹或不完整",
        )
    )


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    rest = len(names) - most
    return shown + (tr(f", and {rest} more", f" 等，另有 {rest} 个") if rest > 0 else "")
