"""What this worker is: an index, its modules, and its two documents, for people and as JSON."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State

from contracts.api_key import ANY
from runtime.descriptor import ModuleDescriptor, describe
from runtime.http import pages
from runtime.http.site import Site

_PAGE = {"Content-Security-Policy": pages.CONTENT_SECURITY_POLICY}


@get("/", summary="What there is.", tags=["documents"], opt={"scope": ANY})
async def index(request: Request) -> Response[Any]:  # type: ignore[type-arg]
    """A page for browsers, JSON for others."""
    if "text/html" in request.headers.get("accept", ""):
        return _page(pages.index())
    return Response({"links": pages.LINKS})


@get("/modules", summary="The modules of this worker.", tags=["documents"], opt={"scope": ANY})
async def modules(state: State) -> list[ModuleDescriptor]:
    """With their needs, routes, guarantees and arguments."""
    site: Site = state.site
    return [describe(module) for module in site.worker.modules]


@get("/docs", summary="This page.", media_type=MediaType.HTML, tags=["documents"], opt={"scope": ANY})
async def openapi_page(state: State) -> Response[Any]:
    """The HTTP API, to read."""
    site: Site = state.site
    return _page(pages.openapi(await site.documents.openapi()))


@get("/docs/openapi.json", summary="The HTTP API as OpenAPI 3.1.", tags=["documents"], opt={"scope": ANY})
async def openapi_json(state: State) -> dict[str, Any]:
    """With a path for each address that the modules take."""
    site: Site = state.site
    return await site.documents.openapi()


@get(
    "/docs/asyncapi",
    summary="What the modules take from the bus.",
    media_type=MediaType.HTML,
    tags=["documents"],
    opt={"scope": ANY},
)
async def asyncapi_page(state: State) -> Response[Any]:
    """To read."""
    site: Site = state.site
    return _page(pages.asyncapi(await site.documents.asyncapi()))


@get(
    "/docs/asyncapi.json",
    summary="What the modules take from the bus, as AsyncAPI 3.",
    tags=["documents"],
    opt={"scope": ANY},
)
async def asyncapi_json(state: State) -> dict[str, Any]:
    """As `faststream docs gen runtime.app:app` makes it."""
    site: Site = state.site
    return await site.documents.asyncapi()


def _page(text: str) -> Response[Any]:
    return Response(text, media_type=MediaType.HTML, headers=_PAGE)


HANDLERS = [index, modules, openapi_page, openapi_json, asyncapi_page, asyncapi_json]
