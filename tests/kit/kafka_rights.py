"""Rights at Kafka, granted as an administrator does who follows docs/security.md."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]
from aiokafka.protocol.admin import CreateAclsRequest  # type: ignore[import-untyped]

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
# https://kafka.apache.org/protocol.html and the enums of org.apache.kafka.common.{acl,resource}
KINDS = {"topic": 2, "group": 3, "cluster": 4, "transactional-id": 5}
PATTERNS = {"literal": 3, "prefixed": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "IdempotentWrite": 12}
ALLOW = 3
ANY_HOST = "*"

Right = tuple[int, str, int, str, str, int, int]
"""What `CreateAclsRequest` takes."""


def documented(*, without: Sequence[str] = ()) -> Iterator[Right]:
    """The rights of a worker, from the commands of the document; `without` are operations such as `Write`."""
    for line in re.findall(r"^kafka-acls (.*--add .*)$", DOCUMENT.read_text(), re.MULTILINE):
        asked = _parser().parse_args(shlex.split(line))
        name = "kafka-cluster" if asked.cluster else asked.topic or asked.group
        kind = KINDS["cluster" if asked.cluster else "topic" if asked.topic else "group"]
        for operation in asked.operation:
            if operation not in without:
                pattern = PATTERNS[asked.resource_pattern_type]
                yield kind, name, pattern, asked.allow_principal, ANY_HOST, OPERATIONS[operation], ALLOW


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    for flag in ("--add", "--cluster"):
        parser.add_argument(flag, action="store_true")
    for option in ("--bootstrap-server", "--command-config", "--allow-principal", "--topic", "--group"):
        parser.add_argument(option)
    parser.add_argument("--operation", action="append", choices=OPERATIONS)
    parser.add_argument("--resource-pattern-type", default="literal", choices=PATTERNS)
    return parser


async def grant(url: str, rights: Sequence[Right]) -> None:
    """By a listener at which everything is allowed."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=url)
    await admin.start()
    try:
        for right in rights:
            answer = await admin._send_request(CreateAclsRequest(*right))
            [(code, why)] = answer.creation_responses
            assert not code, why
    finally:
        await admin.close()


async def grant_documented(url: str, *, user: str = "worker", without: Sequence[str] = ()) -> None:
    """To this user, instead of the one that the document names."""
    await grant(url, [(*right[:3], f"User:{user}", *right[4:]) for right in documented(without=without)])
