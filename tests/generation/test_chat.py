"""A conversation keeps its ids, and forgets nothing without a word."""

import logging

import pytest

from zhixing.errors import ContextLengthError
from zhixing.generation.chat import Conversation
from zhixing.generation.settings import GenerationSettings
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.chat_template import ChatTemplate

SETTINGS = GenerationSettings(max_new_tokens=8, seed=2, stop_at_separator=False)


class Listener:
    """Wraps a model and writes down the prompts that it is given."""

    def __init__(self, model):
        self.model, self.prompts = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def next_log_probs(self, ids, state, lengths=None):
        if lengths is not None:
            self.prompts.append(ids[0].tolist())
        return self.model.next_log_probs(ids, state, lengths)


@pytest.fixture(scope="module")
def tokenizer():
    return ByteTokenizer()


@pytest.fixture
def listener(make_recurrent, tokenizer):
    return Listener(make_recurrent(tokenizer.vocab_size, context_length=80))


def test_what_the_model_wrote_is_kept_as_ids(listener, tokenizer):
    end = tokenizer.special_id("<|end|>")
    conversation = Conversation(listener, tokenizer, ChatTemplate(tokenizer), SETTINGS.replace(stop_ids=(end,)))
    first = conversation.reply("hello")
    second = conversation.reply("again")
    kept = [*listener.prompts[0], *first.ids] + [end] * (first.ids[-1] != end)
    assert listener.prompts[1][: len(kept)] == kept
    assert listener.prompts[1][len(kept) :] == [
        tokenizer.special_id("<|user|>"), *tokenizer.encode("again"), end,
        tokenizer.special_id("<|assistant|>"),
    ]  # fmt: skip
    assert [message["content"] for message in conversation.messages] == [
        "hello",
        first.text,
        "again",
        second.text,
    ]


def test_a_full_context_is_an_error_with_the_counts(listener, tokenizer):
    conversation = Conversation(listener, tokenizer, ChatTemplate(tokenizer), SETTINGS, system="be kind")
    with pytest.raises(ContextLengthError) as caught:
        for _ in range(9):
            before = list(conversation.messages)
            conversation.reply("x" * 20)
    assert caught.value.ids > caught.value.limit == 80
    assert conversation.messages == before, "the turn that failed leaves no trace"


def test_the_oldest_turns_go_only_on_request_and_it_is_said(listener, tokenizer, caplog):
    conversation = Conversation(
        listener, tokenizer, ChatTemplate(tokenizer), SETTINGS, system="be kind", drop_oldest=True
    )
    with caplog.at_level(logging.WARNING):
        for turn in range(6):
            conversation.reply(f"{turn}" + "x" * 20)
    assert "forgotten" in caplog.text
    assert conversation.messages[0]["content"] == "be kind"
    assert conversation.messages[1]["role"] == "user"
    assert conversation.messages[-2]["content"].startswith("5")
    with pytest.raises(ContextLengthError):
        conversation.reply("x" * 80)


def test_a_base_model_is_said_to_be_one(listener, tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        conversation = Conversation(listener, tokenizer, settings=SETTINGS)
    assert "not trained to chat" in caplog.text
    assert conversation.reply("the cat").completion_tokens > 0


def test_an_unfinished_stream_leaves_no_trace(listener, tokenizer):
    conversation = Conversation(listener, tokenizer, ChatTemplate(tokenizer), SETTINGS)
    next(conversation.say("hello"))
    assert conversation.messages == []
