"""The questions that a model and another program are asked for a parity report, from one held-out text.

Causal models: scores of every next token at several lengths, greedy text, perplexity. Masked models: scores at every
place of texts some of whose tokens are masked, the best filling, the perplexity of what was masked. Encoders without a
head: hidden states. Encoder-decoders: see ``pairs``.
"""

from __future__ import annotations

import heapq
import inspect
import string
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from zhixing.errors import DataError
from zhixing.exchange.parity import (
    Bounds,
    Measure,
    Reader,
    Scores,
    agreement,
    choices,
    compare_readers,
    padded,
    perplexity_change,
)
from zhixing.language import tr
from zhixing.models.encoder import mask_id, wrap
from zhixing.models.load import Loaded
from zhixing.models.protocol import Ids

LENGTHS = (1, 2, 3, 7, 13, 31, 64)
"""Of the texts whose scores are compared, and that share a batch."""
_PROMPTS = (1, 4, 9, 17)
_WINDOW = 256
"""ids that are scored together for the perplexity."""
_SCORES_AT_ONCE = 1 << 26
"""numbers, a quarter of a gigabyte."""
_EVERY = 7
"""One in so many places of a masked text is masked."""
_CHINESE = "知而不行，只是未知。语言模型把一段文字之后的每个词元都看作一个概率分布；困惑度越低，它对文字的把握越大。"


@dataclass(frozen=True)
class Sample:
    """The text of a report and how much of it is used.

    Attributes:
        texts: held-out documents.
        greedy_tokens: tokens written after each prompt.
        scored_tokens: ids at most whose loss makes the perplexity.
    """

    texts: tuple[str, ...]
    greedy_tokens: int = 16
    scored_tokens: int = 2048


def default_texts() -> tuple[str, ...]:
    """Return a little English prose and code from Python's own library, and a little Chinese."""
    return (*filter(None, map(_text_of, (heapq, textwrap, string))), _CHINESE)


def _text_of(module: ModuleType) -> str:
    """Return the beginning of a module's source, or, in a Python that has only been given its byte code, its pages."""
    try:
        return inspect.getsource(module)[:6000]
    except OSError:
        return inspect.getdoc(module) or ""


def read_texts(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the texts of files, one document each; none given: ``default_texts``.

    Raises:
        DataError: a file cannot be read, is not UTF-8, or all are empty.
    """
    texts = []
    for path in paths:
        try:
            texts.append(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise DataError(
                tr(f"cannot read {path}: {error.strerror}", f"无法读取 {path}：{error.strerror}")
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(
                tr(
                    f"{path} is not UTF-8 (byte {error.start:,}); convert it first",
                    f"{path} 不是 UTF-8（第 {error.start:,} 字节）；请先转换",
                )
            ) from error
    if paths and not any(text.strip() for text in texts):
        raise DataError(tr("--text holds no text", "--text 中没有文字"))
    return tuple(texts) or default_texts()


def ask_causal(loaded: Loaded, ours: Reader, theirs: Reader, sample: Sample, bounds: Bounds) -> list[Measure]:
    """Return the figures of a model of the next token."""
    context = loaded.model.context_length or _WINDOW
    windows = cut(loaded, sample, min(context, _WINDOW))
    measures = compare_readers(ours, theirs, pieces(windows, context), bounds)
    prompts = [windows[number % len(windows)][:length] for number, length in enumerate(_PROMPTS) if length < context]
    written = write_greedily(loaded, prompts, sample.greedy_tokens)
    measures.append(agreement(written, _argmax(theirs, prompts, written, bounds), bounds))
    used = [window for window in windows if len(window) > 1]
    targets = [window[1:] for window in used]
    inputs = [window[:-1] for window in used]
    before, after = (mean_loss(reader, inputs, targets, loaded.model.vocab_size) for reader in (ours, theirs))
    return measures + perplexity_change(before, after, sum(map(len, targets)), bounds)


def ask_masked(loaded: Loaded, ours: Reader, theirs: Reader, sample: Sample, bounds: Bounds) -> list[Measure]:
    """Return the figures of a model of masked places."""
    model: Any = loaded.model
    windows = [
        wrap(loaded.tokenizer, window)
        for window in cut(loaded, sample, max(1, min(model.context_length - 2, _WINDOW)), 0)
    ]
    mask = mask_id(loaded.tokenizer)
    masked = [np.where(np.arange(len(window)) % _EVERY == 1, mask, window) for window in windows]
    measures = compare_readers(ours, theirs, pieces(masked, model.context_length), bounds)
    places = [np.flatnonzero(np.arange(len(window)) % _EVERY == 1) for window in windows]
    scores = [
        [reader(*padded([row]))[0][where] for row, where in zip(masked, places, strict=True)]
        for reader in (ours, theirs)
    ]
    best = [[one.argmax(axis=1) for one in found] for found in scores]
    measures.append(agreement(best[0], best[1], bounds))
    targets = np.concatenate([window[where] for window, where in zip(windows, places, strict=True)])
    losses = [float(_losses(np.concatenate(found), targets).mean()) for found in scores]
    return measures + perplexity_change(losses[0], losses[1], len(targets), bounds)


def ask_hidden(loaded: Loaded, ours: Reader, theirs: Reader, sample: Sample, bounds: Bounds) -> list[Measure]:
    """Return the figures of an encoder without a head: its hidden states take the place of scores."""
    model: Any = loaded.model
    windows = [
        wrap(loaded.tokenizer, window)
        for window in cut(loaded, sample, max(1, min(model.context_length - 2, _WINDOW)), 0)
    ]
    worst, largest = compare_readers(ours, theirs, pieces(windows, model.context_length), bounds)
    return [
        replace(worst, label=tr("largest difference of a hidden state", "隐状态的最大差")),
        replace(largest, label=tr("largest hidden state", "最大的隐状态")),
    ]


def cut(loaded: Loaded, sample: Sample, window: int, opened: int = 1) -> list[Ids]:
    """Return the sample's ids in windows of at most so many; ``opened`` separators stand before each document.

    Raises:
        DataError: the tokenizer makes nothing of the text.
    """
    windows: list[Ids] = []
    room = sample.scored_tokens
    share = max(window, room // max(len(sample.texts), 1))
    for text in sample.texts:
        if encoded := loaded.tokenizer.encode(text):
            ids = np.array([loaded.tokenizer.separator_id] * opened + encoded, np.int64)[:share]
            windows += [ids[start : start + window] for start in range(0, len(ids), window)]
    if not windows:
        raise DataError(
            tr(
                "--text: the tokenizer of this model finds no token in it; give another text",
                "--text：该模型的分词器在其中找不到词元；请换一段文本",
            )
        )
    return windows


def pieces(windows: Sequence[Ids], context: int) -> list[Ids]:
    """Return texts of many lengths, odd ones among them, up to the longest that model and windows allow."""
    stream = np.concatenate(windows)
    longest = min(context, len(stream))
    lengths = sorted({length for length in LENGTHS if length < longest} | {min(longest, 2 * _WINDOW)})
    return [stream[:length] if number % 2 else stream[len(stream) - length :] for number, length in enumerate(lengths)]


def write_greedily(loaded: Loaded, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
    """Return what the model writes after each prompt, the most likely token each time; one batch, with a cache."""
    model = loaded.model
    context = model.context_length or 1 << 30
    ids, lengths = padded(prompts)
    tokens = max(1, min(tokens, context - int(lengths.max())))
    found, state = model.next_log_probs(ids, model.initial_state(len(prompts)), lengths)
    written = [found.argmax(axis=1)]
    for _ in range(tokens - 1):
        found, state = model.next_log_probs(written[-1][:, None], state)
        written.append(found.argmax(axis=1))
    return list(np.stack(written, axis=1))


def _argmax(reader: Reader, prompts: Sequence[Ids], written: Sequence[Ids], bounds: Bounds) -> list[Ids]:
    """Return what another program would have written at each place of a text."""
    found = []
    for prompt, text in zip(prompts, written, strict=True):
        scores = reader(*padded([np.concatenate([prompt, text[:-1]])]))[0]
        found.append(choices(scores[len(prompt) - 1 :], text, bounds))
    return found


def mean_loss(reader: Reader, inputs: Sequence[Ids], targets: Sequence[Ids], vocab_size: int) -> float:
    """Return the mean loss of the targets, in nats."""
    rows = max(1, _SCORES_AT_ONCE // (vocab_size * max(map(len, inputs))))
    losses = []
    for start in range(0, len(inputs), rows):
        some, wanted = inputs[start : start + rows], targets[start : start + rows]
        for scores, target in zip(reader(*padded(some)), wanted, strict=True):
            losses.append(_losses(scores[: len(target)], target))
    return float(np.concatenate(losses).mean())


def _losses(scores: Scores, targets: Ids) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (N,) losses in nats of (N,) targets from (N, V) scores."""
    wide = scores.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(len(targets)), targets])
