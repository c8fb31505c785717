"""A worker's adapters by settings alone: buses that want to know who we are, with passwords from where secrets are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contracts.errors import Unavailable
from contracts.message import Envelope
from runtime import security
from runtime.settings import load
from runtime.wiring import Adapters
from tests.adapters.test_redis_bus import documented_rights
from tests.kit import services
from tests.kit.redis_users import redis_user
from tests.kit.services.kafka_secured import PASSWORD, USER
from tests.kit.signed_tokens import CLIENT, SECRET, token_endpoint
from tests.kit.vault.admin import VaultAdmin

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def admin(vault: services.Running) -> Iterator[VaultAdmin]:
    made = VaultAdmin(vault.url)
    yield made
    made.close()


async def publishes(directory: Path, environ: Mapping[str, str]) -> None:
    """What the settings choose lets us in, and takes a message."""
    given = {"MILLRACE_SINGLE_HOST": "true", **environ}
    adapters = Adapters(load(overrides={}, environ=given, directory=directory))
    try:
        await adapters.open("bus")
        await adapters.bus.publish(Envelope(id=adapters.clock.new_id(), address="kit.by-settings", body=b"{}"))
        await adapters.bus.check()
        assert [way.exposed for way in security.in_force(adapters.settings) if way.part == "bus"] == [False]
    finally:
        await adapters.close()


def kafka_by(kafka: services.SecuredRunning, **more: str) -> dict[str, str]:
    return {
        "MILLRACE_MQ": "kafka",
        "MQ_KAFKA_BOOTSTRAP_SERVERS": kafka.urls["SASL_SSL"],
        "MQ_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "MQ_KAFKA_TLS_CA_FILE": str(kafka.authority.ca_file),
        **more,
    }


async def test_kafka_with_a_password_in_vault(
    secured_kafka: services.SecuredRunning, vault: services.Running, admin: VaultAdmin, tmp_path: Path
) -> None:
    admin.write("by-settings", {"kafka-password": PASSWORD})
    role_id, secret_id = admin.app_role("by-settings", admin.allow("by-settings", policy="by-settings"))
    environ = kafka_by(
        secured_kafka,
        MQ_KAFKA_SASL_USERNAME=USER,
        MQ_KAFKA_SASL_PASSWORD="secret:kafka-password",
        MILLRACE_SECRETS="vault",
        SECRETS_VAULT_URL=vault.url,
        SECRETS_VAULT_PATH="by-settings",
        SECRETS_VAULT_AUTH="approle",
        SECRETS_VAULT_ROLE_ID=role_id,
        SECRETS_VAULT_SECRET_ID=secret_id,
    )
    await publishes(tmp_path, environ)
    with pytest.raises(
        Unavailable, match=r"MQ_KAFKA_SASL_PASSWORD names what is not there: .*secret/by-settings in Vault"
    ):
        await publishes(tmp_path, {**environ, "MQ_KAFKA_SASL_PASSWORD": "secret:another"})


async def test_kafka_with_tokens(secured_kafka: services.SecuredRunning, tmp_path: Path) -> None:
    (tmp_path / "oauth-secret").write_text(f"{SECRET}\n")
    with token_endpoint(secured_kafka.signer, USER) as endpoint:
        environ = kafka_by(
            secured_kafka,
            MQ_KAFKA_SASL_MECHANISM="OAUTHBEARER",
            MQ_KAFKA_OAUTH_URL=endpoint.url,
            MQ_KAFKA_OAUTH_CLIENT_ID=CLIENT,
            MQ_KAFKA_OAUTH_CLIENT_SECRET="secret:oauth-secret",
            MQ_KAFKA_OAUTH_SCOPE="kafka",
            MILLRACE_SECRETS="file",
            SECRETS_FILE=str(tmp_path),
        )
        await publishes(tmp_path, environ)
        assert endpoint.asked == [{"grant_type": "client_credentials", "scope": "kafka"}], "one token for all clients"


async def test_redis_with_a_password_in_a_file(secured_redis: services.SecuredRedisRunning, tmp_path: Path) -> None:
    authority = secured_redis.authority
    async with redis_user(secured_redis, "~*", *documented_rights()) as url:
        parts = urlsplit(url)
        (tmp_path / "redis-password").write_text(parts.password or "")
        named = f"{parts.username}:secret:redis-password"
        await publishes(
            tmp_path,
            {
                "MILLRACE_MQ": "redis-stream",
                "MQ_REDIS_STREAM_URL": f"rediss://{named}@{parts.hostname}:{parts.port}/0",
                "MQ_REDIS_STREAM_TLS_CA_FILE": str(authority.ca_file),
                "MQ_REDIS_STREAM_TLS_CERT_FILE": str(authority.client_file("client")),
                "MILLRACE_SECRETS": "file",
                "SECRETS_FILE": str(tmp_path),
            },
        )
