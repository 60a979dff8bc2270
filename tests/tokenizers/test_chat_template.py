"""One renderer for training and serving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhixing.errors import DataError, ModelFolderError
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.chat_template import DEFAULT_TEMPLATE, SOURCE_LIMIT, ChatTemplate, load_chat_template
from zhixing.tokenizers.specials import SPECIAL_TOKENS

TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "知行?"},
    {"role": "assistant", "content": "Knowing."},
    {"role": "user", "content": "More"},
    {"role": "assistant", "content": "Doing."},
]
CONTENT = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", "\U000f0000"]),
    )
).map("".join)


@pytest.fixture(scope="module")
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture(scope="module")
def template(tokenizer: ByteTokenizer) -> ChatTemplate:
    return ChatTemplate(tokenizer)


def test_every_marker_is_one_id(template: ChatTemplate, tokenizer: ByteTokenizer) -> None:
    separator, system, user, assistant, end = range(256, 261)
    ids = template.render_ids(TALK[:2])
    assert ids == [separator, system, *b"Be brief.", end, user, *"知行?".encode(), end, assistant]
    assert template.turn_end_id == end


def test_training_sees_what_serving_asks(template: ChatTemplate) -> None:
    whole, learned = template.render_with_mask(TALK)
    for turn in (2, 4):
        prompt = template.render_ids(TALK[:turn], add_generation_prompt=True)
        assert whole[: len(prompt)] == prompt
        assert learned[len(prompt)]
        assert not learned[len(prompt) - 1]
    text = bytes(index for index, is_learned in zip(whole, learned, strict=True) if is_learned and index < 256)
    assert text == b"Knowing.Doing."
    assert sum(learned) == len(text) + 2  # each turn's end is learned too


def test_a_template_that_rewrites_the_past_is_refused_for_training(tokenizer: ByteTokenizer) -> None:
    only_last = ChatTemplate(tokenizer, "{{ messages[-1].content }}")
    with pytest.raises(DataError, match=r"message 3: .*differently in training"):
        only_last.render_with_mask(TALK)


@settings(max_examples=100, deadline=None)
@given(contents=st.lists(CONTENT, min_size=1, max_size=4))
def test_content_never_becomes_a_marker(contents: list[str]) -> None:
    tokenizer = ByteTokenizer()
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]
    ids = ChatTemplate(tokenizer).render_ids(messages, add_generation_prompt=False)
    expected = [256]
    for message in messages:
        role = {"user": 258, "assistant": 259}[message["role"]]
        expected += [role, *message["content"].encode("utf-8"), 260]
    assert ids == expected


def test_templates_see_content_as_it_is_where_that_is_harmless(tokenizer: ByteTokenizer) -> None:
    source = (
        "{% if '</think>' in messages[0].content %}{{ messages[0].content.split('</think>')[-1] | trim }}{% endif %}"
    )
    ids = ChatTemplate(tokenizer, source).render_ids([{"role": "user", "content": "x</think> y<z \n"}])
    assert bytes(ids) == b"y<z"


def test_a_familiar_foreign_template(tokenizer: ByteTokenizer) -> None:
    source = (
        "{%- for message in messages %}\n"
        "    {%- if loop.first and message.role != 'system' %}\n"
        "        {{- '<|system|>\\nYou help.<|end|>\\n' }}\n"
        "    {%- endif %}\n"
        "    {{- '<|' + message.role + '|>\\n' }}\n"
        "    {%- if message.role == 'assistant' %}\n"
        "        {% generation %}{{- message.content | trim + '<|end|>\\n' }}{% endgeneration %}\n"
        "    {%- else %}\n"
        "        {{- message.content + '<|end|>\\n' }}\n"
        "    {%- endif %}\n"
        "{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n"
        "    {{- '<|assistant|>\\n' }}\n"
        "{%- endif %}\n"
    )
    ids = ChatTemplate(tokenizer, source).render_ids([{"role": "user", "content": "hi"}])
    assert ids == [257, *b"\nYou help.", 260, *b"\n", 258, *b"\nhi", 260, *b"\n", 259, *b"\n"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ 'a' ~ 1 ~ messages[0].content }}", "a1b-b"),
        ("{{ ', '.join(['x', 'y']) + messages[0].content.replace('b', 'c', 1) }}", "x, yc-b"),
        ("{{ [1, 'z'] | join('/') ~ (messages[0].content | replace('b', '')) }}", "1/z-"),
        ("{{ {'a': '<知>'} | tojson }}{{ 7 % 4 * 2 + 1 }}", '{"a": "<知>"}7'),
        ("{{ 'p\\nq' | indent(2) }}{{ loop is defined }}", "p\n  qFalse"),
    ],
)
def test_what_templates_commonly_do_works(tokenizer: ByteTokenizer, source: str, text: str) -> None:
    ids = ChatTemplate(tokenizer, source).render_ids([{"role": "user", "content": "b-b"}])
    assert bytes(ids).decode("utf-8") == text


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "at least one"),
        ([{"role": "boss", "content": "x"}], 'message 1: role is "boss"'),
        ([{"role": "users", "content": "x"}], "did you mean 'user'"),
        ([{"content": "x"}], "role is null"),
        (["hello"], "role is null"),
        ([{"role": "user"}], "'content' must be text"),
        ([{"role": "user", "content": ["x"]}], "'content' must be text"),
        ([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], "message 2: only the first"),
        ([{"role": "user", "content": "\ud800"}], "surrogate"),
    ],
)
def test_a_wrong_conversation_is_refused(template: ChatTemplate, messages: list[Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        template.render_ids(messages)


def test_the_template_may_refuse(tokenizer: ByteTokenizer) -> None:
    source = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match="roles must alternate"):
        ChatTemplate(tokenizer, source).render_ids(TALK)


def test_saved_and_loaded(template: ChatTemplate, tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    assert load_chat_template(tmp_path) is None
    template.save(tmp_path)
    again = load_chat_template(tmp_path)
    assert again is not None
    assert (again.source, again.fingerprint) == (DEFAULT_TEMPLATE, template.fingerprint)
    assert ChatTemplate(tokenizer, "x").fingerprint != template.fingerprint


@pytest.mark.parametrize("entry", ["x{{ bos_token }}", [{"name": "default", "template": "x{{ bos_token }}"}]])
def test_the_older_places_of_a_template(tokenizer: ByteTokenizer, tmp_path: Path, entry: Any) -> None:
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"chat_template": entry}
    path.write_text(json.dumps(config), encoding="utf-8")
    template = load_chat_template(tmp_path)
    assert template is not None
    assert template.render_ids(TALK) == [ord("x"), 256]


def test_a_bad_template_file_is_named(tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    path = tmp_path / "chat_template.jinja"
    path.write_text("a\n{% for %}", encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"chat_template\.jinja:2: not a valid Jinja template"):
        load_chat_template(tmp_path)
    path.write_text("x" * (SOURCE_LIMIT + 1), encoding="utf-8")
    with pytest.raises(ModelFolderError, match="more than 65536"):
        load_chat_template(tmp_path)
