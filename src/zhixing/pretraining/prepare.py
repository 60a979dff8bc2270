"""From a recipe's text to ids: the tokenizer is trained (or taken), the shards written; both happen once."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zhixing.config import digest
from zhixing.corpus.document import is_validation, split_point
from zhixing.corpus.find import find_files
from zhixing.corpus.reader import documents
from zhixing.corpus.report import ReadReport
from zhixing.data.prepare import Prepared, prepare
from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.model_folder import read_json, write_folder
from zhixing.models.save import companion_files
from zhixing.pretraining.recipe import Recipe
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.train import train_tokenizer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ids:
    """What a run learns from: the tokenizer, and the text in its ids."""

    tokenizer: Tokenizer
    prepared: Prepared


def prepare_ids(recipe: Recipe, folder: Path, replace: bool = False) -> Ids:
    """Return tokenizer and shards for a recipe, made in ``folder`` unless they are there already.

    Args:
        recipe: names text and tokenizer.
        folder: of both.
        replace: make them anew where they were made from other text or settings, instead of refusing.

    Raises:
        DataError: the text cannot be read, or ``folder`` holds what was made from other text or settings.
    """
    tokenizer = prepare_tokenizer(recipe, folder / "tokenizer", replace)
    prepared = prepare(recipe.text, tokenizer, folder / "shards", replace=replace)
    _log.info(
        tr(
            f"text: {prepared.train.document_count:,} documents, {prepared.train.token_count:,} tokens "
            f"to learn from; {prepared.validation.document_count:,} documents, "
            f"{prepared.validation.text_bytes:,} bytes held out",
            f"文本：{prepared.train.document_count:,} 篇文档、{prepared.train.token_count:,} 个词元用于学习；"
            f"{prepared.validation.document_count:,} 篇、{prepared.validation.text_bytes:,} 字节留出",
        )
    )
    return Ids(tokenizer, prepared)


def prepare_tokenizer(recipe: Recipe, folder: Path, replace: bool = False) -> Tokenizer:
    """Return the recipe's tokenizer, trained on the training documents only, or the one made before."""
    files = find_files(recipe.text.paths, ReadReport())
    inputs = [digest(recipe.text.replace(paths=())), digest(recipe.tokenizer), [file.identity for file in files]]
    made_from = hashlib.sha256(json.dumps(inputs).encode("utf-8", "surrogateescape")).hexdigest()
    record = folder / "made_from.json"
    if record.exists() and read_json(folder, record.name) == {"digest": made_from}:
        _log.info(tr(f"{folder}: the tokenizer is there already", f"{folder}：分词器已存在"))
        return load_tokenizer(folder)
    if record.exists() and not replace:
        raise DataError(
            tr(
                f"{folder} was made from other text or tokenizer settings; choose another folder (--ids, --out)",
                f"{folder} 由其他文本或分词器设置生成；请另选文件夹（--ids、--out）",
            )
        )
    point = split_point(recipe.text.validation_fraction)
    read = documents(recipe.text, files=files, announce=False)
    tokenizer = train_tokenizer(recipe.tokenizer, (d.text for d in read if not is_validation(d, point)))
    contents = companion_files(tokenizer) | {record.name: f'{{"digest": "{made_from}"}}'}
    write_folder(folder, contents, facts={}, replace=True)
    return tokenizer


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
