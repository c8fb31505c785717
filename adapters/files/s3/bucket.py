"""Which bucket, and how it is reached."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from contracts.errors import Faults
from contracts.ports.secrets import Credential

Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket, or what of it lies beneath `prefix`. Raises `Faults` for what can't be."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    """None: AWS's own, for the region."""
    region: str | None = None
    """None: what the usual chain says, else us-east-1."""
    access_key: Credential | None = None
    secret_key: Credential | None = None
    """Looked up when the bucket is opened. Without both the usual chain is asked: environment, profile, web identity,
    container, instance."""
    path_style: bool = False
    """The bucket in the path and not in the host's name, as most servers that are not AWS's need it."""
    encryption: Encryption | None = None
    """What to ask the server for; None: what the bucket does by itself."""
    kms_key: str | None = None
    timeout_s: float = 20.0
    """How long nothing may come before an attempt is given up."""
    attempts: int = 4
    """Of each call; they are backed off, with jitter."""

    def __post_init__(self) -> None:
        faults = []
        if (self.access_key is None) != (self.secret_key is None):
            faults.append("an access key and its secret key go together: set both, or neither for the usual chain")
        if self.endpoint is not None and "@" in urlsplit(self.endpoint).netloc:
            faults.append(
                "the endpoint has a user in it: give the access key and the secret key as settings of their own"
            )
        if self.kms_key is not None and self.encryption not in ("aws:kms", "aws:kms:dsse"):
            faults.append("a KMS key is of use with the encryption aws:kms only: choose it, or leave the key out")
        if faults:
            raise Faults("files", faults)

    @property
    def address(self) -> str:
        """Without secrets."""
        place = f"{self.name}/{self.prefix}".rstrip("/")
        return f"s3://{place}" if self.endpoint is None else f"{self.endpoint.rstrip('/')}/{place}"

    @property
    def root(self) -> str:
        """What the keys of all files begin with."""
        return f"{self.prefix.strip('/')}/" if self.prefix.strip("/") else ""
