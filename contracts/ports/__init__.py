"""The ports: what a handler asks for by annotation, and what the runtime stands on.

async def run(cmd: RunBatchEtl, job: Job, db: Db, files: Files, log: Log) -> Report: ...
"""

from __future__ import annotations

from contracts.ports.bus import Assignment, Bus, Consumer, Emit
from contracts.ports.cache import Cache
from contracts.ports.catalog import Catalog
from contracts.ports.clock import Clock
from contracts.ports.database import Database, Db, Guard, Statements, Tx
from contracts.ports.feed import Feed, Outgoing
from contracts.ports.files import FileInfo, Files
from contracts.ports.flags import Flags
from contracts.ports.health import Checked
from contracts.ports.history import History
from contracts.ports.ledger import Ledger
from contracts.ports.log import Log
from contracts.ports.metrics import Metrics
from contracts.ports.secrets import Secret, Secrets
from contracts.ports.state import State
from contracts.ports.traces import Traces

__all__ = [
    "Assignment",
    "Bus",
    "Cache",
    "Catalog",
    "Checked",
    "Clock",
    "Consumer",
    "Database",
    "Db",
    "Emit",
    "Feed",
    "FileInfo",
    "Files",
    "Flags",
    "Guard",
    "History",
    "Ledger",
    "Log",
    "Metrics",
    "Outgoing",
    "Secret",
    "Secrets",
    "State",
    "Statements",
    "Traces",
    "Tx",
]
