"""How well a masked model names hidden tokens of held-out text; it has no next token, so no bits per byte.

The masks are a pure function of (seed, the document's text, the piece of it): every run, machine and model with the
same tokenizer hides the same tokens. Every hidden token becomes the mask token (in training, four of five do). Beside
the model stand the best figures that any unigram can reach on the same tokens: what ignores the text around a mask can
do no better than name the most frequent of the hidden tokens each time, and no distribution loses less than their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.language import tr
from zhixing.models.encoder import EncoderModel, mask_id, wrap
from zhixing.models.protocol import Ids
from zhixing.progress import progress
from zhixing.tokenizers.protocol import Tokenizer

if TYPE_CHECKING:
    from rich.console import RenderableType

SHARE = 0.15
"""Of the tokens of a text, those that are hidden; as in training."""
_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class MaskedRow:
    """One masked model's figures on ``masked`` hidden tokens.

    ``accuracy`` and ``top5`` are the shares of them that it named first, or among its first five; ``nats_per_token``
    what it lost on each; the same with ``unigram_`` is the best any unigram could do.
    """

    name: str
    family: str
    accuracy: float
    top5: float
    nats_per_token: float
    unigram_accuracy: float
    unigram_top5: float
    unigram_nats: float
    masked: int
    documents: int
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def score_masked(
    name: str,
    model: EncoderModel,
    tokenizer: Tokenizer,
    documents: Iterable[HeldOutDocument],
    *,
    seed: int = 0,
    facts: dict[str, Any] | None = None,
) -> MaskedRow:
    """Hide tokens of every document and ask the model for them.

    Args:
        name: of the row.
        model: with a masked-LM head.
        tokenizer: the model's; it must have a mask token.
        documents: in its ids, read once.
        seed: of the masks.
        facts: what produced the model.

    Raises:
        DataError: there is nothing to hide.
        InputError: the model has no head, or the tokenizer no mask token.
    """
    started, count = time.perf_counter(), _Counted(documents)
    targets: list[Ids] = []
    losses: list[NDArray[np.float64]] = []
    ranks: list[Ids] = []
    with progress(name, unit=tr("tokens", "词元")) as bar:
        for batch in _batches(_pieces(count, tokenizer, model.context_length, seed)):
            hidden, rows, places, lengths, true = batch
            log_probs = model.masked_log_probs(hidden, rows, places, lengths)
            own = log_probs[np.arange(len(true)), true]
            targets.append(true)
            losses.append(-own.astype(np.float64))
            ranks.append((log_probs > own[:, None]).sum(axis=1))
            bar.advance(len(true))
    if not targets:
        raise DataError(
            tr(
                "there is no held-out token to hide: give a document with text",
                "没有可遮盖的留出词元：请提供有内容的文档",
            )
        )
    rank = np.concatenate(ranks)
    shares = np.sort(np.unique(np.concatenate(targets), return_counts=True)[1])[::-1] / len(rank)
    return MaskedRow(
        name=name,
        family=model.family,
        accuracy=float((rank == 0).mean()),
        top5=float((rank < 5).mean()),
        nats_per_token=float(np.concatenate(losses).mean()),
        unigram_accuracy=float(shares[0]),
        unigram_top5=float(shares[:5].sum()),
        unigram_nats=float(-(shares * np.log(shares)).sum()),
        masked=len(rank),
        documents=count.documents,
        seconds=time.perf_counter() - started,
        facts=dict(facts or {}),
    )


def render_masked(rows: Iterable[MaskedRow]) -> RenderableType:
    """Return the rows as a rich table, the best unigram below them."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(tr("model", "模型"))
    for title in (
        tr("named right", "猜中"), tr("in first 5", "前五命中"), tr("nats/token", "奈特/词元"), tr("masked", "掩码数"),
        tr("documents", "文档"), tr("seconds", "秒"),
    ):  # fmt: skip
        table.add_column(title, justify="right")
    rows, shown = list(rows), set[tuple[float, ...]]()
    for row in rows:
        table.add_row(
            Text(row.name), f"{row.accuracy:.2%}", f"{row.top5:.2%}", f"{row.nats_per_token:.4f}",
            f"{row.masked:,}", f"{row.documents:,}", f"{row.seconds:.1f}",
        )  # fmt: skip
    for row in rows:
        best = (row.unigram_accuracy, row.unigram_top5, row.unigram_nats, row.masked)
        if best not in shown:  # one line for each tokenizer: other tokens were hidden
            name = Text(tr("best unigram", "最好的一元模型"), style="dim")
            table.add_row(name, f"{best[0]:.2%}", f"{best[1]:.2%}", f"{best[2]:.4f}", f"{best[3]:,}", "", "")
        shown.add(best)
    words = tr(
        "A masked model sees both sides of a token: these figures compare with no bits per byte, and only between "
        "models of one tokenizer.",
        "掩码模型能看到词元两侧：这些数字不能与每字节比特数相比，也只能在同一分词器的模型之间比较。",
    )
    return Group(table, Text(words))


def choose_places(ids: Ids, special: frozenset[int], seeds: list[int]) -> Ids:
    """Return the places of (T,) ids to hide: ``SHARE`` of those that are not special, at least one, in order."""
    candidates = np.flatnonzero(~np.isin(ids, list(special)))
    number = min(len(candidates), max(1, round(SHARE * len(candidates))))
    order = np.argsort(np.random.Generator(np.random.PCG64(seeds)).random(len(candidates)))
    return np.sort(candidates[order[:number]])


class _Counted:
    """Documents, counted as they are read."""

    def __init__(self, documents: Iterable[HeldOutDocument]) -> None:
        self._given, self.documents = documents, 0

    def __iter__(self) -> Iterator[HeldOutDocument]:
        for document in self._given:
            self.documents += 1
            yield document


def _pieces(
    documents: Iterable[HeldOutDocument], tokenizer: Tokenizer, context: int, seed: int
) -> Iterator[tuple[Ids, Ids]]:
    """Yield (ids, places to hide) of each piece of each document that fits into the context.

    Where the tokenizer knows ``[CLS]`` and ``[SEP]``, every piece stands between them; else the separator opens the
    document only, as in the windows of training.
    """
    wrapped = "cls_token" in tokenizer.named_tokens
    room = context - (len(wrap(tokenizer, np.zeros(0, np.int64))) if wrapped else 0)
    for document in documents:
        text = document.ids[1:-1] if wrapped else document.ids[:-1]
        for number, start in enumerate(range(0, len(text), room)):
            piece = text[start : start + room]
            ids = wrap(tokenizer, piece) if wrapped else piece
            places = choose_places(ids, tokenizer.special_ids, [seed, int(document.digest[:16], 16), number])
            if len(places):
                hidden = ids.copy()
                hidden[places] = mask_id(tokenizer)
                yield np.stack([ids, hidden]), places


def _batches(pieces: Iterable[tuple[Ids, Ids]]) -> Iterator[tuple[Ids, Ids, Ids, Ids, Ids]]:
    """Yield (ids with masks (B, T), rows (N,), places (N,), lengths (B,), what stood there (N,))."""
    pool: list[tuple[Ids, Ids]] = []
    for piece in pieces:
        pool.append(piece)
        if sum(both.shape[1] for both, _ in pool) >= _BATCH_TOKENS:
            yield _pad(pool)
            pool = []
    if pool:
        yield _pad(pool)


def _pad(pool: list[tuple[Ids, Ids]]) -> tuple[Ids, Ids, Ids, Ids, Ids]:
    lengths = np.array([both.shape[1] for both, _ in pool])
    hidden = np.zeros((len(pool), int(lengths.max())), np.int64)
    for row, (both, _) in enumerate(pool):
        hidden[row, : lengths[row]] = both[1]
    rows = np.repeat(np.arange(len(pool)), [len(places) for _, places in pool])
    true = np.concatenate([both[0][places] for both, places in pool])
    return hidden, rows, np.concatenate([places for _, places in pool]), lengths, true
