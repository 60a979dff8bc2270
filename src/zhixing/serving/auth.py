"""Who may speak to the server: the key, the bind address, the Host header.

The decision is taken on ``scope["path"]``, the very string that the router sees, and it is "no" unless the
path is on a short list. Deciding on a URL rebuilt from the Host header is how others were bypassed in 2026.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zhixing.errors import InputError
from zhixing.language import tr
from zhixing.serving.errors import ApiError

Headers = Iterable[tuple[bytes, bytes]]

OPEN_PATHS = frozenset({"/health/live", "/health/ready"})
"""What needs no key: probes of a process manager."""

KEY_VARIABLE = "ZHIXING_API_KEY"
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", re.ASCII)

log = logging.getLogger(__name__)


def read_key(path: str | None) -> str | None:
    """Return the key from the file, else from the environment, else None.

    Raises:
        InputError: the file cannot be read, or the key is empty or not printable ASCII without spaces.
    """
    if path is None:
        if (key := os.environ.get(KEY_VARIABLE)) is None:
            return None
        return _checked(key.strip(), KEY_VARIABLE)
    file = Path(path)
    try:
        key = file.read_text(encoding="utf-8-sig").strip()
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            tr(f"--api-key-file {path}: cannot be read: {error}", f"--api-key-file {path}：无法读取：{error}")
        ) from error
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        log.warning(
            tr(
                f"{path}: other users of this machine can read the key; chmod 600 mends it",
                f"{path}：本机其他用户可读取该密钥；请执行 chmod 600",
            )
        )
    return _checked(key, path)


def _checked(key: str, where: str) -> str:
    if not re.fullmatch(r"[!-~]{1,512}", key):
        raise InputError(
            tr(
                f"{where}: the key must be 1 to 512 printable ASCII characters without spaces, on one line",
                f"{where}：密钥须为一行 1 到 512 个可打印的 ASCII 字符，不含空格",
            )
        )
    return key


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, key: str | None) -> None:
    """Refuse to open a keyless server to other machines.

    Raises:
        InputError: the address is not loopback and there is no key.
    """
    if key is None and not is_loopback(host):
        raise InputError(
            tr(
                f"--host {host}: an address that other machines can reach needs a key; "
                f"give --api-key-file FILE or set {KEY_VARIABLE}",
                f"--host {host}：其他机器可访问的地址必须设置密钥；请用 --api-key-file FILE 或设置 {KEY_VARIABLE}",
            )
        )


class Guard:
    """Decides about one request from its path and headers alone."""

    def __init__(self, host: str, key: str | None) -> None:
        self._digest = None if key is None else hashlib.sha256(key.encode()).digest()
        self._hosts = {"localhost", "127.0.0.1", "[::1]", host.lower()} if is_loopback(host) else None

    def check(self, scope: Any) -> None:
        """Let the request pass, or raise.

        Raises:
            ApiError: 400 for a Host header that does not belong here, 401 without the right key.
        """
        headers = scope["headers"]
        self._check_host(_values(headers, b"host"))
        if self._digest is not None and scope["path"] not in OPEN_PATHS:
            self._check_key(_values(headers, b"authorization"))

    def _check_host(self, values: list[str]) -> None:
        """On loopback, only this machine's names: a web page that rebinds its name to it is refused."""
        match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
        known = match is not None and (self._hosts is None or match["name"].lower() in self._hosts)
        if not known:
            message = tr("the Host header is not one of this server", "Host 请求头不属于本服务")
            raise ApiError(400, message, code="invalid_host")

    def _check_key(self, values: list[str]) -> None:
        kind, _, given = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        # Digests, so that the time taken depends neither on the key's characters nor on its length.
        digest = hashlib.sha256(given.strip().encode("latin-1")).digest()
        right = hmac.compare_digest(digest, self._digest or b"")
        if not (right and kind.lower() == "bearer"):
            raise ApiError(
                401,
                tr(
                    "a valid key is required: Authorization: Bearer KEY",
                    "需要有效的密钥：Authorization: Bearer KEY",
                ),
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]
