"""Why the cluster lets nobody in: aiokafka's clients say no more than that they could not bootstrap.

So when one could not, each server is tried once more, alone, and what it answers is put into words with what to do.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.errors import (  # type: ignore[import-untyped]
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from adapters.bus.kafka import seams
from adapters.bus.kafka.connection import looked_up
from adapters.bus.kafka.oauth import NoToken
from contracts.errors import Unavailable
from contracts.ports.clock import Clock

TRY_S = 5.0


async def reason_of(error: BaseException, options: Mapping[str, Any], clock: Clock) -> str:
    """In words, for what a client raised that was to connect by `options`; without any secret."""
    servers: Sequence[str] = options["bootstrap_servers"]
    reasons = {await _tried(server, options, clock) for server in servers}
    reasons.discard("")
    return "; ".join(sorted(reasons)) or str(error) or "no answer in time"


async def _tried(server: str, options: Mapping[str, Any], clock: Clock) -> str:
    """Empty when it lets us in after all."""
    try:
        async with clock.timeout(TRY_S):
            await seams.connect(server, await looked_up(options))
    except (Unavailable, NoToken) as error:
        return str(error)
    except (KafkaError, OSError) as error:
        return f"{server}: {_in_words(error, options)}"
    return ""


def _in_words(error: BaseException, options: Mapping[str, Any]) -> str:
    protocol, mechanism = options.get("security_protocol", "PLAINTEXT"), options.get("sasl_mechanism")
    user = options.get("sasl_plain_username")
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted ({error.verify_message}): name the authority that signed it in "
                "MQ_KAFKA_TLS_CA_FILE, and the server as its certificate does"
            )
        case ssl.SSLError():
            return f"TLS failed ({error.reason or error}): {_is_it(protocol)}, and does it want a certificate of ours?"
        case SaslAuthenticationFailed() | KafkaConnectionError() if mechanism == "OAUTHBEARER":
            return f"it did not take the token ({error}): check its issuer, its audience and MQ_KAFKA_OAUTH_SCOPE"
        case SaslAuthenticationFailed():
            return (
                f"user {user!r} was refused by {mechanism} ({error}): check MQ_KAFKA_SASL_USERNAME, "
                "MQ_KAFKA_SASL_PASSWORD and MQ_KAFKA_SASL_MECHANISM"
            )
        case UnsupportedSaslMechanismError() | IllegalSaslStateError():
            return f"it does not take {mechanism} with {protocol} ({error}): choose another MQ_KAFKA_SASL_MECHANISM"
        case TimeoutError():
            return f"no answer within {TRY_S:g} s: {_is_it(protocol)}?"
        case ConnectionRefusedError():
            return "nothing listens there: check MQ_KAFKA_BOOTSTRAP_SERVERS"
        case _:
            return f"{str(error) or type(error).__name__}: {_is_it(protocol)}?"


def _is_it(protocol: str) -> str:
    return f"is it a listener for {protocol} (MQ_KAFKA_SECURITY_PROTOCOL)"
