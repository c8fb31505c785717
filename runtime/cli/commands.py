"""The built-in commands, in the order in which help lists them."""

from __future__ import annotations

import typer

from runtime.cli import config, dlq, doctor, flags, jobs, keys, migrate, modules, positions, publish, reset, workers


def add(app: typer.Typer) -> None:
    """Add every built-in command."""
    publish.add(app)
    jobs.add(app)
    dlq.add(app)
    workers.add(app)
    positions.add(app)
    keys.add(app)
    modules.add(app)
    migrate.add(app)
    flags.add(app)
    config.add(app)
    doctor.add(app)
    reset.add(app)
