"""`millrace modules`: what there is to run."""

from __future__ import annotations

from typing import Annotated

import typer

from runtime.cli.options import Invocation, command


def add(app: typer.Typer) -> None:
    """Add `modules list` and `show`."""
    group = typer.Typer(help="What there is to run, and what each promises.", no_args_is_help=True)
    app.add_typer(group, name="modules")
    command(group, "list", examples="millrace modules list")(list_)
    command(group, "show", examples="millrace modules show batch_etl --output json")(show)


def list_(invocation: Invocation) -> int | None:
    """List the modules."""
    from runtime import registry

    rows = [
        {
            "name": module.name,
            "kind": module.kind,
            "version": module.version,
            "routes": [route.address for route in module.routes],
            "summary": module.summary,
        }
        for module in registry.load()
    ]
    invocation.output.rows(rows)
    return None


def show(invocation: Invocation, name: Annotated[str, typer.Argument(help="The module's name.")]) -> int | None:
    """Show one module: its needs, routes, guarantees and arguments."""
    from runtime import descriptor, registry

    [module] = registry.load([name])
    invocation.output.value(descriptor.describe(module))
    return None
