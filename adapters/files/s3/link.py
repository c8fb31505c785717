"""One client of a bucket: every call has a deadline, its retries a cap, and its errors are ours."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from adapters.files.s3.answers import translated
from adapters.files.s3.bucket import Bucket
from contracts.errors import Faults, Unavailable
from contracts.ports.clock import Clock

CONNECT_TIMEOUT_S = 5.0
BACKOFF_S = 20.0
"""What the client's own pauses between attempts may come to."""
CONNECTIONS = 64


class Link:
    """Made without I/O."""

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        self.bucket = bucket
        self._clock = clock
        self._client: Any = None
        self._ending = AsyncExitStack()
        self._deadline_s = bucket.attempts * bucket.timeout_s + BACKOFF_S

    @property
    def client(self) -> Any:
        if self._client is None:
            raise Unavailable("files", f"{self.bucket.address} is not open")
        return self._client

    async def open(self) -> None:
        """Makes the client; says nothing to the server."""
        # Half a second of imports and of reading what S3 can do: not on the loop.
        made = await asyncio.to_thread(_made, self.bucket, await _keys(self.bucket))
        self._client = await self._ending.enter_async_context(made)
        _send_at_once(self._client)

    async def close(self) -> None:
        """Idempotent."""
        self._client = None
        await self._ending.aclose()

    async def call(self, operation: str, key: str | None = None, *, within_s: float | None = None, **more: Any) -> Any:
        """The answer. Raises `Declined` for what its caller is to judge, else one of our errors."""
        named = more if key is None else {"Key": key, **more}
        act = getattr(self.client, operation)
        try:
            async with self._clock.timeout(within_s or self._deadline_s):
                return await act(Bucket=self.bucket.name, **named)
        except Exception as error:
            if (known := translated(error, operation, self.bucket, key)) is error:
                raise
            raise known from error


def _send_at_once(client: Any) -> None:
    """Without asking first whether the body may come: that is a round trip more, and a wait without a deadline."""
    from botocore.handlers import add_expect_header

    client.meta.events.unregister("before-call.s3", add_expect_header)


async def _keys(bucket: Bucket) -> dict[str, str]:
    """None where the usual chain is asked."""
    if bucket.access_key is None or bucket.secret_key is None:
        return {}
    access_key, secret_key = await bucket.access_key(), await bucket.secret_key()
    return {"aws_access_key_id": access_key.reveal(), "aws_secret_access_key": secret_key.reveal()}


def _made(bucket: Bucket, keys: dict[str, str]) -> Any:
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
    except ImportError as error:
        raise Faults("files", ["files in a bucket need aiobotocore: install millrace with the extra s3"]) from error
    session = get_session()
    loader = session.get_component("data_loader")
    for described in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("s3", described)  # a megabyte of JSON, which the loader keeps
    own = bucket.endpoint is None
    config = AioConfig(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=bucket.timeout_s,
        retries={"mode": "standard", "total_max_attempts": bucket.attempts},
        max_pool_connections=CONNECTIONS,
        signature_version="s3v4",
        s3={"addressing_style": "path" if bucket.path_style else "auto"},
        # AWS checks every body; others may not know the newer checksums and refuse what has them.
        request_checksum_calculation="when_supported" if own else "when_required",
        response_checksum_validation="when_supported" if own else "when_required",
    )
    region = bucket.region or session.get_config_variable("region") or "us-east-1"
    return session.create_client("s3", region_name=region, endpoint_url=bucket.endpoint, config=config, **keys)
