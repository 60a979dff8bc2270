"""Bytes to text: which encoding a file is in, invalid bytes repaired and counted, one kind of newline.

The encoding is decided at the first chunk that is not plain ASCII, so a long English preface does not hide a
Chinese text. Every newline (CR LF, CR) becomes a line feed, NUL characters are removed, and every sequence
that is invalid in the file's encoding (a lone surrogate too) becomes U+FFFD; all are counted but newlines.
"""

from __future__ import annotations

import codecs
import io
import re

MARK = "\udc80"
"""A lone surrogate, which no decoder yields: it stands for an invalid sequence until it has been counted."""
SURROGATES = re.compile("[\ud800-\udfff]")
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 stands before UTF-16: its little-endian mark begins with the other's."""
SAMPLE = 1 << 18
"""Bytes looked at to recognise an encoding."""


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return MARK, error.end


codecs.register_error("zhixing.mark", _mark_invalid)


class TextDecoder:
    """Decodes one file chunk by chunk; afterwards ``encoding``, ``invalid`` and ``nul`` say what was met."""

    def __init__(self, encoding: str = "auto") -> None:
        self.encoding = "" if encoding == "auto" else encoding
        self.invalid = 0
        self.nul = 0
        self._started = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._newlines = io.IncrementalNewlineDecoder(None, translate=True)

    def decode(self, chunk: bytes, final: bool = False) -> str:
        """Return the text of the next bytes; ``final`` says that no more follow."""
        if self._decoder is None:
            if not self.encoding and (not chunk.isascii() or b"\0" in chunk):
                self.encoding = recognise(chunk, at_start=not self._started)
            if self.encoding:
                self._decoder = codecs.getincrementaldecoder(self.encoding)("zhixing.mark")
            elif final:
                self.encoding = "ascii"
        self._started = True
        text = self._decoder.decode(chunk, final) if self._decoder else chunk.decode("ascii")
        return self._newlines.decode(self._clean(text), final)

    def _clean(self, text: str) -> str:
        if "\0" in text:
            self.nul += text.count("\0")
            text = text.replace("\0", "")
        text, repaired = repair(text)
        self.invalid += repaired
        return text


def repair(text: str) -> tuple[str, int]:
    """Return ``text`` with every lone surrogate replaced by U+FFFD, and how many there were."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return SURROGATES.subn("\ufffd", text)
    return text, 0


def recognise(sample: bytes, at_start: bool = True) -> str:
    """Return the name of the encoding that ``sample``, the first bytes that are not plain ASCII, is in."""
    if at_start:
        for bom, encoding in BOMS:
            if sample.startswith(bom):
                return encoding
        if encoding := _utf16_without_bom(sample[:SAMPLE]):
            return encoding
    first = re.search(rb"[\x80-\xff]", sample)
    start = first.start() if first else 0
    sample = sample[start : start + SAMPLE]
    as_utf8 = codecs.getincrementaldecoder("utf-8")("zhixing.mark").decode(sample)
    invalid = as_utf8.count(MARK)
    valid = sum(len(run) for run in re.findall(r"[^\x00-\x7f\udc80]+", as_utf8))
    if valid >= 4 * invalid or not _is_chinese_gb18030(sample):
        return "utf-8"
    return "gb18030"


def _utf16_without_bom(sample: bytes) -> str:
    """Recognise UTF-16 of mostly ASCII text by its NUL bytes: all in the odd, or all in the even places."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > 0.4 * len(sample[1::2]) and even == 0:
        return "utf-16-le"
    if even > 0.4 * len(sample[::2]) and odd == 0:
        return "utf-16-be"
    return ""


def _is_chinese_gb18030(sample: bytes) -> bool:
    """Say whether bytes that are not UTF-8 are Chinese: valid, and mostly the common characters of GB 2312.

    Without the second condition Latin-1 would pass: GB18030 gives a meaning to almost any pair of bytes.
    """
    text = codecs.getincrementaldecoder("gb18030")("zhixing.mark").decode(sample)
    wide = "".join(re.findall(r"[^\x00-\x7f\udc80]+", text))
    if not wide or text.count(MARK) > 0.01 * len(wide):
        return False
    common = wide.encode("gb2312", errors="ignore")
    return len(common) // 2 >= 0.5 * len(wide)
