"""What a module declares of its own HTTP, before anything is started."""

from __future__ import annotations

import pytest

from contracts.errors import Faults
from contracts.http import HttpAnswer, HttpRequest
from contracts.module import Module
from contracts.ports import Db, Emit
from runtime import injection
from runtime.descriptor import describe
from runtime.http.openapi import with_paths
from runtime.wiring import PROVIDED


def made() -> Module:
    return Module("totals", kind="service", summary="Totals.")


async def answer(request: HttpRequest, db: Db) -> HttpAnswer:
    """The total of one name."""
    return HttpAnswer(body=request.rest.encode())


def test_a_path_is_declared_described_and_injected() -> None:
    module = made()
    assert module.http("/api/totals/{name}", scope="read:totals")(answer) is answer
    [route] = module.http_routes
    assert injection.check([module], PROVIDED)["totals", "GET /api/totals/{name}"].per_work == {"db": "db"}
    told = describe(module)
    assert (told.paths, told.needs) == (("/api/totals/{name}",), ("db",))
    item = with_paths({"paths": {"/jobs": {}}}, [route])["paths"]["/api/totals/{name}"]["get"]
    assert (item["summary"], item["x-scope"]) == ("The total of one name.", "read:totals")
    assert set(item["responses"]) == {"200", "default"}


@pytest.mark.parametrize("path", ["api", "/Api", "/a//b", "/a/", "/{a}/b", "/a/{b}/c", "/a b", "/a/{b}{c}", ""])
def test_a_path_that_can_not_be_matched_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        made().http(path, scope="any")


def test_a_path_is_declared_once() -> None:
    module = made()
    module.http("/api/a", scope="any")(answer)
    with pytest.raises(ValueError, match="twice"):
        module.http("/api/a", scope="any")


def test_what_a_handler_can_not_have_is_told_with_all_else() -> None:
    async def wrong(request: str) -> HttpAnswer:
        return HttpAnswer(body=request.encode())

    async def emitting(request: HttpRequest, emit: Emit) -> HttpAnswer:
        return HttpAnswer(body=b"")

    module = made()
    module.http("/api/wrong", scope="any")(wrong)
    module.http("/api/emitting", scope="any")(emitting)
    with pytest.raises(Faults) as caught:
        injection.check([module], PROVIDED)
    assert caught.value.faults == [
        "totals, GET /api/wrong: the first parameter must be annotated HttpRequest",
        "totals, GET /api/emitting: parameter 'emit' asks for Emit, which only handlers of messages have",
    ]
