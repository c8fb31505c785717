"""Health and metrics: what orchestrators and Prometheus ask, of anyone and without a token."""

from __future__ import annotations

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State

from runtime.http.scopes import PUBLIC
from runtime.http.site import Site
from runtime.policy.drain import Phase
from runtime.readiness import Report

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


@get("/health/live", summary="Does the event loop answer?", tags=["health"], opt={"scope": PUBLIC})
async def live() -> dict[str, str]:
    """Answers as long as the process is not stuck; it says nothing of what the process depends on."""
    return {"status": "ok"}


@get("/health/startup", summary="Has the process begun to take work?", tags=["health"], opt={"scope": PUBLIC})
async def startup(state: State) -> Response[dict[str, str]]:
    """503 until everything is open, migrated and mounted; 200 ever after."""
    site: Site = state.site
    begun = site.phase > Phase.STARTING
    body = {"status": "ok" if begun else "starting", "phase": site.phase.name.lower()}
    return Response(body, status_code=200 if begun else 503)


@get("/health/ready", summary="Can the process take work?", tags=["health"], opt={"scope": PUBLIC})
async def ready(state: State, request: Request) -> Response[Report]:  # type: ignore[type-arg]
    """Each adapter's check with its latency in milliseconds. 503 when none of the routes can take work, or the process
    does not run: while it drains, no more work should come here. `degraded`: some routes wait for what is down."""
    site: Site = state.site
    report = await site.readiness.report(in_full=request.scope["state"]["sees_all"])
    return Response(report, status_code=200 if report.ok else 503)


@get(
    "/metrics",
    summary="All metrics in the Prometheus text format.",
    media_type=MediaType.TEXT,
    tags=["health"],
    opt={"scope": PUBLIC},
)
async def metrics(state: State) -> Response[bytes]:
    """Empty when the worker keeps none."""
    site: Site = state.site
    return Response(site.worker.metrics.exposition(), media_type=EXPOSITION)


HANDLERS = [live, startup, ready, metrics]
