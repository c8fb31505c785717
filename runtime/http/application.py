"""The Litestar application of one worker. Imported when the server starts, and not before: it is half a second."""

from __future__ import annotations

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware

from contracts.errors import MillraceError
from runtime.http import commands, describing, files, gate, health, jobs, letters, mounted, problems, scopes
from runtime.http.admission import Rules
from runtime.http.body import BODY_BYTES
from runtime.http.cors import Cors
from runtime.http.keyring import Keyring
from runtime.http.site import Site
from runtime.http.tracing import TracedRequests

HANDLERS = [
    *describing.HANDLERS,
    *health.HANDLERS,
    *commands.HANDLERS,
    *jobs.HANDLERS,
    *letters.HANDLERS,
    *files.HANDLERS,
]


def application(site: Site, rules: Rules, keyring: Keyring) -> gate.Gate:
    """Ready to be served; makes no connection."""
    traces = site.worker.adapters.traces
    litestar = Litestar(
        [*HANDLERS, *mounted.handlers_of(site.worker)],
        guards=[scopes.guard],
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
    longer = mounted.longer_of(site.worker)
    shared = Cors(origins=frozenset(site.worker.settings.http_cors_origins), paths=mounted.paths_of(site.worker))
    return gate.Gate(
        litestar,  # type: ignore[arg-type]
        rules,
        site.worker.clock,
        site.log,
        keyring=keyring,
        longer=longer,
        cors=shared,
    )
