"""Errors in the words that the clients of a path expect: ours, OpenAI's under /v1, A1111's under /sdapi."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom.contracts.errors import BadInput

OPENAI, A1111 = "/v1/", "/sdapi/"
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class WrongField(BadInput):
    """A field of a request of another program's form that cannot be taken; ``param`` is its name there."""

    def __init__(self, value: str, rule: str = "", fix: str = "", param: str | None = None) -> None:
        super().__init__(value, rule, fix)
        self.param = param


class NoModel(WrongField):
    """There is no model of that name."""

    code = "model_not_found"


def spoken(path: str, status: int, told: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body of an error, of which ``told`` has a code and a message at least."""
    code, message = told["code"], told["message"]
    if path.startswith(OPENAI):
        status = 400 if status == 422 else status  # what their clients take for a fault of the request
        kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return status, {"error": {"message": message, "type": kind, "param": told.get("param"), "code": code}}
    if path.startswith(A1111):
        return status, {"error": code, "detail": message, "body": "", "errors": message}
    return status, {"error": dict(told)}
