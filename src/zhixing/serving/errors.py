"""The one shape of every refusal: OpenAI's error object, with the HTTP status beside it.

A reply never holds a traceback, a path of this machine, or text of a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}


@dataclass
class ApiError(Exception):
    """A refusal on its way to the client.

    Attributes:
        status: HTTP status.
        message: one sentence: what, where (the field), how to mend it.
        param: the field at fault.
        code: the machine-readable name of the fault.
        retry_after: seconds after which a new attempt makes sense (429 and 503).
    """

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return ``{"error": {message, type, param, code}}``."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def reply_headers(self) -> dict[str, str]:
        """Return the headers that belong to the refusal."""
        extra = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.status == 408:
            # The official client repeats a 408 by itself; the same work would only time out again.
            extra["x-should-retry"] = "false"
        return self.headers | extra
