"""metric_aggregator: events are counted, summed and measured in windows of their own time.

held     the windows of a partition, from batch to batch: bounds → where → watermark → windows → close → save
layout   what a window holds: cells, which its measures read
journal  how it is saved: what a batch changed, and now and then everything
"""

from __future__ import annotations

from modules.metric_aggregator.module import module

__all__ = ["module"]
