"""A real n-gram model behind a real server on a loopback port, in a thread that every test stops itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import openai
import pytest

from zhixing.models.ngram import NgramModel
from zhixing.serving.engine import Engine
from zhixing.serving.metrics import Metrics
from zhixing.serving.served import ServedModel
from zhixing.serving.server import Server
from zhixing.serving.settings import ServerSettings
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.chat_template import ChatTemplate

TEXT = "the cat sat on the mat. 知行合一，知是行之始。 the dog ran after the cat. " * 40


class SlowModel:
    """The real model with a pause before each call, and a switch that makes a call fail."""

    def __init__(self, model: NgramModel, seconds: float) -> None:
        self._model = model
        self.seconds = seconds
        self.fail: Callable[[Any], bool] = lambda ids: False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def next_log_probs(self, ids: Any, state: Any, lengths: Any = None) -> Any:
        time.sleep(self.seconds)
        if self.fail(ids):
            raise RuntimeError("secret prompt text")
        return self._model.next_log_probs(ids, state, lengths)


class RecordingTemplate(ChatTemplate):
    """The default template; keeps what it rendered."""

    def __init__(self, tokenizer: ByteTokenizer) -> None:
        super().__init__(tokenizer)
        self.rendered: list[list[int]] = []

    def render_ids(self, messages: Any, add_generation_prompt: bool = True) -> list[int]:
        self.rendered.append(super().render_ids(messages, add_generation_prompt))
        return self.rendered[-1]


@dataclass
class Running:
    server: Server
    engine: Engine
    model: Any
    tokenizer: ByteTokenizer
    metrics: Metrics
    template: RecordingTemplate
    client: openai.OpenAI

    @property
    def url(self) -> str:
        return self.server.url

    def metric(self, name: str) -> float:
        """Sum the samples of one series."""
        lines = self.metrics.render().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"zhixing:{name}{{"))

    def idle(self, seconds: float = 5.0) -> bool:
        return wait_until(lambda: self.engine.taken == 0 and self.engine.running == 0, seconds)


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


@pytest.fixture(scope="session")
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture(scope="session")
def ngram(tokenizer: ByteTokenizer) -> NgramModel:
    ids = np.array([tokenizer.separator_id, *tokenizer.encode(TEXT), tokenizer.separator_id])
    return NgramModel.fit([ids], tokenizer.vocab_size, tokenizer.separator_id, order=5)


@pytest.fixture
def launch(ngram: NgramModel, tokenizer: ByteTokenizer) -> Iterator[Callable[..., Running]]:
    with launcher(ngram, tokenizer) as start:
        yield start


@contextmanager
def launcher(ngram: NgramModel, tokenizer: ByteTokenizer) -> Iterator[Callable[..., Running]]:
    """Start servers; all are stopped at the end, and none may leave work behind."""
    started: list[tuple[Running, threading.Thread]] = []

    def start(model: Any = None, *, key: str | None = None, chat: bool = True, **limits: Any) -> Running:
        settings = ServerSettings(**({"port": 0, "drain_seconds": 0.2} | limits))
        model = model or ngram
        metrics = Metrics(["tiny"])
        engine = Engine(
            model,
            tokenizer,
            slots=settings.slots,
            queue=settings.queue,
            longest=settings.longest,
            counts=metrics.observer("tiny"),
        )
        metrics.watch("tiny", lambda: engine.running, lambda: engine.waiting)
        template = RecordingTemplate(tokenizer)
        served = ServedModel("tiny", engine, tokenizer, chat_template=template if chat else None)
        server = Server([served], metrics, settings, key)
        thread = threading.Thread(target=server.serve_until_stopped)
        thread.start()
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key or "none", max_retries=0, timeout=20)
        running = Running(server, engine, model, tokenizer, metrics, template, client)
        started.append((running, thread))
        assert wait_until(lambda: server.started)
        return running

    try:
        yield start
    finally:
        for running, _ in started:
            running.client.close()
            running.server.drain()
        for _, thread in started:
            thread.join(15)
            assert not thread.is_alive()


@pytest.fixture
def slow(ngram: NgramModel) -> Callable[[float], SlowModel]:
    return lambda seconds: SlowModel(ngram, seconds)
