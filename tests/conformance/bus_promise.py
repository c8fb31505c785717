"""The list of what every bus promises; the `bus_*` files beside this one fill it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from contracts.ports.bus import Bus
from tests.conformance.bus_scene import Backing

Promise = Callable[[Backing], Awaitable[None]]
PROMISES: list[Promise] = []


def promise(function: Promise) -> Promise:
    PROMISES.append(function)
    return function


def name_of(function: Promise) -> str:
    return function.__name__


def need(bus: Bus, capability: str) -> None:
    if not getattr(bus.capabilities, capability):
        pytest.skip(f"the {bus.capabilities.broker_name} bus declares {capability}=False")
