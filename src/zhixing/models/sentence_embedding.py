"""Sentences as vectors: an encoder's hidden states pooled into one (Reimers and Gurevych 2019, section 3).

How they are pooled stands in the model folder where the library sentence-transformers looks for it: ``modules.json``
names the steps, ``1_Pooling/config.json`` the pooling, ``sentence_bert_config.json`` the longest sentence. Folders that
library wrote are read the same way, and it opens ours with equal vectors.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zhixing.errors import ContextLengthError, InputError, ModelFolderError
from zhixing.language import tr
from zhixing.model_folder import Content, read_config, read_json
from zhixing.models.encoder import EncoderModel, wrap
from zhixing.models.protocol import Ids
from zhixing.tokenizers.protocol import Tokenizer

_log = logging.getLogger(__name__)
PoolingKind = Literal["mean", "first"]
MODULES, LIMITS = "modules.json", "sentence_bert_config.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_POOLING_FOLDER = "1_Pooling"
_NAMES: dict[str, PoolingKind] = {"mean": "mean", "cls": "first"}
_OLD_NAMES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_BATCH_TOKENS = 16_384
"""Ids of one pass through the encoder, padding included."""


@dataclass(frozen=True)
class Pooling:
    """How hidden states become one vector.

    Attributes:
        kind: the mean over the sentence's tokens, or its first token's state.
        unit_length: whether vectors are scaled to length 1.
        longest: ids of the longest sentence, opening and closing ones included; None: the encoder's limit.
    """

    kind: PoolingKind = "mean"
    unit_length: bool = False
    longest: int | None = None


def pool(hidden: Tensor, lengths: Tensor, kind: PoolingKind) -> Tensor:
    """Return the (B, D) vectors of (B, T, D) hidden states of right-padded sentences.

    Args:
        hidden: (B, T, D).
        lengths: (B,) real tokens of each.
        kind: see ``Pooling``.
    """
    if kind == "first":
        return hidden[:, 0]
    real = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
    return (hidden * real[..., None]).sum(dim=1) / lengths[:, None]


class SentenceEncoder:
    """An encoder that gives sentences as vectors. Call it with a sentence or a list of them."""

    task = "sentence-embedding"

    def __init__(self, model: EncoderModel, tokenizer: Tokenizer, pooling: Pooling | None = None) -> None:
        self.model, self.tokenizer, self.pooling = model, tokenizer, pooling or Pooling()

    def __call__(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Return (N, D) float32, a row for each text; a lone text is a list of one.

        Raises:
            ContextLengthError: a text has more tokens than the model can see.
        """
        rows = [self.encode(text) for text in ([texts] if isinstance(texts, str) else texts)]
        vectors = np.zeros((len(rows), self.model.width), np.float32)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        while order:
            longest = len(rows[order[-1]])
            count = max(1, _BATCH_TOKENS // longest)
            chosen, order = order[-count:], order[:-count]
            vectors[chosen] = self._vectors([rows[index] for index in chosen])
        return vectors

    def similarity(self, first: str | Sequence[str], second: str | Sequence[str]) -> NDArray[np.float32]:
        """Return the (N, M) cosines of N texts with M texts."""
        left, right = (unit(self(texts)) for texts in (first, second))
        return left @ right.T

    def encode(self, text: str) -> Ids:
        """Return the ids of a text as the encoder reads it.

        Raises:
            ContextLengthError: there are more than it can see.
        """
        ids = wrap(self.tokenizer, np.array(self.tokenizer.encode(text), np.int64))
        longest = min(self.pooling.longest or self.model.context_length, self.model.context_length)
        if len(ids) > longest:
            raise ContextLengthError(len(ids), longest)
        return ids

    def _vectors(self, rows: Sequence[Ids]) -> NDArray[np.float32]:
        ids, lengths = padded(rows)
        hidden = torch.from_numpy(self.model.hidden(ids, lengths))
        vectors = pool(hidden, torch.from_numpy(lengths), self.pooling.kind)
        return (functional.normalize(vectors, dim=-1) if self.pooling.unit_length else vectors).numpy()


def padded(rows: Sequence[Ids], multiple: int = 1, filler: int = 0) -> tuple[Ids, Ids]:
    """Return rows of different lengths as (B, T) ids, padded on the right, and their (B,) lengths.

    Args:
        rows: of ids.
        multiple: T is a multiple of it.
        filler: the id of padding.
    """
    lengths = np.array([len(row) for row in rows], np.int64)
    ids = np.full((len(rows), -(-int(lengths.max()) // multiple) * multiple), filler, np.int64)
    for row, each in enumerate(rows):
        ids[row, : len(each)] = each
    return ids, lengths


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, D) vectors scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def open_sentence_encoder(model: Any, tokenizer: Tokenizer | None = None) -> SentenceEncoder:
    """Return a model folder's encoder of sentences.

    Args:
        model: a folder's path, what ``load`` returned, or a bare ``EncoderModel``.
        tokenizer: needed only with a bare model.

    Raises:
        InputError: it is no encoder, or a bare one without its tokenizer.
        ModelFolderError: the folder's pooling is not known here.
    """
    if isinstance(model, str | Path):
        # Imported here: ``load`` imports every family.
        from zhixing.models.load import load

        model = load(model)
    folder = getattr(model, "path", None)
    tokenizer = tokenizer or getattr(model, "tokenizer", None)
    encoder = getattr(model, "model", model)
    if not isinstance(encoder, EncoderModel):
        raise InputError(
            tr(
                f"sentence-embedding needs an encoder, such as bert; this one is of the family {encoder.family}",
                f"sentence-embedding 需要编码器，例如 bert；此模型属于 {encoder.family} 族",
            )
        )
    if tokenizer is None:
        raise InputError(tr("pass tokenizer= with a bare model", "直接传入模型时请同时给出 tokenizer="))
    pooling = None if folder is None else read_pooling(Path(folder))
    if pooling is None and folder is not None:
        _log.warning(
            tr(
                f"{folder} was not trained for sentences (objective.kind: contrastive): the mean of its states says "
                "little",
                f"{folder} 未经句子训练（objective.kind: contrastive）：其隐状态的均值说明不了多少",
            )
        )
    return SentenceEncoder(encoder, tokenizer, pooling)


def pooling_files(pooling: Pooling, width: int) -> dict[str, Content]:
    """Return the files that tell sentence-transformers, and ``read_pooling``, how to pool (D = ``width``)."""
    steps = [("", "Transformer"), (_POOLING_FOLDER, "Pooling")]
    steps += [("2_Normalize", "Normalize")] if pooling.unit_length else []
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
        for index, (path, name) in enumerate(steps)
    ]
    theirs = {ours: name for name, ours in _NAMES.items()}[pooling.kind]
    config: dict[str, Any] = {"word_embedding_dimension": width}
    config |= {old: name == theirs for old, name in _OLD_NAMES.items()}  # as releases before 6 read it too
    limits = {"max_seq_length": pooling.longest, "do_lower_case": False}
    return {
        MODULES: _json(modules),
        f"{_POOLING_FOLDER}/config.json": _json(config),
        LIMITS: _json(limits),
    }


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, Content]:
    """Return a tokenizer's two files such that other libraries open a sentence as ``wrap`` does, and can pad a batch.

    The ids are the same, and so is the tokenizer's fingerprint.
    """
    with TemporaryDirectory() as scratch:
        tokenizer.save(Path(scratch))
        texts = [(Path(scratch) / name).read_text(encoding="utf-8") for name in _TOKENIZER_FILES]
    document, config = map(json.loads, texts)
    separator = next(name for name, index in tokenizer.special_tokens.items() if index == tokenizer.separator_id)
    document["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [_special(separator), _sequence("A", 0)],
        "pair": [_special(separator), _sequence("A", 0), _sequence("B", 1)],
        "special_tokens": {separator: {"id": separator, "ids": [tokenizer.separator_id], "tokens": [separator]}},
    }
    config.setdefault("pad_token", separator)
    return dict(zip(_TOKENIZER_FILES, (_json(document), _json(config)), strict=True))


def read_pooling(folder: Path) -> Pooling | None:
    """Return how a model folder's sentences are pooled; None: it does not say.

    Raises:
        ModelFolderError: in a way, or with a step, that is not known here.
    """
    if not (folder / MODULES).is_file():
        return None
    modules = read_json(folder, MODULES)
    listed = modules if isinstance(modules, list) and all(isinstance(step, dict) for step in modules) else []
    steps = [(str(step.get("type", "")).rsplit(".", 1)[-1], str(step.get("path", ""))) for step in listed]
    names = [name for name, _ in steps]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelFolderError(
            tr(
                f"{folder / MODULES}: the steps {', '.join(names)} are not known here; only Transformer, Pooling and "
                "Normalize",
                f"{folder / MODULES}：无法执行步骤 {', '.join(names)}；只支持 Transformer、Pooling、Normalize",
            )
        )
    where = folder / Path(steps[1][1]).name  # only a folder in this one, wherever the path would lead
    return Pooling(_kind(read_config(where), where), len(names) == 3, _longest(folder))


def _longest(folder: Path) -> int | None:
    if not (folder / LIMITS).is_file():
        return None
    longest = read_config(folder, LIMITS).get("max_seq_length")
    if longest is None or (isinstance(longest, int) and longest > 0):
        return longest
    raise ModelFolderError(
        tr(
            f"{folder / LIMITS}: max_seq_length = {longest!r} is not a number of tokens",
            f"{folder / LIMITS}：max_seq_length = {longest!r} 不是词元数",
        )
    )


def _kind(config: Mapping[str, Any], where: Path) -> PoolingKind:
    mode = config.get("pooling_mode", [new for old, new in _OLD_NAMES.items() if config.get(old)])
    modes = [mode] if isinstance(mode, str) else list(mode)
    others = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    if len(modes) == 1 and modes[0] in _NAMES and set(others) <= set(_OLD_NAMES):
        return _NAMES[modes[0]]
    raise ModelFolderError(
        tr(
            f"{where}/config.json: only pooling by mean or by the first token (cls) is known here, not "
            f"{', '.join(map(str, modes or others)) or 'nothing'}",
            f"{where}/config.json：只支持取均值或取首个词元（cls）的汇聚方式，"
            f"不支持 {'、'.join(map(str, modes or others)) or '空'}",
        )
    )


def _special(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def _sequence(name: str, number: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": number}}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
