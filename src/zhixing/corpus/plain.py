"""A file's text in pieces, in lines, and cut into documents of bounded size."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from zhixing.corpus.document import BrokenFileError, Problem, utf8_length
from zhixing.corpus.encodings import TextDecoder
from zhixing.corpus.find import InputFile
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.corpus.streams import chunks
from zhixing.language import tr

_log = logging.getLogger(__name__)
MAX_INVALID = 0.1
"""Share of invalid sequences among a chunk's characters beyond which the file is not taken for text."""


def pieces(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[str]:
    """Yield the text of ``file`` piece by piece, decoded and with its newlines made line feeds.

    Raises:
        BrokenFileError: the file cannot be read, or it is not text in an encoding that is known.
    """
    decoder = TextDecoder(settings.encoding)
    for chunk in chunks(file, settings, report):
        before = decoder.invalid
        text = decoder.decode(chunk)
        if decoder.invalid - before > MAX_INVALID * len(text) + 16:
            raise BrokenFileError(
                file.path,
                tr(
                    "not text in UTF-8, UTF-16 or GB18030; save it as UTF-8 or set `encoding`",
                    "不是 UTF-8、UTF-16 或 GB18030 文本；请另存为 UTF-8，或设置 `encoding`",
                ),
            )
        yield text
    yield decoder.decode(b"", final=True)
    _tell(file, decoder, report)


def lines(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[tuple[int, str | Problem]]:
    """Yield the lines of ``file`` with their numbers from 1, a Problem in place of a line over the cap."""
    rest, number, dropping = "", 1, False
    for piece in pieces(file, settings, report):
        *complete, rest = (rest + piece).split("\n")
        for line in complete:
            if not dropping:
                yield number, _within_cap(line, f"{file.path}:{number}", settings)
            number, dropping = number + 1, False
        if dropping:
            rest = ""
        elif utf8_length(rest) > settings.max_line_bytes:
            yield number, long_line(f"{file.path}:{number}", settings)
            rest, dropping = "", True
    if rest:
        yield number, _within_cap(rest, f"{file.path}:{number}", settings)


def divide(source: str, texts: Iterable[str], settings: TextSettings) -> Iterator[str | Problem]:
    """Join ``texts`` and cut the result into documents of at most ``max_document_bytes``.

    Cuts fall behind a blank line, else behind a line feed; a line longer than the limit stays whole up to
    ``max_line_bytes`` and becomes a Problem beyond. The documents joined are the text, long lines excepted.
    """
    held, line, dropping = bytearray(), 1, False
    for text in texts:
        held += text.encode()
        if dropping:
            end = held.find(b"\n") + 1
            del held[: end or len(held)]
            dropping, line = not end, line + bool(end)
        while len(held) > settings.max_document_bytes:
            cut = _cut(held, settings.max_document_bytes)
            if 0 < cut <= settings.max_line_bytes:
                line += held.count(b"\n", 0, cut)
                yield held[:cut].decode()
            elif cut or len(held) > settings.max_line_bytes:
                yield long_line(f"{source}:{line}", settings)
                dropping, line = not cut, line + bool(cut)
                cut = cut or len(held)
            else:
                break
            del held[:cut]
    if held:
        yield held.decode()


def long_line(where: str, settings: TextSettings) -> Problem:
    """Return the problem of a line, row or page that is longer than may be held in memory."""
    limit = settings.max_line_bytes
    return Problem(
        where,
        tr(
            f"longer than {limit:,} bytes without a line break; break it up or raise max_line_bytes",
            f"超过 {limit:,} 字节而没有换行；请分行或调大 max_line_bytes",
        ),
    )


def _cut(held: bytearray, limit: int) -> int:
    """Return where to cut: behind the last blank line or line within the limit, else the next; 0: none."""
    paragraph = held.rfind(b"\n\n", limit // 2, limit)
    if paragraph >= 0:
        return paragraph + 2
    line = held.rfind(b"\n", 0, limit)
    return line + 1 if line >= 0 else held.find(b"\n", limit) + 1


def _within_cap(line: str, where: str, settings: TextSettings) -> str | Problem:
    return line if utf8_length(line) <= settings.max_line_bytes else long_line(where, settings)


def _tell(file: InputFile, decoder: TextDecoder, report: ReadReport) -> None:
    encoding = decoder.encoding.removesuffix("-sig")
    report.add_encoding(encoding)
    report.add_repairs(file.path, decoder.invalid, decoder.nul)
    if encoding not in ("utf-8", "ascii"):
        name = encoding.upper()
        _log.info(tr(f"{file.path}: read as {name}", f"{file.path}：按 {name} 读取"))
