"""stream_replay: what lies on a topic is published once more, into another topic.

plan ─▶ read ─▶ merge ─▶ emit + checkpoint
which   by time   by time   in one transaction,
positions         over all  a few thousand messages ahead
                  partitions  of the bus at most
"""

from __future__ import annotations

from modules.stream_replay.module import module

__all__ = ["module"]
