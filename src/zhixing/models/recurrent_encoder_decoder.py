"""Recurrent encoder-decoders: one network reads the source, another writes the target (Cho et al. 2014; Sutskever et
al. 2014), looking back at the source as it goes (Bahdanau et al. 2015; Luong et al. 2015).

- ``attention: none``: all that the decoder knows of the source is the state it begins in, the encoder's last.
- ``additive`` (Bahdanau): at each step, from the state before, it looks at the source; its first layer reads the token
  and what was seen. The output is a maxout layer (Goodfellow et al. 2013) of state, context and token.
- ``multiplicative`` (Luong, "general"), ``dot`` and ``concat``, which score otherwise: the last layer's new state
  looks; the attentional state ``tanh(W [c; s])`` predicts, and is read by the next step together with the token
  (``input_feeding``, section 3.3).

The encoder reads forward (Cho), backward (Sutskever, who reversed the sources, so that the last word read is next to
the first one written), or both ways (Bahdanau), where the decoder begins in a map of what the backward network has
reached.

What differs here from the papers: one table of embeddings serves source and target, whose ids are one vocabulary; the
output layer sees the new state, not the one before it; in a deep decoder the first layer looks; dropout acts between
layers only, as in ``models.recurrent``, whose layers these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional

from zhixing.config import Settings, setting
from zhixing.language import tr
from zhixing.nn.compiled import not_compiled
from zhixing.nn.dropout import Dropout
from zhixing.nn.recurrent import RecurrentLayer, State
from zhixing.nn.recurrent_attention import LookThenMove, MoveThenLook, Source
from zhixing.nn.shared_matrix import SharedMatrix

MOVES_FIRST = ("multiplicative", "dot", "concat")
"""Luong's attentions: the decoder moves, then looks."""


class RecurrentEncoderDecoderSettings(Settings):
    """Shape of a recurrent encoder-decoder."""

    family: Literal["recurrent_encoder_decoder"] = "recurrent_encoder_decoder"
    cell: Literal["rnn", "lstm", "gru"] = setting("gru", "what a layer does at each step", "每一步所用的循环单元")
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(
        128, "window of text: source and target, less one", "文本窗口：源与目标之和减一", unit="tokens", ge=2
    )
    target_length: int | None = setting(
        None,
        "of the window, written after its source; empty: half",
        "窗口中作为目标写出的部分；留空：一半",
        unit="tokens",
        ge=1,
    )
    start_id: int | None = setting(
        None,
        "what the decoder reads first; empty: the separator",
        "解码器首先读入的编号；留空：分隔符",
        unit="id",
        ge=0,
    )
    attention: Literal["none", "additive", "multiplicative", "dot", "concat"] = setting(
        "additive", "how the decoder looks at the source", "解码器注视源的方式"
    )
    input_feeding: bool = setting(
        True,
        "multiplicative, dot, concat: the next step reads what was seen",
        "multiplicative、dot、concat：下一步读入注视结果",
    )
    encoder: Literal["forward", "backward", "both"] = setting("both", "how it reads", "编码器的阅读方向")
    layers: int = setting(1, "layers of the encoder, and of the decoder", "编码器与解码器各自的层数", ge=1)
    width: int = setting(256, "D, width of embedding and state", "D，词嵌入与状态的宽度", ge=1)
    tied: bool = setting(False, "output head shares the embedding", "输出头与词嵌入共享权重")
    dropout: float = setting(0.0, "on embeddings and between layers", "作用于词嵌入与层间", ge=0, lt=1)

    @model_validator(mode="after")
    def _target_fits(self) -> RecurrentEncoderDecoderSettings:
        if self.target_length is not None and self.target_length > self.context_length:
            raise ValueError(
                tr(
                    f"target_length ({self.target_length}) must leave a source: at most context_length "
                    f"({self.context_length})",
                    f"target_length（{self.target_length}）须给源留位：至多 context_length（{self.context_length}）",
                )
            )
        return self

    @model_validator(mode="after")
    def _widths_fit(self) -> RecurrentEncoderDecoderSettings:
        if self.attention == "dot" and self.encoder == "both":
            raise ValueError(
                tr(
                    "attention dot multiplies states of one width, and an encoder that reads both ways has states of "
                    "twice the decoder's; set encoder: forward or backward, or attention: multiplicative",
                    "attention 为 dot 时两侧状态宽度须相同，而双向编码器的状态是解码器的两倍宽；"
                    "请设 encoder: forward 或 backward，或 attention: multiplicative",
                )
            )
        return self

    @property
    def directions(self) -> int:
        """Networks that read the source."""
        return 2 if self.encoder == "both" else 1

    @property
    def feeds(self) -> bool:
        """Whether the attentional state is read by the next step."""
        return self.attention in MOVES_FIRST and self.input_feeding


PRESETS: dict[str, RecurrentEncoderDecoderSettings] = {
    "tiny": RecurrentEncoderDecoderSettings(context_length=63, width=64),
    "bahdanau": RecurrentEncoderDecoderSettings(vocab_size=30000, context_length=100, width=1000),
    "luong": RecurrentEncoderDecoderSettings(
        vocab_size=50000, context_length=100, cell="lstm", attention="multiplicative", encoder="backward", layers=4,
        width=1000, dropout=0.2,
    ),
    "sutskever": RecurrentEncoderDecoderSettings(
        vocab_size=80000, context_length=100, cell="lstm", attention="none", encoder="backward", layers=4, width=1000
    ),
}  # fmt: skip


READERS = {"from_left": "forward", "from_right": "backward"}
"""A reader of an encoder's layer, and its direction."""


class Encoded(NamedTuple):
    """What an encoder has made of B sources: annotations (B, S, K), and the state each layer of a decoder begins in."""

    annotations: Tensor
    states: list[State]


@dataclass
class DecoderState:
    """What a decoder remembers of B targets.

    Attributes:
        lengths: (B,) ids read.
        layers: for each layer its state; empty until the source is known.
        seen: (B, D) the last attentional state, for input feeding.
        annotations: (B, S, K) of the source; prepared: as the attention maps them.
        source_lengths: (B,) how many of the S are real.
    """

    lengths: Tensor
    layers: list[State]
    seen: Tensor
    annotations: Tensor
    prepared: Tensor
    source_lengths: Tensor

    def keep_rows(self, rows: Sequence[int]) -> DecoderState:
        """Return a state with only the given rows, in the given order."""
        index = torch.as_tensor(list(rows), dtype=torch.int64, device=self.lengths.device)
        layers = [tuple(part[index] for part in layer) for layer in self.layers]
        others = (self.seen, self.annotations, self.prepared, self.source_lengths)
        return DecoderState(self.lengths[index], layers, *(each[index] for each in others))

    @staticmethod
    def join(states: Sequence[DecoderState]) -> DecoderState:
        """Return one state with the rows of all, whose sources are all known, or all not."""
        widest = max(state.annotations.shape[1] for state in states)

        def stack(parts: list[Tensor]) -> Tensor:
            return torch.cat([functional.pad(part, (0, 0, 0, widest - part.shape[1])) for part in parts])

        return DecoderState(
            torch.cat([state.lengths for state in states]),
            [
                tuple(torch.cat(parts) for parts in zip(*same, strict=True))
                for same in zip(*(state.layers for state in states), strict=True)
            ],
            torch.cat([state.seen for state in states]),
            stack([state.annotations for state in states]),
            stack([state.prepared for state in states]),
            torch.cat([state.source_lengths for state in states]),
        )


class EncoderLayer(nn.Module):
    """One layer of the encoder, in one direction or in both side by side."""

    def __init__(self, settings: RecurrentEncoderDecoderSettings, input_width: int) -> None:
        super().__init__()
        names = [name for name, reads in READERS.items() if settings.encoder in (reads, "both")]
        self.readers = nn.ModuleDict(
            {name: RecurrentLayer(settings.cell, input_width, settings.width) for name in names}
        )

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, State]:
        """(B, S, I) to (B, S, K), and the state that was reached last, of the backward reader if there is one."""
        outputs, end = [], ()
        for name, reader in self.readers.items():
            assert isinstance(reader, RecurrentLayer)
            backward = READERS[name] == "backward"
            read, end = reader(turned(x, lengths) if backward else x, reader.new_state(len(x)), lengths)
            outputs.append(turned(read, lengths) if backward else read)
        return torch.cat(outputs, dim=-1), end


def turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return (B, S, D) with the real places of each row in reverse order; padding stays on the right."""
    if lengths is None:
        return x.flip(1)
    place = torch.arange(x.shape[1], device=x.device)
    index = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return x.gather(1, index[:, :, None].expand_as(x))


class RecurrentEncoderDecoder(nn.Module):
    """``encode`` a source, ``decode`` a target; ``head_weight`` turns the latter's hidden states into logits."""

    def __init__(self, settings: RecurrentEncoderDecoderSettings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        width, keys = settings.width, settings.directions * settings.width
        self.token_embedding = nn.Embedding(settings.vocab_size, width)
        self.embedding_scale = width**0.5 if settings.tied else 1.0
        encoder = [EncoderLayer(settings, keys if layer else width) for layer in range(settings.layers)]
        decoder = [self._decoder_layer(layer) for layer in range(settings.layers)]
        self.blocks = nn.ModuleDict({"encoder": nn.ModuleList(encoder), "decoder": nn.ModuleList(decoder)})
        parts = (2 if settings.cell == "lstm" else 1) if settings.directions == 2 else 0
        self.begin = nn.ModuleList(nn.Linear(width, parts * width) for _ in range(settings.layers if parts else 0))
        self.look = MoveThenLook(keys, width, settings.attention) if settings.attention in MOVES_FIRST else None
        self.output = nn.Linear(2 * width + keys, 2 * width) if settings.attention == "additive" else None
        self.dropout = Dropout(settings.dropout)
        self.head = None if settings.tied else nn.Linear(width, settings.vocab_size, bias=False)
        self.initialise()

    def _decoder_layer(self, layer: int) -> nn.Module:
        s = self.settings
        if layer == 0 and s.attention == "additive":
            return LookThenMove(s.cell, s.width, s.directions * s.width, s.width)
        return RecurrentLayer(s.cell, 2 * s.width if layer == 0 and s.feeds else s.width, s.width)

    def initialise(self) -> None:
        """Draw embeddings of unit size as read; the head starts at zero. Recurrent layers have drawn their own."""
        nn.init.normal_(self.token_embedding.weight, std=1.0 / self.embedding_scale)
        for module in (*self.begin, self.output, self.look and self.look.combine):
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def new_cache(self, batch: int) -> DecoderState:
        """Return the state of ``batch`` targets of which nothing has been read, their sources not known yet."""
        like = self.token_embedding.weight.detach()
        none = torch.zeros(batch, dtype=torch.int64, device=like.device)
        empty = like.new_zeros(batch, 0, self.settings.directions * self.settings.width)
        return DecoderState(none, [], like.new_zeros(batch, self.settings.width), empty, empty[..., :0], none.clone())

    def encode(self, ids: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Return what the encoder makes of (B, S) sources; ``lengths`` (B,) real ids of each, None: all."""
        x, begins = self._embed(ids), list[State]()
        for layer, reader in enumerate(self._stack("encoder")):
            x, end = reader(x, lengths)
            begins.append(self._begin(layer, end))
            x = self.dropout(x)
        return Encoded(x, begins)

    def _begin(self, layer: int, end: State) -> State:
        """Return the state in which a decoder layer begins: the encoder's, or a map of it (Bahdanau, A.2.2)."""
        if not self.begin:
            return end
        mapped = self.begin[layer](end[0]).chunk(len(end), dim=-1)
        return (torch.tanh(mapped[0]), *mapped[1:])

    def decode(
        self,
        ids: Tensor,
        memory: Encoded | None,
        memory_lengths: Tensor | None = None,
        cache: DecoderState | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the (B, T, D) hidden states of (B, T) targets; arguments as ``encoder_decoder.EncoderDecoder`` says.

        Raises:
            ValueError: there is no memory, and no cache that knows the source.
        """
        state = self.new_cache(len(ids)) if cache is None else cache
        if not state.layers:
            if memory is None:
                raise ValueError("a target needs a source: memory, or a cache that knows it")
            self._meet(state, memory, memory_lengths)
        x, source = self._embed(ids), self._source(state)
        if self.settings.attention == "additive":
            hidden = self._looking_first(x, state, source, lengths)
        elif self.settings.feeds:
            hidden = self._feeding(x, state, source, lengths)
        else:
            hidden = self._upper(x, state, lengths)
            hidden = hidden if self.look is None else self.look(hidden, source)
        state.lengths = state.lengths + (ids.shape[1] if lengths is None else lengths)
        return self.dropout(hidden)

    # ------------------------------------------------------------ the source

    def _meet(self, state: DecoderState, memory: Encoded, lengths: Tensor | None) -> None:
        """Let a state know its source."""
        batch, size, _ = memory.annotations.shape
        whole = torch.full((batch,), size, dtype=torch.int64, device=memory.annotations.device)
        state.layers, state.annotations = list(memory.states), memory.annotations
        state.source_lengths = whole if lengths is None else lengths
        attention = self._attention()
        state.prepared = memory.annotations[..., :0] if attention is None else attention.prepare(memory.annotations)

    def _source(self, state: DecoderState) -> Source:
        size = state.annotations.shape[1]
        if not torch.compiler.is_compiling() and bool((state.source_lengths == size).all()):
            return Source(state.annotations, state.prepared)
        mask = torch.arange(size, device=state.annotations.device) < state.source_lengths[:, None]
        return Source(state.annotations, state.prepared, mask)

    def _attention(self) -> Any:
        first = self._stack("decoder")[0]
        return first.attention if isinstance(first, LookThenMove) else self.look and self.look.attention

    # ------------------------------------------------------------ the target

    def _looking_first(self, x: Tensor, state: DecoderState, source: Source, lengths: Tensor | None) -> Tensor:
        """Bahdanau's decoder: the first layer step by step, the others over the whole target."""
        contexts, states = self._stack("decoder")[0].read(x, state.layers[0], source)
        state.layers[0] = _at_end(states, lengths)
        first = torch.stack([each[0] for each in states], dim=1)
        top = self._upper(self.dropout(first), state, lengths, above=1)
        assert self.output is not None
        pairs = self.output(torch.cat([top, contexts, x], dim=-1))
        return pairs.unflatten(-1, (-1, 2)).amax(dim=-1)

    @not_compiled  # a compiler would unroll the loop over time
    def _feeding(self, x: Tensor, state: DecoderState, source: Source, lengths: Tensor | None) -> Tensor:
        """Luong's decoder: every step reads the attentional state of the one before.

        What the tokens say to the first layer's gates is computed for all steps at once; what was seen, as it comes.
        """
        assert self.look is not None
        layers, kind, reached = self._stack("decoder"), x.dtype, [(*state.layers, (state.seen,))]
        with torch.autocast(x.device.type, enabled=False):
            like = layers[0].input.weight
            keys = None if source.prepared is None else source.prepared.to(like)
            source = Source(source.annotations.to(like), keys, source.mask)
            of_token, of_seen = like.chunk(2, dim=1)
            by_seen, look = SharedMatrix(of_seen.T), self.look.looker(source)
            by_below = [SharedMatrix(layer.input.weight.T, layer.input.bias) for layer in layers[1:]]
            steps = [layer.stepper() for layer in layers]
            for by_token in functional.linear(x.to(like), of_token, layers[0].input.bias).unbind(1):
                *before, (seen,) = reached[-1]
                after = [steps[0](by_token + by_seen(seen.to(like)), before[0])]
                for step, below, own in zip(steps[1:], by_below, before[1:], strict=True):
                    after.append(step(below(self.dropout(after[-1][0].to(like))), own))
                seen = look(after[-1][0].to(like)[:, None])[:, 0]
                reached.append((*after, (seen,)))
        *state.layers, (state.seen,) = (_at_end(own, lengths) for own in zip(*reached[1:], strict=True))
        return torch.stack([own[-1][0] for own in reached[1:]], dim=1).to(kind)

    def _upper(self, x: Tensor, state: DecoderState, lengths: Tensor | None, above: int = 0) -> Tensor:
        """Run the layers from ``above`` on over (B, T, ·); dropout between them."""
        for layer in range(above, self.settings.layers):
            x, state.layers[layer] = self._stack("decoder")[layer](x, state.layers[layer], lengths)
            x = x if layer + 1 == self.settings.layers else self.dropout(x)
        return x

    def _embed(self, ids: Tensor) -> Tensor:
        return self.dropout(self.token_embedding(ids) * self.embedding_scale)

    def _stack(self, name: str) -> list[Any]:
        return list(self.blocks[name].children())


def _at_end(states: Sequence[State], lengths: Tensor | None) -> State:
    """Return the state of each row after the last of its real steps; ``states`` are those after each step."""
    if lengths is None:
        return states[-1]
    rows = torch.arange(len(lengths), device=lengths.device)
    return tuple(torch.stack(parts)[lengths - 1, rows] for parts in zip(*states, strict=True))
