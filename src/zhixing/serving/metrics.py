"""Counters and clocks in Prometheus' text form, under the names that dashboards of this field expect.

The labels are fixed when the server starts: the model's name and the reason a text ended. Nothing a client
sends can add a series. A "request" here is one text to write: ``n=3`` counts three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from zhixing.serving.engine import Counts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REASONS = ("stop", "length")
_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """All series of one server, in a registry of its own."""

    def __init__(self, models: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self._running = self._gauge("num_requests_running", "texts being written")
        self._waiting = self._gauge("num_requests_waiting", "texts waiting for a slot")
        self._prompt = self._counter("prompt_tokens", "tokens read")
        self._generated = self._counter("generation_tokens", "tokens written")
        self._success = self._counter("request_success", "texts finished", "finished_reason")
        self._failed = self._counter("requests_failed", "texts ended by a fault or the time limit")
        self._shed = self._counter("requests_shed", "HTTP requests refused because the queue was full")
        self._abandoned = self._counter("requests_abandoned", "HTTP requests whose client went away")
        self._first = self._histogram("time_to_first_token_seconds", "from admission to the first token")
        self._whole = self._histogram("e2e_request_latency_seconds", "from admission to the end of the text")
        for name in models:
            self._touch(name)

    def watch(self, model: str, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Read the two gauges of a model from its engine at every scrape."""
        self._running.labels(model).set_function(running)
        self._waiting.labels(model).set_function(waiting)

    def observer(self, model: str) -> Observer:
        """Return what the engine of this model reports to."""
        return Observer(self, model)

    def render(self) -> bytes:
        """Return the exposition text, without the ``_created`` series: they are no measurements."""
        lines = generate_latest(self.registry).decode().splitlines(keepends=True)
        return "".join(line for line in lines if not _is_created(line)).encode()

    def _touch(self, model: str) -> None:
        for reason in REASONS:
            self._success.labels(model, reason)
        for metric in (
            self._prompt,
            self._generated,
            self._failed,
            self._shed,
            self._abandoned,
            self._first,
            self._whole,
        ):
            metric.labels(model)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"zhixing:{name}", meaning, ["model_name"], registry=self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"zhixing:{name}", meaning, ["model_name", *labels], registry=self.registry)

    def _histogram(self, name: str, meaning: str) -> Histogram:
        return Histogram(f"zhixing:{name}", meaning, ["model_name"], registry=self.registry, buckets=_SECONDS)


class Observer(Counts):
    """Passes what one engine counts on to the series of its model."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._metrics = metrics
        self._model = model

    def read(self, tokens: int) -> None:
        """Count prompt tokens."""
        self._metrics._prompt.labels(self._model).inc(tokens)

    def wrote(self, tokens: int) -> None:
        """Count generated tokens."""
        self._metrics._generated.labels(self._model).inc(tokens)

    def first_token(self, seconds: float) -> None:
        """Note the time to the first token."""
        self._metrics._first.labels(self._model).observe(seconds)

    def finished(self, reason: str, seconds: float) -> None:
        """Count a text that ended by itself."""
        self._metrics._success.labels(self._model, reason if reason in REASONS else REASONS[0]).inc()
        self._metrics._whole.labels(self._model).observe(seconds)

    def failed(self) -> None:
        """Count a text that a fault ended."""
        self._metrics._failed.labels(self._model).inc()

    def shed(self) -> None:
        """Count a refused request."""
        self._metrics._shed.labels(self._model).inc()

    def abandoned(self) -> None:
        """Count a request whose client went away."""
        self._metrics._abandoned.labels(self._model).inc()


def _is_created(line: str) -> bool:
    name = line.split(" ", 3)[2] if line.startswith("# ") else line.partition("{")[0].partition(" ")[0]
    return name.endswith("_created")
