"""The engine: one thread that writes many texts at once with one model. It knows no HTTP and opens no socket.

Continuous batching (Yu et al. 2022, Orca): a text joins the running batch after its prompt has been read, and
leaves it the moment it ends; each step is one call of the model for all running texts. A prompt is read alone
and in one piece, so a long one delays the others by one long step.

One text's fault ends that text only. Places are counted before any work is done for a request, so that
overload costs nothing.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from zhixing.errors import ZhixingError
from zhixing.generation.batch import Batch, Emission
from zhixing.language import tr
from zhixing.models.protocol import LanguageModel
from zhixing.serving.writer import Ended, Event, Failed, Order, Piece, Writer
from zhixing.tokenizers.protocol import Tokenizer

log = logging.getLogger(__name__)

Listener = Callable[[Event], None]


class Counts:
    """What the engine reports while it works; this one forgets everything."""

    def read(self, tokens: int) -> None:
        """Prompt tokens were read."""

    def wrote(self, tokens: int) -> None:
        """Tokens were generated."""

    def first_token(self, seconds: float) -> None:
        """A text has its first token."""

    def finished(self, reason: str, seconds: float) -> None:
        """A text ended by itself."""

    def failed(self) -> None:
        """A text was ended by a fault or by its deadline."""

    def shed(self) -> None:
        """A request was refused for want of places."""

    def abandoned(self) -> None:
        """A request was cancelled by its client."""


class Refused(Exception):
    """No place: ``reason`` is ``"overloaded"``, ``"too_many"`` (never possible) or ``"shutting_down"``."""

    def __init__(self, reason: str, retry_after: int = 1) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class Ticket:
    """One request in the engine: its places, its texts, its end.

    Events arrive at ``listener`` in the engine's thread, one text's in order; the last of a text is ``Ended``
    or ``Failed``. After ``cancel`` none is promised.
    """

    def __init__(self, engine: Engine, texts: int) -> None:
        self._engine = engine
        self.texts = texts
        self.listener: Listener = lambda event: None
        self.admitted = time.monotonic()
        self.deadline = math.inf
        self.cancelled = False
        self.cut: Failed | None = None

    def release(self) -> None:
        """Give the places back without having submitted anything."""
        self._engine._give_back(self, self.texts)

    def cancel(self, *, abandoned: bool = True) -> None:
        """Stop all work for this request; its slots are free before the second step from now.

        ``abandoned``: because its client went away, which is counted.
        """
        self._engine._cancel(self, abandoned)


class Engine:
    """Writes texts with one model; thread-safe."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        slots: int = 8,
        queue: int = 64,
        longest: int = 4096,
        counts: Counts | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context = model.context_length or longest
        """The most tokens of prompt and answer together."""
        self.capacity = slots + queue
        self.counts = counts or Counts()
        self.steps = 0
        self._slots = slots
        self._taken = 0
        self._waiting: deque[Writer] = deque()
        self._batch = Batch(model)
        self._lock = threading.Condition()
        self._draining = self._stopping = False
        self._seconds = 1.0
        self._tick = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="zhixing-engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def running(self) -> int:
        """Texts being written."""
        return len(self._batch.active)

    @property
    def waiting(self) -> int:
        """Texts that have a place but no slot yet."""
        return len(self._waiting)

    @property
    def taken(self) -> int:
        """Places in use: texts being prepared, waiting or written."""
        return self._taken

    def ready(self, patience: float = 5.0) -> bool:
        """Return whether new work would be taken: alive, not draining, not full, the last step recent."""
        recent = time.monotonic() - self._tick < patience
        return self._thread.is_alive() and recent and not self._draining and self._taken < self.capacity

    def reserve(self, texts: int) -> Ticket:
        """Take places for one request of so many texts; costs nothing, so it comes before any other work.

        Raises:
            Refused: there are none.
        """
        with self._lock:
            if self._draining:
                raise Refused("shutting_down")
            if texts > self.capacity:
                raise Refused("too_many")
            if self._taken + texts > self.capacity:
                self.counts.shed()
                raise Refused("overloaded", self._retry_after())
            self._taken += texts
        return Ticket(self, texts)

    def submit(self, ticket: Ticket, orders: Sequence[Order], listener: Listener, seconds: float) -> None:
        """Queue the texts of a request; there must be as many as were reserved.

        Args:
            ticket: from ``reserve``.
            orders: one per text; event ``index`` is the position here. Neighbours with the very same ``ids``
                object share the reading of the prompt.
            listener: called in the engine's thread for every event; must not block.
            seconds: after this time the texts that still run fail with code ``"timeout"``.
        """
        if len(orders) != ticket.texts:
            raise ValueError(f"{len(orders)} texts for {ticket.texts} places")
        ticket.listener = listener
        ticket.deadline = ticket.admitted + seconds
        writers = [Writer(i, order, self.model, self.tokenizer, ticket) for i, order in enumerate(orders)]
        with self._lock:
            self._waiting.extend(writers)
            self._lock.notify()

    def drain(self) -> None:
        """Take no new work; what has a place is finished."""
        with self._lock:
            self._draining = True

    def cut(self) -> None:
        """End everything now; every text that has not ended fails with code ``"shutting_down"``."""
        message = tr("the server is shutting down", "服务器正在关闭")
        with self._lock:
            self._draining = True
            for writer in [*self._waiting, *self._active()]:
                writer.ticket.cut = Failed(writer.index, "shutting_down", message)
            self._lock.notify()

    def stop(self, patience: float = 10.0) -> None:
        """Cut, and wait for the thread to end."""
        self.cut()
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread.is_alive():
            self._thread.join(patience)

    # What follows runs in the engine's thread.

    def _active(self) -> list[Writer]:
        return cast(list[Writer], list(self._batch.active))

    def _work(self) -> None:
        while self._has_work():
            try:
                self._step()
            except Exception as error:
                # Nothing below should get here; if it does, the running texts end and the engine goes on.
                _log_fault("a step of the engine", error)
                self._fail(self._active())
                self._batch = Batch(self.model)

    def _has_work(self) -> bool:
        """Wait for work; False: the engine is to end."""
        with self._lock:
            while not (self._waiting or self._batch.active):
                if self._stopping:
                    return False
                self._tick = time.monotonic()
                self._lock.wait(1.0)
        return True

    def _step(self) -> None:
        """Drop who left, ask the model once for all who run, admit who waits."""
        self._tick = time.monotonic()
        self._drop()
        try:
            emissions = self._batch.step()
        except Exception as error:
            _log_fault("a step of the model", error)
            self._rebuild()
        else:
            self._deliver(emissions)
        while group := self._next_group():
            self._admit(group)
        self.steps += 1

    def _drop(self) -> None:
        """Forget the texts of clients that left; fail those whose time is up or that the server cuts."""
        now = time.monotonic()
        with self._lock:
            everyone = [*self._waiting, *self._active()]
        for writer in everyone:
            ticket = writer.ticket
            if ticket.cancelled:
                self._leave(writer)
            elif ticket.cut is not None:
                self._end(writer, Failed(writer.index, ticket.cut.code, ticket.cut.message))
            elif now > ticket.deadline:
                message = tr("the request took too long and was stopped", "请求耗时过长，已停止")
                self._end(writer, Failed(writer.index, "timeout", message))

    def _next_group(self) -> list[Writer]:
        """Take from the queue what fits in the free slots and shares one prompt, so that it is read once."""
        group: list[Writer] = []
        with self._lock:
            while self._waiting and self.running + len(group) < self._slots:
                if group and self._waiting[0].order.ids is not group[0].order.ids:
                    break
                group.append(self._waiting.popleft())
        return group

    def _admit(self, group: list[Writer]) -> None:
        """Read the prompt of some texts and deliver their first tokens."""
        self.counts.read(len(group[0].order.ids))
        for writer in group:
            if writer.finished:
                self._end(writer, Ended(writer.index, "length", 0))
        try:
            self._deliver(self._batch.add(group))
        except Exception as error:
            _log_fault("reading a prompt", error)
            self._fail(group)

    def _rebuild(self) -> None:
        """The model failed on the batch: each text is read again alone, so the one at fault ends alone."""
        survivors = self._active()
        self._batch = Batch(self.model)
        for writer in survivors:
            writer.restart()
            try:
                self._deliver(self._batch.add([writer]))
            except Exception as error:
                _log_fault("reading a text again", error)
                self._fail([writer])

    def _deliver(self, emissions: Sequence[Emission]) -> None:
        """Pass on what each text gained in this step."""
        for sequence, shown in emissions:
            writer = cast(Writer, sequence)
            if isinstance(shown, ZhixingError):
                _log_fault("choosing a token", shown.__cause__ or shown)
                self._fail([writer])
                continue
            token = writer.take_token()
            self.counts.wrote(int(not token.of_prompt))
            if len(writer.ids) == 1:
                self.counts.first_token(time.monotonic() - writer.ticket.admitted)
            self._tell(writer, Piece(writer.index, shown, token))
            if writer.finished:
                self._end(writer, Ended(writer.index, str(writer.finish_reason), len(writer.ids)))

    def _tell(self, writer: Writer, event: Event) -> None:
        try:
            writer.ticket.listener(event)
        except Exception as error:
            _log_fault("a listener", error)
            self._leave(writer)

    def _fail(self, writers: Sequence[Writer]) -> None:
        message = tr("the model failed on this request", "模型处理该请求时出错")
        for writer in writers:
            self._end(writer, Failed(writer.index, "model_error", message))

    def _end(self, writer: Writer, event: Ended | Failed) -> None:
        """Free the slot and the place of a text, count its end, and only then tell it, once.

        In this order, so that whoever hears of the end finds the counts and the free places in agreement.
        """
        if writer.over:
            return
        self._leave(writer)
        seconds = time.monotonic() - writer.ticket.admitted
        if isinstance(event, Ended):
            self._seconds += 0.2 * (seconds - self._seconds)
            self.counts.finished(event.reason, seconds)
        else:
            self.counts.failed()
        self._tell(writer, event)

    def _leave(self, writer: Writer) -> None:
        """Free the slot or the place in the queue."""
        if writer.over:
            return
        writer.over = True
        if writer in self._batch.active:
            self._batch.remove(writer)
        with self._lock:
            if writer in self._waiting:
                self._waiting.remove(writer)
        self._give_back(writer.ticket, 1)

    def _give_back(self, ticket: Ticket, places: int) -> None:
        with self._lock:
            places = min(places, ticket.texts)
            ticket.texts -= places
            self._taken -= places

    def _cancel(self, ticket: Ticket, abandoned: bool) -> None:
        with self._lock:
            if ticket.cancelled or ticket.texts == 0:
                return
            ticket.cancelled = True
            if abandoned:
                self.counts.abandoned()
            self._lock.notify()

    def _retry_after(self) -> int:
        """Seconds until a place is likely to be free: what is ahead, at the recent pace."""
        return min(30, max(1, math.ceil(self._seconds * self.waiting / self._slots)))


def _log_fault(where: str, error: BaseException) -> None:
    """Name the kind of a fault, not its text: that may quote a prompt."""
    log.error(tr(f"{where} failed: {type(error).__name__}", f"{where} 失败：{type(error).__name__}"))
