"""Local files by link: whoever has one may read that path until it expires, and needs no token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.response import Stream

from contracts.file_link import PLACE
from contracts.ports import Files
from runtime.http.problems import Problem
from runtime.http.site import Site


@get(PLACE + "{path:path}", summary="Read a file by its link.", tags=["files"])
async def linked(
    state: State,
    request: Request,  # type: ignore[type-arg]
    expires: Annotated[str, QueryParameter(description="Until when, in seconds of 1970.")] = "",
    signature: Annotated[str, QueryParameter(description="Of the path and its end.")] = "",
) -> Response[Any] | Stream:
    """What `link` of the Files port makes of a path, with its end and its signature. 403 when they are not right."""
    site: Site = state.site
    site.must_take_work()
    adapters = site.worker.adapters
    path = request.scope["path"].removeprefix(PLACE)
    if adapters.file_links is None:
        return _refused(404, "links to local files are not in use here; they need --fs local and FS_LOCAL_LINK_KEY")
    if refusal := adapters.file_links.refusal(path, expires=expires, signature=signature):
        return _refused(403, refusal)
    await adapters.open("files")
    return await _served(adapters.files, path)


async def _served(files: Files, path: str) -> Response[Any] | Stream:
    try:
        info = await files.stat(path)
    except (FileNotFoundError, IsADirectoryError):
        return _refused(404, "there is no such file (any more)")
    headers = {
        "Content-Length": str(info.size_bytes),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2])}",
        "ETag": f'"{info.version}"',
    }
    return Stream(_content(files, path), headers=headers, media_type="application/octet-stream")


async def _content(files: Files, path: str) -> AsyncIterator[bytes]:
    async for chunk in files.stream(path):
        yield chunk


def _refused(status: int, error: str) -> Response[Any]:
    return Response(Problem(error=error), status_code=status)


HANDLERS = [linked]
