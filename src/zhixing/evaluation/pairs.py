"""How well encoder-decoders answer held-out sources: exact match, BLEU, chrF, ROUGE-L, and the loss on the targets.

Answers are the most probable ones that greedy search (or a beam) finds, written without a look at the reference; the
loss is in nats per target token, the end of a target included, with the reference read on the way. A source that is
too long for a model is not cut: its answer counts as empty, and how many there are is said.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import regex

from zhixing.config import load_settings
from zhixing.corpus.reader import documents
from zhixing.corpus.settings import TextSettings
from zhixing.data.pairs import find_pairs, holds_pairs
from zhixing.data.prepare import SPLITS
from zhixing.data.shards import TokenShards
from zhixing.errors import ConfigError, DataError
from zhixing.evaluation.splitting import Tokenisation
from zhixing.evaluation.table import append_line
from zhixing.evaluation.text_measures import bleu, chrf, rouge
from zhixing.generation.pipeline import pipeline
from zhixing.language import tr
from zhixing.models.sentence_embedding import padded
from zhixing.progress import progress
from zhixing.tokenizers.protocol import Tokenizer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from zhixing.generation.text2text import Text2TextPipeline
    from zhixing.models.load import Loaded

SHOWN = 3
"""Answers that the table shows."""
_AT_ONCE = 32
_HAN = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
_LETTER = regex.compile(r"\p{L}")


@dataclass(frozen=True)
class Answer:
    """A source, what a model answered, and the reference."""

    source: str
    answer: str
    reference: str


@dataclass(frozen=True)
class PairRow:
    """One model's figures on held-out pairs.

    Attributes:
        exact_match: share of answers equal to their reference, character by character.
        bleu, chrf, rouge_l: between 0 and 1; papers print the first two times 100.
        nats_per_target_token: over the pairs that the model has room for; None: it has room for none.
        target_tokens: over which that is a mean, the ends of the targets included.
        too_long: sources that the model cannot read; their answers are empty.
        signature: how BLEU was computed.
    """

    name: str
    family: str
    pairs: int
    exact_match: float
    bleu: float
    chrf: float
    rouge_l: float
    nats_per_target_token: float | None
    target_tokens: int
    too_long: int
    seconds: float
    signature: str
    answers: tuple[Answer, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class PairReport:
    """The rows of all models, the best first."""

    rows: tuple[PairRow, ...]
    source: str

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"pairs": [row.as_dict() for row in self.rows], "held_out": self.source}

    def render(self) -> RenderableType:
        """Return the table, and a few answers of the best model below it, for rich."""
        return _rendered(self)


def evaluate_pairs(
    models: Sequence[str | Path],
    pairs: Sequence[str],
    *,
    source_field: str = "",
    target_field: str = "",
    beams: int = 1,
    tokenisation: Tokenisation | None = None,
    results: Path | None = None,
) -> PairReport:
    """Load encoder-decoders and let them answer held-out sources.

    Args:
        models: model folders.
        pairs: files, folders or globs of rows; or one folder of token shards (its validation split).
        source_field: of a row; empty: as the first model was trained, else ``source``. target_field: likewise.
        beams: of the search; 1: greedy.
        tokenisation: of BLEU; None: ``zh`` where most letters of the references are Chinese or Japanese, else ``13a``.
        results: a file to which each row is appended as JSON the moment it is known.

    Raises:
        ConfigError: no model.
        InputError: a model is no encoder-decoder.
        DataError: the pairs cannot be read, or there are none.
        ModelFolderError: a folder is not a whole model.
    """
    from zhixing.models.load import load

    if not models:
        raise ConfigError(tr("name at least one model folder", "请至少给出一个模型文件夹"))
    loaded = [load(path) for path in models]
    fields = dict(
        zip(("source_field", "target_field"), loaded[0].facts.get("pairs", ("source", "target")), strict=True)
    )
    fields |= {k: v for k, v in (("source_field", source_field), ("target_field", target_field)) if v}
    found = read_pairs(pairs, [one.tokenizer for one in loaded], fields)
    rows, short = [], [Path(path).resolve().name for path in models]
    for one, path, name in zip(loaded, models, short, strict=True):
        name = name if short.count(name) == 1 else str(path)
        rows.append(answer_pairs(name, one, found, beams=beams, tokenisation=tokenisation))
        if results is not None:
            append_line(results, {**rows[-1].as_dict(), "held_out": ", ".join(pairs)})
    rows.sort(key=lambda row: (-row.bleu, -row.chrf))
    return PairReport(tuple(rows), ", ".join(map(str, pairs)))


def read_pairs(paths: Sequence[str], tokenizers: Sequence[Tokenizer], fields: dict[str, str]) -> list[tuple[str, str]]:
    """Return sources and targets from files of rows, or from a folder of token shards.

    Raises:
        DataError: they cannot be read, or none of the tokenizers made the shards.
    """
    folders = [
        path for path in paths if any((Path(path) / part / "manifest.json").is_file() for part in (".", *SPLITS))
    ]
    if not folders:
        settings = load_settings(TextSettings, None, [f"{name}={json.dumps(value)}" for name, value in fields.items()])
        settings = settings.replace(paths=tuple(paths), deduplicate=False)
        return [(document.text, str(document.target)) for document in documents(settings)]
    if len(paths) > 1:
        raise ConfigError(
            tr("--pairs: give one folder of shards, or files", "--pairs：请给出一个分片文件夹，或若干文件")
        )
    held_out = Path(paths[0]) / SPLITS[1]
    shards = TokenShards.open(held_out if held_out.is_dir() else Path(paths[0]))
    tokenizer = next((one for one in tokenizers if one.fingerprint == shards.tokenizer_fingerprint), None)
    if tokenizer is None or not holds_pairs(shards, tokenizer):
        raise DataError(
            tr(
                f"{shards.folder}: holds no pairs in the ids of these models' tokenizers; give files of rows",
                f"{shards.folder}：其中没有由这些模型的分词器编码的成对数据；请给出数据行文件",
            )
        )
    where = find_pairs(shards, tokenizer)
    both = (where.ids(shards, number) for number in range(len(where)))
    return [(tokenizer.decode(source.tolist()), tokenizer.decode(target.tolist())) for source, target in both]


def answer_pairs(
    name: str,
    one: Loaded,
    pairs: Sequence[tuple[str, str]],
    *,
    beams: int = 1,
    tokenisation: Tokenisation | None = None,
) -> PairRow:
    """Let one model answer every source.

    Raises:
        InputError: it is no encoder-decoder. DataError: there is no pair.
    """
    write: Text2TextPipeline = pipeline("text2text-generation", one)
    started, references = time.perf_counter(), [target for _, target in pairs]
    if not pairs:
        raise DataError(tr("there is no pair to answer", "没有可供回答的样例"))
    sources = [write.encode(source) for source, _ in pairs]
    reads = [len(source) <= write.translator.source_length for source in sources]
    answers = _answers(
        write, name, [source if fits else None for (source, _), fits in zip(pairs, reads, strict=True)], beams
    )
    loss, count = _loss(write, [s for s, fits in zip(sources, reads, strict=True) if fits],
                        [t for t, fits in zip(references, reads, strict=True) if fits])  # fmt: skip
    measured = bleu(answers, references, tokenisation=tokenisation or fitting_tokenisation(references))
    shown = [Answer(source, answer, target) for (source, target), answer in zip(pairs, answers, strict=True)]
    return PairRow(
        name=name,
        family=one.model.family,
        pairs=len(pairs),
        exact_match=sum(map(str.__eq__, answers, references)) / len(pairs),
        bleu=measured.score,
        chrf=chrf(answers, references),
        rouge_l=rouge(answers, references).rouge_l.f1,
        nats_per_target_token=loss,
        target_tokens=count,
        too_long=reads.count(False),
        seconds=time.perf_counter() - started,
        signature=f"{measured.signature}|beams:{beams}",
        answers=tuple(shown),
        facts=dict(one.facts),
    )


def fitting_tokenisation(references: Sequence[str]) -> Tokenisation:
    """Return how BLEU should cut such texts: ``zh`` where most letters are Chinese or Japanese, else ``13a``."""
    letters = sum(len(_LETTER.findall(text)) for text in references)
    return "zh" if 2 * sum(len(_HAN.findall(text)) for text in references) > letters else "13a"


def _answers(write: Text2TextPipeline, name: str, sources: Sequence[str | None], beams: int) -> list[str]:
    """Return the answer to each source, "" where there is none; sources of like length are answered together."""
    found = [""] * len(sources)
    order = sorted((i for i, source in enumerate(sources) if source is not None), key=lambda i: len(sources[i] or ""))
    with progress(name, unit=tr("pairs", "对"), total=len(order)) as bar:
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            answers = write([sources[i] or "" for i in some], do_sample=False, num_beams=beams, batch_size=_AT_ONCE)
            for i, answer in zip(some, answers, strict=True):
                found[i] = answer[0]["generated_text"]
            bar.advance(len(some))
    return found


def _loss(
    write: Text2TextPipeline, sources: Sequence[Sequence[int]], references: Sequence[str]
) -> tuple[float | None, int]:
    """Return the mean loss of the targets that the model has room for, in nats per token, and how many tokens."""
    closing, total, count = [write.tokenizer.separator_id], 0.0, 0
    targets = [[*ids.tolist(), *closing] for ids in write.tokenizer.encode_batch(references)]
    room = write.translator.target_length
    order = sorted(
        (i for i, t in enumerate(targets) if len(t) <= room), key=lambda i: (len(sources[i]), len(targets[i]))
    )
    for start in range(0, len(order), _AT_ONCE):
        some = order[start : start + _AT_ONCE]
        read, sizes = padded([np.array(sources[i]) for i in some], filler=closing[0])
        asked, lengths = padded([np.array(targets[i]) for i in some], filler=closing[0])
        log_probs = write.translator.score_targets(read, asked, sizes)
        total -= float(log_probs[np.arange(asked.shape[1]) < lengths[:, None]].sum(dtype=np.float64))
        count += int(lengths.sum())
    return (total / count if count else None), count


def _rendered(report: PairReport) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(tr("model", "模型"), overflow="fold")
    for title in (
        tr("exact", "全同"), "BLEU", "chrF", "ROUGE-L", tr("nats/target token", "奈特/目标词元"), tr("pairs", "对数"),
        tr("too long", "过长"),
    ):  # fmt: skip
        table.add_column(title, justify="right")
    for row in report.rows:
        loss = "–" if row.nats_per_target_token is None else f"{row.nats_per_target_token:.4f}"
        table.add_row(
            Text(row.name), f"{row.exact_match:.1%}", f"{100 * row.bleu:.2f}", f"{100 * row.chrf:.2f}",
            f"{100 * row.rouge_l:.2f}", loss, f"{row.pairs:,}", f"{row.too_long:,}",
        )  # fmt: skip
    best = report.rows[0]
    lines = [f"{one.source}\n  → {one.answer}\n  = {one.reference}" for one in best.answers[:SHOWN]]
    return Group(table, Text("\n".join(lines)), Text(best.signature, style="dim"))
