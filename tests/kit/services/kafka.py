"""Kafka: one node in KRaft mode, the same in a container and native."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from tests.kit.services.containers import from_container, require_engine
from tests.kit.services.home import Home
from tests.kit.services.kafka_programs import VERSION, find_programs
from tests.kit.services.native import NativeServer
from tests.kit.services.ports import Port
from tests.kit.services.service import Door, Running, Service, native_running, start_or_end

NAME = "Kafka"
IMAGE = f"apache/kafka:{VERSION}"
STARTED = "Kafka Server started"
PARTITIONS = 8
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "num.partitions": str(PARTITIONS),
    "auto.create.topics.enable": "false",  # so that the topics of tests are those that our own code has made
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    # A broker that was killed can come back only when its former life has run out.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "2097152",
}
JAVA = ("-Xmx512m", "-XX:ActiveProcessorCount=1", "-XX:-UsePerfData")


class Kafka(Service):
    """`url` is its bootstrap servers."""

    def __init__(self) -> None:
        remedy = (
            "Set MILLRACE_TEST_KAFKA to bootstrap servers where topics may be made, start Docker, "
            "or install Java 17 or newer and Maven."
        )
        super().__init__(NAME, ways=(_container, start_kafka), remedy=remedy)


def start_kafka(*, doors: int = 1) -> Running:
    """A native broker, with so many places for a proxy. Raises `CannotStart`."""
    java, programs = find_programs()
    home = Home("kafka")
    logs = home.data / "logs"
    shutil.copytree(programs / "formatted", logs)
    clients, controller, *paired = ports = [Port() for _ in range(2 + 2 * doors)]
    behind, proxies = paired[:doors], paired[doors:]
    settings = {
        **SETTINGS,
        "controller.quorum.voters": f"1@{controller.address}",
        "listener.security.protocol.map": _protocols(doors),
        "listeners": ",".join(
            [f"CONTROLLER://{controller.address}", f"PLAINTEXT://{clients.address}", *_proxied(behind)]
        ),
        "advertised.listeners": ",".join([f"PLAINTEXT://{clients.address}", *_proxied(proxies)]),
        "log.dirs": str(logs),
    }
    properties = home.path / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    command = [
        java,
        *JAVA,
        f"-Djava.io.tmpdir={home.data}",
        "-cp",
        f"{programs / 'libs'}/*",
        "kafka.Kafka",
        str(properties),
    ]
    server = NativeServer(NAME, command, home=home, ports=ports, ready=lambda server: STARTED in server.log)
    start_or_end(server)
    pairs = zip(behind, proxies, strict=True)
    opened = tuple(Door(behind=inside.number, advertised=proxy.number) for inside, proxy in pairs)
    return native_running(NAME, clients.address, server, doors=opened)


def _protocols(doors: int) -> str:
    return ",".join([SETTINGS["listener.security.protocol.map"], *(f"PROXIED{n}:PLAINTEXT" for n in range(doors))])


def _proxied(ports: Sequence[Port]) -> list[str]:
    return [f"PROXIED{number}://{port.address}" for number, port in enumerate(ports)]


def _container() -> Running:
    require_engine()
    clients, proxied, proxy = ports = [Port() for _ in range(3)]

    def make() -> Any:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        container = DockerContainer(IMAGE).waiting_for(LogMessageWaitStrategy(STARTED))
        host = container.get_docker_client().host()
        told = {"PLAINTEXT": f"{host}:{clients.number}", "PROXIED0": proxy.address, "BROKER": "localhost:9095"}
        settings = {
            **SETTINGS,
            "listener.security.protocol.map": _protocols(1) + ",BROKER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",  # the others are not reached from inside
            "controller.quorum.voters": "1@localhost:9093",
            "listeners": "CONTROLLER://:9093,PLAINTEXT://:9092,PROXIED0://:9094,BROKER://:9095",
            "advertised.listeners": ",".join(f"{name}://{address}" for name, address in told.items()),
        }
        for name, value in settings.items():
            container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        for inside, outside in ((9092, clients), (9094, proxied)):
            outside.release()
            container.with_bind_ports(inside, outside.number)
        return container

    def url(container: Any) -> str:
        return f"{container.get_container_host_ip()}:{clients.number}"

    try:
        opened = Door(behind=proxied.number, advertised=proxy.number)
        return from_container(NAME, IMAGE, make, url, doors=(opened,))
    finally:
        for port in ports:
            port.release()
