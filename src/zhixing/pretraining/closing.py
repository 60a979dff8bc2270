"""The last words of a run: how well the model has learned, how long that took, and what to do with it next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import join
from typing import Any

from zhixing.errors import ZhixingError
from zhixing.language import tr
from zhixing.models.families import ENCODERS
from zhixing.pretraining.run_folder import TrainResult, ids_folder_of
from zhixing.training.metrics import read_metrics


def closing_words(result: TrainResult) -> str:
    """Return the lines that ``zhixing train`` and ``zhixing resume`` end with."""
    folder = result.folder
    lines = [tr(f"model: {folder}", f"模型：{folder}"), *_learned(_records(folder), result.facts)]
    commands = [join(command) for command in next_commands(folder, result.facts).values()]
    return "\n".join([*lines, tr("next:", "接下来可以："), *(f"  {command}" for command in commands)])


def next_commands(folder: Path, facts: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the words of the commands that a model of this family is ready for, by verb or task."""
    family, name = str(facts.get("family")), str(folder)
    if family == "word_vectors":
        return {"neighbours": ["zhixing", "run", "neighbours", name, tr("WORD", "词")]}
    if (folder / "modules.json").is_file():  # it says how sentences are pooled
        first, second = tr("one sentence", "一个句子"), tr("another", "另一个")
        return {"similarity": ["zhixing", "run", "similarity", name, first, second]}
    shards = str(ids_folder_of(folder) / "shards")
    if facts.get("pairs"):  # it has learned to answer sources, not to continue texts
        source = tr("a source", "一段源文")
        return {
            "evaluate": ["zhixing", "evaluate", name, "--pairs", shards],
            "text2text": ["zhixing", "run", "text2text", name, source],
        }
    evaluate = ["zhixing", "evaluate", name, "--data", shards]
    if family in ENCODERS:
        blank = tr("one <|mask|> here", "此处有一个 <|mask|>")
        return {"evaluate": evaluate, "fill-mask": ["zhixing", "run", "fill-mask", name, blank]}
    return {
        "evaluate": evaluate,
        "generate": ["zhixing", "generate", name, tr("Once upon a time", "从前")],
        "serve": ["zhixing", "serve", name],
    }


def _records(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics of a run; none where it has none, or they cannot be read."""
    try:
        return read_metrics(folder)
    except (OSError, ZhixingError):
        return []


def _learned(records: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the last figures say; nothing for a model that is counted and not trained."""
    loss, validation, seconds = (_last(records, name) for name in ("loss", "validation_loss", "seconds"))
    if loss is None:
        return
    held_out = ""
    if validation is not None:
        held_out = tr(f"; on held-out text {validation:.4f}", f"；留出文本上 {validation:.4f}")
    what, unit = "token", "词元"
    if _last(records, "retrieval_accuracy") is not None:
        what, unit = "sentence", "句"
    elif facts.get("pairs"):
        what, unit = "target token", "目标词元"
    yield tr(f"loss: {loss:.4f} nats per {what}{held_out}", f"损失：每{unit} {loss:.4f} 奈特{held_out}")
    if seconds is not None:
        yield tr(f"trained for {_spelled(seconds)}", f"训练用时 {_spelled(seconds)}")


def _last(records: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the newest figure of this name."""
    return next((float(record[name]) for record in reversed(records) if record.get(name) is not None), None)


def _spelled(seconds: float) -> str:
    """Write a time as people say it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return tr(f"{hours} h {minutes} min", f"{hours} 小时 {minutes} 分")
    if minutes:
        return tr(f"{minutes} min {rest} s", f"{minutes} 分 {rest} 秒")
    return tr(f"{seconds:.1f} s", f"{seconds:.1f} 秒")
