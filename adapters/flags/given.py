"""Flags that are given by variables (`FLAG_ORDERS_FAST_PATH=on`) or in a YAML file (`orders.fast_path: true`).

A variable outranks the file, which outranks the default. The file is looked at again once a second at the most: a
change is seen by who asks after that. One that can't be read any more leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from contracts.errors import Faults
from contracts.flag import Flag, T, Value
from contracts.ports.clock import Clock
from contracts.ports.flags import Source, Turned

PREFIX = "FLAG_"
LOOK_EVERY_S = 1.0
LARGEST_BYTES = 1 << 20
_SPOKEN = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


class GivenFlags:
    """Implements `Flags`. `warn` is told what is wrong with a file that changed."""

    def __init__(
        self, environ: Mapping[str, str], path: Path | None, *, clock: Clock, warn: Callable[[str], None]
    ) -> None:
        self._environ = environ
        self._path = path
        self._clock = clock
        self._warn = warn
        self._in_file: Mapping[str, object] = {}
        self._seen: tuple[int, int, int] | None = None
        self._looked_at = float("-inf")

    @property
    def address(self) -> str:
        return "environment" if self._path is None else f"environment, file://{self._path}"

    async def open(self) -> None:
        """Raises `Faults` when the file can't be used."""
        if self._path is not None:
            self._look(self._path)

    async def check(self) -> None:
        return

    async def close(self) -> None:
        return

    def get(self, flag: Flag[T]) -> T:
        value = self.turned(flag).value
        assert isinstance(value, type(flag.default))
        return value

    def turned(self, flag: Flag[T]) -> Turned:
        for source, (given, _) in self._given(flag).items():
            if given is not None:
                return Turned(value=given, source=source, variable=_variable(flag))
        return Turned(value=flag.default, source="default", variable=_variable(flag))

    def faults(self, flags: Iterable[Flag[T]]) -> list[str]:
        return [fault for flag in flags for _, fault in self._given(flag).values() if fault]

    def _given(self, flag: Flag[T]) -> dict[Source, tuple[Value | None, str]]:
        """By who says it, the higher rank first: the value, or what is wrong with it."""
        self._look_again()
        found: dict[Source, tuple[Value | None, str]] = {}
        variable, kind = _variable(flag), type(flag.default)
        if text := self._environ.get(variable, ""):
            found["environment"] = _fitting(_of_text(text, kind), kind, f"{variable}={text[:40]!r}")
        if (inside := self._in_file.get(flag.name)) is not None:
            found["file"] = _fitting(inside, kind, f"{self._path}: {flag.name}: {str(inside)[:40]!r}")
        return found

    def _look_again(self) -> None:
        now = self._clock.monotonic()
        if self._path is None or now - self._looked_at < LOOK_EVERY_S:
            return
        try:
            self._look(self._path)
        except Faults as error:
            self._warn(f"flags stay as they were: {error}")

    def _look(self, path: Path) -> None:
        self._looked_at = self._clock.monotonic()
        try:
            now = path.stat()
            seen = (now.st_mtime_ns, now.st_ino, now.st_size)
            if seen == self._seen:
                return
            self._seen = seen  # before it is read: what is wrong with it is told once
            if now.st_size > LARGEST_BYTES:
                raise Faults("flags", [f"{path} has {now.st_size} bytes; it may have {LARGEST_BYTES}"])
            told = msgspec.yaml.decode(path.read_bytes() or b"{}")
        except OSError as error:
            raise Faults("flags", [f"{path}: {error.strerror}"]) from error
        except msgspec.DecodeError as error:
            raise Faults("flags", [f"{path} is not YAML: {error}"]) from None
        if not isinstance(told, dict):
            raise Faults("flags", [f"{path}: write one `module.flag: value` a line"])
        self._in_file = told


def _variable(flag: Flag[T]) -> str:
    return PREFIX + flag.name.upper().replace(".", "_")


def _of_text(text: str, kind: type[Value]) -> object:
    if kind is bool:
        return _SPOKEN.get(text.strip().lower(), text)
    try:
        return kind(text)
    except ValueError:
        return text


def _fitting(given: object, kind: type[Value], what: str) -> tuple[Value | None, str]:
    if kind is float and isinstance(given, int) and not isinstance(given, bool):
        given = float(given)
    if type(given) is kind:
        assert isinstance(given, bool | int | float | str)
        return given, ""
    wanted = {bool: "on or off", int: "a whole number", float: "a number", str: "text"}[kind]
    return None, f"{what} is not {wanted}"
