"""FastStream's access log for the memory broker."""

from __future__ import annotations

import logging
from typing import Any

from faststream._internal.logger import DefaultLoggerStorage
from faststream._internal.logger.logging import get_broker_logger


class MemoryLoggerStorage(DefaultLoggerStorage):
    """Used when the application brings no logger of its own."""

    __slots__ = ()

    def register_subscriber(self, params: dict[str, Any]) -> None:
        """Columns are not aligned, so there is nothing to remember."""

    def get_logger(self, *, context: Any) -> logging.Logger:
        if known := self._get_logger_ref():
            return known
        logger = get_broker_logger(
            name="memory",
            default_context={"topic": "", "group": ""},
            message_id_ln=10,
            fmt="%(asctime)s %(levelname)-8s - %(topic)s | %(message_id)-10s - %(message)s",
            context=context,
            log_level=self.logger_log_level,
        )
        self._logger_ref.add(logger)
        return logger
