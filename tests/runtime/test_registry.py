"""Modules are found by name, and one that is broken is told without hiding the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modules
from contracts.errors import Faults
from contracts.message import Contract
from contracts.module import Module
from runtime import registry

GOOD = """
from contracts.module import Module
module = Module({name!r}, kind="job", summary="A module.")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package `modules` is this directory, and what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(modules, "__path__", [str(tmp_path)])
    known = dict(sys.modules)
    for name in known:
        if name.startswith("modules."):
            monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    for name in set(sys.modules) - set(known):
        if name.startswith("modules."):
            del sys.modules[name]


def write(package: Path, name: str, text: str = GOOD) -> None:
    (package / name).mkdir()
    (package / name / "__init__.py").write_text(text.format(name=name) if text == GOOD else text)


def test_packages_are_modules_and_files_are_not(package: Path) -> None:
    write(package, "one")
    (package / "helper.py").write_text("raise RuntimeError('never imported')")
    assert registry.available() == ["one"]
    assert [module.name for module in registry.load()] == ["one"]


def test_only_what_is_named_is_imported(package: Path) -> None:
    write(package, "one")
    write(package, "broken", "raise RuntimeError('imported')")
    assert [module.name for module in registry.load(["one", "one"])] == ["one"]


def test_everything_that_is_wrong_is_told_at_once(package: Path) -> None:
    write(package, "good")
    write(package, "raises", "import os\nraise RuntimeError('at import')")
    write(package, "missing_import", "import there_is_no_such_thing")
    write(package, "bad_syntax", "def (:")
    write(package, "no_module", "module = 7")
    write(package, "other_name", GOOD.format(name="another"))
    found = registry.find(["good", "raises", "missing_import", "bad_syntax", "no_module", "other_name", "goood"])
    assert [module.name for module in found.modules] == ["good"]
    assert "RuntimeError: at import" in found.broken["raises"]
    assert found.broken["raises"].endswith("raises/__init__.py, line 2)")
    assert "No module named 'there_is_no_such_thing'" in found.broken["missing_import"]
    assert "line 1" in found.broken["bad_syntax"]
    assert found.broken["no_module"] == "modules/no_module/__init__.py must export `module`, a contracts.module.Module"
    assert "declares the name 'another'" in found.broken["other_name"]
    assert "did you mean good?" in found.broken["goood"]
    with pytest.raises(Faults) as raised:
        registry.load()
    assert len(raised.value.faults) == 5


def test_without_modules_there_are_none(package: Path) -> None:
    assert registry.load() == []
    with pytest.raises(Faults, match="there are: none"):
        registry.load(["any"])


# Together.


class One(Contract, frozen=True):
    pass


class Other(Contract, frozen=True):
    pass


def declaring(name: str) -> Module:
    return Module(name, kind="worker", summary="A module.")


def test_a_command_has_one_owner() -> None:
    first, second = declaring("first"), declaring("second")
    for module in (first, second):

        @module.job("run.x", One)
        async def run(_: One) -> None: ...

    with pytest.raises(Faults, match=r"run\.x is declared by both first and second"):
        registry.check_together([first, second])
    registry.check_together([first])


def test_groups_may_share_a_stream_and_must_agree_on_its_messages() -> None:
    first, second, third = declaring("first"), declaring("second"), declaring("third")
    for module, contract in ((first, One), (second, One), (third, Other)):

        @module.stream("orders.raw", contract)
        async def take(_: Contract) -> None: ...

    registry.check_together([first, second])
    with pytest.raises(Faults, match="is One to first and Other to third"):
        registry.check_together([first, second, third])


def test_two_modules_in_one_group_of_a_stream_are_refused() -> None:
    first, second = declaring("first"), declaring("second")
    for module in (first, second):

        @module.stream("orders.raw", One, group="shared")
        async def take(_: One) -> None: ...

    with pytest.raises(Faults, match="declared by both first and second"):
        registry.check_together([first, second])


def test_an_address_is_a_command_or_a_stream() -> None:
    first, second = declaring("first"), declaring("second")

    @first.job("run.x", One)
    async def run(_: One) -> None: ...

    @second.stream("run.x", One)
    async def take(_: One) -> None: ...

    with pytest.raises(Faults, match="is a job of first and a stream of second"):
        registry.check_together([first, second])


def test_the_owner_of_an_address_is_found() -> None:
    module = declaring("first")

    @module.job("run.x", One)
    async def run(_: One) -> None: ...

    owner = registry.owner_of("run.x", [module])
    assert owner == (module, module.routes[0])
    assert registry.owner_of("run.y", [module]) is None
