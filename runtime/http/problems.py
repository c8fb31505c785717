"""Errors as answers: always a problem, never a traceback."""

from __future__ import annotations

import re
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from contracts.errors import BadInput, Conflict, Faults, MillraceError, NotFound, Transient, Undecodable
from contracts.http import Refused
from runtime.http.problem import PROBLEM, Problem, problem

RETRY_AFTER_S = 5
_SAID_TWICE = re.compile(r" - at `\$\.?\w*`$")


class LateAnswer(MillraceError):
    """Whether a command was recorded is unknown; asking again with its id is safe."""


def of_ours(_request: Request[Any, Any, Any], error: MillraceError) -> Response[Problem]:
    """The status follows from the error's place in the tree."""
    match error:
        case BadInput() | Faults():
            return _response(422, "what was sent is wrong", error.faults)
        case Undecodable():
            return _response(422, "what was sent is wrong", [str(error)])
        case NotFound():
            return _response(404, str(error))
        case Conflict():
            return _response(409, str(error))
        case Refused():
            return _response(error.status, error.detail, error.faults, error.headers)
        case Transient() | LateAnswer():
            return _response(503, str(error), headers={"Retry-After": str(RETRY_AFTER_S)})
    raise error


def of_litestar(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """What Litestar itself refuses: a path, a method, a parameter."""
    if isinstance(error, ValidationException):
        return _response(422, "what was sent is wrong", _parameter_faults(error.extra))
    if error.status_code == 404:
        return _response(404, f"there is nothing at {request.url.path[:200]}; see /")
    if error.status_code == 405:
        return _response(405, f"{request.method} is not offered at {request.url.path[:200]}; see /docs")
    if error.status_code >= 500:
        raise error
    return _response(error.status_code, error.detail)


def unforeseen(_request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Left to the gate, the one place that logs it and answers without showing it."""
    raise error


def _parameter_faults(extra: Any) -> list[str]:
    """A line for each parameter that is wrong."""
    if not isinstance(extra, list):
        return []
    return [f"{one.get('key', '?')}: {_SAID_TWICE.sub('', one.get('message', ''))}" for one in extra]


def _response(
    status: int, detail: str, faults: list[str] | None = None, headers: dict[str, str] | None = None
) -> Response[Problem]:
    return Response(problem(status, detail, faults or []), status_code=status, headers=headers, media_type=PROBLEM)
