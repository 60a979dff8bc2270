"""A conversation: turns in, a streamed reply out, and nothing forgotten without a word.

The template turns messages into ids; what the model itself wrote is kept as the ids that it wrote, because
encoding its text anew may cut it into other tokens than those it remembers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from zhixing.errors import ContextLengthError
from zhixing.generation.generate import Event, stream
from zhixing.generation.sequence import Generation
from zhixing.generation.settings import GenerationSettings
from zhixing.language import tr
from zhixing.models.protocol import LanguageModel
from zhixing.tokenizers.protocol import Tokenizer

logger = logging.getLogger(__name__)

Message = Mapping[str, str]
"""``{"role": "system" | "user" | "assistant", "content": text}``."""


class Template(Protocol):
    """What a conversation needs of a chat template; ``zhixing.tokenizers.chat_template`` has the real one."""

    def render_ids(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> Sequence[int]:
        """Return the ids of the whole conversation, the separator first."""


class PlainTemplate:
    """``User: …`` and ``Assistant: …`` lines, for a model that was never trained to chat."""

    STOP = "\nUser:"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def render_ids(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> list[int]:
        """Return the separator and the ids of the lines, each line encoded on its own."""
        lines = [f"{message['role'].capitalize()}: {message['content']}\n" for message in messages]
        lines += ["Assistant:"] if add_generation_prompt else []
        return [
            self._tokenizer.separator_id,
            *(token for line in lines for token in self._tokenizer.encode(line)),
        ]


class Conversation:
    """The turns so far. A turn that fails or is broken off leaves it as it was."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        template: Template | None = None,
        settings: GenerationSettings | None = None,
        *,
        system: str | None = None,
        drop_oldest: bool = False,
    ) -> None:
        """Begin a conversation.

        Args:
            model: any model.
            tokenizer: its tokenizer.
            template: None for a model that was not trained to chat; a warning says so.
            settings: of every reply; ``stop_ids`` names the template's end of a turn.
            system: what the conversation begins with.
            drop_oldest: when the context is full, forget the oldest turns, and say so, instead of failing.
        """
        settings = settings or GenerationSettings()
        if template is None:
            logger.warning(
                tr(
                    "this model was not trained to chat: it continues the conversation as it would any text",
                    "此模型未经对话训练：它只会像续写任何文本一样续写对话",
                )
            )
            template = PlainTemplate(tokenizer)
            settings = settings.replace(stop=(*settings.stop, PlainTemplate.STOP))
        self._model, self._tokenizer, self._template, self._settings = model, tokenizer, template, settings
        self._drop_oldest = drop_oldest
        self.messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self._ids: tuple[int, ...] = ()

    def say(self, text: str) -> Iterator[Event]:
        """Add the user's turn and yield the reply as it is written.

        Both are kept once the last event is taken.

        Raises:
            ContextLengthError: the conversation exceeds the context (with the counts) and nothing may be
            dropped,
                or the new turn alone exceeds it.
        """
        message = {"role": "user", "content": text}
        prompt = self._fitting_prompt(message)
        for event in stream(self._model, self._tokenizer, prompt, self._settings):
            if event.generation is not None:
                self._keep(prompt, message, event.generation)
            yield event

    def reply(self, text: str) -> Generation:
        """Add the user's turn and return the whole reply."""
        *_, last = self.say(text)
        assert last.generation is not None
        return last.generation

    def _fitting_prompt(self, message: Message) -> tuple[int, ...]:
        prompt, limit = self._prompt(message), self._model.context_length
        if limit is None or len(prompt) <= self._goal(limit):
            return prompt
        if not self._drop_oldest:
            if len(prompt) > limit:
                raise ContextLengthError(len(prompt), limit)
            return prompt
        return self._drop_turns(message, limit)

    def _drop_turns(self, message: Message, limit: int) -> tuple[int, ...]:
        """Forget the oldest turns, never the system message, until the prompt and a reply have room."""
        first = 1 if self.messages and self.messages[0]["role"] == "system" else 0
        messages, dropped = list(self.messages), 0
        prompt = tuple(self._template.render_ids([*messages, message]))
        while len(prompt) > self._goal(limit) and len(messages) > first:
            del messages[first : first + 2]
            dropped += 1
            prompt = tuple(self._template.render_ids([*messages, message]))
        if len(prompt) > limit:
            raise ContextLengthError(len(prompt), limit)
        if dropped:
            self.messages, self._ids = messages, ()
            logger.warning(
                tr(
                    f"context full: the oldest {dropped} turns were forgotten",
                    f"上下文已满：已忘记最早的 {dropped} 轮",
                )
            )
        return prompt

    def _goal(self, limit: int) -> int:
        """Return the longest prompt that leaves a reply room: what it may need, at most a quarter of all."""
        wanted = self._settings.max_new_tokens
        return limit - min(limit if wanted is None else wanted, limit // 4)

    def _prompt(self, message: Message) -> tuple[int, ...]:
        whole = tuple(self._template.render_ids([*self.messages, message]))
        if not self._ids:
            return whole
        before = tuple(self._template.render_ids(self.messages, False))
        # A template may rewrite earlier turns (some drop old reasoning); then the text is the history.
        return self._ids + whole[len(before) :] if whole[: len(before)] == before else whole

    def _keep(self, prompt: tuple[int, ...], message: Message, reply: Generation) -> None:
        before = [*self.messages, message]
        self.messages = [*before, {"role": "assistant", "content": reply.text}]
        closing = self._closing(before)
        # After a stop string the ids hold more than the reply's text, so the text is the history there.
        self._ids = () if closing is None or reply.stop_string else _closed(prompt + reply.ids, closing)

    def _closing(self, messages: Sequence[Message]) -> tuple[int, ...] | None:
        """Return what the template writes after a reply, or None if it cannot be told apart."""
        opened = tuple(self._template.render_ids(messages))
        closed = tuple(self._template.render_ids([*messages, {"role": "assistant", "content": ""}], False))
        return closed[len(opened) :] if closed[: len(opened)] == opened else None


def _closed(ids: tuple[int, ...], closing: tuple[int, ...]) -> tuple[int, ...]:
    """Append the end of the turn, unless the model wrote its first id itself."""
    return ids + (closing[1:] if closing and ids[-1] == closing[0] else closing)
