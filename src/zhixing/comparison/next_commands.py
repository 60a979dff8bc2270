"""What to do after a comparison: the commands that the page and the terminal offer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import join

from zhixing.comparison.table import Row
from zhixing.language import tr
from zhixing.pretraining.run_folder import RECIPE


def next_commands(rows: Sequence[Row], best: str | None, ids: Path) -> dict[str, str]:
    """Return commands by purpose: ``serve`` and ``generate`` of the chosen model, ``continue`` of a trained one.

    Args:
        rows: those with figures, the best first.
        best: the chosen one; None: nobody is served.
        ids: folder of tokenizer and shards.
    """
    found: dict[str, str] = {}
    folders = {row.model: row.folder for row in rows if row.folder}
    if best in folders:
        found["serve"] = join(["zhixing", "serve", folders[best]])
        found["generate"] = join(["zhixing", "generate", folders[best], "--max-new-tokens", "200"])
    trained = next((row.folder for row in rows if row.folder and row.flops is not None), None)
    if trained:
        again = ["zhixing", "train", f"{Path(trained) / RECIPE}", "--init-from", trained, "--ids", str(ids)]
        found["continue"] = join([*again, "--out", f"{trained}-2"])
    return found


def purposes() -> dict[str, str]:
    """Return what each of the commands is for."""
    return {
        "serve": tr("Serve the chosen model to any OpenAI client", "用所选模型提供服务，供任何 OpenAI 客户端使用"),
        "generate": tr("Let it write", "让它写作"),
        "continue": tr("Train the best of the trained ones further", "继续训练其中最好的一个"),
    }
