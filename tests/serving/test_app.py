"""The whole surface through the official client, against a real server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import openai
import pytest

from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings

http = httpx2.Client(timeout=30)


@pytest.fixture(scope="module", autouse=True)
def _close_connections():
    yield
    http.close()


@pytest.fixture
def running(launch):
    return launch()


def test_models(running):
    (model,) = running.client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "zhixing")
    assert running.client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError) as failure:
        running.client.models.retrieve("tinny")
    assert failure.value.code == "model_not_found" and "tiny" in failure.value.message


def test_a_completion_is_what_the_model_writes_locally(running, ngram, tokenizer):
    settings = GenerationSettings(max_new_tokens=60, temperature=0.9, top_p=0.95, seed=7, n=3)
    expected = generate(ngram, tokenizer, ["the c"], settings)
    reply = running.client.completions.create(
        model="tiny", prompt="the c", max_tokens=60, temperature=0.9, top_p=0.95, seed=7, n=3
    )
    assert [choice.text for choice in reply.choices] == [text.text for text in expected]
    assert [choice.finish_reason for choice in reply.choices] == [text.finish_reason for text in expected]
    assert reply.usage.prompt_tokens == 1 + len("the c")
    assert reply.usage.completion_tokens == sum(text.completion_tokens for text in expected)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_the_four_forms_of_a_prompt(running, tokenizer):
    def ask(prompt):
        reply = running.client.completions.create(model="tiny", prompt=prompt, max_tokens=12, temperature=0)
        return [choice.text for choice in reply.choices], reply.usage.prompt_tokens

    ids = [tokenizer.separator_id, *tokenizer.encode("the")]
    (one,), tokens = ask("the")
    assert ask(ids) == ([one], tokens)
    (other,), more = ask("知行")
    assert ask(["the", "知行"]) == ([one, other], tokens + more)
    assert ask([ids, [tokenizer.separator_id, *tokenizer.encode("知行")]]) == ([one, other], tokens + more)


@pytest.mark.parametrize("echo", [False, True])
def test_a_stream_is_the_same_text(running, echo):
    wanted = {"model": "tiny", "prompt": ["the c", "知"], "max_tokens": 40, "seed": 3, "n": 2, "echo": echo}
    whole = running.client.completions.create(**wanted)
    texts, reasons, usage = [""] * 4, {}, None
    for chunk in running.client.completions.create(**wanted, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
        usage = chunk.usage or usage
    assert texts == [choice.text for choice in whole.choices]
    assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}
    assert usage == whole.usage


def test_the_order_of_chat_events(running):
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "the cat"}],
        "stream": True,
        "max_tokens": 8,
        "temperature": 0,
        "stream_options": {"include_usage": True},
    }
    reply = http.post(f"{running.url}/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, last, rest = reply.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-2]["choices"][0]["finish_reason"] in ("stop", "length")
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_chat_with_the_client(running):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "the cat"}]
    wanted = {"model": "tiny", "messages": messages, "max_completion_tokens": 30, "seed": 5, "n": 2}
    whole = running.client.chat.completions.create(**wanted)
    assert [choice.message.role for choice in whole.choices] == ["assistant"] * 2
    assert whole.usage.prompt_tokens == len(running.template.rendered[-1])
    texts = ["", ""]
    for chunk in running.client.chat.completions.create(**wanted, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


def test_chat_content_in_parts_and_log_probabilities(running, tokenizer):
    parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "cat"}]
    reply = running.client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": parts}],
        max_tokens=5,
        temperature=0,
        logprobs=True,
        top_logprobs=3,
    )
    assert bytes(running.template.rendered[-1][2:-2]) == b"the cat"
    content = reply.choices[0].logprobs.content
    assert len(content) == reply.usage.completion_tokens
    for token in content:
        assert token.top_logprobs[0].token == token.token, "greedy takes the best"
        assert token.top_logprobs[0].logprob == token.logprob <= 0
    assert b"".join(bytes(t.bytes or []) for t in content).decode() == reply.choices[0].message.content


def test_chat_without_a_template_says_what_to_do(launch):
    running = launch(chat=False)
    with pytest.raises(openai.BadRequestError, match="/v1/completions") as failure:
        running.client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x"}])
    assert failure.value.code == "chat_not_supported"


def test_echo_scores_the_prompt_as_the_model_does(running, ngram, tokenizer):
    text = "the cat 知"
    reply = running.client.completions.create(model="tiny", prompt=text, max_tokens=0, echo=True, logprobs=2)
    ids = np.array([[tokenizer.separator_id, *tokenizer.encode(text)]])
    logprobs = reply.choices[0].logprobs
    np.testing.assert_allclose(logprobs.token_logprobs, ngram.score(ids)[0], rtol=1e-5)
    assert reply.choices[0].text == text and reply.usage.completion_tokens == 0
    assert logprobs.tokens[:3] == ["t", "h", "e"] and logprobs.tokens[-1] == "bytes:\\xa5"
    assert logprobs.text_offset == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    assert all(len(top) == 2 for top in logprobs.top_logprobs)


def test_an_echoed_list_of_ids_has_one_entry_per_id_and_token(running, tokenizer):
    ids = tokenizer.encode("the cat")
    reply = running.client.completions.create(
        model="tiny", prompt=ids, max_tokens=1, echo=True, logprobs=1, temperature=0
    )
    logprobs = reply.choices[0].logprobs
    assert len(logprobs.tokens) == len(ids) + 1
    assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None
    assert reply.choices[0].text.startswith("the cat")


def test_stop_strings_end_the_text_unseen(running):
    wanted = {"model": "tiny", "prompt": "the c", "max_tokens": 60, "temperature": 0, "stop": ["on the"]}
    reply = running.client.completions.create(**wanted)
    assert reply.choices[0].finish_reason == "stop" and reply.choices[0].text == "at sat "
    streamed = "".join(c.choices[0].text for c in running.client.completions.create(**wanted, stream=True))
    assert streamed == "at sat "


def test_logit_bias_and_penalties_are_honoured(running, tokenizer):
    (q,) = tokenizer.encode("q")
    reply = running.client.completions.create(
        model="tiny", prompt="the", max_tokens=5, temperature=0, logit_bias={str(q): 100}
    )
    assert reply.choices[0].text == "qqqqq"
    plain, penalised = (
        running.client.completions.create(
            model="tiny", prompt="the", max_tokens=60, temperature=0, frequency_penalty=penalty
        )
        for penalty in (0, 2)
    )
    assert plain.choices[0].text != penalised.choices[0].text


def test_the_seed_of_a_reply_repeats_it(running):
    wanted = {"model": "tiny", "prompt": "the", "max_tokens": 30}
    raw = running.client.completions.with_raw_response.create(**wanted)
    again = running.client.completions.create(**wanted, seed=int(raw.headers["x-zhixing-seed"]))
    assert again.choices[0].text == raw.parse().choices[0].text


def test_unknown_fields_are_named_never_dropped_in_silence(running):
    body = {"prompt": "the", "max_tokens": 1, "user": "me", "colour": 1, "bad\nname": 2, "temperature": None}
    reply = http.post(f"{running.url}/v1/completions", json=body)
    assert reply.status_code == 200
    assert reply.headers["x-zhixing-ignored-fields"] == "(unprintable), colour, user"


def test_too_long_a_prompt_is_refused_with_the_counts(launch):
    running = launch(longest=50)
    for wanted, param in (
        ({"prompt": "x" * 60}, "prompt"),
        ({"prompt": "x" * 20, "max_tokens": 40}, "max_tokens"),
    ):
        with pytest.raises(openai.BadRequestError) as failure:
            running.client.completions.create(model="tiny", **wanted)
        error = failure.value
        assert (error.code, error.param) == ("context_length_exceeded", param)
        assert str(1 + len(wanted["prompt"])) in error.message and "50" in error.message
    whole = running.client.completions.create(model="tiny", prompt="x" * 20, max_tokens=29)
    assert whole.usage.total_tokens <= 50
    unset = running.client.completions.create(model="tiny", prompt="x" * 20, logit_bias={"120": 100})
    assert unset.usage.total_tokens == 50 and unset.choices[0].finish_reason == "length"


def test_metrics_agree_with_the_client(running):
    replies = [
        running.client.completions.create(model="tiny", prompt="the", max_tokens=9, seed=seed) for seed in range(5)
    ]
    assert running.metric("generation_tokens_total") == sum(r.usage.completion_tokens for r in replies)
    assert running.metric("prompt_tokens_total") == sum(r.usage.prompt_tokens for r in replies)
    assert running.metric("request_success_total") == 5
    assert running.metric("num_requests_running") == running.metric("num_requests_waiting") == 0
    text = http.get(f"{running.url}/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in ("time_to_first_token_seconds_count", "e2e_request_latency_seconds_count"):
        assert f'zhixing:{name}{{model_name="tiny"}} 5.0' in text.text


def test_health_and_version(running):
    assert http.get(f"{running.url}/health/live").json() == {"status": "ok"}
    assert http.get(f"{running.url}/health/ready").status_code == 200
    assert http.get(f"{running.url}/version").json()["version"].count(".") == 2


def test_every_refusal_has_the_one_shape(running):
    post = f"{running.url}/v1/completions"
    replies = {
        404: http.get(f"{running.url}/v2/models"),
        405: http.get(post),
        400: http.post(post, content=b"{", headers={"content-type": "application/json"}),
        413: http.post(post, json={"prompt": "x" * 1_000_001}),
        415: http.post(post, content=b"{}", headers={"content-type": "text/plain"}),
    }
    for status, reply in replies.items():
        assert reply.status_code == status
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert reply.json()["error"]["message"]
        assert "access-control-allow-origin" not in reply.headers


def test_a_streamed_body_without_length_is_cut_at_the_limit(running):
    def endless():
        for _ in range(200):
            yield b" " * 10_000

    reply = http.post(f"{running.url}/v1/completions", content=endless(), headers={"content-type": "application/json"})
    assert reply.status_code == 413


def test_the_openapi_document_describes_the_bodies(running):
    document = http.get(f"{running.url}/openapi.json").json()
    body = document["paths"]["/v1/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["n"]["maximum"] == 16
    assert "$ref" not in json.dumps(body)


@pytest.fixture(scope="module")
def llama(tokenizer):
    import torch

    from zhixing.models.decoders import build_decoder
    from zhixing.models.llama import LlamaSettings
    from zhixing.models.neural import NeuralLanguageModel

    torch.manual_seed(0)
    settings = LlamaSettings(
        vocab_size=tokenizer.vocab_size, width=32, layers=2, heads=4, key_value_heads=2, context_length=64
    )
    return NeuralLanguageModel(build_decoder(settings).eval())


def test_a_transformer_writes_the_same_in_company_as_alone(launch, llama, tokenizer):
    running = launch(llama, slots=4, queue=20)
    prompts = ["the", "知行", "a much longer prompt", "x", "on the mat", "q"]
    settings = GenerationSettings(max_new_tokens=30, seed=1)
    alone = {prompt: generate(llama, tokenizer, [prompt], settings)[0] for prompt in prompts}

    def ask(prompt):
        return running.client.completions.create(model="tiny", prompt=prompt, max_tokens=30, seed=1)

    with ThreadPoolExecutor(6) as pool:
        replies = dict(zip(prompts, pool.map(ask, prompts), strict=True))
    for prompt, reply in replies.items():
        assert reply.choices[0].text == alone[prompt].text
        assert reply.usage.completion_tokens == alone[prompt].completion_tokens
    with pytest.raises(openai.BadRequestError, match="64"):
        ask("x" * 64)
