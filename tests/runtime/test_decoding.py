from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import Undecodable
from contracts.message import Contract
from contracts.module import Module
from runtime.pipeline import Mounted

module = Module("free", kind="job", summary="Takes anything.")


class RunFree(Contract, frozen=True):
    x: Any = None


@module.job("run.free", RunFree)
async def run(cmd: RunFree) -> None: ...


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b'{"y": 1}', "y: no such field"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"x":' + b"[" * 100_000, "it is nested too deeply"),
        (b'{"y":' + b"[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_can_not_be_read_is_told_and_breaks_nothing(body: bytes, why: str) -> None:
    with pytest.raises(Undecodable, match=why):
        Mounted(module, module.routes[0], {}, {}).decode(body)
