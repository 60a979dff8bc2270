"""Encoder-decoders as language models: a text is written block by block, each block after what stands before it.

An encoder-decoder knows p(target | source) (Sutskever et al. 2014). To be a ``LanguageModel`` too, it cuts the ids
x_1, x_2, ... of a text (x_0 is the separator that opens it) into blocks of ``target_length``. The source of a block is
the last ``source_length`` ids before it; the decoder reads a start id and then the block, and at each place gives

    p(x_t | the block's source, x_(begin of the block), ..., x_(t-1)).

So every id is predicted from at most ``context_length = source_length + target_length - 1`` ids, a text may be of any
length, and how its ids are handed over changes nothing. The first block's source is the separator alone. Longer sources
than the beginning of a text allows do not exist: a short source is padded, and the padding is hidden.

As what it was made for, it is a ``translator.Translator``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zhixing.models.families import ENCODER_DECODERS
from zhixing.models.gaps import continued
from zhixing.models.neural import NeuralLanguageModel

_READ_AT_ONCE = 32_768
"""Ids of sources and targets that are read in one pass where no gradient is asked for."""


class DecoderCache(Protocol):
    """What a decoder carries from token to token; once it was given a source, it knows it."""

    @property
    def lengths(self) -> Tensor:
        """(B,) target ids read by each row, the start id included."""

    def keep_rows(self, rows: Sequence[int]) -> DecoderCache:
        """Return a cache with only the given rows, in the given order."""


class EncoderDecoder(Protocol):
    """What the module of such a family offers; its cache's class has ``join``, from a list of caches to one."""

    settings: Any

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding."""

    def new_cache(self, batch: int) -> Any:
        """Return the cache of ``batch`` targets of which nothing has been read, their sources not known yet."""

    def encode(self, ids: Tensor, lengths: Tensor | None = None) -> Any:
        """Return what the decoder needs of (B, S) sources; ``lengths`` (B,) real ids of each, None: all."""

    def decode(
        self,
        ids: Tensor,
        memory: Any,
        memory_lengths: Tensor | None = None,
        cache: Any = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the (B, T, D) hidden states of (B, T) targets, each place seeing those before it and the source.

        Args:
            ids: (B, T), the first of a target being the start id.
            memory: of ``encode``; None where the cache knows its source.
            memory_lengths: (B,) as for ``encode``.
            cache: of the targets so far; brought up to date.
            lengths: (B,) how many of the T ids of each row are real (right padding); None: all.
        """


def source_and_target_length(settings: Any) -> tuple[int, int]:
    """Return the most ids of a source and of a target: together one more than ``context_length``.

    A window of ``context_length`` predictions has that many ids. The target's share is ``target_length`` where the
    settings have one, else half.
    """
    target = getattr(settings, "target_length", None) or max(1, int(settings.context_length) // 2)
    return int(settings.context_length) + 1 - target, target


def start_id(settings: Any, separator_id: int) -> int:
    """Return the id that opens every target: the settings', or else the separator."""
    return separator_id if settings.start_id is None else int(settings.start_id)


def as_read(settings: Any, separator_id: int, source: Sequence[int]) -> tuple[int, ...]:
    """Return the ids of a source as the encoder reads them.

    Models from elsewhere (T5, Marian), whose targets begin with an id of their own, were trained on sources that the
    separator closes; one trained here reads a source like any text, after the separator.
    """
    return (separator_id, *source) if settings.start_id is None else (*source, separator_id)


@dataclass
class BlockState:
    """What an encoder-decoder remembers of B texts.

    Attributes:
        lengths: (B,) ids read.
        tail: (B, S) the last ids read, right-aligned.
        first: (B,) the first id of each text.
        rows: (B,) which row of ``cache`` is a text's; -1: nothing has been read.
        cache: the decoder's, of the running blocks; None: nothing has been read of any text.
    """

    lengths: Tensor
    tail: Tensor
    first: Tensor
    rows: Tensor
    cache: Any = None

    def keep_rows(self, rows: Sequence[int]) -> BlockState:
        """Return a state with only the given rows, in the given order."""
        index = torch.as_tensor(list(rows), dtype=torch.int64, device=self.lengths.device)
        kept = self.rows[index]
        live = kept >= 0
        cache = self.cache.keep_rows(kept[live].tolist()) if bool(live.any()) else None
        return BlockState(self.lengths[index], self.tail[index], self.first[index], _numbered(live), cache)

    @staticmethod
    def join(states: Sequence[BlockState]) -> BlockState:
        """Return one state with the rows of all."""
        order = [state.rows[state.rows >= 0].tolist() for state in states]
        caches = [state.cache.keep_rows(rows) for state, rows in zip(states, order, strict=True) if rows]
        return BlockState(
            torch.cat([state.lengths for state in states]),
            torch.cat([state.tail for state in states]),
            torch.cat([state.first for state in states]),
            _numbered(torch.cat([state.rows for state in states]) >= 0),
            joined(caches) if caches else None,
        )


class BlockDecoder:
    """An encoder-decoder as ``neural.CausalDecoder``: reads texts block by block."""

    def __init__(self, module: Any) -> None:
        self._module: Any = module
        self.settings: Any = module.settings
        self.source_length, self.target_length = source_and_target_length(module.settings)

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding."""
        weight: Tensor = self._module.head_weight
        return weight

    def new_cache(self, batch: int) -> BlockState:
        """Return the state of ``batch`` texts of which nothing has been read."""
        device = next(self._module.parameters()).device
        none = torch.zeros(batch, dtype=torch.int64, device=device)
        return BlockState(none, none.new_zeros(batch, self.source_length), none.clone(), none - 1)

    def __call__(self, ids: Tensor, *, cache: BlockState | None = None, lengths: Tensor | None = None) -> Tensor:
        """Return the (B, T, D) hidden states that predict what follows each of (B, T) ids.

        Args:
            ids: (B, T).
            cache: what was read before; it is brought up to date. None: nothing.
            lengths: (B,) how many of the T ids of each row are real (right padding); None: all.
        """
        if cache is None:
            return self._whole(ids)
        left = torch.full_like(cache.lengths, ids.shape[1]) if lengths is None else lengths.clone()
        taken, found = torch.zeros_like(left), None
        while bool((left > 0).any()):
            place = cache.lengths % self.target_length
            size = torch.minimum(self.target_length - place, left)
            columns = torch.arange(int(size.max()), device=ids.device)
            index = (taken[:, None] + columns).clamp_(max=ids.shape[1] - 1)
            hidden = self._advance(cache, ids.gather(1, index), size)
            if found is None:
                found = hidden.new_zeros(*ids.shape, hidden.shape[-1])
            row, column = (columns < size[:, None]).nonzero(as_tuple=True)
            found[row, index[row, column]] = hidden[row, column]
            taken, left = taken + size, left - size
        assert found is not None
        return found

    # ------------------------------------------------------------ all blocks of a text side by side

    def _whole(self, ids: Tensor) -> Tensor:
        """Read (B, T) texts from their beginning."""
        batch, length = ids.shape
        source, sizes = self._sources(ids)
        padded = torch.nn.functional.pad(ids, (0, -length % self.target_length))
        inputs = padded.view(batch, -1, self.target_length).clone()
        inputs[:, :, 0] = self._start(ids[:, 0])[:, None]
        blocks = inputs.shape[1]
        flat, lengths = source.flatten(0, 1), sizes.repeat(batch)
        rows = batch * blocks
        step = rows if torch.is_grad_enabled() else max(1, _READ_AT_ONCE // (self.source_length + self.target_length))
        hidden = torch.cat(
            [
                self._answer(inputs.flatten(0, 1)[i : i + step], flat[i : i + step], lengths[i : i + step])
                for i in range(0, rows, step)
            ]
        )
        return hidden.view(batch, padded.shape[1], -1)[:, :length]

    def _sources(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (B, K, S) sources of the K blocks of (B, T) texts, padded on the right, and their (K,) sizes."""
        last = torch.arange(0, ids.shape[1], self.target_length, device=ids.device)
        sizes = (last + 1).clamp(max=self.source_length)
        widest = int(sizes.max())
        index = (last + 1 - sizes)[:, None] + torch.arange(widest, device=ids.device)
        return ids[:, torch.minimum(index, last[:, None])], sizes

    def _answer(self, inputs: Tensor, source: Tensor, sizes: Tensor) -> Tensor:
        """Decode (N, L) blocks after (N, S) sources; (N, L, D)."""
        lengths = None if bool((sizes == source.shape[1]).all()) else sizes
        hidden: Tensor = self._module.decode(inputs, self._module.encode(source, lengths), lengths)
        return hidden

    # ------------------------------------------------------------ after what a state has read

    def _advance(self, state: BlockState, ids: Tensor, sizes: Tensor) -> Tensor:
        """Read the next ``sizes`` (B,) of (B, T) ids, of one block each; rows of size 0 rest."""
        begins = (state.lengths % self.target_length == 0) & (sizes > 0)
        goes, rests = ~begins & (sizes > 0), (sizes == 0) & (state.rows >= 0)
        state.first = torch.where(state.lengths == 0, ids[:, 0], state.first)
        inputs = torch.where(begins[:, None] & (torch.arange(ids.shape[1], device=ids.device) == 0),
                             self._start(state.first)[:, None], ids)  # fmt: skip
        parts: list[tuple[Tensor, Any]] = []
        hidden: list[tuple[Tensor, Tensor]] = []
        if bool(begins.any()):
            memory, lengths = self._encode_tails(state, ids[:, 0], begins)
            cache = self._module.new_cache(int(begins.sum()))
            hidden.append((begins, self._decode(inputs, sizes, begins, memory, lengths, cache)))
            parts.append((begins, cache))
        if bool(goes.any()):
            cache = _rows_of(state, goes)
            hidden.append((goes, self._decode(inputs, sizes, goes, None, None, cache)))
            parts.append((goes, cache))
        if bool(rests.any()):
            parts.append((rests, _rows_of(state, rests)))
        _put_back(state, parts)
        state.tail = _last(state.tail, ids, sizes)
        state.lengths = state.lengths + sizes
        result = hidden[0][1].new_zeros(*ids.shape, hidden[0][1].shape[-1])
        for where, values in hidden:
            result[where] = values
        return result

    def _encode_tails(self, state: BlockState, ids: Tensor, where: Tensor) -> tuple[Any, Tensor | None]:
        """Encode the sources of the blocks that begin behind ``ids`` (B,), in some rows."""
        tail = torch.cat([state.tail[where], ids[where][:, None]], dim=1)
        sizes = (state.lengths[where] + 1).clamp(max=self.source_length)
        columns = torch.arange(int(sizes.max()), device=ids.device)
        index = (tail.shape[1] - sizes[:, None] + columns).clamp_(max=tail.shape[1] - 1)
        lengths = None if bool((sizes == len(columns)).all()) else sizes
        return self._module.encode(tail.gather(1, index), lengths), lengths

    def _decode(
        self, inputs: Tensor, sizes: Tensor, where: Tensor, memory: Any, memory_lengths: Tensor | None, cache: Any
    ) -> Tensor:
        ids, lengths = inputs[where], sizes[where]
        full = None if bool((lengths == ids.shape[1]).all()) else lengths
        hidden: Tensor = self._module.decode(ids, memory, memory_lengths, cache=cache, lengths=full)
        return hidden

    def _start(self, first: Tensor) -> Tensor:
        """Return the (B,) ids that decoders start with: the settings', or else the separator, a text's first id."""
        start = self.settings.start_id
        return first if start is None else torch.full_like(first, start)


class EncoderDecoderModel(NeuralLanguageModel):
    """An encoder-decoder module behind the ``LanguageModel`` protocol. It is put into evaluation mode."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self._decoder = BlockDecoder(continued(module))


def as_language_model(module: nn.Module) -> NeuralLanguageModel:
    """Return a neural module that predicts text, behind the ``LanguageModel`` protocol."""
    settings: Any = module.settings
    return (EncoderDecoderModel if settings.family in ENCODER_DECODERS else NeuralLanguageModel)(module)


def joined(caches: Sequence[Any]) -> Any:
    """Return one cache with the rows of all."""
    return caches[0] if len(caches) == 1 else type(caches[0]).join(caches)


def _numbered(live: Tensor) -> Tensor:
    """Number the True ones from 0 on; -1 where False."""
    return torch.where(live, live.cumsum(0) - 1, -1)


def _rows_of(state: BlockState, where: Tensor) -> Any:
    """Return the cache of some rows; where they are all, the state's own, not a copy."""
    rows = state.rows[where].tolist()
    return state.cache if rows == list(range(len(state.cache.lengths))) else state.cache.keep_rows(rows)


def _put_back(state: BlockState, parts: Sequence[tuple[Tensor, Any]]) -> None:
    """Let the state's cache be that of the parts, each of some rows."""
    state.cache, first = joined([cache for _, cache in parts]), 0
    state.rows = torch.full_like(state.rows, -1)
    for where, _ in parts:
        size = int(where.sum())
        state.rows[where] = torch.arange(first, first + size, device=state.rows.device)
        first += size


def _last(tail: Tensor, ids: Tensor, sizes: Tensor) -> Tensor:
    """Return the last S ids of each row: (B, S) so far, then ``sizes`` (B,) of (B, T) more."""
    index = sizes[:, None] + torch.arange(tail.shape[1], device=ids.device)
    return torch.cat([tail, ids], dim=1).gather(1, index)
