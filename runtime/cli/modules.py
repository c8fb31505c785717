"""`millrace modules`: what there is to run."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from msgspec import Meta

from runtime.cli.command import Options, command
from runtime.cli.invocation import Invocation


def names() -> list[str]:
    """Of every module, for completion."""
    from runtime import registry

    return registry.available()


class OneModule(Options, frozen=True):
    """Which one."""

    name: Annotated[str, Meta(description="The module's name.", extra={"argument": "NAME", "complete": names})]


class ModuleLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A module in the list; `fault` is there instead of the rest when it can't be used."""

    name: str
    kind: str = ""
    version: str = ""
    routes: tuple[str, ...] = ()
    summary: str = ""
    fault: str = ""


def add(app: typer.Typer) -> None:
    """Add `modules list` and `show`."""
    group = typer.Typer(help="What there is to run, and what each promises.", no_args_is_help=True)
    app.add_typer(group, name="modules")
    command(group, "modules list", Options, list_)
    command(group, "modules show", OneModule, show, examples="millrace modules show batch_etl --output json")


def list_(invocation: Invocation, _: Options) -> int | None:
    """List the modules, with those that can't be used."""
    from runtime import registry, wiring

    found = registry.find(catalog=wiring.catalog_of(invocation.settings))
    lines = [
        ModuleLine(
            name=module.name,
            kind=module.kind,
            version=module.version,
            routes=tuple(route.address for route in module.routes),
            summary=module.summary,
        )
        for module in found.modules
    ]
    lines += [ModuleLine(name=name, fault=fault) for name, fault in found.broken.items()]
    columns = ("name", "kind", "version", "routes", "summary", *(["fault"] if found.broken else []))
    lines.sort(key=lambda line: line.name)
    invocation.output.rows(lines, columns=columns, none="there are no modules")
    return None


def show(invocation: Invocation, asked: OneModule) -> int | None:
    """Show one module: its routes with what each guarantees, its arguments, what it needs."""
    from runtime import descriptor, registry, wiring

    [module] = registry.load([asked.name], catalog=wiring.catalog_of(invocation.settings))
    invocation.output.value(descriptor.describe(module))
    return None
