"""The Litestar application of one worker. Imported when the server starts, and not before: it is half a second."""

from __future__ import annotations

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware

from contracts.errors import MillraceError
from runtime.http import commands, describing, gate, health, jobs, letters, problems
from runtime.http.admission import Rules
from runtime.http.body import BODY_BYTES
from runtime.http.site import Site
from runtime.http.tracing import TracedRequests

HANDLERS = [*describing.HANDLERS, *health.HANDLERS, *commands.HANDLERS, *jobs.HANDLERS, *letters.HANDLERS]


def application(site: Site, rules: Rules) -> gate.Gate:
    """Ready to be served; makes no connection."""
    traces = site.worker.adapters.traces
    litestar = Litestar(
        HANDLERS,
        state=State({"site": site}),
        exception_handlers={
            MillraceError: problems.of_ours,
            HTTPException: problems.of_litestar,
            Exception: problems.unforeseen,
        },
        middleware=[DefineMiddleware(TracedRequests, traces=traces)] if traces else [],
        request_max_body_size=BODY_BYTES,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return gate.Gate(litestar, rules, site.worker.clock, site.log)  # type: ignore[arg-type]
