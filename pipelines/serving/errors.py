"""Errors as OpenAI's clients know them: an HTTP status and a JSON object that says what, where and why."""

from __future__ import annotations

from typing import Any

from anygpt.errors import AnyGPTError, CancelledError, OverloadedError, StageError, TimedOutError, UserError
from anygpt.events import MediaFailed
from anygpt.media.sources import one_line

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}


MAX_CHARS = 900  # of a message; what it quotes is shortened where it is quoted


class ServiceError(Exception):
    """A refusal or failure with its HTTP status.

    Args:
        status: one of `TYPES`.
        message: one line.
        param: the field or the stage in question.
        code: a short name that a program can look for.
    """

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = one_line(message.encode("utf-8", "backslashreplace").decode(), MAX_CHARS)
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        return {
            "error": {
                "message": self.message,
                "type": TYPES.get(self.status, "invalid_request_error"),
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """When to come back, where that helps."""
        return {"Retry-After": "1"} if self.status in (429, 503) else {}


def stopping() -> ServiceError:
    """What a client hears whose request meets the service's end."""
    return ServiceError(503, "the service is stopping; try again", code="stopping")


def as_service_error(error: AnyGPTError) -> ServiceError:
    """What the pipeline raised, as a client should hear it; failures name their stage."""
    if isinstance(error, UserError):
        message = str(error)
        if message.startswith(("width_px", "height_px")):
            message = f"size: {message}"
        subject, separator, _ = message.partition(":")
        return ServiceError(400, message, param=subject if separator and subject.isidentifier() else None)
    if isinstance(error, OverloadedError):
        return ServiceError(429, str(error), param=error.stage, code="overloaded")
    if isinstance(error, TimedOutError):
        return ServiceError(504, str(error), param=error.stage, code="timed_out")
    if isinstance(error, StageError):
        return ServiceError(503, str(error), param=error.stage, code="stage_failed")
    if isinstance(error, CancelledError):
        return ServiceError(503, "the service is stopping; try again", code="cancelled")
    return ServiceError(503, str(error), code="failed")


def as_stage_error(lost: MediaFailed) -> AnyGPTError:
    """What was raised where a medium was lost, as one of our errors."""
    return lost.error if isinstance(lost.error, AnyGPTError) else StageError(lost.stage, lost.message)
