"""`./task new:module NAME`: a module that runs and passes its tests, to be rewritten."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from scaffold.made import KINDS, Refused, write

ROOT = Path(__file__).parent.parent
DERIVED = ("tests.contracts_agree.schemas", "tests.architecture.doc_tables")
"""What follows from the code, and is committed."""


def main() -> int:
    """Returns the exit code: 2 where nothing could be made."""
    parser = argparse.ArgumentParser(
        prog="./task new:module --",
        description="Make a module: its contract, handlers, tests, page of docs and Kubernetes patch.",
        epilog="example: ./task new:module -- count_lines --kind job",
    )
    parser.add_argument("name", help="lower case words joined by _, such as count_lines")
    parser.add_argument("--kind", choices=KINDS, default="job", help="a job (default), or a stream of messages")
    asked = parser.parse_args()
    try:
        made = write(ROOT, asked.name, asked.kind)
    except Refused as error:
        sys.stderr.write(f"new:module: {error}\n")
        return 2
    code = [str(place) for place in made if place.suffix == ".py"]
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *code], cwd=ROOT, check=True)
    for module in DERIVED:
        subprocess.run([sys.executable, "-m", module], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    sys.stdout.write("".join(f"made {place}\n" for place in made))
    sys.stdout.write(
        f"""
Next:
  ./task test -- tests/modules/test_{asked.name}.py
  .venv/bin/millrace run {asked.name} --help
  docs/write-a-module.md says how it goes on
"""
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
