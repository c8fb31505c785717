"""What the modules of a worker take, and from where, as AsyncAPI: over HTTP and from `faststream docs gen`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.version import version

if TYPE_CHECKING:
    from faststream.specification import AsyncAPI


def specification(*brokers: Any) -> AsyncAPI:
    """The same document wherever it is asked for; an application adds its brokers by itself."""
    from faststream.specification import AsyncAPI

    return AsyncAPI(
        *brokers,
        title="Millrace",
        version=version(),
        description="What the modules of this worker take, and from where.",
    )
