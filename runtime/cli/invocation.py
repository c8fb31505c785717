"""What a command was called with, beside its own options."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.cli.output import Output

if TYPE_CHECKING:
    from runtime.settings import Settings


class Invocation:
    """One call of `millrace`. The settings are read when they are first asked for: help needs none."""

    def __init__(self, overrides: dict[str, Any], output: Output) -> None:
        self.overrides = overrides
        self.output = output

    @cached_property
    def settings(self) -> Settings:
        """Raises `Faults` with everything that is wrong; warnings go to standard error."""
        from runtime import settings

        loaded = settings.load(overrides=self.overrides, environ=os.environ, directory=Path.cwd())
        for warning in loaded.warnings:
            self.output.note(warning)
        return loaded
