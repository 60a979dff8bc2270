"""How text is cut into tokens before it is measured. A score is only comparable to one made with the same rule.

``13a`` is the rule of NIST's mteval-v13a script, the usual one for BLEU between European languages: punctuation
stands alone, except a point or comma inside a number. ``zh`` treats every Chinese character, and every Chinese or
typographic punctuation mark, as a token and the rest as ``13a`` does. ``characters`` treats every character that is
not a space as a token, ``spaces`` cuts at white space and nowhere else, ``letters`` lower-cases and keeps only
runs of letters and digits, each Chinese character by itself: the rule of ROUGE, made fit for all scripts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import regex

from zhixing.errors import ConfigError, nearest
from zhixing.language import tr

Tokenisation = Literal["13a", "zh", "characters", "spaces", "letters"]
Splitter = Callable[[str], list[str]]

_ALONE = regex.compile(r"([!-&(-+:-@/\[-`{-~])")
_POINT_AFTER_TEXT = regex.compile(r"([^0-9])([.,])")
_POINT_BEFORE_TEXT = regex.compile(r"([.,])([^0-9])")
_DASH_AFTER_DIGIT = regex.compile(r"([0-9])(-)")
_CHINESE = regex.compile(
    r"([\p{Han}\p{Bopomofo}\u2001-\u206f\u2e80-\u303f\u31c0-\u31ef\ufe30-\ufe4f\uff00-\uffef])",
)
_LETTERS = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}]|(?:(?![\p{Han}\p{Hiragana}\p{Katakana}])[\p{L}\p{M}\p{N}])+"
)
_ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}


def splitter(tokenisation: str) -> Splitter:
    """Return the function that cuts one text.

    Raises:
        ConfigError: there is no such rule; the nearest is named.
    """
    if tokenisation not in _SPLITTERS:
        hint = nearest(tokenisation, get_args(Tokenisation))
        raise ConfigError(
            tr(f"unknown tokenisation '{tokenisation}'; {hint}", f"未知的切分方式 '{tokenisation}'；{hint}")
        )
    return _SPLITTERS[tokenisation]


def _split_13a(text: str) -> list[str]:
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return _split_punctuation(f" {text} ")


def _split_punctuation(text: str) -> list[str]:
    text = _ALONE.sub(r" \1 ", text)
    text = _POINT_AFTER_TEXT.sub(r"\1 \2 ", text)
    text = _POINT_BEFORE_TEXT.sub(r" \1 \2", text)
    return _DASH_AFTER_DIGIT.sub(r"\1 \2 ", text).split()


def _split_zh(text: str) -> list[str]:
    return _split_punctuation(_CHINESE.sub(r" \1 ", text.strip()))


def _split_characters(text: str) -> list[str]:
    return list("".join(text.split()))


def _split_letters(text: str) -> list[str]:
    return _LETTERS.findall(text.lower())


_SPLITTERS: dict[str, Splitter] = {
    "13a": _split_13a,
    "zh": _split_zh,
    "characters": _split_characters,
    "spaces": str.split,
    "letters": _split_letters,
}
