"""A running worker, asked over HTTP."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from contracts.errors import BadInput, Conflict, MillraceError, NotFound, Unavailable
from contracts.job import JobRow, JobState
from contracts.ports import Secret
from contracts.ports.ledger import JobFilter

TIMEOUT_S = 15.0
PAGE = 200
_JSON = "application/json"
T = TypeVar("T")


class Remote:
    """One worker. What it answers is raised as the error that it stands for; `Unavailable`: it does not answer."""

    def __init__(self, url: str, token: Secret | None = None) -> None:
        self.url = url
        self._token = token

    async def is_millrace(self) -> bool:
        """Whether a worker answers at this address."""
        try:
            _, body = await asyncio.to_thread(self._asked, "GET", "/health/startup", b"", {})
        except Unavailable:
            return False
        return b'"phase"' in body

    async def post(
        self,
        address: str,
        body: bytes,
        *,
        message_id: str,
        correlation_id: str,
        options: Mapping[str, Any],
        carried: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Post a message, which `carried` says the trace of; returns once it is safe to forget that one asked."""
        headers = {**(carried or {}), "Idempotency-Key": message_id, "X-Correlation-Id": correlation_id}
        return await self._ask("POST", f"/commands/{quote(address)}", query=options, body=body, headers=headers)

    async def get(self, job_id: str) -> JobRow | None:
        try:
            answer = await self._ask("GET", f"/jobs/{quote(job_id, safe='')}")
        except NotFound:
            return None
        if answer.get("state") == "accepted":  # by this worker, and not in the ledger yet
            return None
        return msgspec.convert(answer, JobRow)

    async def list(self, wanted: JobFilter) -> list[JobRow]:
        """The lines of a list lack what `get` has: command, result, checkpoint, traceback."""
        rows: list[JobRow] = []
        cursor = None
        while len(rows) < wanted.limit:
            query: list[tuple[str, Any]] = [("state", state.value) for state in wanted.states]
            query.append(("limit", min(PAGE, wanted.limit - len(rows))))
            options = {"address": wanted.address, "correlation_id": wanted.correlation_id, "cursor": cursor}
            query += [(name, value) for name, value in options.items() if value is not None]
            page = await self._ask("GET", "/jobs", query=query)
            rows += [msgspec.convert({"claims": 0, **line}, JobRow) for line in page["jobs"]]
            if (cursor := page["next"]) is None:
                break
        return rows

    async def cancel(self, job_id: str) -> JobState:
        answer = await self._ask("POST", f"/jobs/{quote(job_id, safe='')}/cancel")
        return JobState(answer["state"])

    async def retry(self, job_id: str) -> None:
        await self._ask("POST", f"/jobs/{quote(job_id, safe='')}/retry")

    async def ask(
        self,
        method: str,
        path: str,
        type_: type[T],
        *,
        query: Mapping[str, Any] | Sequence[tuple[str, Any]] = (),
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """The answer as `type_`."""
        target = f"{path}?{urlencode(query)}" if query else path
        status, answered = await asyncio.to_thread(self._asked, method, target, body, headers or {})
        try:
            if status >= 300:
                raise self._error(status, msgspec.json.decode(answered, type=dict[str, Any]))
            return msgspec.json.decode(answered, type=type_)
        except msgspec.MsgspecError:
            raise Unavailable(self.url, f"its answer ({status}) is not of a Millrace worker") from None

    async def _ask(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        return await self.ask(method, path, dict[str, Any], **given)

    def _asked(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """In a thread: the standard library's client is enough for a command line, and costs no import at start."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        sent = {"Accept": _JSON, "Content-Type": _JSON, **headers}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token.reveal()}"
        try:
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(self.url, str(error) or repr(error)) from None
        finally:
            connection.close()

    def _error(self, status: int, answer: Mapping[str, Any]) -> MillraceError:
        said = str(answer.get("detail", f"it answers {status}"))
        match status:
            case 404:
                return NotFound(said)
            case 409:
                return Conflict(said)
            case 400 | 422:
                return BadInput(answer.get("faults") or said)
            case 401 | 403:
                return MillraceError(f"{self.url} refuses: {said}")
        return Unavailable(self.url, said)
