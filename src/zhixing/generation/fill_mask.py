"""``zhixing.pipeline("fill-mask", model=…)``: what may stand at the mask of a text.

Arguments and results have the names and shapes of transformers' pipeline of the same task. What differs: a text that is
too long is an error instead of being cut, and one without a mask names the mask token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zhixing.errors import InputError
from zhixing.language import tr
from zhixing.models.encoder import EncoderModel, mask_token, wrap
from zhixing.models.protocol import Ids
from zhixing.tokenizers.pieces import PieceTokenizer
from zhixing.tokenizers.protocol import Tokenizer


class FillMaskPipeline:
    """Fills masks. Call it with one text or a list of texts."""

    task = "fill-mask"

    def __init__(self, model: EncoderModel, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.mask_token = mask_token(tokenizer)
        self._takes_blanks = isinstance(tokenizer, PieceTokenizer) and tokenizer.takes_blanks_before(self.mask_token)
        self._mask_id = tokenizer.special_tokens[self.mask_token]

    def __call__(self, texts: str | Sequence[str], *, top_k: int = 5) -> list[Any]:
        """Return for each text a list of ``{"score", "token", "token_str", "sequence"}``, the likeliest first.

        A text with several masks gives a list of such lists, one for each mask, each filled as if alone; several texts
        give a list of what each gives.

        Raises:
            InputError: a text has no mask, the model no masked-LM head, or ``top_k`` is below 1.
            ContextLengthError: a text is longer than the model's context.
        """
        if top_k < 1:
            raise InputError(tr(f"top_k = {top_k}: give at least 1", f"top_k = {top_k}：至少为 1"))
        if isinstance(texts, str):
            return self._fill(texts, top_k)
        return [self._fill(text, top_k) for text in texts]

    def encode(self, text: str) -> Ids:
        """Return the ids (T,) of a text in which the mask token stands for masked places.

        Raises:
            InputError: it does not.
        """
        parts = text.split(self.mask_token)
        if len(parts) == 1:
            raise InputError(tr(f"there is no {self.mask_token} in: {text}", f"文本中没有 {self.mask_token}：{text}"))
        ids: list[int] = []
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            if not last and self._takes_blanks:  # a byte-level token begins with its blank; so does the mask for it
                part = part.rstrip()
            ids += [*self.tokenizer.encode(part), *([] if last else [self._mask_id])]
        return wrap(self.tokenizer, np.array(ids, np.int64))

    def _fill(self, text: str, top_k: int) -> list[Any]:
        ids = self.encode(text)
        places = np.flatnonzero(ids == self._mask_id)
        log_probs = self.model.masked_log_probs(ids[None], np.zeros_like(places), places)
        never = [index for index in self.tokenizer.special_ids if index < log_probs.shape[1]]
        log_probs[:, never] = -np.inf
        log_probs[:, self.tokenizer.vocab_size :] = -np.inf
        found = [self._best(ids, place, row, top_k) for place, row in zip(places, log_probs, strict=True)]
        return found[0] if len(found) == 1 else found

    def _best(self, ids: Ids, place: Any, log_probs: Any, top_k: int) -> list[dict[str, Any]]:
        order = np.argsort(-log_probs, kind="stable")[: min(top_k, int(np.isfinite(log_probs).sum()))]
        filled = []
        for token in order:
            sequence = ids.copy()
            sequence[place] = token
            filled.append(
                {
                    "score": float(np.exp(log_probs[token])),
                    "token": int(token),
                    "token_str": self.tokenizer.decode([int(token)]),
                    "sequence": self.tokenizer.decode(int(i) for i in sequence),
                }
            )
        return filled
