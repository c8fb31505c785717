"""The ledger on PostgreSQL, in schema `millrace` of the same database as the modules' tables."""

from __future__ import annotations

from adapters.ledger.postgres.ledger import PostgresLedger

__all__ = ["PostgresLedger"]
