"""From model folders to served models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zhixing.errors import InputError
from zhixing.generation.settings import load_generation_config
from zhixing.language import tr
from zhixing.models.families import ENCODERS
from zhixing.models.load import load
from zhixing.serving.engine import Engine
from zhixing.serving.metrics import Metrics
from zhixing.serving.served import ServedModel
from zhixing.serving.settings import ServerSettings

_MAX_NAME = 200


def model_names(paths: Sequence[Path], name: str | None) -> list[str]:
    """Return the names that clients ask for: ``name`` for a single folder, else each folder's own.

    Raises:
        InputError: two folders with one name, ``name`` with several folders, a name that no URL can hold.
    """
    if name is not None and len(paths) != 1:
        raise InputError(tr("--name goes with one folder only", "--name 只能用于单个文件夹"))
    names = [name] if name is not None else [path.resolve().name for path in paths]
    for index, one in enumerate(names):
        if not 0 < len(one) <= _MAX_NAME or not one.isprintable() or set(one) & set("/\\%?#"):
            raise InputError(
                tr(
                    f"'{one}' cannot be a model's name; give another with --name",
                    f"'{one}' 不能作为模型名；请用 --name 另取",
                )
            )
        if one in names[:index]:
            raise InputError(
                tr(
                    f"two folders are called '{one}'; rename one of them",
                    f"有两个文件夹都叫 '{one}'；请重命名其中一个",
                )
            )
    return names


def open_models(
    paths: Sequence[Path], names: Sequence[str], settings: ServerSettings, metrics: Metrics
) -> list[ServedModel]:
    """Load every folder and give each its engine.

    Raises:
        ModelFolderError: a folder that cannot be loaded.
        InputError: a model that has no next token.
    """
    return [_open(path, name, settings, metrics) for path, name in zip(paths, names, strict=True)]


def _open(path: Path, name: str, settings: ServerSettings, metrics: Metrics) -> ServedModel:
    loaded = load(path)
    if loaded.model.family in ENCODERS:
        loaded.model.initial_state(1)  # refuses: says what a masked model can do instead
    engine = Engine(
        loaded.model,
        loaded.tokenizer,
        slots=settings.slots,
        queue=settings.queue,
        longest=settings.longest,
        counts=metrics.observer(name),
    )
    metrics.watch(name, lambda: engine.running, lambda: engine.waiting)
    return ServedModel(
        name,
        engine,
        loaded.tokenizer,
        chat_template=loaded.chat_template,
        defaults=load_generation_config(loaded.path),
    )
