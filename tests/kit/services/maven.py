"""Programs of Java: their jars, which Maven fetches at the first time."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from tests.kit.services.cache import call
from tests.kit.services.service import CannotStart

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
DEPENDENCY = "    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>\n"
POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace.tests</groupId>
  <artifactId>{name}</artifactId>
  <version>1</version>
  <dependencies>
{jars}  </dependencies>
</project>
"""


def find_java() -> str:
    """Raises `CannotStart`."""
    if (java := shutil.which("java")) is None:
        raise CannotStart("Java is not installed")
    return java


def fetch_jars(directory: Path, name: str, artifacts: Collection[str]) -> Path:
    """The directory with these (`group:artifact:version`) and all that they stand on. Raises `CannotStart`."""
    if (maven := shutil.which("mvn")) is None:
        raise CannotStart(f"Maven, which fetches {name}, is not installed")
    jars = "".join(DEPENDENCY.format(*artifact.split(":")) for artifact in sorted(artifacts))
    (directory / "pom.xml").write_text(POM.format(name=name.lower(), jars=jars))
    libs = directory / "libs"
    call(
        [maven, "-B", "-q", "-f", "pom.xml", COPY, f"-DoutputDirectory={libs}", "-DincludeScope=runtime"], cwd=directory
    )
    return libs
