"""Bodies that are almost right."""

from __future__ import annotations

import gc
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhixing.serving.errors import ApiError
from zhixing.serving.parse import ignored_header, parse_request
from zhixing.serving.schema import ChatRequest, CompletionRequest, Sampling

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from([*ChatRequest.model_fields, *CompletionRequest.model_fields, "tools", "other"])


@given(st.dictionaries(fields, values, max_size=6), st.sampled_from([ChatRequest, CompletionRequest]))
@settings(max_examples=150, deadline=None)
def test_any_body_is_a_request_or_a_refusal_with_400(body, kind):
    try:
        request, ignored = parse_request(json.dumps(body).encode(), kind)
    except ApiError as refusal:
        assert refusal.status == 400 and refusal.message
        json.dumps(refusal.body()).encode()
    else:
        assert isinstance(request, Sampling)
        assert not set(ignored) & set(kind.model_fields)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_refused_politely(body):
    with pytest.raises(ApiError) as refusal:
        parse_request(body, CompletionRequest)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 900_000,
        b'{"a":' * 200_000,
        b'"' + b"\\" * 900_000,
        b'{"' + b"a" * 900_000,
        b"1" * 900_000,
        b"\n" * 900_000,
        b'{"a": [' + b"[]," * 300_000,
    ],
)
def test_hostile_bytes_take_little_time(body):
    gc.collect()
    gc.freeze()  # what thousands of tests before have left behind is not the parser's to sift through
    started = time.process_time()
    with pytest.raises(ApiError):
        parse_request(body, CompletionRequest)
    # Building a million small lists takes some tenths of a second; anything not linear would take minutes.
    taken = time.process_time() - started
    gc.unfreeze()
    assert taken < 1.0


def test_a_value_is_never_repeated_in_the_refusal():
    for body in (
        {"prompt": "x", "seed": "secret"},
        {"prompt": {"secret": 1}},
        {"prompt": "x", "stop": ["secret" * 99]},
    ):
        with pytest.raises(ApiError) as refusal:
            parse_request(json.dumps(body).encode(), CompletionRequest)
        assert "secret" not in json.dumps(refusal.value.body())


def test_requests_for_nothing_are_taken():
    body = {
        "messages": [{"role": "user", "content": "x"}],
        "tools": [],
        "tool_choice": "none",
        "response_format": None,
    }
    request, ignored = parse_request(json.dumps(body).encode(), ChatRequest)
    assert (request.messages[0].content, ignored) == ("x", [])
    request, _ = parse_request(b'{"prompt": "x", "n": 3, "best_of": 3, "suffix": ""}', CompletionRequest)
    assert request.n == 3


def test_best_of_and_the_two_token_limits_must_agree():
    with pytest.raises(ApiError, match="best_of"):
        parse_request(b'{"prompt": "x", "n": 1, "best_of": 2}', CompletionRequest)
    chat = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "max_completion_tokens": 2}
    with pytest.raises(ApiError, match="max_completion_tokens"):
        parse_request(json.dumps(chat).encode(), ChatRequest)


def test_the_header_of_ignored_fields_is_bounded():
    header = ignored_header([f"field{index}" for index in range(1000)])["x-zhixing-ignored-fields"]
    assert header.endswith("and-968-more") and len(header) < 1000
    assert ignored_header([]) == {}
