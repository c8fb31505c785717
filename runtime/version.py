"""The version of what runs."""

from __future__ import annotations


def version() -> str:
    """As it is installed; 0 for a checkout that isn't."""
    from importlib import metadata

    try:
        return metadata.version("millrace")
    except metadata.PackageNotFoundError:
        return "0"
