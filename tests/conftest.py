"""For every test: no way out of this machine, messages in English; and a tiny text with its recipe."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["ZHIXING_LANG"] = "en"

LOOPBACK = ("127.", "::1", "localhost")
_attempts: list[str] = []


def _close_sockets(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse every way to another machine, in C code as well, and remember that it was tried."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a Unix socket's is a path
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name and not name.startswith(LOOPBACK):
        _attempts.append(f"{event} {name}")
        raise OSError(f"tests may not leave this machine: {event} {name}")


sys.addaudithook(_close_sockets)


@pytest.fixture(autouse=True)
def sockets_closed() -> Iterator[list[str]]:
    """Fail a test that tried to reach another machine, also where the failure was swallowed."""
    _attempts.clear()
    yield _attempts
    assert not _attempts


WORDS = "the cat sat on a mat while seven green bottles sang of rivers and stones beneath an old moon 猫 坐 在 垫"


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty small documents, some shorter than a window."""
    folder = tmp_path_factory.mktemp("tiny_text")
    draw = random.Random(0)
    for index in range(30):
        words = [draw.choice(WORDS.split()) for _ in range(draw.choice((3, 12, 30)))]
        (folder / f"{index:02}.txt").write_text(" ".join(words) + f". document {index}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_yaml(tiny_text: Path) -> str:
    """A recipe that trains in a second: packing with isolated documents, shuffling, dropout, Muon."""
    return f"""\
name: tiny
text: {{paths: ['{tiny_text}'], validation_fraction: 0.2}}
tokenizer: {{kind: byte}}
data: {{isolate_documents: yes, shuffle: true}}
model: {{family: llama, context_length: 32, layers: 2, width: 32, heads: 2, inner_width: 64, dropout: 0.1}}
training:
  steps: 24
  batch_windows: 2
  accumulation: 2
  log_every: 1
  threads: 1
  compile: no
  precision: float32
  schedule: {{warmup: 0.1}}
"""
