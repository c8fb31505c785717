"""Cassandra: one node that asks for a password, and takes TLS from who speaks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.kit.certificates import Authority
from tests.kit.services.cache import kept
from tests.kit.services.containers import from_container
from tests.kit.services.home import Home
from tests.kit.services.maven import fetch_jars, find_java
from tests.kit.services.missing import missing
from tests.kit.services.native import NativeServer
from tests.kit.services.ports import HOST, Port
from tests.kit.services.service import Running, Service, start_or_end

NAME = "Cassandra"
VERSION = "5.0.5"
IMAGE = f"cassandra:{VERSION}"
JARS = {f"org.apache.cassandra:cassandra-all:{VERSION}"}
ADMIN, PASSWORD = "cassandra", "cassandra"
"""Whom every new Cassandra knows."""
LISTENING = "Starting listening for CQL clients"
ADMIN_IS_THERE = "Created default superuser role"

# What its own jvm17-server.options open of Java, for the parts that start here.
EXPORTS = (
    *("java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch", "java.base/java.lang.ref"),
    *("java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server"),
    *("java.sql/java.sql", "jdk.unsupported/sun.misc"),
)
OPENS = (
    *("java.base/java.lang", "java.base/java.lang.module", "java.base/java.io", "java.base/java.nio"),
    *("java.base/java.util", "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic"),
    *("java.base/jdk.internal.loader", "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect"),
    *("java.base/jdk.internal.math", "java.base/jdk.internal.module", "java.base/jdk.internal.util.jar"),
    *("java.base/sun.nio.ch", "jdk.management/com.sun.management.internal"),
)
JAVA = (
    *("-Xms512m", "-Xmx512m", "-XX:MaxDirectMemorySize=128m", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
    # Half of its start is compiling, and no test runs for long.
    "-XX:TieredStopAtLevel=1",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dcassandra-foreground=yes",
    # One node has nobody to wait for.
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=0",
    "-Dcassandra.superuser_setup_delay_ms=0",
)
START_TIMEOUT_S = 300.0
"""On a machine that has other things to do; else it takes some 15 seconds."""
LOGGING = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{HH:mm:ss,SSS} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""
SETTINGS = """\
cluster_name: millrace tests
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
listen_address: {host}
rpc_address: {host}
storage_port: {storage}
native_transport_port: {clients}
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "{host}:{storage}"}}]
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
client_encryption_options:
  enabled: true
  optional: true
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: {own}
  truststore: {authority}
commitlog_sync: periodic
commitlog_sync_period: 10000ms
concurrent_reads: 8
concurrent_writes: 8
key_cache_size: 0MiB
auto_snapshot: false
# For a machine that has other things to do.
read_request_timeout: 20s
range_request_timeout: 20s
write_request_timeout: 20s
cas_contention_timeout: 20s
request_timeout: 20s
native_transport_timeout: 60s
materialized_views_enabled: false
"""


class CassandraRunning(Running, frozen=True, kw_only=True):
    """`url` is `cassandra://USER:PASSWORD@HOST:PORT` of somebody who may make keyspaces and roles."""

    authority: Authority | None = None
    """Whose certificate it has."""

    @property
    def trusted(self) -> Authority:
        """A test that asks for it is skipped (in CI: fails) where it is not known."""
        if self.authority is None:
            remedy = "Unset MILLRACE_TEST_CASSANDRA_URL and stop Docker, so that the native server is used."
            missing("TLS of Cassandra", reason=f"{self.how} has no certificate that is known here", remedy=remedy)
        return self.authority


class Cassandra(Service):
    """The first start fetches 66 MB; each takes some 20 seconds."""

    def __init__(self) -> None:
        remedy = (
            "Set MILLRACE_TEST_CASSANDRA_URL to cassandra://USER:PASSWORD@HOST:PORT of a superuser, start Docker, or "
            "install Java 17 and Maven."
        )
        super().__init__(NAME, ways=(_container, start_cassandra), remedy=remedy)

    def require(self) -> CassandraRunning:
        running = super().require()
        if isinstance(running, CassandraRunning):
            return running
        return CassandraRunning(**msgspec.structs.asdict(running))


def start_cassandra() -> CassandraRunning:
    """A native server. Raises `CannotStart`."""
    java = find_java()
    libs = kept(f"cassandra-{VERSION}", _fetch) / "libs"
    home = Home("cassandra")
    clients, storage = ports = [Port(), Port()]
    authority = Authority(home.path)
    config = home.path / "cassandra.yaml"
    config.write_text(
        SETTINGS.format(
            host=HOST,
            clients=clients.number,
            storage=storage.number,
            own=authority.server_file(),
            authority=authority.ca_file,
        )
    )
    logging = home.path / "logback.xml"
    logging.write_text(LOGGING)
    command = [
        java,
        *JAVA,
        *(f"--add-exports={package}=ALL-UNNAMED" for package in EXPORTS),
        *(f"--add-opens={package}=ALL-UNNAMED" for package in OPENS),
        f"-Dcassandra.config={config.as_uri()}",
        f"-Dlogback.configurationFile={logging}",
        f"-Dcassandra.storagedir={home.data}",
        f"-Djava.io.tmpdir={home.data}",
        "-cp",
        f"{libs}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]
    server = NativeServer(NAME, command, home=home, ports=ports, ready=_is_ready, start_timeout_s=START_TIMEOUT_S)
    start_or_end(server)
    return CassandraRunning(
        name=NAME,
        url=_url(clients.address),
        how=f"native, process {server.pid}",
        end=server.end,
        native=server,
        authority=authority,
    )


def _is_ready(server: NativeServer) -> bool:
    """The role is made once, at the first start."""
    log = server.log
    known = (server.home.path / "known").exists() or ADMIN_IS_THERE in log
    if known and LISTENING in log:
        (server.home.path / "known").touch()
        return True
    return False


def _fetch(directory: Path) -> None:
    fetch_jars(directory, NAME, JARS)


def _url(address: str) -> str:
    return f"cassandra://{ADMIN}:{PASSWORD}@{address}"


def _container() -> Running:
    def make() -> Any:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        asks = "sed -i 's/^\\( *class_name: *\\|authenticator: *\\)AllowAllAuthenticator/\\1PasswordAuthenticator/'"
        container = DockerContainer(IMAGE).with_exposed_ports(9042)
        container.with_env("MAX_HEAP_SIZE", "512M").with_env("HEAP_NEWSIZE", "128M")
        container.with_env("JVM_EXTRA_OPTS", " ".join(option for option in JAVA if option.startswith("-Dcassandra.")))
        container.with_command(["bash", "-c", f"{asks} /etc/cassandra/cassandra.yaml && exec cassandra -R -f"])
        return container.waiting_for(LogMessageWaitStrategy(ADMIN_IS_THERE).with_startup_timeout(180))

    def url(container: Any) -> str:
        host, port = container.get_container_host_ip(), container.get_exposed_port(9042)
        return _url(f"{host}:{port}")

    return from_container(NAME, IMAGE, make, url)
