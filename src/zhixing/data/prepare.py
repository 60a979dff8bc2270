"""From text to token shards: read once, split, encoded in parallel, resumable, never done twice.

The folder holds ``manifest.json`` (what was read, the report of the reading), ``train/`` and ``validation/``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zhixing.corpus.document import Document, is_validation, split_hash, split_point
from zhixing.corpus.find import InputFile, find_text
from zhixing.corpus.reader import documents as read_documents
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.data.files import locked, make_folder
from zhixing.data.manifest import FORMAT, NAME, VERSION, load_json, save_json
from zhixing.data.shards import TokenShards
from zhixing.data.writer import SplitWriter, clear
from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.progress import progress
from zhixing.tokenizers.protocol import Tokenizer

_log = logging.getLogger(__name__)
SPLITS = ("train", "validation")
UNFINISHED = "unfinished.json"
FEW = 20
"""Documents below which long ones are divided if none would be held out otherwise."""


@dataclass(frozen=True)
class Prepared:
    """Both splits, what reading found, and the key of what was read: equal key, equal input."""

    train: TokenShards
    validation: TokenShards
    report: ReadReport
    key: str


def prepare(
    text: TextSettings,
    tokenizer: Tokenizer,
    folder: str | Path,
    workers: int | None = None,
    replace: bool = False,
    verify: bool = True,
    announce: bool = True,
) -> Prepared:
    """Turn the text that ``text`` names into token shards in ``folder``, or open them if that has been done.

    A killed preparation goes on where it stopped. When so few documents are read that none would be held out
    (or all), long documents are divided and the share with the smallest hashes is held out; a single
    short document leaves the validation split empty.

    Args:
        text: which text is read and how.
        tokenizer: makes the ids.
        folder: where the shards go; created.
        workers: threads that encode; None: one per core.
        replace: write over shards in ``folder`` that are of other input, or damaged, instead of refusing.
        verify: compare the digests of shards that are there already.
        announce: say so where they are there already.

    Raises:
        DataError: the text cannot be read, or ``folder`` holds finished shards of other input.
        ZhixingError: the disk is full; finished parts are kept for the next attempt.
    """
    folder = Path(folder)
    report = ReadReport()
    files = find_text(text, report)
    key = _key(text, tokenizer, files)
    make_folder(folder)
    with locked(folder):
        if _is_finished(folder, key, replace):
            level = logging.INFO if announce else logging.DEBUG
            _log.log(level, tr(f"{folder}: already prepared", f"{folder}：此前已准备完毕"))
        else:
            _begin(folder, key)
            report = _build(text, tokenizer, folder, files, report, workers or os.cpu_count() or 1)
            _finish(folder, key, text, tokenizer, files, report)
    return open_prepared(folder, verify)


def open_prepared(folder: str | Path, verify: bool = True) -> Prepared:
    """Open a folder that ``prepare`` completed.

    Raises:
        DataError: it is not complete, or a file was changed afterwards.
    """
    folder = Path(folder)
    values = load_json(folder / NAME)
    train, validation = (TokenShards.open(folder / split, verify) for split in SPLITS)
    for shards in (train, validation):
        if shards.digest != values["splits"][shards.folder.name]["digest"]:
            raise DataError(
                tr(
                    f"{shards.folder}: these are not the shards that {NAME} describes; prepare them again",
                    f"{shards.folder}：与 {NAME} 所述的分片不符；请重新准备",
                )
            )
    return Prepared(train, validation, ReadReport.from_dict(values["report"]), values["key"])


def prepare_shards(
    documents: Iterable[Document], tokenizer: Tokenizer, folder: str | Path, workers: int | None = None
) -> TokenShards:
    """Write ``documents`` as one folder of shards, without a split, and open it.

    Parts of the same documents that an earlier, killed call finished are kept.
    """
    folder = Path(folder)
    with _writers(tokenizer, [folder], workers or os.cpu_count() or 1) as (writer,):
        for document in documents:
            writer.add(document)
        parts = writer.close().parts
    clear(folder, keep_parts=len(parts))
    return TokenShards.open(folder, verify=False)


def _key(text: TextSettings, tokenizer: Tokenizer, files: list[InputFile]) -> str:
    """Digest everything that decides the shards: settings, tokenizer, and each file's path, size and time."""
    inputs = [
        VERSION,
        # Not the defaults: a setting that a later version adds does not make these shards those of another text.
        text.model_dump(mode="json", exclude_defaults=True, exclude={"paths", "validation_paths"}),
        tokenizer.fingerprint,
        [(*file.identity, file.held_out) for file in files],
    ]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def _is_finished(folder: Path, key: str, replace: bool) -> bool:
    if not (folder / NAME).exists():
        return False
    same = load_json(folder / NAME)["key"] == key
    if same and not (replace and _is_damaged(folder)):
        return True
    if not replace:
        raise DataError(
            tr(
                f"{folder}: holds shards of other text or another tokenizer; choose another or replace them",
                f"{folder}：已有由其他文本、设置或分词器制成的分片；请另选文件夹，或选择替换",
            )
        )
    (folder / NAME).unlink()
    return False


def _is_damaged(folder: Path) -> bool:
    try:
        open_prepared(folder)
    except DataError:
        return True
    return False


def _begin(folder: Path, key: str) -> None:
    """Leave parts of the same input for the writer to find; remove those of any other."""
    unfinished = folder / UNFINISHED
    same = unfinished.exists() and load_json(unfinished)["key"] == key
    if same:
        _log.info(tr(f"{folder}: going on where it stopped", f"{folder}：从上次中断处继续"))
    for split in SPLITS:
        (folder / split / NAME).unlink(missing_ok=True)
        if not same:
            clear(folder / split)
    save_json(unfinished, {"format": FORMAT, "version": VERSION, "key": key})


def _build(
    text: TextSettings,
    tokenizer: Tokenizer,
    folder: Path,
    files: list[InputFile],
    report: ReadReport,
    workers: int,
) -> ReadReport:
    """Write both splits; a second time, with other bounds, if one came out empty."""
    ignored = ReadReport(ignored=dict(report.ignored), ignored_examples=list(report.ignored_examples))
    point = split_point(text)
    held_out = _write_splits(text, tokenizer, folder, files, report, point, workers)
    if text.validation_paths:
        _check_both(text, held_out, report.documents)
        return report
    if text.validation_fraction == 0 or 0 < held_out < report.documents:
        return report
    piece = max(1024, int(report.text_bytes * text.validation_fraction))
    if report.documents < FEW:
        text = text.replace(max_document_bytes=min(text.max_document_bytes, piece))
    again = read_documents(text, ReadReport(), files, announce=False)
    hashes = sorted(split_hash(document.digest) for document in again)
    count = max(1, round(len(hashes) * text.validation_fraction)) if len(hashes) > 1 else 0
    point = hashes[count - 1] + 1 if count else 0
    _log.warning(
        tr(
            f"few documents: the hash held out none or all; of {len(hashes)} pieces {count} are held out",
            f"文档很少：仅凭哈希会全部或无一留出；现分为 {len(hashes)} 篇，其中 {count} 篇留作验证",
        )
    )
    _write_splits(text, tokenizer, folder, files, ignored, point, workers, announce=False)
    return ignored


def _check_both(text: TextSettings, held_out: int, documents: int) -> None:
    """Refuse to go on where one side has no document."""
    if held_out == 0:
        where = ", ".join(text.validation_paths)
        raise DataError(tr(f"no text in {where} to validate on", f"{where} 中没有可用于验证的文本"))
    if held_out == documents:
        raise DataError(
            tr(
                "every document stands in text.validation_paths too, so none is left to learn from",
                "每篇文档都同样出现在 text.validation_paths 中，没有剩下可学习的文本",
            )
        )


def _write_splits(
    text: TextSettings,
    tokenizer: Tokenizer,
    folder: Path,
    files: list[InputFile],
    report: ReadReport,
    point: int,
    workers: int,
    announce: bool = True,
) -> int:
    """Read, split and write once; return how many documents were held out."""
    held_out = 0
    total = sum(file.identity[1] for file in files)
    folders = [folder / split for split in SPLITS]
    with (
        _writers(tokenizer, folders, workers) as (train, validation),
        progress(tr("preparing", "准备"), total=total, unit="bytes") as bar,
    ):
        shown = 0
        for document in read_documents(text, report, files, announce):
            side = is_validation(document, point)
            held_out += side
            (validation if side else train).add(document)
            if report.file_bytes > shown:
                bar.advance(report.file_bytes - shown)
                shown = report.file_bytes
        train.close()
        validation.close()
        if kept := train.kept + validation.kept:
            _log.info(tr(f"{kept} finished parts were kept", f"保留了 {kept} 个已完成的部分"))
    return held_out


@contextmanager
def _writers(tokenizer: Tokenizer, folders: list[Path], workers: int) -> Iterator[list[SplitWriter]]:
    """Give one writer per folder on a shared pool; after an error nothing more is started."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="encode")
    try:
        yield [SplitWriter(folder, tokenizer, pool, workers) for folder in folders]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finish(
    folder: Path,
    key: str,
    text: TextSettings,
    tokenizer: Tokenizer,
    files: list[InputFile],
    report: ReadReport,
) -> None:
    splits: dict[str, Any] = {}
    for split in SPLITS:
        shards = TokenShards.open(folder / split, verify=False)
        splits[split] = {
            "digest": shards.digest,
            "documents": shards.document_count,
            "tokens": shards.token_count,
            "text_bytes": shards.text_bytes,
        }
    made_by = {name: getattr(tokenizer, name) for name in ("kind", "vocab_size", "separator_id", "fingerprint")}
    values = {"format": FORMAT, "version": VERSION, "key": key, "splits": splits, "tokenizer": made_by}
    values |= {"text": text.model_dump(mode="json"), "files": len(files), "report": report.to_dict()}
    save_json(folder / NAME, values)
    (folder / UNFINISHED).unlink()
    for split in SPLITS:
        clear(folder / split, keep_parts=len(list((folder / split).glob("part-*.ids"))))


def same_tokenizer(shards: TokenShards, tokenizer: Tokenizer) -> None:
    """Check that ``tokenizer`` made ``shards``.

    Raises:
        DataError: another one did.
    """
    if shards.tokenizer_fingerprint != tokenizer.fingerprint:
        raise DataError(
            tr(
                f"{shards.folder}: made by another tokenizer than this one; name that one, or prepare again",
                f"{shards.folder}：由另一个分词器制成；请指定原来的分词器，或重新准备",
            )
        )
