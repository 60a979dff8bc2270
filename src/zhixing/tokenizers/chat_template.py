"""A conversation to ids: the one renderer that training, evaluation, chat and serving all use.

The template (Jinja, ``chat_template.jinja``, part of the model folder, known by its fingerprint) says where
the markers stand. Its own markers become special ids; what people wrote never does, whatever it looks like.
To that end the strings of the messages are masked before rendering: a character that could begin or
complete a marker is exchanged for one that occurs nowhere in the conversation. The rendered text is cut at
the markers, and the masks are taken off the pieces between them, which are encoded as ordinary text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zhixing.errors import DataError, ModelFolderError, nearest
from zhixing.language import tr
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.specials import CHAT_ROLES, TURN_END

if TYPE_CHECKING:
    from jinja2 import Template

Message = Mapping[str, Any]
"""``{"role": "system" | "user" | "assistant", "content": text}``."""

FILE_NAME = "chat_template.jinja"
SOURCE_LIMIT = 64 << 10
"""Bytes of template."""
OUTPUT_LIMIT = 1 << 20
"""Characters that a template may add to what the messages hold."""

DEFAULT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '" + TURN_END + "' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""``<|endoftext|><|user|>…<|end|><|assistant|>…<|end|>``: every marker is one id, and nothing else is
added."""


class ChatTemplate:
    """A template together with the tokenizer whose markers it writes."""

    def __init__(self, tokenizer: Tokenizer, source: str = DEFAULT_TEMPLATE, where: str = FILE_NAME) -> None:
        """Compile ``source``.

        Raises:
            ModelFolderError: too long, not valid Jinja, or (the default template) the tokenizer has no chat
                markers.
        """
        self._tokenizer = tokenizer
        self._source = source
        self._template = _compile(source, where)
        self._markers = sorted(tokenizer.special_tokens, key=len, reverse=True)
        if source == DEFAULT_TEMPLATE and (missing := _missing_markers(tokenizer)):
            raise ModelFolderError(
                tr(
                    f"{where}: this tokenizer has no {missing[0]}, which the default chat template writes; "
                    "give it a template of its own",
                    f"{where}：该分词器没有默认对话模板所需的 {missing[0]}；请另给模板",
                )
            )

    @property
    def source(self) -> str:
        """The Jinja text."""
        return self._source

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the template and of the ids of the tokenizer."""
        both = self._source + "\0" + self._tokenizer.fingerprint
        return hashlib.sha256(both.encode("utf-8")).hexdigest()

    @property
    def turn_end_id(self) -> int:
        """Id after which an answer is complete: ``<|end|>``, or the separator where a tokenizer has no such
        token."""
        found = self._tokenizer.special_id(TURN_END)
        return self._tokenizer.separator_id if found is None else found

    def render_ids(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> list[int]:
        """Return the ids of a conversation; with ``add_generation_prompt`` it ends where the assistant's
        answer begins.

        Raises:
            DataError: a role or content is missing or wrong, or the template refuses the conversation.
        """
        check_messages(messages)
        masks = _Masks(messages, self._markers, self._source)
        rendered = self._render([masks.masked(message) for message in messages], add_generation_prompt)
        ids: list[int] = []
        for piece in self._cuts.split(rendered) if self._markers else [rendered]:
            marker = self._tokenizer.special_id(piece)
            ids += self._tokenizer.encode(masks.removed(piece)) if marker is None else [marker]
        return ids

    def render_with_mask(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Return the ids of a whole conversation and which of them the assistant is to learn (its turns,
        their end included).

        The mask comes from the conversation's structure, not from a marker: it is what a turn adds to the
        prompt that is shown when the assistant is asked for it. So what is trained is what is served.

        Raises:
            DataError: as ``render_ids``; or this template rewrites earlier turns, so that no such prompt
                exists.
        """
        ids = self.render_ids(messages, add_generation_prompt=False)
        learned = [False] * len(ids)
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self.render_ids(messages[:index], add_generation_prompt=True)
            turn = self.render_ids(messages[: index + 1], add_generation_prompt=False)
            if ids[: len(turn)] != turn or turn[: len(prompt)] != prompt:
                raise DataError(
                    tr(
                        f"message {index + 1}: this chat template shows the turn differently in training "
                        "than when it is asked for; use one that only adds turns",
                        f"第 {index + 1} 条消息：该对话模板在训练与提问时内容不同；请用逐轮追加的模板",
                    )
                )
            learned[len(prompt) : len(turn)] = [True] * (len(turn) - len(prompt))
        return ids, learned

    def save(self, folder: Path) -> None:
        """Write ``chat_template.jinja`` into ``folder``."""
        (Path(folder) / FILE_NAME).write_text(self._source, encoding="utf-8", newline="\n")

    @cached_property
    def _cuts(self) -> re.Pattern[str]:
        return re.compile("(" + "|".join(map(re.escape, self._markers)) + ")")

    def _render(self, messages: list[Any], add_generation_prompt: bool) -> str:
        from jinja2.exceptions import TemplateError

        limit = OUTPUT_LIMIT + 2 * sum(map(len, _strings(messages)))
        names = {
            **self._tokenizer.named_tokens,
            "messages": messages,
            "add_generation_prompt": add_generation_prompt,
        }
        parts: list[str] = []
        length = 0
        try:
            for part in self._template.generate(**names):
                parts.append(part)
                length += len(part)
                if length > limit:
                    raise DataError(
                        tr(
                            f"the chat template wrote more than {limit} characters",
                            f"对话模板输出超过 {limit} 个字符",
                        )
                    )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise DataError(
                tr(
                    f"the chat template refuses this conversation: {error}",
                    f"对话模板不接受这段对话：{error}",
                )
            ) from error
        return "".join(parts)


def load_chat_template(folder: str | Path, tokenizer: Tokenizer | None = None) -> ChatTemplate | None:
    """Return the template of a model folder (``chat_template.jinja``, else the entry of
    ``tokenizer_config.json``), or None.

    Raises:
        ModelFolderError: the template or the tokenizer cannot be used; file and reason are named.
    """
    from zhixing.tokenizers.load import load_tokenizer
    from zhixing.tokenizers.validation import read_object, read_text

    path, config = Path(folder) / FILE_NAME, Path(folder) / "tokenizer_config.json"
    source: Any = None
    if path.is_file():
        source = read_text(path)
    elif config.is_file():
        path, source = config, read_object(config).get("chat_template")
    if isinstance(source, list):  # several templates under names
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    if not isinstance(source, str):
        return None
    return ChatTemplate(tokenizer or load_tokenizer(folder), source, str(path))


def check_messages(messages: Sequence[Message]) -> None:
    """Refuse a conversation without messages, a wrong role or content, or a system message that is not the
    first.

    Raises:
        DataError: the message is named by its number, counted from 1.
    """
    if not messages:
        raise DataError(tr("a conversation needs at least one message", "对话至少需要一条消息"))
    for number, message in enumerate(messages, 1):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in CHAT_ROLES:
            hint = nearest(str(role), CHAT_ROLES)
            raise DataError(
                tr(
                    f"message {number}: role is {json.dumps(role)}; {hint}",
                    f"第 {number} 条消息：role 为 {json.dumps(role)}；{hint}",
                )
            )
        if not isinstance(message.get("content"), str):
            raise DataError(tr(f"message {number}: 'content' must be text", f"第 {number} 条消息：'content' 应为文本"))
        if role == "system" and number > 1:
            raise DataError(
                tr(
                    f"message {number}: only the first message may be from 'system'",
                    f"第 {number} 条消息：只有第一条可以来自 'system'",
                )
            )


class _Masks:
    """Exchanges, in what people wrote, the characters that could take part in a marker; and changes them
    back."""

    def __init__(self, messages: Sequence[Message], markers: Sequence[str], source: str) -> None:
        self._markers = markers
        self._free = _unused_characters(source + "".join(_strings(messages)))
        self._mask_of: dict[str, str] = {}
        beginnings = {re.escape(marker[:2]) for marker in markers}
        endings = {re.escape(marker[0]) + "$" for marker in markers}
        self._start = re.compile("(?s)(" + "|".join(sorted(beginnings | endings)) + ")") if markers else None

    def masked(self, value: Any, key: str = "") -> Any:
        """Return ``value`` with every string in it masked, save a role (which is one of three words)."""
        if isinstance(value, str):
            return value if key == "role" else self._mask(value)
        if isinstance(value, Mapping):
            return {name: self.masked(inner, name) for name, inner in value.items()}
        return [self.masked(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    def removed(self, text: str) -> str:
        """Return ``text`` as it was written."""
        return text.translate({ord(mask): character for character, mask in self._mask_of.items()})

    def _mask(self, text: str) -> str:
        if self._start is not None:
            text = self._start.sub(lambda match: self._exchange(match[1][0]) + match[1][1:], text)
        return self._exchange(text[0]) + text[1:] if self._may_complete(text) else text

    def _may_complete(self, text: str) -> bool:
        """Say whether ``text`` could be the end, or an inner part, of a marker that the template's own text
        begins."""
        if not text:
            return False
        ends = any(text.startswith(marker[cut:]) for marker in self._markers for cut in range(1, len(marker)))
        return ends or (len(text) > 1 and any(text in marker for marker in self._markers))

    def _exchange(self, character: str) -> str:
        if character not in self._mask_of:
            self._mask_of[character] = next(self._free)
        return self._mask_of[character]


def _unused_characters(text: str) -> Iterator[str]:
    used = set(text)
    return (character for character in map(chr, range(0xF0000, 0xFFFFE)) if character not in used)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _missing_markers(tokenizer: Tokenizer) -> list[str]:
    needed = [*(f"<|{role}|>" for role in CHAT_ROLES), TURN_END]
    return [marker for marker in needed if tokenizer.special_id(marker) is None]


def _compile(source: str, where: str) -> Template:
    from jinja2.exceptions import TemplateError, TemplateSyntaxError

    from zhixing.tokenizers.sandbox import ChatSandbox

    size = len(source.encode("utf-8", errors="replace"))
    if size > SOURCE_LIMIT:
        raise ModelFolderError(
            tr(
                f"{where}: the template has {size} bytes, more than {SOURCE_LIMIT}",
                f"{where}：模板有 {size} 字节，超过上限 {SOURCE_LIMIT}",
            )
        )
    try:
        return ChatSandbox().from_string(source)
    except (TemplateError, RecursionError) as error:
        place = f"{where}:{error.lineno}" if isinstance(error, TemplateSyntaxError) else where
        raise ModelFolderError(
            tr(f"{place}: not a valid Jinja template: {error}", f"{place}：不是有效的 Jinja 模板：{error}")
        ) from error
