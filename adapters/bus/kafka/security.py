"""Who the cluster is told that we are, and how the way to it is kept secret: from settings to aiokafka's own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.bus.kafka.connection import LookedUp
from adapters.bus.kafka.oauth import ClientCredentials, Grant
from adapters.tls import Tls
from contracts.ports.clock import Clock
from contracts.ports.secrets import Credential, Secret, fixed


class Security(msgspec.Struct, frozen=True, kw_only=True):
    """`protocol` is Kafka's: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. `tls` counts for those with SSL, the rest for
    those with SASL: a name and a password for PLAIN and SCRAM, `grant` for OAUTHBEARER."""

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str = ""
    password: Credential = fixed(Secret(""))
    grant: Grant | None = None
    tls: Tls = Tls()

    def options(self, clock: Clock) -> Mapping[str, Any]:
        """What `KafkaBus` takes as its `security`. Raises `Faults` for files that can't be read."""
        made: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.endswith("SSL"):
            made["ssl_context"] = self.tls.context("Kafka TLS")
        if not self.protocol.startswith("SASL"):
            return made
        made["sasl_mechanism"] = self.mechanism
        if self.grant is not None:
            made["sasl_oauth_token_provider"] = ClientCredentials(self.grant, clock)
        else:
            made["sasl_plain_username"] = self.username
            made["sasl_plain_password"] = LookedUp.by(self.password)
        return made
