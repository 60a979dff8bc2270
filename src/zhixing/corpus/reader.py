"""Files to documents: one stream in a fixed order, duplicates removed, all that was left out counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from zhixing.corpus.document import BrokenFileError, Document, Problem, utf8_length
from zhixing.corpus.duplicates import SeenDigests
from zhixing.corpus.find import InputFile, find_text
from zhixing.corpus.html import visible_text
from zhixing.corpus.plain import divide, long_line, pieces
from zhixing.corpus.report import ReadReport
from zhixing.corpus.rows import row_pair, row_text, rows
from zhixing.corpus.settings import TextSettings
from zhixing.errors import DataError
from zhixing.language import tr

_log = logging.getLogger(__name__)


def documents(
    settings: TextSettings,
    report: ReadReport | None = None,
    files: Sequence[InputFile] | None = None,
    announce: bool = True,
) -> Iterator[Document]:
    """Yield the documents that ``settings`` name, one at a time; memory does not grow with their number.

    Args:
        settings: which text, and how to treat what is wrong with it.
        report: filled while reading; it is complete when the iterator is exhausted.
        files: what ``find_text`` returned, to spare a second search.
        announce: log at the end what was left out or changed.

    Raises:
        DataError: a path is wrong, a row or file is broken (``on_error="fail"``), or no document was found.
    """
    report = ReadReport() if report is None else report
    if files is None:
        files = find_text(settings, report)
    with SeenDigests() as seen:
        for document in chain.from_iterable(_read(file, settings, report) for file in files):
            if not document.text.strip():
                report.blank_documents += 1
            elif _is_repeated(document, seen, settings):
                report.duplicates += 1
            else:
                report.documents += 1
                report.text_bytes += document.utf8_bytes
                yield document
    if announce:
        _tell(report)
    if not report.documents:
        raise DataError(_nothing(settings, report))


def _is_repeated(document: Document, seen: SeenDigests, settings: TextSettings) -> bool:
    """Say whether a document is left out for another: equal ones once, and what is held out is never learned from."""
    if settings.deduplicate or document.held_out:
        known = not seen.add(document.digest)
        return known and settings.deduplicate
    return bool(settings.validation_paths) and document.digest in seen


def _read(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[Document]:
    """Yield the documents of one file; a Problem stops the reading or is counted, as ``on_error`` says."""
    report.files += 1
    for item in _whole(file, settings, report):
        if isinstance(item, Document):
            yield replace(item, held_out=True) if file.held_out else item
        elif settings.on_error == "skip":
            report.add_broken(item)
        else:
            raise DataError(str(item))


def _whole(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[Document | Problem]:
    """Yield documents and problems, with damage of the whole file as the last problem."""
    readers = {"text": _text_file, "html": _html_file}
    if settings.source_field:
        readers = {"text": _no_pairs, "html": _no_pairs}
    try:
        yield from readers.get(file.layout, _pair_file if settings.source_field else _row_file)(file, settings, report)
    except BrokenFileError as error:
        yield error.problem


def _text_file(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[Document | Problem]:
    return _parts(file.path, divide(file.path, pieces(file, settings, report), settings), report)


def _html_file(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[Document | Problem]:
    page, size = [], 0
    for piece in pieces(file, settings, report):
        page.append(piece)
        size += utf8_length(piece)
        if size > settings.max_line_bytes:
            yield long_line(file.path, settings)
            return
    yield from _parts(file.path, divide(file.path, [visible_text("".join(page))], settings), report)


def _row_file(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[Document | Problem]:
    empty = True
    for row in rows(file, settings, report, (settings.text_field,)):
        empty = False
        text = row if isinstance(row, Problem) else row_text(file, row, settings.text_field, settings, report)
        if isinstance(text, Problem):
            yield text
        else:
            source = f"{file.path}:{row.number}" if not isinstance(row, Problem) else file.path
            yield from _parts(source, divide(source, [text], settings), report)
    report.blank_documents += empty


def _pair_file(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[Document | Problem]:
    """Yield the pair of each row, undivided however long."""
    empty = True
    for row in rows(file, settings, report, (settings.source_field, settings.target_field)):
        empty = False
        if isinstance(row, Problem):
            yield row
            continue
        pair = row_pair(file, row, settings, report)
        yield pair if isinstance(pair, Problem) else Document(pair[0], f"{file.path}:{row.number}", target=pair[1])
    report.blank_documents += empty


def _no_pairs(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[Document | Problem]:
    yield Problem(
        file.path,
        tr(
            "holds no pairs: text.source_field and text.target_field are fields of rows (.jsonl, .csv, .parquet); name "
            "such files in text.paths",
            "其中没有成对的文本：text.source_field 与 text.target_field 是数据行的字段（.jsonl、.csv、.parquet）；"
            "请在 text.paths 中给出这类文件",
        ),
    )


def _parts(source: str, texts: Iterator[str | Problem], report: ReadReport) -> Iterator[Document | Problem]:
    count, empty = 0, True
    for text in texts:
        empty = False
        if isinstance(text, Problem):
            yield text
            continue
        count += 1
        yield Document(text, source if count == 1 else f"{source}#{count}")
    report.divided_documents += count > 1
    report.blank_documents += empty


def _tell(report: ReadReport) -> None:
    """Say once, at the end, what was left out or changed."""
    if report.broken:
        first = "; ".join(report.broken_examples)
        _log.warning(
            tr(
                f"skipped {report.broken} broken rows or files; the first: {first}",
                f"跳过了 {report.broken} 处损坏的行或文件；开头几处：{first}",
            )
        )
    if report.ignored:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(report.ignored.items()))
        _log.warning(tr(f"files of other types were not read: {kinds}", f"未读取其他类型的文件：{kinds}"))
    if report.repaired_files:
        names = ", ".join(report.repaired_files)
        counts = f"{report.repaired_bytes} + {report.removed_nul_characters}"
        _log.warning(
            tr(
                f"invalid sequences replaced + NUL characters removed: {counts}, in {names}",
                f"已替换的无效字节序列 + 已删除的 NUL 字符：{counts}，位于 {names}",
            )
        )
    if report.divided_documents:
        count = report.divided_documents
        _log.info(
            tr(
                f"{count} documents longer than max_document_bytes were divided at paragraphs or lines",
                f"{count} 篇超过 max_document_bytes 的文档已在段落或换行处分开",
            )
        )


def _nothing(settings: TextSettings, report: ReadReport) -> str:
    where = ", ".join((*settings.paths, *settings.validation_paths))
    counts = f"{report.files} / {report.blank_documents} / {report.broken}"
    return tr(
        f"no text in {where}: files / blank / broken = {counts}; give at least one document with text in it",
        f"{where} 中没有文本：文件 / 空白 / 损坏 = {counts}；请至少提供一篇有内容的文档",
    )
