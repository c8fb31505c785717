"""TLS for tests: an authority of their own, which nobody trusts who was not told to."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any


class Authority:
    """Signs for loopback; `ca_file` is what a client is to trust."""

    def __init__(self, directory: Path) -> None:
        import trustme

        self._directory = directory
        self._made = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._made.cert_pem.write_to_path(str(self.ca_file))
        self._server = self._made.issue_cert("127.0.0.1", "localhost")
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._server.configure_cert(self.server)

    def server_file(self) -> Path:
        """Key and certificate, as Java and Redis read them."""
        return self._written("server.pem", self._server)

    def client_file(self, name: str) -> Path:
        """Key and certificate of a client with this common name."""
        return self._written(f"{name}.pem", self._made.issue_cert(f"{name}.clients.test", common_name=name))

    def _written(self, name: str, issued: Any) -> Path:
        from cryptography.hazmat.primitives import serialization

        # Java takes keys as PKCS 8 only.
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._directory / name
        path.write_bytes(key + b"".join(one.bytes() for one in issued.cert_chain_pems))
        return path
