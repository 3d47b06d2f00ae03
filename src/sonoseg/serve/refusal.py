"""Errors that the service answers with: a status, and one JSON object with subject, problem and hint."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from sonoseg.errors import InputError, MachineError, visible


class Refused(HTTPException):
    """A request that is not served.

    Args:
        status: the HTTP status code.
        subject: the part of the request that is wrong, such as "image". Never a path of the server.
        problem: what is wrong with it.
        hint: what the client can do about it.
        headers: more headers of the answer, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        subject: str,
        problem: str,
        hint: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, problem, headers)
        self.subject = subject
        self.problem = problem
        self.hint = hint


SEE_AGAIN = "look at it again, then repeat the last step"
"""The hint for a window that shows an older state than the server has."""
FIELDS = frozenset(
    ("add", "box", "frame", "label", "mask", "output", "remove", "spacing")
)
"""What a client sends beside the image."""


def refused_input(error: InputError, subject: str = "image") -> Refused:
    """Status 422 for an input that cannot be used; 503 if the server is to blame, such as its full disk.

    Args:
        error: what the reader raised. Its own subject may be a path of the server, so it is sent only if it is one
            of `FIELDS`.
        subject: what the client calls the input.
    """
    if isinstance(error, MachineError):
        return Refused(503, "server", visible(error.problem), visible(error.hint))
    if error.subject in FIELDS:
        subject = error.subject
    return Refused(422, subject, visible(error.problem), visible(error.hint))


def error_answer(refused: Refused) -> JSONResponse:
    """The answer that says why a request was refused."""
    body = {
        "subject": refused.subject,
        "problem": refused.problem,
        "hint": refused.hint,
    }
    return JSONResponse(body, refused.status_code, refused.headers)


def plain_error(status: int) -> Refused:
    """The refusal for an HTTP error that the framework found, such as an unknown address."""
    problems = {
        404: ("address", "there is nothing at this address", "see /docs"),
        405: ("method", "this address does not take this method", "see /docs"),
        400: (
            "request",
            "the body cannot be read",
            "send multipart/form-data; see /docs",
        ),
    }
    unknown = ("request", f"was refused with status {status}", "see /docs")
    subject, problem, hint = problems.get(status, unknown)
    return Refused(status, subject, problem, hint)
