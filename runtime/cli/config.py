"""`millrace config`: the settings, and where each came from."""

from __future__ import annotations

import typer

from runtime.cli.options import Invocation, command


def add(app: typer.Typer) -> None:
    """Add `config show` and `config check`."""
    group = typer.Typer(help="Show and check the settings.", no_args_is_help=True)
    app.add_typer(group, name="config")
    command(group, "show", examples="millrace config show --env staging")(show)
    command(group, "check", examples="millrace config check --env production")(check)


def show(invocation: Invocation) -> int | None:
    """Print each effective value and where it came from; secrets are redacted."""
    invocation.output.rows(invocation.settings().explain(), columns=("key", "value", "source"))
    return None


def check(invocation: Invocation) -> int | None:
    """Check the settings and the adapters that they choose, without connecting."""
    from runtime import registry, wiring

    settings = invocation.settings()
    wiring.check_choices(settings)
    registry.load(settings.modules)
    invocation.output.value({"settings": "ok", "warnings": len(settings.warnings)})
    return None
