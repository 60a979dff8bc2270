"""ARPA, the text format of n-grams: KenLM, SRILM and others, both ways.

A line of ARPA holds words between spaces, a model here ids of any tokenizer. Exported tokens are spelled as
``tokenizer.json`` spells them (byte-level BPE: ``Ġthe``), or ``<id:N>`` where that has white space in it or is one of
ARPA's own three words; the tokenizer's files stand beside. Imported with that tokenizer (found beside the file, or
named) the ids come back exactly; without one, the file's words become a tokenizer of words, cut at white space,
everything else unknown.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zhixing.errors import InputError
from zhixing.exchange.formats import Made, Options, file_of
from zhixing.exchange.parity import Bounds, Measure, Parity, agreement, choices, perplexity_change
from zhixing.exchange.questions import Sample, cut, write_greedily
from zhixing.language import tr
from zhixing.models.interop.arpa import to_arpa
from zhixing.models.interop.arpa_reading import END, UNKNOWN, read_arpa
from zhixing.models.load import Loaded, load
from zhixing.models.ngram import NgramModel
from zhixing.models.protocol import Ids
from zhixing.models.save import companion_files, ngram_files
from zhixing.tokenizers.hugging_face import HuggingFaceTokenizer
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.pieces import Json
from zhixing.tokenizers.protocol import SEPARATOR, Tokenizer
from zhixing.tokenizers.validation import checked_document

_log = logging.getLogger(__name__)
FILE = "model.arpa"
_RESERVED = ("<s>", END, UNKNOWN)


def export_files(source: Path, options: Options) -> Made:
    """Return ``model.arpa`` and the tokenizer's files.

    Raises:
        InputError: the model is no n-gram.
    """
    loaded = load(source)
    model = _ngram(loaded)
    names, unknown = token_names(loaded.tokenizer, model.vocab_size)
    files = companion_files(loaded.tokenizer, loaded.chat_template)
    return Made({**files, FILE: lambda path: to_arpa(model, path, names, unknown)}, loaded.facts)


def import_files(source: Path, options: Options) -> Made:
    """Return an n-gram's model folder; errors as ``read_arpa`` and ``load_tokenizer``."""
    path = file_of(source, FILE)
    folder = options.tokenizer or (path.parent if (path.parent / "tokenizer.json").is_file() else None)
    if folder is None:
        model, words = read_arpa(path)
        tokenizer: Tokenizer = word_tokenizer(words)
        _log.info(
            tr(
                f"{path}: its {len(words) - 2:,} words are the tokens, cut at white space; others are unknown",
                f"{path}：以其中 {len(words) - 2:,} 个词为词元，按空白切分；其余为未知词",
            )
        )
        _tell_unreachable(path, words)
    else:
        tokenizer = load_tokenizer(folder)
        names, unknown = token_names(tokenizer, tokenizer.vocab_size)
        ids = {name: index for index, name in enumerate(names)} | {END: tokenizer.separator_id}
        del ids[names[tokenizer.separator_id]]
        if unknown is not None:
            del ids[names[unknown]]
            ids[UNKNOWN] = unknown
        model, _ = read_arpa(path, ids)
    return Made({**ngram_files(model), **companion_files(tokenizer)})


def check(ours: Path, theirs: Path, options: Options) -> Parity:
    """Compare with KenLM where it is installed, else with the file read back."""
    loaded = load(ours)
    path = file_of(theirs, FILE)
    names, unknown = token_names(loaded.tokenizer, loaded.model.vocab_size)
    if unknown is not None:
        names[unknown] = UNKNOWN
    names[loaded.tokenizer.separator_id] = END
    try:
        import kenlm

        oracle = Kenlm(kenlm, path, names)
    except (ImportError, RuntimeError, OSError) as error:  # KenLM's orders end at 6
        return _read_back(loaded, path, names, options.sample, str(error).strip().split("\n")[0][:200])
    return Parity("kenlm", tuple(_compare(loaded, oracle, options.sample)))


class Kenlm:
    """KenLM as a scorer of our ids, natural logarithms."""

    def __init__(self, library: Any, path: Path, names: Sequence[str]) -> None:
        config = library.Config()
        config.show_progress = False
        self.library, self.model, self.names = library, library.Model(str(path), config), list(names)

    def score(self, ids: Ids) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the log-probabilities of all ids but the first, which is the separator."""
        before, after = self._start(), self.library.State()
        scores = []
        for index in ids[1:].tolist():
            scores.append(self.model.BaseScore(before, self.names[index], after))
            before, after = after, before
        return np.array(scores) * np.log(10)

    def next_scores(self, ids: Ids) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the log-probabilities (V,) of what follows ids that begin with the separator."""
        before, after = self._start(), self.library.State()
        for index in ids[1:].tolist():
            self.model.BaseScore(before, self.names[index], after)
            before, after = after, before
        return np.array([self.model.BaseScore(before, name, after) for name in self.names]) * np.log(10)

    def _start(self) -> Any:
        state = self.library.State()
        self.model.BeginSentenceWrite(state)
        return state


def _compare(loaded: Loaded, oracle: Kenlm, sample: Sample) -> list[Measure]:
    bounds = Bounds()
    separator = loaded.tokenizer.separator_id
    rows = [
        np.concatenate([[separator], window, [separator]]) for window in cut(loaded, sample, sample.scored_tokens, 0)
    ]
    ours = [loaded.model.score(row[None])[0].astype(np.float64) for row in rows]
    theirs = [oracle.score(row) for row in rows]
    # Not the separator at the end: what comes after it has no meaning there.
    prompts = [row[:-1][:length] for row, length in zip(rows * 4, (1, 2, 5, 9), strict=False)]
    written = [_until(text, separator) for text in write_greedily(loaded, prompts, sample.greedy_tokens)]
    found = [
        choices(np.stack([oracle.next_scores(np.append(prompt, text[:end])) for end in range(len(text))]), text, bounds)
        for prompt, text in zip(prompts, written, strict=True)
    ]
    return [
        *_differences(ours, theirs, bounds),
        agreement(written, found, bounds),
        *_perplexities(ours, theirs, bounds),
    ]


def _until(text: Ids, separator: int) -> Ids:
    """Return a text up to the end of its document, which ARPA knows no way beyond."""
    ends = np.flatnonzero(text == separator)
    return text[: ends[0] + 1] if len(ends) else text


def _differences(ours: Sequence[Any], theirs: Sequence[Any], bounds: Bounds) -> list[Measure]:
    worst, where, largest = 0.0, "", 0.0
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        finite = np.isfinite(one)  # what is impossible here is 10^-99 there
        difference = np.where(finite, np.abs(np.where(finite, one, 0.0) - other), 0.0)
        difference[~finite & (other > -200)] = np.inf
        largest = max(largest, float(np.abs(one[finite]).max(initial=0.0)))
        if len(difference) and difference.max() > worst:
            worst, place = float(difference.max()), int(difference.argmax())
            where = tr(f"text {number + 1}, token {place + 1}", f"文本 {number + 1}，词元 {place + 1}")
    label = tr("largest difference of a log-probability", "对数概率的最大差")
    return [
        Measure("log_probability_difference", label, worst, bounds.scores * max(1.0, largest), note=where),
        Measure("largest_log_probability", tr("largest log-probability", "最大的对数概率"), largest),
    ]


def _perplexities(ours: Sequence[Any], theirs: Sequence[Any], bounds: Bounds) -> list[Measure]:
    one, other = np.concatenate(ours), np.concatenate(theirs)
    possible = np.isfinite(one)
    if not possible.any():
        return []
    losses = -float(one[possible].mean()), -float(other[possible].mean())
    return perplexity_change(*losses, tokens=int(possible.sum()), bounds=bounds)


def _read_back(loaded: Loaded, path: Path, names: Sequence[str], sample: Sample, reason: str) -> Parity:
    """Return what our own reader makes of the file."""
    model, _ = read_arpa(path, {name: index for index, name in enumerate(names)})
    separator = loaded.tokenizer.separator_id
    rows = [
        np.concatenate([[separator], window, [separator]]) for window in cut(loaded, sample, sample.scored_tokens, 0)
    ]
    ours, theirs = ([one.score(row[None])[0].astype(np.float64) for row in rows] for one in (loaded.model, model))
    note = tr(
        f"the file was read back by this program only; KenLM was not used: {reason}",
        f"仅由本程序读回核对；未使用 KenLM：{reason}",
    )
    return Parity(tr("this program", "本程序"), tuple(_differences(ours, theirs, Bounds())), (note,))


def token_names(tokenizer: Tokenizer, size: int) -> tuple[list[str], int | None]:
    """Return how ARPA spells each id, and the id of the unknown token if the tokenizer has one."""
    content = companion_files(tokenizer)["tokenizer.json"]
    assert isinstance(content, bytes)
    document: Json = json.loads(content)
    _, tokens = checked_document(document, "tokenizer.json")
    unknown = document["model"].get("unk_token")
    known = tokenizer.special_id(unknown) if isinstance(unknown, str) else None
    plain = [name if name.split() == [name] and name not in _RESERVED else "" for name in tokens]
    plain += [""] * (size - len(plain))
    return [name or f"<id:{index}>" for index, name in enumerate(plain)], known


def word_tokenizer(words: Sequence[str]) -> HuggingFaceTokenizer:
    """Return the tokenizer of an ARPA file's words, of which the last two are ``</s>`` and ``<unk>``.

    Raises:
        InputError: a word is spelled like the separator.
    """
    if SEPARATOR in words:
        raise InputError(
            tr(
                f"the word {SEPARATOR} is reserved here; the file seems to be an export of this program: name its "
                "tokenizer with --tokenizer",
                f"词 {SEPARATOR} 在此处是保留词；该文件似乎由本程序导出：请用 --tokenizer 指定其分词器",
            )
        )
    tokens = [*words[:-2], SEPARATOR, UNKNOWN]
    special = {SEPARATOR: len(tokens) - 2, UNKNOWN: len(tokens) - 1}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    document: Json = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, "content": token, **flags} for token, index in special.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {token: index for index, token in enumerate(tokens)},
            "unk_token": UNKNOWN,
        },
    }
    document, tokens = checked_document(document, "ARPA")
    return HuggingFaceTokenizer(document, tokens, special, None, SEPARATOR, "ARPA")


def _tell_unreachable(path: Path, words: Sequence[str]) -> None:
    """Name the words that no text gives, because they have white space in them at which text is cut."""
    if lost := [word for word in words if word.split() != [word]]:
        _log.warning(
            tr(
                f"{path}: {len(lost):,} words hold white space, such as {lost[0]!r:.60}; text is cut there, so that "
                "they never occur",
                f"{path}：{len(lost):,} 个词含空白，如 {lost[0]!r:.60}；文本在该处被切开，故它们不会出现",
            )
        )


def _ngram(loaded: Loaded) -> NgramModel:
    if not isinstance(loaded.model, NgramModel):
        raise InputError(
            tr(
                f"{loaded.path}: only n-grams can be written as ARPA, not '{loaded.model.family}'",
                f"{loaded.path}：只有 n 元模型可写成 ARPA，'{loaded.model.family}' 不可",
            )
        )
    return loaded.model
