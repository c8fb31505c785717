"""A worker as benchmarks run it: on servers that are there, quiet, and otherwise as it ships."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from runtime import process, settings
from runtime.settings import Settings
from runtime.worker import Worker

_SERVER = {"kafka": "MQ_KAFKA_BOOTSTRAP_SERVERS", "redis-stream": "MQ_REDIS_STREAM_URL"}
"""The setting that says where the bus is."""


def settings_of(directory: str, url: str, bus: str = "memory", server: str = "", **more: str) -> Settings:
    """With PostgreSQL at `url`, and `directory` as home and for the catalog; `more` by the names of the environment."""
    environ = {
        "DB_POSTGRES_URL": url,
        "MILLRACE_MQ": bus,
        "MILLRACE_HOME": directory,
        "MILLRACE_LOG": "json",
        "LOG_LEVEL": "warn",
        **more,
    }
    if bus in _SERVER:
        environ[_SERVER[bus]] = server
    return settings.load(overrides={}, environ=environ, directory=Path(directory))


async def start(worker: Worker) -> None:
    """With what every process of a worker does then."""
    await worker.start()
    process.collect_less_often()


async def serve(worker: Worker) -> None:
    """Until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await start(worker)
    await ended.wait()
    await worker.stop()
