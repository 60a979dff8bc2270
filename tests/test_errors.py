"""Errors: their exit codes, and the nearest name."""

import pytest

from zhixing import errors
from zhixing.errors import ContextLengthError, InputError, MissingExtraError, Stopped, ZhixingError, nearest


def test_exit_codes() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, ZhixingError)]
    assert len(kinds) >= 8
    for kind in kinds:
        assert kind.exit_code == (2 if issubclass(kind, InputError) else 1)
    assert (Stopped(2).exit_code, Stopped(15).exit_code) == (130, 143)
    assert not isinstance(Stopped(15), Exception)


@pytest.mark.parametrize(("language", "said"), [("en", "did you mean 'train'?"), ("zh", "是否想写 'train'？")])
def test_nearest(language: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    assert nearest("trian", ["train", "resume"]) == said


def test_nothing_near_lists_all() -> None:
    assert nearest("xyz", ["train", "resume"]) == "known: resume, train"


def test_counts_and_extras_are_in_the_message() -> None:
    error = ContextLengthError(300, 256)
    assert (error.ids, error.limit) == (300, 256)
    assert "300 tokens" in str(error) and "256" in str(error)
    assert 'pip install "zhixing[serve]"' in str(MissingExtraError("fastapi", "serve", "zhixing serve"))
