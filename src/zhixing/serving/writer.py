"""One text in the engine: a sequence of ``zhixing.generation`` that belongs to a request.

Two things are added to the sequence. The prompt itself can be scored, token by token within the running
batch, which is what ``echo`` with ``logprobs`` asks for. And any exception while a token is chosen becomes
the kind that ends one sequence only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import ZhixingError
from zhixing.generation.sequence import SequenceState
from zhixing.generation.settings import GenerationSettings
from zhixing.models.protocol import LanguageModel
from zhixing.tokenizers.protocol import Tokenizer

if TYPE_CHECKING:
    from zhixing.serving.engine import Ticket

IMPOSSIBLE = -9999.0
"""What is reported for a log-probability of minus infinity: JSON has no infinity."""


@dataclass(frozen=True)
class Token:
    """One token with the model's own log-probability (nats) and the best alternatives, the best first."""

    token_id: int
    log_prob: float
    top: tuple[tuple[int, float], ...] = ()
    of_prompt: bool = False


@dataclass(frozen=True)
class Piece:
    """More of a text: what may be shown now (perhaps nothing yet), and the token behind it."""

    index: int
    text: str
    token: Token


@dataclass(frozen=True)
class Ended:
    """A text ended by itself; ``reason`` is ``"stop"`` or ``"length"``, ``tokens`` the number generated."""

    index: int
    reason: str
    tokens: int


@dataclass(frozen=True)
class Failed:
    """A text was ended: ``code`` is ``"model_error"``, ``"timeout"`` or ``"shutting_down"``."""

    index: int
    code: str
    message: str


Event = Piece | Ended | Failed


@dataclass(frozen=True)
class Order:
    """What one text shall be: the ids that the model reads first, and how to go on.

    ``score_prompt``: also report a ``Token`` for every id of the prompt but the first.
    """

    ids: tuple[int, ...]
    settings: GenerationSettings
    seed: int
    score_prompt: bool = False


class Writer(SequenceState):
    """The state machine of one text, with its place in a request."""

    def __init__(self, index: int, order: Order, model: LanguageModel, tokenizer: Tokenizer, ticket: Ticket) -> None:
        super().__init__(order.ids, model, tokenizer, order.settings, order.seed)
        self.index = index
        self.order = order
        self.ticket = ticket
        self.over = False
        """Whether the end of the text has been told."""
        self._known = 1 if order.score_prompt else len(order.ids)
        self._latest: Token | None = None
        self.prompt = order.ids[: self._known]

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be scored or written."""
        return self._known == len(self.order.ids) and self.finish_reason is not None

    @property
    def last_id(self) -> int:
        """The id that the model reads next: a generated one, or the prompt's next."""
        return self.ids[-1] if self.ids else self.order.ids[self._known - 1]

    def accept(self, log_probs: NDArray[Any]) -> str:
        """Take the model's row: score the prompt's next id or choose a new one; return the text to show.

        Raises:
            ZhixingError: anything that went wrong, this text's own.
        """
        try:
            if self._known < len(self.order.ids):
                self._score_next(np.asarray(log_probs, dtype=np.float64))
                return ""
            shown = super().accept(log_probs)
        except ZhixingError:
            raise
        except Exception as error:
            raise ZhixingError(type(error).__name__) from error
        top = self._top[-1] if self._top else ()
        self._latest = Token(self.ids[-1], _finite(self._log_probs[-1]), _finite_all(top))
        return shown

    def take_token(self) -> Token:
        """Return the token of the last ``accept``."""
        if self._latest is None:
            raise RuntimeError("no token has been accepted")
        return self._latest

    def restart(self) -> None:
        """Let a fresh batch read everything up to here in one piece."""
        self.prompt = (*self.order.ids[: self._known], *self.ids)

    def _score_next(self, row: NDArray[np.float64]) -> None:
        token_id = self.order.ids[self._known]
        if np.isnan(row[token_id]):
            raise ZhixingError("not a probability")
        self._known += 1
        best = np.argsort(-row, kind="stable")[: self.settings.logprobs or 0]
        top = tuple((int(i), float(row[i])) for i in best)
        self._latest = Token(token_id, _finite(float(row[token_id])), _finite_all(top), of_prompt=True)


def _finite(log_prob: float) -> float:
    return max(log_prob, IMPOSSIBLE)


def _finite_all(top: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    return tuple((token_id, _finite(log_prob)) for token_id, log_prob in top)
