"""Word vectors from a recipe: the text is read once, learned in portions, saved now and then, and resumed exactly."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zhixing.config import digest
from zhixing.corpus.document import is_validation, split_point
from zhixing.corpus.reader import documents
from zhixing.errors import ResumeError, Stopped
from zhixing.language import tr
from zhixing.model_folder import Content, read_json, read_tensors, tensor_files, write_folder
from zhixing.models.save import word_vector_files
from zhixing.models.word_vector_kernels import COMPILED
from zhixing.models.word_vectors import WordVectorSettings
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.word_text import WordText, number_words, paragraphs, splitter
from zhixing.pretraining.word_vector_learner import Learner, learner_for
from zhixing.progress import progress

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_SAVES = 120.0
_STATE = "state.json"


def learn_from_recipe(recipe: Recipe, state: Path) -> tuple[dict[str, Content], dict[str, Any]]:
    """Train, or go on from what ``state`` holds; return the model's files and facts.

    Raises:
        DataError: the text cannot be read, or has too few words.
        ResumeError: ``state`` is of another recipe or another text.
        Stopped: a signal came; ``state`` holds all that was learned.
    """
    assert isinstance(recipe.model, WordVectorSettings)
    if not COMPILED:
        _log.warning(
            tr(
                'word vectors are learned without numba, some fifty times slower: pip install "zhixing[vectors]"',
                '未安装 numba，词向量训练将慢约五十倍：pip install "zhixing[vectors]"',
            )
        )
    else:
        _log.info(
            tr(
                "inner loops: compiled by numba, once on a machine; that takes up to a minute",
                "内层循环由 numba 编译，每台机器只需一次，至多约一分钟",
            )
        )
    words = number_words(_sentences(recipe, recipe.model), recipe.model)
    _log.info(
        tr(
            f"text: {words.words_read:,} words, {len(words.words):,} different ones frequent enough",
            f"文本：{words.words_read:,} 个词，其中 {len(words.words):,} 个不同的词足够常见",
        )
    )
    learner, text_digest = learner_for(words, recipe.model, recipe.seed), _digest(words)
    if (state / _STATE).exists():
        _restore(learner, recipe, state, text_digest)
    seconds = _learn(learner, recipe, state, text_digest)
    return word_vector_files(learner.finished()), _facts(recipe, words, text_digest, seconds)


def _sentences(recipe: Recipe, settings: WordVectorSettings) -> Iterator[list[str]]:
    point, split = split_point(recipe.text), splitter(settings)
    for document in documents(recipe.text):
        if not is_validation(document, point):
            yield from (split(paragraph) for paragraph in paragraphs(document.text))


def _digest(words: WordText) -> str:
    found = hashlib.sha256("\n".join(words.words).encode("utf-8", "surrogatepass"))
    found.update(words.text.tobytes())
    return found.hexdigest()


def _learn(learner: Learner, recipe: Recipe, state: Path, text_digest: str) -> float:
    """Learn to the end; return the seconds that took."""
    start = saved = time.monotonic()
    total = learner.places * learner.settings.epochs
    done = learner.places * learner.done // max(learner.portions // learner.settings.epochs, 1)
    with progress(recipe.name, total=total, unit=tr("words", "词"), done=done) as bar:
        while learner.done < learner.portions:
            try:
                bar.advance(learner.advance())
            except Stopped:
                _save(learner, recipe, state, text_digest)
                raise
            if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                _save(learner, recipe, state, text_digest)
                saved = time.monotonic()
    return time.monotonic() - start


def _save(learner: Learner, recipe: Recipe, state: Path, text_digest: str) -> None:
    made_from = {"recipe": digest(recipe), "text": text_digest, "done": learner.done}
    files = {_STATE: json.dumps(made_from), **tensor_files(learner.weights)}
    write_folder(state, files, facts={}, replace=True)
    _log.info(
        tr(
            f"state saved: portion {learner.done} of {learner.portions}",
            f"状态已保存：第 {learner.done} 份，共 {learner.portions} 份",
        )
    )


def _restore(learner: Learner, recipe: Recipe, state: Path, text_digest: str) -> None:
    saved = read_json(state, _STATE)
    if saved.get("recipe") != digest(recipe):
        raise ResumeError(
            tr(
                "word vectors are resumed with the recipe they were begun with; leave the changes out",
                "词向量须以开始时的配方续训；请去掉改动",
            )
        )
    if saved.get("text") != text_digest:
        raise ResumeError(
            tr(
                "the text is not what the run has read; put it back as it was, or begin a new run",
                "文本与先前读取的不同；请恢复原样，或重新开始",
            )
        )
    learner.restore(read_tensors(state, framework="numpy"), saved["done"])


def _facts(recipe: Recipe, words: WordText, text_digest: str, seconds: float) -> dict[str, Any]:
    assert isinstance(recipe.model, WordVectorSettings)
    return {
        "kind": recipe.model.kind,
        "words": len(words.words),
        "words_read": words.words_read,
        "data": text_digest,
        "seconds": round(seconds, 2),
    }
