"""An encoder with a masked-LM head behind NumPy: what may stand at masked places, and what each token has become.

It is opened like any other model, but it has no next token: whatever asks it for one is told what it can do instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zhixing.errors import ContextLengthError, InputError
from zhixing.language import tr
from zhixing.models.protocol import Ids, LogProbs, State
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.specials import MASK

_MASK_NAMES = (MASK, "[MASK]", "<mask>")


class EncoderModel:
    """A BERT module in evaluation mode."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval()
        self._encoder: Any = module
        self._device = next(module.parameters()).device

    @property
    def family(self) -> str:
        """The family's name."""
        return str(self._encoder.settings.family)

    @property
    def vocab_size(self) -> int:
        """``V``."""
        return int(self._encoder.settings.vocab_size)

    @property
    def context_length(self) -> int:
        """The most ids of one text, the opening and closing ones included."""
        return int(self._encoder.settings.context_length)

    @property
    def width(self) -> int:
        """``D``, the width of a hidden state."""
        return int(self._encoder.settings.width)

    @property
    def has_head(self) -> bool:
        """Whether it can say what stands at masked places."""
        return self._encoder.head is not None

    def hidden(self, ids: Ids, lengths: Ids | None = None, segments: Ids | None = None) -> NDArray[np.float32]:
        """Return the (B, T, D) final hidden states of (B, T) right-padded ids.

        Args:
            ids: (B, T).
            lengths: (B,) number of real ids in each row; None: all T.
            segments: (B, T) which of two joined texts each id belongs to; None: all to the first.

        Raises:
            ContextLengthError: T exceeds ``context_length``.
        """
        with torch.inference_mode():
            return self._states(ids, lengths, segments).float().cpu().numpy()

    def masked_log_probs(self, ids: Ids, rows: Ids, places: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return the natural log-probabilities (N, V) of what stands at N places of (B, T) ids.

        Args:
            ids: (B, T) with masks at the places.
            rows: (N,) the row of each place.
            places: (N,) its column.
            lengths: (B,) number of real ids in each row; None: all T.

        Raises:
            ContextLengthError: T exceeds ``context_length``.
            InputError: the model has no masked-LM head.
        """
        if not self.has_head:
            raise InputError(
                tr(
                    f"this {self.family} model has no masked-LM head: it gives hidden states only; use "
                    "zhixing run similarity, or zhixing.pipeline('sentence-embedding', model=…)",
                    f"该 {self.family} 模型没有掩码语言模型输出头：只能给出隐状态；"
                    "请用 zhixing run similarity，或 zhixing.pipeline('sentence-embedding', model=…)",
                )
            )
        with torch.inference_mode():
            hidden = self._states(ids, lengths, None)[self._tensor(rows), self._tensor(places)]
            return torch.log_softmax(self._encoder.logits(hidden).float(), dim=-1).cpu().numpy()

    def initial_state(self, batch: int) -> State:
        """Refuse: there is nothing to continue."""
        self._refuse()

    def next_log_probs(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[LogProbs, State]:
        """Refuse: there is no next token."""
        self._refuse()

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Refuse: a token is not predicted from those before it alone."""
        self._refuse()

    def keep_rows(self, state: State, rows: Sequence[int]) -> State:
        """Refuse: there are no states."""
        self._refuse()

    def join_states(self, states: Sequence[State]) -> State:
        """Refuse: there are no states."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InputError(
            tr(
                f"a {self.family} model fills masked places and has no next token, so it neither writes text nor has "
                "bits per byte; use zhixing.pipeline('fill-mask' or 'sentence-embedding', model=…), or zhixing "
                "evaluate on it alone",
                f"{self.family} 模型只填补掩码，没有下一个词元，因而不能续写，也没有每字节比特数；"
                "请用 zhixing.pipeline('fill-mask' 或 'sentence-embedding', model=…)，或单独用 zhixing evaluate 评估它",
            )
        )

    def _states(self, ids: Ids, lengths: Ids | None, segments: Ids | None) -> torch.Tensor:
        if ids.shape[1] > self.context_length:
            raise ContextLengthError(ids.shape[1], self.context_length)
        optional = {
            name: None if value is None else self._tensor(value)
            for name, value in (("lengths", lengths), ("segments", segments))
        }
        states: torch.Tensor = self._encoder(self._tensor(ids), **optional)
        return states

    def _tensor(self, ids: Ids) -> torch.Tensor:
        owned = np.require(ids, np.int64, ["C", "W"])  # torch wants what it may write to
        return torch.from_numpy(owned).to(self._device)


def mask_token(tokenizer: Tokenizer) -> str:
    """Return the token that stands for a masked place.

    Raises:
        InputError: the tokenizer has none.
    """
    for token in (tokenizer.named_tokens.get("mask_token"), *_MASK_NAMES):
        if token is not None and tokenizer.special_id(token) is not None:
            return token
    raise InputError(
        tr(
            "the tokenizer has no mask token; train a bert model from a recipe, or name one as 'mask_token' in "
            "tokenizer_config.json",
            "分词器没有掩码词元；请用配方训练 bert 模型，或在 tokenizer_config.json 中以 'mask_token' 指定",
        )
    )


def mask_id(tokenizer: Tokenizer) -> int:
    """Return the id of ``mask_token``."""
    return tokenizer.special_tokens[mask_token(tokenizer)]


def wrap(tokenizer: Tokenizer, ids: Ids) -> Ids:
    """Return ``ids`` as an encoder was trained to read a text: opened by ``[CLS]``, closed by ``[SEP]``.

    A tokenizer without these (ours) opens a text with its separator and closes it with nothing.
    """
    named = tokenizer.named_tokens
    opening = tokenizer.special_id(named.get("cls_token", ""))
    closing = tokenizer.special_id(named.get("sep_token", ""))
    before = [tokenizer.separator_id if opening is None else opening]
    return np.concatenate([before, ids, [] if closing is None else [closing]]).astype(np.int64)
