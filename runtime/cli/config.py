"""`millrace config`: the settings, and where each came from."""

from __future__ import annotations

import typer

from contracts.errors import Faults
from runtime.cli.command import Options, command
from runtime.cli.invocation import Invocation


def add(app: typer.Typer) -> None:
    """Add `config show` and `config check`."""
    group = typer.Typer(help="Show and check the settings.", no_args_is_help=True)
    app.add_typer(group, name="config")
    command(group, "config show", Options, show, examples="millrace config show --env staging")
    command(group, "config check", Options, check, examples="millrace config check --env production")


def show(invocation: Invocation, _: Options) -> int | None:
    """Print each effective value and where it came from; secrets are redacted."""
    invocation.output.rows(invocation.settings.explain(), columns=("key", "value", "source"))
    return None


def check(invocation: Invocation, _: Options) -> int | None:
    """Check the settings, the adapters that they choose, the catalog and the modules, without connecting."""
    from runtime import injection, registry, wiring

    faults: list[str] = []
    settings = None
    try:
        settings = invocation.settings
        wiring.check_choices(settings)
    except Faults as error:
        faults += error.faults
    try:
        catalog = wiring.catalog_of(settings) if settings else None
        if catalog is not None:
            faults += catalog.survey().faults
        modules = registry.load(settings.modules if settings else (), catalog=catalog)
        injection.check(modules, wiring.PROVIDED, wiring.lacking(settings) if settings else None)
    except Faults as error:
        faults += error.faults
    if faults or settings is None:
        raise Faults("settings", list(dict.fromkeys(faults)))  # a module tells again what the catalog told
    warnings = len(settings.warnings)
    invocation.output.say(
        f"the settings are fine{f', with {warnings} warnings' if warnings else ''}",
        settings="ok",
        warnings=settings.warnings,
    )
    return None
