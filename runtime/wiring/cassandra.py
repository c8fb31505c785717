"""Cassandra, as the settings say: where it is, how one logs in, and what it can't keep of the Database port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adapters.database.cassandra.db import CassandraDb
from adapters.database.cassandra.place import Limits, Place
from adapters.tls import Tls
from contracts.ports import Metrics, Traces
from contracts.ports.secrets import Credential

if TYPE_CHECKING:
    from runtime.settings import Settings

NO_TRANSACTIONS = (
    "and Cassandra has no transactions: run this module with --db postgres, choose others by MODULES, or write the "
    "handler to Statements (docs/write-a-module.md)"
)


def has_driver() -> bool:
    """Whether the extra is installed; imports nothing."""
    return find_spec("cassandra") is not None


def lacking() -> Mapping[str, str]:
    """The adapters of handlers that can't be had beside it, by name, and why."""
    return {} if CassandraDb.capabilities.transactions else {"db": NO_TRANSACTIONS}


def cassandra_of(
    chosen: Settings, credential: Callable[[str], Credential], *, metrics: Metrics, traces: Traces | None
) -> CassandraDb:
    """`credential` looks a setting up by name. Makes no connection."""
    assert chosen.db_cassandra_keyspace is not None  # the settings were checked together
    tls = Tls(
        ca_file=chosen.db_cassandra_tls_ca_file,
        cert_file=chosen.db_cassandra_tls_cert_file,
        key_file=chosen.db_cassandra_tls_key_file,
        key_password=chosen.db_cassandra_tls_key_password,
    )
    place = Place(
        hosts=chosen.db_cassandra_hosts,
        keyspace=chosen.db_cassandra_keyspace,
        datacenter=chosen.db_cassandra_datacenter,
        user=chosen.db_cassandra_user,
        password=credential("db_cassandra_password") if chosen.db_cassandra_user else None,
        tls=tls if chosen.db_cassandra_tls else None,
        consistency=chosen.db_cassandra_consistency,
    )
    limits = Limits(request_timeout_s=chosen.db_cassandra_timeout_s, in_flight=chosen.db_cassandra_in_flight)
    return CassandraDb(place, limits=limits, metrics=metrics, traces=traces)
