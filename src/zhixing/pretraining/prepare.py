"""From a recipe's text to ids: the tokenizer is trained (or taken), the shards written; both happen once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zhixing.config import brought_up, differences
from zhixing.corpus.document import is_validation, split_point
from zhixing.corpus.find import InputFile, find_text
from zhixing.corpus.reader import documents
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import Prepared, open_prepared, prepare
from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.model_folder import read_json, write_folder
from zhixing.models.save import companion_files
from zhixing.pretraining.objectives import extra_tokens, resolve
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.span_corruption import SpanSettings
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

_log = logging.getLogger(__name__)
RECORD = "made_from.json"


@dataclass(frozen=True)
class Ids:
    """What a run learns from: the tokenizer, and the text in its ids."""

    tokenizer: Tokenizer
    prepared: Prepared


def prepare_ids(
    recipe: Recipe, folder: Path, replace: bool = False, announce: bool = True, start: Path | None = None
) -> Ids:
    """Return tokenizer and shards for a recipe, made in ``folder`` unless they are there already.

    Files of text that were moved or written again are no other text: what they give is compared.

    Args:
        recipe: names text and tokenizer.
        folder: of both.
        replace: make them anew where they were made from other text or settings, instead of refusing.
        announce: say what is there and how much; one of several runs on the same ids has said it.
        start: a model folder whose weights are the start; None: a new model.

    Raises:
        DataError: the text cannot be read, or ``folder`` holds what was made from other text or settings; then
            nothing in it was changed.
    """
    if replace or _is_free(recipe, folder):
        ids = _make(recipe, folder, replace, announce, start)
    else:
        ids = _same_ids(recipe, folder)
    prepared = ids.prepared
    _log.log(
        logging.INFO if announce else logging.DEBUG,
        tr(
            f"text: {prepared.train.document_count:,} documents, {prepared.train.token_count:,} tokens "
            f"to learn from; {prepared.validation.document_count:,} documents, "
            f"{prepared.validation.text_bytes:,} bytes held out",
            f"文本：{prepared.train.document_count:,} 篇文档、{prepared.train.token_count:,} 个词元用于学习；"
            f"{prepared.validation.document_count:,} 篇、{prepared.validation.text_bytes:,} 字节留出",
        ),
    )
    return ids


def prepare_tokenizer(
    recipe: Recipe, folder: Path, replace: bool = False, announce: bool = True, start: Path | None = None
) -> Tokenizer:
    """Return the recipe's tokenizer, trained on the training documents only, or the one made before.

    Arguments as for ``prepare_ids``.

    Raises:
        DataError: the text cannot be read, or ``folder`` holds another tokenizer and ``replace`` is false.
    """
    files, extra = find_text(recipe.text, ReadReport()), _extra_tokens(recipe, folder, start)
    made_from = _made_from(recipe, files, extra)
    if _record(folder) == made_from:
        level = logging.INFO if announce else logging.DEBUG
        _log.log(level, tr(f"{folder}: the tokenizer is there already", f"{folder}：分词器已存在"))
        return load_tokenizer(folder)
    if folder.exists() and not replace:
        raise DataError(
            tr(
                f"{folder} holds something else than this recipe's tokenizer; choose another folder (--ids, --out)",
                f"{folder} 中不是本配方的分词器；请另选文件夹（--ids、--out）",
            )
        )
    point = split_point(recipe.text)
    read = documents(recipe.text, files=files, announce=False)
    texts = (text for d in read if not is_validation(d, point) for text in d.texts)
    tokenizer = train_tokenizer(recipe.tokenizer, texts, extra)
    write_folder(folder, companion_files(tokenizer) | {RECORD: json.dumps(made_from)}, facts={}, replace=True)
    return tokenizer


def _extra_tokens(recipe: Recipe, folder: Path, start: Path | None = None) -> tuple[str, ...]:
    """Return the special tokens beyond the usual that the tokenizer in ``folder`` has or is to have.

    Sentinels are counted by what fills gaps. A T5 that learns otherwise asks for none, and goes on with those it had:
    of the model in ``start``, or of the tokenizer made before; a new one has as many as published.
    """
    objective, family = recipe.objective, recipe.model.family
    if family == "t5" and resolve(objective, family).kind != SpanSettings().kind:
        if start is not None:
            names = load_tokenizer(start).special_tokens
            return tuple(name for name in map("<extra_id_{}>".format, range(len(names))) if name in names)
        if (before := _record(folder)) is not None:
            return tuple(before.get("settings", {}).get("tokenizer", {}).get("extra_tokens", ()))
    return extra_tokens(objective, family)


def _made_from(recipe: Recipe, files: list[InputFile], extra: tuple[str, ...]) -> dict[str, Any]:
    """Return what decides a tokenizer: the settings, and a digest of each file's path, size and time."""
    identities = json.dumps([(*file.identity, file.held_out) for file in files]).encode("utf-8", "surrogateescape")
    text = _without_paths(recipe.text.model_dump(mode="json"))
    settings: dict[str, Any] = {"text": text, "tokenizer": recipe.tokenizer.model_dump(mode="json")}
    if extra:
        settings["tokenizer"]["extra_tokens"] = list(extra)
    return {"settings": settings, "files": hashlib.sha256(identities).hexdigest()}


def _record(folder: Path) -> dict[str, Any] | None:
    """Return what the tokenizer in ``folder`` was made from; None: it is not known."""
    if not (folder / RECORD).exists():
        return None
    record = read_json(folder, RECORD)
    settings = record.get("settings")
    if isinstance(settings, dict) and settings.keys() >= {"text", "tokenizer"}:
        settings["text"] = _without_paths(brought_up(TextSettings, settings["text"]))
        extra = {name: settings["tokenizer"].pop(name) for name in ["extra_tokens"] if name in settings["tokenizer"]}
        settings["tokenizer"] = brought_up(TokenizerSettings, settings["tokenizer"]) | extra
    return record


def _without_paths(text: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in text.items() if name not in ("paths", "validation_paths")}


def _make(recipe: Recipe, folder: Path, replace: bool, announce: bool = True, start: Path | None = None) -> Ids:
    tokenizer = prepare_tokenizer(recipe, folder / "tokenizer", replace, announce, start)
    return Ids(tokenizer, prepare(recipe.text, tokenizer, folder / "shards", replace=replace, announce=announce))


def _is_free(recipe: Recipe, folder: Path) -> bool:
    """Return whether ``folder`` holds nothing yet, or what was made from the very same files.

    Raises:
        DataError: other settings made it.
    """
    before = _record(folder / "tokenizer")
    made_from = _made_from(recipe, find_text(recipe.text, ReadReport()), _extra_tokens(recipe, folder / "tokenizer"))
    if before is None or before == made_from:
        return True
    changed = differences(before.get("settings", {}), made_from["settings"])
    if changed:
        listed = "; ".join(f"{name}: {old!r} → {new!r}" for name, (old, new) in changed.items())
        raise DataError(
            tr(
                f"{folder}: tokenizer and shards were made with other settings ({listed}); "
                "restore them, or choose another folder (--ids, --out)",
                f"{folder}：其中的分词器与分片由其他设置生成（{listed}）；请恢复原设置，或另选文件夹（--ids、--out）",
            )
        )
    return False


def _same_ids(recipe: Recipe, folder: Path) -> Ids:
    """Return what is in ``folder`` if the text gives the same again, for which it is read and made beside.

    Raises:
        DataError: it gives something else.
    """
    _log.info(
        tr(
            f"{folder}: files of the text were changed; reading them to see whether the text was",
            f"{folder}：文本文件有改动；正在读取，以确认内容是否改变",
        )
    )
    tokenizer, there = load_tokenizer(folder / "tokenizer"), open_prepared(folder / "shards")
    with TemporaryDirectory(prefix="compared-", dir=folder) as beside:
        made = _make(recipe, Path(beside), replace=False, start=folder / "tokenizer")
        now = made.prepared
    same = (
        made.tokenizer.fingerprint == tokenizer.fingerprint
        and (now.train.digest, now.validation.digest) == (there.train.digest, there.validation.digest)
    )  # fmt: skip
    if same:
        return Ids(tokenizer, there)
    old, new = _counted(there), _counted(now)
    raise DataError(
        tr(
            f"{folder}: tokenizer and shards were made from other text ({old}; now {new}); "
            "put the text back as it was, or choose another folder (--ids, --out)",
            f"{folder}：其中的分词器与分片由其他文本生成（{old}；现为 {new}）；"
            "请恢复原来的文本，或另选文件夹（--ids、--out）",
        )
    )


def _counted(prepared: Prepared) -> str:
    splits = (prepared.train, prepared.validation)
    documents, size = sum(s.document_count for s in splits), sum(s.text_bytes for s in splits)
    return tr(f"{documents:,} documents, {size:,} bytes", f"{documents:,} 篇文档、{size:,} 字节")


def data_card(ids: Ids) -> dict[str, Any]:
    """Return what is known of the text: counts of both splits, and what reading found."""
    splits = {"train": ids.prepared.train, "validation": ids.prepared.validation}
    counts = {
        name: {
            "documents": shards.document_count,
            "tokens": shards.token_count,
            "text_bytes": shards.text_bytes,
            "digest": shards.digest,
        }
        for name, shards in splits.items()
    }
    return {**counts, "reading": ids.prepared.report.to_dict()}
