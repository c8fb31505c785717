"""Real services for tests: an address from the environment, else a container, else native.

One of each per run, started before the first test that asks for it (so that a slow pull is not a slow test). What a
killed run left behind is cleared by the next one. A service that can't be had fails its tests in CI and skips them
elsewhere; the summary of the run ends with what was not tried and what would help.
"""

from __future__ import annotations

from tests.kit.services.cassandra import Cassandra, CassandraRunning
from tests.kit.services.engine import Docker, Engine, python_image
from tests.kit.services.kafka import Kafka, start_kafka
from tests.kit.services.kafka_secured import SecuredKafka, SecuredRunning
from tests.kit.services.minio import Minio, start_minio
from tests.kit.services.missing import Untried, missing, reference_data, remember, untried
from tests.kit.services.native import NativeServer
from tests.kit.services.postgres import OwnPostgres, Postgres, own_postgres
from tests.kit.services.redis import Redis, start_redis
from tests.kit.services.redis_secured import SecuredRedis, SecuredRedisRunning
from tests.kit.services.service import CannotStart, Running, Service, own
from tests.kit.services.vault import Vault

__all__ = [
    "CannotStart",
    "Cassandra",
    "CassandraRunning",
    "Docker",
    "Engine",
    "Kafka",
    "Minio",
    "NativeServer",
    "OwnPostgres",
    "Postgres",
    "Redis",
    "Running",
    "SecuredKafka",
    "SecuredRedis",
    "SecuredRedisRunning",
    "SecuredRunning",
    "Service",
    "Untried",
    "Vault",
    "missing",
    "own",
    "own_postgres",
    "python_image",
    "reference_data",
    "remember",
    "start_kafka",
    "start_minio",
    "start_redis",
    "untried",
]
