"""Kafka's own jars, from Maven's artifacts, and a formatted log directory to begin with."""

from __future__ import annotations

from pathlib import Path

from tests.kit.services.cache import call, kept
from tests.kit.services.maven import fetch_jars, find_java

VERSION = "4.1.0"
LOG = "org.slf4j:slf4j-simple:1.7.36"
JARS = {f"org.apache.kafka:kafka_2.13:{VERSION}", LOG}
TOOLS = {f"org.apache.kafka:kafka-tools:{VERSION}", LOG}
CLUSTER = "bWlsbHJhY2UtdGVzdHMtMQ"
FORMAT = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:1
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1
log.dirs={}
"""


def find_programs() -> tuple[str, Path]:
    """Java, and the directory with `libs` and `formatted`. Fetched at the first time (a minute), then kept."""
    java = find_java()
    return java, kept(f"kafka-{VERSION}", lambda directory: _fetch(java, directory))


def find_tools() -> tuple[str, Path]:
    """Java, and the directory with `libs`, where the tools of the command line are. Kept likewise."""
    java = find_java()
    return java, kept(f"kafka-tools-{VERSION}", lambda directory: _fetch_tools(directory))


def _fetch_tools(directory: Path) -> None:
    fetch_jars(directory, "Kafka", TOOLS)


def _fetch(java: str, directory: Path) -> None:
    libs = fetch_jars(directory, "Kafka", JARS)
    # Formatting is a JVM's start, and its result is the same each time: done once, and copied for each server.
    formatted, properties = directory / "formatted", directory / "format.properties"
    properties.write_text(FORMAT.format(formatted))
    tool = "kafka.tools.StorageTool"
    call([java, "-cp", f"{libs}/*", tool, "format", "-t", CLUSTER, "-c", str(properties)], cwd=directory)
