"""What becomes of a route whose messages were deleted before they were handled."""

from __future__ import annotations

import logging
from typing import Literal

from contracts.errors import Conflict
from contracts.module import Route, StreamRoute

_logger = logging.getLogger("millrace.bus")


def decided(gone: str, route: Route, *, stored: bool) -> Literal["earliest", "latest"]:
    """Where to go on without them; `gone` says which they are, and is logged.

    Raises `Conflict`, with what there is to choose, where the route has not decided. It has where nothing was `stored`
    of the partition yet.
    """
    expired = route.expired if isinstance(route, StreamRoute) else "earliest"
    if expired == "fail" and stored:
        group = route.group if isinstance(route, StreamRoute) else ""
        raise Conflict(
            f"{gone}. Decide: start with `--reset earliest` or `--reset latest` to go on without them, or begin anew, "
            f"state included, with `millrace positions reset {group} {route.address} --to earliest`"
        )
    _logger.error(gone)
    return "latest" if expired == "latest" else "earliest"
