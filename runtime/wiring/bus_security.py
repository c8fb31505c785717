"""How one logs in to a bus, and what is encrypted on the way, as the settings say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from adapters.tls import Tls
from contracts.ports.secrets import Credential

if TYPE_CHECKING:
    from ssl import SSLContext

    from adapters.bus.kafka.security import Security
    from runtime.settings import Settings


def kafka_security(chosen: Settings, credential: Callable[[str], Credential]) -> Security:
    """`credential` looks a setting up by name."""
    from adapters.bus.kafka.oauth import Grant
    from adapters.bus.kafka.security import Security

    grant = None
    if chosen.mq_kafka_sasl_mechanism == "OAUTHBEARER" and chosen.mq_kafka_oauth_url is not None:
        grant = Grant(
            url=chosen.mq_kafka_oauth_url.reveal(),
            client_id=chosen.mq_kafka_oauth_client_id or "",
            client_secret=credential("mq_kafka_oauth_client_secret"),
            scope=chosen.mq_kafka_oauth_scope,
            tls=Tls(ca_file=chosen.mq_kafka_tls_ca_file),
        )
    return Security(
        protocol=chosen.mq_kafka_security_protocol,
        mechanism=chosen.mq_kafka_sasl_mechanism,
        username=chosen.mq_kafka_sasl_username or "",
        password=credential("mq_kafka_sasl_password"),
        grant=grant,
        tls=Tls(
            ca_file=chosen.mq_kafka_tls_ca_file,
            cert_file=chosen.mq_kafka_tls_cert_file,
            key_file=chosen.mq_kafka_tls_key_file,
            key_password=chosen.mq_kafka_tls_key_password,
        ),
    )


def redis_tls(chosen: Settings) -> SSLContext | None:
    """None leaves it to the URL."""
    tls = Tls(
        ca_file=chosen.mq_redis_stream_tls_ca_file,
        cert_file=chosen.mq_redis_stream_tls_cert_file,
        key_file=chosen.mq_redis_stream_tls_key_file,
    )
    return None if tls == Tls() else tls.context("Redis TLS")
