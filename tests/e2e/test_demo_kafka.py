"""`./task demo:kafka`: its script, with Kafka's own producer, a real broker, a worker and PostgreSQL; only what would
run a command in a container runs it on this machine."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from anyio import to_thread

from adapters.database.cluster.binaries import MAJOR, PACKAGE, WHEEL
from tests.e2e.product import BIN, ROOT, environment, started
from tests.kit import services
from tests.kit.services.kafka_programs import find_tools

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(150)]

PSQL_BIN = importlib.metadata.distribution(WHEEL).locate_file(f"{PACKAGE}/pginstall{MAJOR}/bin")
ON_THIS_MACHINE = """\
#!/bin/sh
# docker compose … exec --no-TTY SERVICE PROGRAM ARGUMENTS…
[ "$2" = version ] && exit
while [ "$1" != --no-TTY ]; do shift; done
service=$2 program=$3
shift 3
case $service in
  # The addresses and names that hold inside of the containers are the first arguments.
  kafka) shift 2; exec {java} -cp '{libs}/*' org.apache.kafka.tools.ConsoleProducer --bootstrap-server {kafka} "$@" ;;
  postgres) shift 4; exec "$program" "$DB_POSTGRES_URL" "$@" ;;
  worker) exec "$program" "$@" ;;
esac
"""


async def test_a_command_is_published_by_kafkas_own_tools(tmp_path: Path, database_url: str) -> None:
    with services.own(services.start_kafka) as kafka:
        java, tools = _tools()
        for name in ("bin", "deploy", ".env", "files"):
            (tmp_path / name).mkdir()
        docker = tmp_path / "bin" / "docker"
        docker.write_text(ON_THIS_MACHINE.format(java=java, libs=tools / "libs", kafka=kafka.url))
        docker.chmod(0o755)
        for script in ("compose.sh", "demo_kafka.sh"):
            shutil.copy(ROOT / "deploy" / script, tmp_path / "deploy")
        environ = environment(
            tmp_path,
            database_url,
            MILLRACE_MQ="kafka",
            MQ_KAFKA_BOOTSTRAP_SERVERS=kafka.url,
            MODULES="batch_etl",
            FS_LOCAL_ROOT=str(ROOT / "examples"),
            CATALOG_DIR=str(ROOT / "catalog"),
            MILLRACE_LOG="json",
            PATH=os.pathsep.join(map(str, (docker.parent, BIN, PSQL_BIN, os.environ["PATH"]))),
        )
        with started(tmp_path, environ, str(BIN / "faststream"), "run", "runtime.app:app") as worker:
            await worker.logged("started")
            demo = await to_thread.run_sync(_played, tmp_path / "deploy" / "demo_kafka.sh", environ)
            assert demo.returncode == 0, demo.stdout + demo.stderr
            assert "Publishing" in demo.stdout
            assert "1491" in demo.stdout.splitlines()[-3], "what PostgreSQL counts"
            worker.signal()
            assert await worker.ended() == 0


def _tools() -> tuple[str, Path]:
    try:
        return find_tools()
    except services.CannotStart as error:
        services.missing("Kafka's own tools", reason=str(error), remedy="Install Java 17 or newer and Maven.")


def _played(script: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", script], env=environ, capture_output=True, text=True, timeout=100, check=False)
