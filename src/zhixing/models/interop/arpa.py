"""Write an n-gram model in the ARPA format that KenLM, SRILM and others read.

Format: a header with the number of n-grams of each order, then per order one line per n-gram, ``log10
probability, tab, words, tab, log10 backoff``. ARPA has two words where this project has one separator id:
``<s>`` where an n-gram begins with it, ``</s>`` where it ends with it. Every id has a probability here, so
``<unk>`` is given none to speak of, unless one id stands for all that is unknown. ``arpa_reading`` reads the format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.models.ngram import NgramModel
from zhixing.models.ngram_tables import Array

NEVER = -99.0
"""The customary log10 probability of what cannot happen."""
_LINES = 1 << 16


def to_arpa(model: NgramModel, path: str | Path, token_names: Sequence[str], unknown_id: int | None = None) -> None:
    """Write ``model`` to ``path`` as UTF-8 text.

    Args:
        model: what is written.
        path: the file.
        token_names: name of each id; what stands for the separator or the unknown token is not used.
        unknown_id: id of the token that stands for all that is unknown, if there is one.

    Raises:
        DataError: a name is missing, used twice, empty, reserved, or holds white space.
    """
    names = _checked(model, token_names, unknown_id)
    backoffs = [model.backoffs, *(table.backoffs for table in model.tables)]
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        sizes = [model.vocab_size + 1 + (unknown_id is None), *(len(table.words) for table in model.tables)]
        file.write("\\data\\\n" + "".join(f"ngram {n}={size}\n" for n, size in enumerate(sizes, 1)))
        _write_unigrams(file, model, names, unknown_id)
        parents: NDArray[np.str_] | list[str] = ["<s>" if i == model.separator_id else s for i, s in enumerate(names)]
        for n, table in enumerate(model.tables, start=2):
            file.write(f"\n\\{n}-grams:\n")
            followers = np.diff(table.starts.astype(np.int64)).tolist()
            grams = [
                f"{parent} {names[word]}"
                for parent, words in zip(parents, _cut(table.words, followers), strict=True)
                for word in words
            ]
            weights = backoffs[n - 1] if n < model.order else None
            file.writelines(_lines(table.probs, grams, weights))
            parents = grams
        file.write("\n\\end\\\n")


def _checked(model: NgramModel, token_names: Sequence[str], unknown_id: int | None) -> list[str]:
    names = list(token_names)
    if len(names) == model.vocab_size:
        names[model.separator_id] = "</s>"
        if unknown_id is not None:
            names[unknown_id] = "<unk>"
    bad = [
        name for i, name in enumerate(names) if name.split() != [name] or (name in ("<s>", "<unk>") and i != unknown_id)
    ]
    if bad or len(set(names)) != len(names) or len(names) != model.vocab_size:
        example = f" ({bad[0]!r})" if bad else ""
        raise DataError(
            tr(
                f"ARPA needs {model.vocab_size} different token names without white space{example}; "
                "name the tokens by number, for example",
                f"ARPA 需要 {model.vocab_size} 个互不相同且不含空白的词元名{example}；例如可用编号命名",
            )
        )
    return names


def _write_unigrams(file: TextIO, model: NgramModel, names: Sequence[str], unknown_id: int | None) -> None:
    weights = model.backoffs.copy()
    weights[model.separator_id] = 1  # </s> begins nothing; the weight belongs to <s>
    begin = np.log10(model.backoffs[model.separator_id])
    unknown = f"{NEVER}\t<unk>\t0\n" if unknown_id is None else ""
    file.write(f"\n\\1-grams:\n{unknown}{NEVER}\t<s>\t{begin:.7g}\n")
    file.writelines(_lines(model.unigram, names, weights if model.order > 1 else None))


def _cut(words: Array, sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield the followers of each context."""
    everything, begin = words.tolist(), 0
    for size in sizes:
        yield everything[begin : begin + size]
        begin += size


def _lines(probs: NDArray[np.float32], grams: Sequence[str], backoffs: NDArray[np.float32] | None) -> Iterator[str]:
    for begin in range(0, len(grams), _LINES):
        block = slice(begin, begin + _LINES)
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log10(probs[block].astype(np.float64)), NEVER).tolist()
        if backoffs is None:
            yield from (f"{p:.7g}\t{gram}\n" for p, gram in zip(logs, grams[block], strict=True))
            continue
        weights = np.log10(backoffs[block].astype(np.float64)).tolist()
        rows = zip(logs, grams[block], weights, strict=True)
        yield from (f"{p:.7g}\t{gram}\t{weight:.7g}\n" for p, gram, weight in rows)
