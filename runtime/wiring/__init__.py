"""Which implementation stands behind each port: the only place that knows the adapters.

Adapters are made when first asked for, without I/O; `open` connects what was made, in order, and `close` ends it in
reverse. What a choice would need that is not installed is said at start, with every other fault.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, TextIO

from contracts.errors import Faults
from contracts.file_link import FileLinks
from contracts.ports import (
    Bus,
    Cache,
    Catalog,
    Checked,
    Clock,
    Database,
    Db,
    Files,
    Flags,
    History,
    Ledger,
    Log,
    Metrics,
    Secret,
    Secrets,
    Traces,
)
from contracts.ports.api_keys import ApiKeys
from contracts.ports.secrets import Credential
from runtime import credentials
from runtime.settings import KEYS

if TYPE_CHECKING:
    from adapters.database.embedded import EmbeddedServer
    from adapters.database.postgres import PostgresDb
    from adapters.log.structured import StructuredLog
    from runtime.settings import Settings

TRACES_ENDPOINT = "http://127.0.0.1:4318"

PROVIDED = frozenset(
    {*("files", "flags", "cache", "catalog", "secrets", "metrics", "clock", "db", "statements", "bus", "history")}
)
"""The adapters that a handler's needs can rest on, by their names in `Adapters`."""


def check_choices(settings: Settings) -> None:
    """Raises `Faults` for every choice whose adapter needs what is not installed."""
    faults = []
    if settings.traces == "otlp" and not _has_otlp():
        faults.append("--traces otlp needs OpenTelemetry, which is an extra: install `millrace[otlp]`")
    if settings.db == "cassandra":
        from runtime.wiring.cassandra import has_driver

        if not has_driver():
            faults.append("--db cassandra needs its driver, which is an extra: install `millrace[cassandra]`")
    if faults:
        raise Faults("adapters", faults)


def lacking(settings: Settings) -> Mapping[str, str]:
    """Those of `PROVIDED` that these settings can't give to a handler, and why not."""
    if settings.db != "cassandra":
        return {}
    from runtime.wiring import cassandra

    return cassandra.lacking()


def _has_otlp() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


class Adapters:
    """One of each for the process. Attribute names are what `runtime.injection` resolves to."""

    def __init__(self, settings: Settings, *, log_stream: TextIO | None = None) -> None:
        check_choices(settings)
        self.settings = settings
        self._log_stream = log_stream
        self._open: list[tuple[str, Checked]] = []

    @cached_property
    def clock(self) -> Clock:
        from adapters.clock.system import SystemClock

        return SystemClock()

    @cached_property
    def log(self) -> Log:
        return self._structured_log

    @cached_property
    def _structured_log(self) -> StructuredLog:
        from adapters.log.structured import make_log

        return make_log(
            clock=self.clock,
            format=self.settings.log,
            level=self.settings.log_level,
            stream=self._log_stream,
            marks=self.traces.ids if self.traces else None,
        )

    def take_over_logging(self) -> Callable[[], None]:
        """Send what the packages that we stand on log through our log; returns what undoes it. Call it once they
        are imported."""
        from adapters.log.standard import route_standard_logging

        return route_standard_logging(self._structured_log)

    @cached_property
    def metrics(self) -> Metrics:
        if self.settings.metrics == "prometheus":
            from adapters.metrics.prometheus import PrometheusMetrics

            return PrometheusMetrics()
        if self.settings.metrics == "memory":
            from adapters.metrics.memory import MemoryMetrics

            return MemoryMetrics()
        from adapters.metrics.noop import NoopMetrics

        return NoopMetrics()

    @cached_property
    def traces(self) -> Traces | None:
        """None where none are made, so that whoever would make them pays for the question only."""
        if self.settings.traces == "noop":
            return None
        from adapters.traces.otlp import OtlpTraces

        endpoint = self.settings.traces_otlp_endpoint
        return OtlpTraces(
            endpoint.reveal() if endpoint is not None else TRACES_ENDPOINT,
            clock=self.clock,
            share=self.settings.traces_share,
            instance=self.settings.mq_member or f"{socket.gethostname()}-{os.getpid()}",
        )

    @cached_property
    def secrets(self) -> Secrets:
        if self.settings.secrets == "file":
            from adapters.secrets.file import FileSecrets

            assert self.settings.secrets_file is not None  # the settings were checked together
            return FileSecrets(self.settings.secrets_file)
        if self.settings.secrets == "vault":
            from runtime.wiring.vault import vault_secrets

            return vault_secrets(self.settings, self.clock)
        from adapters.secrets.env import EnvSecrets

        return EnvSecrets(self.settings.environ)

    @cached_property
    def catalog(self) -> Catalog:
        return catalog_of(self.settings)

    @cached_property
    def files(self) -> Files:
        if (traces := self.traces) is None:
            return self._untraced_files()
        from adapters.files.traced import TracedFiles

        return TracedFiles(self._untraced_files(), traces, kind=self.settings.fs)

    def _untraced_files(self) -> Files:
        if self.settings.fs == "local":
            from adapters.files.local import LocalFiles

            return LocalFiles(self.settings.fs_local_root, links=self.file_links)
        from adapters.files.s3.files import S3Files
        from runtime.wiring.bucket import bucket_of

        return S3Files(bucket_of(self.settings, self._credential), clock=self.clock)

    @cached_property
    def file_links(self) -> FileLinks | None:
        """What signs links to local files; None without a key, and where files are in a bucket."""
        chosen = self.settings
        if chosen.fs != "local" or chosen.fs_local_link_key is None:
            return None
        base_url = (
            chosen.fs_local_url.reveal() if chosen.fs_local_url else f"http://{chosen.http_host}:{chosen.http_port}"
        )
        return FileLinks(self._credential("fs_local_link_key"), base_url=base_url, clock=self.clock)

    @cached_property
    def flags(self) -> Flags:
        from adapters.flags.given import GivenFlags

        chosen = self.settings
        return GivenFlags(chosen.environ, chosen.flags_file, clock=self.clock, warn=self.log.warn)

    @cached_property
    def cache(self) -> Cache:
        if self.settings.cache == "redis":
            from adapters.cache.redis.cache import RedisCache

            url, password = self._password_in("cache_redis_url")
            return RedisCache(
                url,
                password=password,
                clock=self.clock,
                log=self.log,
                metrics=self.metrics,
                prefix=self.settings.cache_redis_prefix,
                timeout_s=self.settings.cache_redis_timeout_s,
            )
        from adapters.cache.memory import MemoryCache

        return MemoryCache(
            self.clock,
            metrics=self.metrics,
            most_entries=self.settings.cache_memory_entries,
            most_bytes=self.settings.cache_memory_bytes,
        )

    @cached_property
    def db(self) -> Db:
        """Where the ledger is, and the modules' own tables unless they are elsewhere."""
        return self._postgres

    @cached_property
    def statements(self) -> Database:
        """Where the modules' own tables are; `db` itself wherever that can be."""
        if self.settings.db != "cassandra":
            return self._postgres
        from runtime.wiring.cassandra import cassandra_of

        return cassandra_of(self.settings, self._credential, metrics=self.metrics, traces=self.traces)

    @cached_property
    def ledger(self) -> Ledger:
        from adapters.ledger.postgres.ledger import PostgresLedger

        return PostgresLedger(self._postgres)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """Where the ledger is; open once the database is."""
        from adapters.api_keys.postgres import PostgresApiKeys

        return PostgresApiKeys(self._postgres)

    @cached_property
    def bus(self) -> Bus:
        chosen = self.settings
        if chosen.mq == "kafka":
            from adapters.bus.kafka.bus import KafkaBus
            from runtime.wiring.bus_security import kafka_security

            return KafkaBus(
                ",".join(chosen.mq_kafka_bootstrap_servers),
                clock=self.clock,
                ledger_id=self.ledger.identity,
                member=chosen.mq_member,
                session_timeout_s=chosen.mq_session_s,
                rebalance_timeout_s=max(60.0, 2 * chosen.mq_revoke_wait_s),
                revoke_wait_s=chosen.mq_revoke_wait_s,
                security=kafka_security(chosen, self._credential).options(self.clock),
            )
        if chosen.mq == "redis-stream":
            from adapters.bus.redis_stream.bus import RedisStreamBus
            from runtime.wiring.bus_security import redis_tls

            assert chosen.mq_redis_stream_url is not None  # the settings were checked together
            url, password = self._password_in("mq_redis_stream_url")
            return RedisStreamBus(
                url,
                password=password,
                clock=self.clock,
                ledger_id=self.ledger.identity,
                member_id=chosen.mq_member or socket.gethostname(),
                lease_s=chosen.mq_session_s,
                revoke_wait_s=chosen.mq_revoke_wait_s,
                tls=redis_tls(chosen),
            )
        from adapters.bus.memory.bus import MemoryBus

        return MemoryBus(self.clock)

    @cached_property
    def history(self) -> History:
        return self.bus.history

    @cached_property
    def _postgres(self) -> PostgresDb:
        from adapters.database.embedded import EmbeddedServer
        from adapters.database.postgres import Limits, PostgresDb

        limits, traces = Limits(pool_size=self.settings.db_pool_max), self.traces
        if self.settings.db == "memory":
            return PostgresDb(server=EmbeddedServer(ephemeral=True), limits=limits, metrics=self.metrics, traces=traces)
        if self.settings.db_postgres_url is None:
            return PostgresDb(server=self._embedded, limits=limits, metrics=self.metrics, traces=traces)
        url, password = self._password_in("db_postgres_url")
        return PostgresDb(Secret(url), password=password, limits=limits, metrics=self.metrics, traces=traces)

    @cached_property
    def _embedded(self) -> EmbeddedServer:
        from adapters.database.embedded import EmbeddedServer

        return EmbeddedServer(self.settings.millrace_home / "postgres")

    def _credential(self, name: str) -> Credential:
        setting = getattr(self.settings, name) or Secret("")
        return credentials.credential_of(setting, lambda: self.secrets, key=KEYS[name])

    def _password_in(self, name: str) -> tuple[str, Credential | None]:
        return credentials.password_in(getattr(self.settings, name), lambda: self.secrets, key=KEYS[name])

    async def remove_embedded(self) -> None:
        """End the embedded database server and delete its data."""
        await self._embedded.stop(remove=True)

    async def open(self, name: str) -> None:
        """Connect one adapter; what it stands on is opened before it. Idempotent."""
        if name != "secrets" and credentials.named(self.settings):
            await self.open("secrets")
        adapter: Checked = getattr(self, name)
        if all(adapter is not known for _, known in self._open):
            await adapter.open()
            self._open.append((name, adapter))

    async def close(self) -> None:
        """Close all that is open, in reverse."""
        while self._open:
            _, adapter = self._open.pop()
            await adapter.close()

    @property
    def opened(self) -> Mapping[str, Checked]:
        return dict(self._open)


def catalog_of(settings: Settings) -> Catalog:
    """What users have declared, for those who need no other adapter."""
    from adapters.catalog.yaml_files import YamlCatalog

    return YamlCatalog(settings.catalog_dir)


async def check(adapters: Mapping[str, Checked], clock: Clock, *, timeout_s: float) -> dict[str, tuple[float, str]]:
    """Latency in ms and fault (empty when well) of each adapter, asked side by side, each within `timeout_s`."""

    async def one(adapter: Checked) -> tuple[float, str]:
        began_at = clock.monotonic()
        fault = ""
        try:
            async with clock.timeout(timeout_s):
                await adapter.check()
        except TimeoutError:
            fault = f"no answer within {timeout_s:g} s"
        except Exception as error:  # noqa: BLE001 - whatever kept it from answering is the answer
            fault = str(error)
        return (clock.monotonic() - began_at) * 1000, fault

    answers = await asyncio.gather(*map(one, adapters.values()))
    return dict(zip(adapters, answers, strict=True))
