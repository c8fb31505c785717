"""What is to be published, on its way through FastStream's middlewares."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from faststream.response.publish_type import PublishType
from faststream.response.response import PublishCommand, Response

from contracts.message import Envelope


class MemoryPublishCommand(PublishCommand):
    """A publish command with a key, an instant before which it is held back, and the envelope that it came as."""

    def __init__(
        self,
        body: Any,
        *,
        _publish_type: PublishType,
        destination: str = "",
        reply_to: str = "",
        correlation_id: str | None = None,
        headers: dict[str, Any] | None = None,
        key: str | None = None,
        not_before: datetime | None = None,
        timeout_s: float = 30.0,
        envelope: Envelope | None = None,
    ) -> None:
        super().__init__(
            body,
            _publish_type=_publish_type,
            destination=destination,
            reply_to=reply_to,
            correlation_id=correlation_id,
            headers=headers,
        )
        self.key = key
        self.not_before = not_before
        self.timeout_s = timeout_s
        self.envelope = envelope

    @classmethod
    def from_cmd(cls, cmd: PublishCommand) -> MemoryPublishCommand:
        """A command of any broker as ours."""
        if isinstance(cmd, cls):
            return cmd
        return cls(
            cmd.body,
            _publish_type=cmd.publish_type,
            destination=cmd.destination,
            reply_to=cmd.reply_to,
            correlation_id=cmd.correlation_id,
            headers=cmd.headers,
        )


class MemoryResponse(Response):
    """What a native handler returns to publish with a key."""

    def __init__(
        self,
        body: Any,
        *,
        headers: dict[str, Any] | None = None,
        correlation_id: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(body, headers=headers, correlation_id=correlation_id)
        self.key = key

    def get_publish_key(self) -> str | None:
        return self.key

    def as_publish_command(self) -> MemoryPublishCommand:
        return MemoryPublishCommand(
            self.body,
            _publish_type=PublishType.PUBLISH,
            headers=self.headers,
            correlation_id=self.correlation_id,
            key=self.key,
        )
