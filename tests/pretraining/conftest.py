"""A run that is stopped in its middle and continued has to end as one that was not."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import zhixing
from zhixing.errors import Stopped
from zhixing.training import loop

Check = Callable[[str | Path, Sequence[str], int], Path]


@pytest.fixture
def resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Train a recipe, train it again with a stop at one step, resume; return the unbroken run, whose weights it has."""

    def check(recipe: str | Path, overrides: Sequence[str], stop_at: int) -> Path:
        zhixing.train(recipe, tmp_path / "whole", overrides=overrides, announce=False)
        step, calls = loop._step, []

        def stopping(*given):  # type: ignore[no-untyped-def]
            calls.append(1)
            if len(calls) == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(*given)

        monkeypatch.setattr(loop, "_step", stopping)
        with pytest.raises(Stopped):
            zhixing.train(recipe, tmp_path / "cut", overrides=overrides, announce=False)
        zhixing.resume(tmp_path / "cut")
        first, second = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
        assert first.read_bytes() == second.read_bytes()
        return tmp_path / "whole"

    return check
