"""ONNX, the graph that ONNX Runtime and others run: decoders and BERT, ids in, logits out, any batch and any length.

Inputs are ``ids`` (batch, length), int64, and for encoders ``lengths`` (batch,): how many ids of each right-padded
row are real. A decoder needs no lengths, since no token sees what stands behind it. The output is ``logits`` (batch,
length, vocabulary), or ``hidden_states`` (batch, length, width) of an encoder without a head. There is no cache in the
graph: it is for scoring, classification and short texts; for long generation take GGUF or the model folder.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zhixing.errors import InputError, MissingExtraError
from zhixing.exchange.formats import Made, Options
from zhixing.exchange.ours import Asked, asked
from zhixing.exchange.parity import Bounds, Parity, Reader, Scores
from zhixing.language import tr
from zhixing.models.load import Loaded, load
from zhixing.models.protocol import Ids
from zhixing.models.save import companion_files

FILE = "model.onnx"
FAMILIES = ("gpt2", "llama", "xlnet", "bert")
"""Those whose length stays open in a traced graph: a loop over the text would be unrolled."""
_SHORTEST = 4
"""tokens; a graph is traced with 3 of them, and sizes of 0 and 1 are special there."""
_LIMIT = 2 * 10**9
"""bytes: a graph with its weights in one file is a protocol buffer, which holds no more."""


def export_files(source: Path, options: Options) -> Made:
    """Return ``model.onnx`` and the tokenizer's files.

    Raises:
        InputError: the family has no such graph, or the weights are above 2 GB.
        MissingExtraError: ``onnx`` or ``onnxscript`` is not installed.
    """
    _libraries()
    loaded = load(source)
    module = _module(loaded)
    if loaded.model.context_length is not None and loaded.model.context_length < _SHORTEST:
        raise InputError(
            tr(
                f"{source}: a context of {loaded.model.context_length} tokens is too short for a graph of open length",
                f"{source}：{loaded.model.context_length} 个词元的上下文太短，无法写成长度可变的计算图",
            )
        )
    questions = asked(loaded)
    size = sum(weight.nbytes for weight in module.parameters())
    if size > _LIMIT:
        raise InputError(
            tr(
                f"{source}: {size / 1e9:.1f} GB of weights do not fit into one ONNX file (2 GB)",
                f"{source}：{size / 1e9:.1f} GB 的权重放不进单个 ONNX 文件（2 GB）",
            )
        )
    files = companion_files(loaded.tokenizer, loaded.chat_template)
    return Made({**files, FILE: lambda path: _write(module, questions, loaded, path)}, loaded.facts)


def check(ours: Path, theirs: Path, options: Options) -> Parity:
    """Compare a model folder with what ONNX Runtime computes."""
    try:
        import onnxruntime
    except ImportError:
        note = tr(
            'no logits were compared, because onnxruntime is not installed: pip install "zhixing[onnx]"',
            '未安装 onnxruntime，因而没有比较 logit：pip install "zhixing[onnx]"',
        )
        return Parity(None, notes=(note,))
    loaded = load(ours)
    questions = asked(loaded)
    reader = _their_reader(onnxruntime, theirs / FILE, questions)
    measures = questions.ask(loaded, questions.reader, reader, options.sample, Bounds())
    return Parity(f"onnxruntime {onnxruntime.__version__}", tuple(measures))


class Scorer(nn.Module):
    """Ids to logits: what a model's own head makes of its hidden states."""

    def __init__(self, module: nn.Module, kind: str) -> None:
        super().__init__()
        self.module: Any = module
        self.kind = kind

    def forward(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, T) ids to (B, T, V) logits, or (B, T, D) hidden states of an encoder without a head."""
        if self.kind == "causal":
            scores: Tensor = self.module(ids) @ self.module.head_weight.T
            return scores
        hidden: Tensor = self.module(ids, lengths=lengths)
        return hidden if self.kind == "hidden" else self.module.logits(hidden)


def _libraries() -> None:
    for name in ("onnx", "onnxscript"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise MissingExtraError(name, "onnx", tr("ONNX export", "导出 ONNX")) from None


def _module(loaded: Loaded) -> nn.Module:
    if loaded.model.family not in FAMILIES:
        raise InputError(
            tr(
                f"{loaded.path}: only {', '.join(FAMILIES)} can be written as ONNX, not '{loaded.model.family}'",
                f"{loaded.path}：只有 {', '.join(FAMILIES)} 可写成 ONNX，'{loaded.model.family}' 不可",
            )
        )
    model: Any = loaded.model
    module: nn.Module = model.module
    return module


def _write(module: nn.Module, questions: Asked, loaded: Loaded, path: Path) -> None:
    """Trace the model on a small batch whose sizes stay open, and write the graph."""
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=loaded.model.context_length or 2**20)
    example: tuple[Tensor, ...] = (torch.zeros(2, 3, dtype=torch.int64),)
    shapes: dict[str, Any] = {"ids": {0: batch, 1: length}}
    if questions.kind != "causal":
        example, shapes = (*example, torch.tensor([3, 2])), {**shapes, "lengths": {0: batch}}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            Scorer(module, questions.kind).eval(),
            example,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(shapes),
            output_names=["hidden_states" if questions.kind == "hidden" else "logits"],
            verbose=False,
        )
        assert program is not None
        program.save(str(path), external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of its own code and of packages it misses."""
    remarks = logging.getLogger("torch.onnx")
    level = remarks.level
    remarks.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        remarks.setLevel(level)


def _their_reader(library: Any, path: Path, questions: Asked) -> Reader:
    session = library.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def read(ids: Ids, lengths: Ids) -> Scores:
        inputs = {"ids": ids} if questions.kind == "causal" else {"ids": ids, "lengths": lengths}
        scores: Scores = session.run(None, inputs)[0]
        return scores

    return read
