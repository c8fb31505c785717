"""What one run of one benchmark left behind: where, on which code, and what each round gave."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Better = Literal["more", "less"]
Setting = int | float | str


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, in every round; a value is more than nothing, or it has no ratio to another one."""

    name: str
    unit: str
    better: Better
    rounds: Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        """Raises `ValueError`, which a decoder tells with the place."""
        if not all(map(math.isfinite, self.rounds)):
            raise ValueError(f"{self.name}: a round that is no finite number")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What figures hang on, and can't be compared across."""

    cpu: str
    cores: int
    memory_gb: int
    kernel: str
    python: str
    postgresql: str

    def differences(self, other: Machine) -> list[str]:
        """What is there as it was not in `other`, in words."""
        pairs = [(name, getattr(other, name), getattr(self, name)) for name in self.__struct_fields__]
        return [f"{name} {before} → {now}" for name, before, now in pairs if before != now]

    def __str__(self) -> str:
        versions = f"Linux {self.kernel}" if self.kernel[:1].isdigit() else self.kernel
        software = f"{versions}, Python {self.python}, PostgreSQL {self.postgresql}"
        return f"{self.cpu}, {self.cores} cores, {self.memory_gb} GB, {software}"


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is of every file as it is, so that two runs of the same code are known for that, committed or not."""

    commit: str
    dirty: bool
    state: str

    def __str__(self) -> str:
        return self.commit[:10] + ("+" if self.dirty else "")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the history. `load` is what waited for a core when the session began, per core: over a quarter, the
    machine had other things to do. `version` is of the form: a line with another one is passed over, and told."""

    benchmark: str
    at: datetime
    code: Code
    machine: Machine
    load: float
    settings: dict[str, Setting]
    figures: tuple[Figure, ...]
    version: Literal[1] = 1

    def figure(self, name: str) -> Figure | None:
        return next((one for one in self.figures if one.name == name), None)
