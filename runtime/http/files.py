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
from contracts.http import Refused
from contracts.ports import Files
from runtime.http.scopes import LINK
from runtime.http.site import Site

CONTENT = "application/octet-stream"
"""Never what a file says that it is: a page of somebody's must not run here."""


@get(PLACE + "{path:path}", summary="Read a file by its link.", tags=["files"], opt={"scope": LINK})
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
        raise Refused(404, "links to local files are not in use here; they need --fs local and FS_LOCAL_LINK_KEY")
    if refusal := await adapters.file_links.refusal(path, expires=expires, signature=signature):
        raise Refused(403, refusal)
    await adapters.open("files")
    return await _served(adapters.files, path, head=request.scope["state"]["head"])


async def _served(files: Files, path: str, *, head: bool) -> Response[Any] | Stream:
    try:
        info = await files.stat(path)
    except (FileNotFoundError, IsADirectoryError):
        raise Refused(404, "there is no such file (any more)") from None
    headers = {
        "Content-Length": str(info.size_bytes),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2])}",
        "ETag": f'"{info.version}"',
    }
    if head:
        return Response(b"", headers=headers, media_type=CONTENT)
    return Stream(_content(files, path), headers=headers, media_type=CONTENT)


async def _content(files: Files, path: str) -> AsyncIterator[bytes]:
    async for chunk in files.stream(path):
        yield chunk


HANDLERS = [linked]
