"""The entry point of the `millrace` script, which ends the process with one of the exit codes."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Everything is imported in here, so that Ctrl-C and SIGTERM are answered in words from the first moment on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from runtime.cli import application
        from runtime.cli.output import Output

        code = application.run(sys.argv[1:])
        Output.flush()
    except KeyboardInterrupt:
        sys.stderr.write("millrace: interrupted\n")
        code = 3
    # All is said and closed: what comes now would only interrupt the interpreter's own end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(code)
