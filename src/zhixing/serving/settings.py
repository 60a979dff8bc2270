"""Every limit of the server in one place; each bounds something a client could make endless."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from zhixing.config import Settings, setting
from zhixing.errors import ConfigError


class ServerSettings(Settings):
    """Where the server listens, and how much it takes on."""

    host: str = setting("127.0.0.1", "address to listen on", "监听地址", min_length=1, max_length=255)
    port: int = setting(8000, "port; 0 picks a free one", "端口；0 表示自动选择", ge=0, le=65535)
    slots: int = setting(8, "sequences written at the same time", "同时生成的序列数", ge=1, le=256)
    queue: int = setting(64, "sequences that may wait; more: 429", "最多排队的序列数", ge=0, le=4096)
    longest: int = setting(
        4096,
        "context granted to a model that has no limit of its own (an n-gram)",
        "给予本身无长度限制的模型（如 n 元模型）的上下文长度",
        unit="tokens",
        ge=2,
        le=1 << 20,
    )
    request_seconds: float = setting(120.0, "longest a request may take", "请求最长时间", unit="s", gt=0)
    read_seconds: float = setting(10.0, "longest a body may take to arrive", "请求体最长到达时间", unit="s", gt=0)
    stall_seconds: float = setting(
        30.0, "longest a client may refuse to take the next chunk", "客户端拒收数据的最长时间", unit="s", gt=0
    )
    ping_seconds: float = setting(15.0, "silence between keep-alive comments", "保活间隔", unit="s", gt=0)
    drain_seconds: float = setting(30.0, "time for running requests at shutdown", "退出前的等待", unit="s", ge=0)
    body_bytes: int = setting(1_000_000, "largest request body", "请求体上限", unit="bytes", ge=1024)
    header_bytes: int = setting(16_384, "largest sum of request headers", "请求头上限", unit="bytes", ge=1024)
    stream_events: int = setting(
        256, "events kept for a slow reader before it is dropped", "为慢速读者缓存的事件数", ge=8, le=65536
    )


def server_settings(**values: Any) -> ServerSettings:
    """Return checked settings.

    Raises:
        ConfigError: a value out of bounds; the option is named.
    """
    try:
        return ServerSettings(**values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        option = "--" + ".".join(map(str, problem["loc"])).replace("_", "-")
        raise ConfigError(f"{option}: {problem['msg']}") from None
