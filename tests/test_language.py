"""Which language a message is shown in."""

import pytest

from zhixing.language import current_language, tr

VARIABLES = ("ZHIXING_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"ZHIXING_LANG": "zh"}, "zh"),
        ({"ZHIXING_LANG": "zh-Hans"}, "zh"),
        ({"ZHIXING_LANG": "ZH_cn"}, "zh"),
        ({"ZHIXING_LANG": "en", "LC_ALL": "zh_CN.UTF-8"}, "en"),
        ({"ZHIXING_LANG": "", "LANG": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_MESSAGES": "en_GB.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "zh_CN", "LC_MESSAGES": "en_GB"}, "zh"),
        ({"LC_ALL": "", "LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
    ],
)
def test_the_language_comes_from_the_environment(
    environment: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert current_language() == language
    assert tr("hello", "你好") == {"en": "hello", "zh": "你好"}[language]


def test_the_language_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for answer, language in (("Chinese (Simplified)_China", "zh"), ("English_World", "en"), (None, "en")):
        monkeypatch.setattr("zhixing.language.locale.getlocale", lambda answer=answer: (answer, "936"))
        assert current_language() == language
