"""The metrics log: one JSON line per record in ``metrics.jsonl``, and TensorBoard files if asked for."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zhixing.errors import MissingExtraError
from zhixing.language import tr

_log = logging.getLogger(__name__)
NAME = "metrics.jsonl"


class MetricsLog:
    """Appends records; a disk that refuses them costs a warning, never the training."""

    def __init__(self, folder: Path, *, tensorboard: bool = False, after_step: int = 0) -> None:
        """Open the log of a run.

        Args:
            folder: the run folder.
            tensorboard: also write event files into ``tensorboard/``.
            after_step: records of later steps are removed: a resumed run will make them again.
        """
        self.path = folder / NAME
        self._warned = False
        self._board: Any = None
        try:
            self._keep_until(after_step)
            self._board = _board(folder / "tensorboard", after_step) if tensorboard else None
        except OSError as error:
            self._warn(error)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; it holds ``step``."""
        clean = {k: v if not isinstance(v, float) or math.isfinite(v) else str(v) for k, v in record.items()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(clean, ensure_ascii=False) + "\n")
            if self._board is not None:
                for name, value in clean.items():
                    if isinstance(value, int | float) and name != "step":
                        self._board.add_scalar(name, value, clean["step"])
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        """Flush the event files."""
        if self._board is not None:
            self._board.close()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            _log.warning(
                tr(
                    f"metrics cannot be written to {self.path} ({error}); training goes on without them",
                    f"无法把指标写入 {self.path}（{error}）；训练照常继续",
                )
            )
        self._warned = True

    def _keep_until(self, step: int) -> None:
        if not self.path.exists():
            return
        kept = [record for record in read_metrics(self.path.parent) if record["step"] <= step]
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        beside = self.path.with_suffix(".tmp")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.path)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a run; a last line cut short by a kill is left out."""
    path = folder / NAME
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def _board(folder: Path, after_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "track", "training.tensorboard") from error
    return SummaryWriter(str(folder), purge_step=after_step + 1)
