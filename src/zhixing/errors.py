"""The exceptions a caller may catch. ``exit_code`` is what the command line ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zhixing.language import tr


class ZhixingError(Exception):
    """Something failed that is not the user's input; the message is one clear sentence."""

    exit_code = 1


class InputError(ZhixingError):
    """The user's input is wrong: the message says what, where, and how to mend it."""

    exit_code = 2


class ConfigError(InputError):
    """A recipe or an option is wrong: file, line, field."""


class DataError(InputError):
    """A text or data file is wrong: file, line or row, field."""


class ModelFolderError(InputError):
    """A model folder is damaged, incomplete, unsafe, or of an unknown family."""


class ContextLengthError(InputError):
    """More ids than the model's context can hold.

    ``ids`` and ``limit`` are the two counts.
    """

    def __init__(self, ids: int, limit: int) -> None:
        self.ids = ids
        self.limit = limit
        super().__init__(
            tr(
                f"the text has {ids} tokens, but the model's context holds {limit}; shorten it",
                f"文本有 {ids} 个词元，而模型的上下文只容纳 {limit} 个；请缩短文本",
            )
        )


class CheckpointError(ZhixingError):
    """A checkpoint could not be written, or none that is whole could be read."""


class ResumeError(InputError):
    """The run cannot be continued as asked: the settings that differ are named."""


class MissingExtraError(InputError):
    """An optional library is absent; the message names the extra that brings it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(
            tr(
                f'{purpose} needs the library {library}: pip install "zhixing[{extra}]"',
                f'{purpose} 需要库 {library}：pip install "zhixing[{extra}]"',
            )
        )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Word what the system refuses to open, or to name, as bad input.

    Raises:
        DataError: inside, a file could not be read.
    """
    try:
        yield
    except OSError as error:
        name, reason = error.filename or path, error.strerror or str(error)
        raise DataError(tr(f"cannot read {name}: {reason}", f"无法读取 {name}：{reason}")) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a clause naming the known name closest to ``name``, or all of them if none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return tr(f"did you mean '{close[0]}'?", f"是否想写 '{close[0]}'？")
    return tr("known: ", "可用：") + ", ".join(names)


class Stopped(BaseException):
    """A signal asked the program to stop; not an error, so ``except Exception`` lets it pass."""

    def __init__(self, signal_number: int, message: str = "") -> None:
        self.exit_code = 128 + signal_number
        super().__init__(message or tr("stopped by a signal", "被信号停止"))
