"""TLS towards a server: who is trusted, and by which certificate we are known. The server's name is always checked."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec

from contracts.errors import Faults
from contracts.ports.secrets import Secret


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files. Without `ca_file` the machine's own authorities are trusted; `cert_file` is ours, with its key in the
    same file or in `key_file`."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None

    def context(self, subject: str) -> ssl.SSLContext:
        """Reads the files. Raises `Faults` about `subject` that name what is wrong and no secret."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except (OSError, ValueError) as error:
            raise Faults(subject, [f"{self.ca_file}: {_reason(error)}; it must hold certificates as PEM"]) from None
        if self.cert_file is not None:
            self._be_known(context, self.cert_file, subject)
        elif self.key_file is not None:
            raise Faults(subject, [f"{self.key_file}: a key without its certificate: give that, too"])
        return context

    def _be_known(self, context: ssl.SSLContext, cert_file: Path, subject: str) -> None:
        # Never None: OpenSSL would ask for the password on the terminal.
        password = self.key_password.reveal() if self.key_password else ""
        try:
            context.load_cert_chain(cert_file, self.key_file, password=password)
        except (OSError, ValueError) as error:
            named = f"{cert_file}" + (f" with {self.key_file}" if self.key_file else "")
            hint = "it must hold a certificate and its own key as PEM, and an encrypted key needs its password"
            raise Faults(subject, [f"{named}: {_reason(error)}; {hint}"]) from None


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)) if isinstance(error, OSError) else "it can't be read"
