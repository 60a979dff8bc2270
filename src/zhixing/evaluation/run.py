"""Evaluate saved models side by side on the same held-out documents, with yardsticks, tests and facts."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import SPLITS
from zhixing.data.shards import TokenShards
from zhixing.errors import ConfigError
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.evaluation.heldout import (
    HeldOut,
    HeldOutFiles,
    HeldOutShards,
    Part,
    digest_of,
    open_shards,
    refuse_leaks,
    tokens_known,
)
from zhixing.evaluation.perplexity import Scores, score_documents
from zhixing.evaluation.remembered import seconds_saved, share_members
from zhixing.evaluation.significance import Comparison, compare
from zhixing.evaluation.table import EvaluationReport, Row, append_line
from zhixing.evaluation.yardsticks import deflate, xz
from zhixing.language import tr
from zhixing.models.families import ENCODERS
from zhixing.models.protocol import LanguageModel
from zhixing.tokenizers.protocol import Tokenizer

if TYPE_CHECKING:
    from zhixing.evaluation.masked import MaskedRow

_YARDSTICKS = {"xz": xz, "zlib": deflate}


class Loaded(Protocol):
    """A model with its tokenizer, as a model folder holds them."""

    @property
    def model(self) -> LanguageModel:
        """The model."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What produced it: recipe and data digests, seed, versions, ..."""


def evaluate(
    models: Sequence[str | Path],
    *,
    data: str | Path | None = None,
    text: TextSettings | Sequence[str] = (),
    training: str | Path | None = None,
    part: Part = "all",
    stride: float = 0.5,
    yardsticks: Sequence[Literal["xz", "zlib"]] = ("xz",),
    seed: int = 0,
    results: Path | None = None,
) -> EvaluationReport:
    """Load model folders and evaluate them on held-out text.

    Args:
        models: model folders of any family; their tokenizers may differ.
        data: a prepared folder of token shards (its validation split) or one split's folder; or
        text: files, folders and globs, which each model's own tokenizer encodes.
        training: token shards of the training text, to refuse held-out documents that stand in it. With a prepared
            folder as ``data`` its own training split is taken.
        part: ``"report"`` leaves out the half of the documents on which a mixture was fitted.
        stride: of the windows of models with a context, as a fraction of it.
        yardsticks: compressors in the same table.
        seed: of the resampling in the paired comparisons.
        results: a file to which each row is appended as JSON the moment it is known.

    Raises:
        ConfigError: both or neither of ``data`` and ``text`` are given, or no model.
        DataError: no documents, a document that stands in the training text, or shards of another tokenizer.
        ModelFolderError: a folder is not a whole model.
    """
    texts = text if isinstance(text, TextSettings) else TextSettings(paths=tuple(text))
    _check_given(models, data, texts)
    from zhixing.models.load import load

    loaded = {name: load(path) for name, path in _names(models).items()}
    causal = {name: one for name, one in loaded.items() if one.model.family not in ENCODERS}
    sharing = share_members({n: o.model for n, o in causal.items()}, {n: o.path for n, o in causal.items()})
    loaded |= {name: replace(one, model=sharing[name]) for name, one in causal.items()}
    tokenizers = [one.tokenizer for one in loaded.values()]
    held_out: HeldOutFiles | HeldOutShards
    held_out = HeldOutFiles(texts, part) if data is None else open_shards(data, tokenizers, part)
    _check_leaks(held_out, training, data, tokenizers)
    return evaluate_loaded(
        loaded,
        held_out,
        stride=stride,
        yardsticks=yardsticks,
        seed=seed,
        results=results,
        facts={"part": part},
    )


def _check_given(models: Sequence[str | Path], data: str | Path | None, texts: TextSettings) -> None:
    """Refuse what cannot be evaluated."""
    if (data is None) == (not texts.paths):
        raise ConfigError(
            tr(
                "give the held-out text either as --data or as --text",
                "请用 --data 或 --text 之一给出留出文本",
            )
        )
    if texts.pair_fields:
        raise ConfigError(
            tr(
                "text.source_field names pairs, not running text; measure with zhixing.evaluation.pairs.evaluate_pairs",
                "text.source_field 指的是成对数据，不是连续文本；请用 zhixing.evaluation.pairs.evaluate_pairs 评估",
            )
        )
    if not models:
        raise ConfigError(tr("name at least one model folder", "请至少给出一个模型文件夹"))


def evaluate_loaded(
    models: Mapping[str, Loaded],
    held_out: HeldOut,
    *,
    stride: float = 0.5,
    yardsticks: Sequence[Literal["xz", "zlib"]] = ("xz",),
    seed: int = 0,
    results: Path | None = None,
    facts: Mapping[str, Any] | None = None,
) -> EvaluationReport:
    """Evaluate models that are in memory; arguments as for ``evaluate``."""
    rows: list[Row] = []
    masked: list[MaskedRow] = []
    scores: dict[str, Scores] = {}
    totals: dict[str, int | None] = {}  # by tokenizer: what one model has read, the next will read
    shared: dict[str, Any] = {
        "held_out": held_out.source,
        "stride": stride,
        "seed": seed,
        **(facts or {}),
        **versions(),
    }
    for name, one in models.items():
        digests: list[str] = []
        documents = _noting(held_out.documents(one.tokenizer), digests)
        if one.model.family in ENCODERS:
            masked.append(_masked_row(name, one, documents, seed))
            shared["held_out_digest"] = digest_of(digests)
            _keep(results, masked[-1], shared)
            continue
        saved = seconds_saved(one.model)
        tokenizer = one.tokenizer.fingerprint
        total = totals.get(tokenizer) or tokens_known(held_out, one.tokenizer)
        found = score_documents(one.model, documents, stride=stride, label=name, total=total)
        totals[tokenizer] = found.total_tokens
        scores[name] = replace(found, seconds=found.seconds + seconds_saved(one.model) - saved)
        shared["held_out_digest"] = digest_of(digests)
        rows.append(Row.of_model(name, one.model.family, scores[name], _facts_of(one, stride)))
        _keep(results, rows[-1], shared)
    for kind in yardsticks if scores else ():
        rows.append(Row.of_yardstick(_YARDSTICKS[kind](held_out.texts())))
        _keep(results, rows[-1], shared)
    rows.sort(key=lambda row: row.bits_per_byte)
    masked.sort(key=lambda row: -row.accuracy)
    return EvaluationReport(tuple(rows), tuple(compare_with_best(scores, seed)), shared, tuple(masked))


def _masked_row(name: str, one: Loaded, documents: Iterable[HeldOutDocument], seed: int) -> MaskedRow:
    """Return the row of a masked model, which has a table of its own."""
    # Imported here: a table of n-grams needs no torch.
    from zhixing.evaluation.masked import score_masked
    from zhixing.models.encoder import EncoderModel

    assert isinstance(one.model, EncoderModel)
    facts = _facts_of(one, stride=1.0)
    return score_masked(name, one.model, one.tokenizer, documents, seed=seed, facts=facts)


def compare_with_best(scores: Mapping[str, Scores], seed: int = 0) -> list[Comparison]:
    """Compare the best model with every other, on the documents they share."""
    ranked = sorted(scores, key=lambda name: scores[name].bits_per_byte)
    return [compare(ranked[0], scores[ranked[0]], name, scores[name], seed=seed) for name in ranked[1:]]


def versions() -> dict[str, str]:
    """Return the versions of what computed the figures; torch only if it was used."""
    found = {"python": platform.python_version()}
    for package in ("zhixing", "numpy", *(["torch"] if "torch" in sys.modules else [])):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def _facts_of(one: Loaded, stride: float) -> dict[str, Any]:
    context = one.model.context_length
    return {
        "tokenizer": one.tokenizer.fingerprint,
        "vocab_size": one.model.vocab_size,
        "context": context,
        "stride": None if context is None else max(1, round(stride * context)),
        "made_by": dict(one.facts),
    }


def _noting(documents: Iterable[Any], digests: list[str]) -> Iterable[Any]:
    for document in documents:
        digests.append(document.digest)
        yield document


def _keep(results: Path | None, row: Row | MaskedRow, shared: Mapping[str, Any]) -> None:
    if results is not None:
        append_line(results, {**row.as_dict(), "facts": {**shared, **row.facts}})


def _names(models: Sequence[str | Path]) -> dict[str, Path]:
    """Name each folder by its last part, or by the whole path where two would have the same name."""
    paths = [Path(model) for model in models]
    short = [path.resolve().name for path in paths]
    return {name if short.count(name) == 1 else str(path): path for name, path in zip(short, paths, strict=True)}


def _check_leaks(
    held_out: HeldOutFiles | HeldOutShards,
    training: str | Path | None,
    data: str | Path | None,
    tokenizers: Sequence[Tokenizer],
) -> None:
    """Refuse held-out documents of the training text, where that is known."""
    folder = Path(training) if training is not None else Path(data) if data is not None else None
    if folder is None:
        return
    inner = folder / SPLITS[0]
    if inner.is_dir():
        folder = inner
    elif training is None:  # one split's own folder: its training text is not known
        return
    shards = TokenShards.open(folder, verify=False)
    same = [t for t in tokenizers if t.fingerprint == shards.tokenizer_fingerprint]
    refuse_leaks(held_out, shards, (same or list(tokenizers))[0])
