"""TLS for tests: an authority of their own, which nobody trusts who was not told to."""

from __future__ import annotations

import ssl
from pathlib import Path


class Authority:
    """Signs for loopback; `ca_file` is what a client is to trust."""

    def __init__(self, directory: Path) -> None:
        import trustme

        made = trustme.CA()
        self.ca_file = directory / "ca.pem"
        made.cert_pem.write_to_path(str(self.ca_file))
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.issue_cert("127.0.0.1", "localhost").configure_cert(self.server)
