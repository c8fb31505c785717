"""`python -m runtime`: the same as `millrace`."""

from __future__ import annotations

from runtime.cli.main import main

if __name__ == "__main__":
    main()
