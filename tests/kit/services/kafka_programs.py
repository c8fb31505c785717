"""Kafka's own jars, from Maven's artifacts, and a formatted log directory to begin with."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.kit.services.cache import call, kept
from tests.kit.services.service import CannotStart

VERSION = "4.1.0"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
LOG = "org.slf4j:slf4j-simple:1.7.36"
JARS = {f"org.apache.kafka:kafka_2.13:{VERSION}", LOG}
TOOLS = {f"org.apache.kafka:kafka-tools:{VERSION}", LOG}
DEPENDENCY = "    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>\n"
POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace.tests</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
{}  </dependencies>
</project>
"""
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
    java = _java()
    return java, kept(f"kafka-{VERSION}", lambda directory: _fetch(java, directory))


def find_tools() -> tuple[str, Path]:
    """Java, and the directory with `libs`, where the tools of the command line are. Kept likewise."""
    java = _java()
    return java, kept(f"kafka-tools-{VERSION}", lambda directory: _fetch_jars(TOOLS, directory))


def _java() -> str:
    if (java := shutil.which("java")) is None:
        raise CannotStart("Java is not installed")
    return java


def _fetch_jars(names: set[str], directory: Path) -> None:
    if (maven := shutil.which("mvn")) is None:
        raise CannotStart("Maven, which fetches Kafka, is not installed")
    jars = "".join(DEPENDENCY.format(*jar.split(":")) for jar in sorted(names))
    (directory / "pom.xml").write_text(POM.format(jars))
    into = f"-DoutputDirectory={directory / 'libs'}"
    call([maven, "-B", "-q", "-f", "pom.xml", COPY, into, "-DincludeScope=runtime"], cwd=directory)


def _fetch(java: str, directory: Path) -> None:
    _fetch_jars(JARS, directory)
    # Formatting is a JVM's start, and its result is the same each time: done once, and copied for each server.
    formatted, properties = directory / "formatted", directory / "format.properties"
    properties.write_text(FORMAT.format(formatted))
    tool = "kafka.tools.StorageTool"
    call([java, "-cp", f"{directory / 'libs'}/*", tool, "format", "-t", CLUSTER, "-c", str(properties)], cwd=directory)
