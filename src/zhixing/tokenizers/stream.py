"""Text from ids as they come, one at a time: no character is shown before all its bytes are there.

What comes out, joined, is exactly what decoding all the ids at once gives: a byte that can never become
part of a character is U+FFFD at once, one that may is held back.
"""

from __future__ import annotations

import codecs

from zhixing.tokenizers.protocol import Tokenizer

_REPLACEMENT = "\ufffd"
_WINDOW = 32


class StreamDecoder:
    """``push`` each id, then ``finish``."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = _new_decoder(tokenizer)

    def push(self, token_id: int) -> str:
        """Return the text that ``token_id`` completes: often its own, possibly empty or that of several
        ids."""
        return self._decoder.push(token_id)

    def finish(self) -> str:
        """Return what is left: U+FFFD for a character that stayed incomplete. The decoder is then as new."""
        text = self._decoder.finish()
        self._decoder = _new_decoder(self._tokenizer)
        return text


class _Bytes:
    """For ids that stand for fixed bytes: Python's own incremental UTF-8 decoder."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        return self._utf8.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        return self._utf8.decode(b"", final=True)


class _Differences:
    """For foreign tokenizers whose text depends on the neighbours: what decoding one more id adds.

    Only a window of ids is decoded again, moved on whenever the text so far is whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = ""

    def push(self, token_id: int) -> str:
        self._ids.append(token_id)
        text = self._tokenizer.decode(self._ids)
        if text.endswith(_REPLACEMENT) or not text.startswith(self._shown):
            return ""
        new = text[len(self._shown) :]
        self._shown = text
        if len(self._ids) > 2 * _WINDOW:
            self._ids = self._ids[-_WINDOW:]
            self._shown = self._tokenizer.decode(self._ids)
        return new

    def finish(self) -> str:
        return self._tokenizer.decode(self._ids)[len(self._shown) :]


def _new_decoder(tokenizer: Tokenizer) -> _Bytes | _Differences:
    return _Differences(tokenizer) if tokenizer.kind == "hf" else _Bytes(tokenizer)
