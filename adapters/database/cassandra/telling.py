"""What the driver logs: kept to what only it knows, and without tracebacks, as what they are of is raised to us."""

from __future__ import annotations

import logging

SOURCES = ("cluster", "connection", "pool", "policies", "protocol")
_TOLD_OTHERWISE = (
    *("Error preparing query", "Downgrading core protocol"),
    *("Control connection failed", "[control connection] Error connecting", "Failed to authenticate"),
)
_OF_NO_CONCERN = "Server warning: `USE <keyspace>`"
"""The keyspace of a session of ours is set once and never changed."""


class Terse(logging.Filter):
    """Of a node that went or came one line is enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return not record.getMessage().startswith((*_TOLD_OTHERWISE, _OF_NO_CONCERN))


_TERSE = Terse()


def tell_tersely() -> None:
    """Idempotent."""
    for source in SOURCES:
        logging.getLogger(f"cassandra.{source}").addFilter(_TERSE)
