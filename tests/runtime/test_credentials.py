"""Settings that name secrets: what is looked up, when, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from adapters.database.postgres import PostgresDb
from adapters.secrets.env import EnvSecrets
from contracts.errors import Faults, Unavailable
from contracts.ports.secrets import Secret
from runtime import credentials, security
from runtime.settings import Settings, load
from runtime.wiring import Adapters
from tests.kit.databases import LIMITS, opened

pytestmark = pytest.mark.anyio

KAFKA = {"MILLRACE_MQ": "kafka", "MQ_KAFKA_BOOTSTRAP_SERVERS": "kafka.test:9092", "MILLRACE_SINGLE_HOST": "true"}
SCRAM = {
    **KAFKA,
    "MQ_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "MQ_KAFKA_SASL_USERNAME": "app",
    "MQ_KAFKA_SASL_PASSWORD": "secret:kafka-password",
}


def loaded(directory: Path, environ: Mapping[str, str]) -> Settings:
    return load(overrides={}, environ=environ, directory=directory)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("secret:db-password", "db-password"),
        ("secret:apps/db#password", "apps/db#password"),
        ("postgresql://app:secret:db-password@db:5432/orders", "db-password"),
        ("postgresql://app:secret:apps%2Fdb%23password@db:5432/orders", "apps/db#password"),
        ("redis://:secret:cache@redis:6379/0", "cache"),
        ("postgresql://app:geheim@db/orders", ""),
        ("postgresql://db/orders", ""),
        ("geheim", ""),
        ("", ""),
    ],
)
def test_names_are_found(text: str, name: str) -> None:
    assert credentials.name_in(Secret(text)) == name


async def test_what_is_named_is_looked_up_each_time() -> None:
    environ = {"DB_PASSWORD": "first"}
    secrets = EnvSecrets(environ)
    url, password = credentials.password_in(
        Secret("postgresql://app:secret:db-password@db:5432/orders?sslmode=require"),
        lambda: secrets,
        key="DB_POSTGRES_URL",
    )
    assert url == "postgresql://app@db:5432/orders?sslmode=require"
    assert password is not None
    assert (await password()).reveal() == "first"
    environ["DB_PASSWORD"] = "second"
    assert (await password()).reveal() == "second"
    del environ["DB_PASSWORD"]
    with pytest.raises(Unavailable, match=r"DB_POSTGRES_URL names what is not there: .*'db-password'.*DB_PASSWORD"):
        await password()


async def test_a_url_that_holds_its_password_stays_as_it_is() -> None:
    written = Secret("postgresql://app:geheim@db/orders")
    assert credentials.password_in(written, lambda: EnvSecrets({}), key="X") == (written.reveal(), None)
    held = credentials.credential_of(Secret("geheim"), lambda: EnvSecrets({}), key="X")
    assert (await held()).reveal() == "geheim"


async def test_the_database_is_entered_by_a_password_from_the_secrets(empty_database_url: str, db: PostgresDb) -> None:
    """A role whose password is exchanged while a pool is open: the next connection has the new one."""
    environ = {"PG_PASSWORD": "first"}
    name = "kit_rotating"
    await db.execute(f"drop role if exists {name}")
    await db.execute(f"create role {name} login password 'first'")
    parts = urlsplit(empty_database_url)
    place = parts.netloc.rpartition("@")[2]
    url = Secret(parts._replace(netloc=f"{name}:secret:pg-password@{place}").geturl())
    left, password = credentials.password_in(url, lambda: EnvSecrets(environ), key="DB_POSTGRES_URL")
    try:
        async with opened(PostgresDb(left, password=password, limits=LIMITS)) as rotating:
            assert await rotating.fetch_value("select current_user") == name
            await db.execute(f"alter role {name} password 'second'")
            environ["PG_PASSWORD"] = "second"
            async with rotating.connect(name="another") as another:
                assert await another.fetch_value("select current_user") == name
            environ["PG_PASSWORD"] = "wrong"
            with pytest.raises(Unavailable, match="password") as raised:
                async with rotating.connect(name="one more"):
                    pass
            assert "wrong" not in str(raised.value).replace("wrong password", "")
    finally:
        await db.execute(f"drop role {name}")


async def test_secrets_are_opened_before_who_needs_them(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {**SCRAM, "KAFKA_PASSWORD": "geheim"})
    assert credentials.named(settings) == {"MQ_KAFKA_SASL_PASSWORD": "kafka-password"}
    adapters = Adapters(settings)
    await adapters.open("files")
    assert list(adapters.opened) == ["secrets", "files"]
    await adapters.close()


def test_what_is_named_is_shown_and_what_is_held_is_not(tmp_path: Path) -> None:
    shown = {one.key: one.value for one in loaded(tmp_path, SCRAM).explain()}
    assert shown["MQ_KAFKA_SASL_PASSWORD"] == "secret:kafka-password"
    held = {one.key: one.value for one in loaded(tmp_path, {**SCRAM, "MQ_KAFKA_SASL_PASSWORD": "geheim"}).explain()}
    assert held["MQ_KAFKA_SASL_PASSWORD"] == "***"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({**SCRAM, "MQ_KAFKA_SASL_PASSWORD": ""}, ["SASL_SSL with SCRAM-SHA-512 needs MQ_KAFKA_SASL_PASSWORD: set it"]),
        (
            {**SCRAM, "MQ_KAFKA_SASL_MECHANISM": "oauthbearer"},
            [f"SASL_SSL with OAUTHBEARER needs MQ_KAFKA_OAUTH_{one}" for one in ("URL", "CLIENT_ID", "CLIENT_SECRET")],
        ),
        ({**SCRAM, "MQ_KAFKA_SECURITY_PROTOCOL": "SSL"}, ["MQ_KAFKA_SASL_USERNAME is not used with SSL"] * 1),
        ({**SCRAM, "MQ_KAFKA_SASL_MECHANISM": "GSSAPI"}, ["MQ_KAFKA_SASL_MECHANISM (environment) is 'GSSAPI'"]),
        ({**KAFKA, "MQ_KAFKA_TLS_CA_FILE": "/ca.pem"}, ["MQ_KAFKA_TLS_CA_FILE is not used with PLAINTEXT"]),
        (
            {"MQ_REDIS_STREAM_URL": "redis://r:6379/0", "MQ_REDIS_STREAM_TLS_CA_FILE": "/ca.pem"},
            ["MQ_REDIS_STREAM_URL doesn't encrypt: use rediss://"],
        ),
        ({"DB_POSTGRES_URL": "secret:url"}, ["postgresql://USER:secret:NAME@HOST"]),
        ({"MILLRACE_SECRETS": "vault"}, ["--secrets vault needs SECRETS_VAULT_URL", "SECRETS_VAULT_TOKEN_FILE"]),
        (
            {"MILLRACE_SECRETS": "vault", "SECRETS_VAULT_URL": "https://vault", "SECRETS_VAULT_AUTH": "approle"},
            ["SECRETS_VAULT_AUTH approle needs SECRETS_VAULT_ROLE_ID", "needs SECRETS_VAULT_SECRET_ID"],
        ),
        ({"SECRETS_VAULT_PATH": "../sys"}, ["SECRETS_VAULT_PATH (environment, not shown) is wrong"]),
    ],
)
def test_what_does_not_fit_together_is_told_at_once(tmp_path: Path, environ: dict[str, str], told: list[str]) -> None:
    with pytest.raises(Faults) as raised:
        loaded(tmp_path, environ)
    for line in told:
        assert line in str(raised.value)


VAULT = {
    "MILLRACE_SECRETS": "vault",
    "SECRETS_VAULT_URL": "http://vault.test:8200",
    "SECRETS_VAULT_TOKEN": "geheim",
    "SECRETS_VAULT_NAMESPACE": "team-a",
}


@pytest.mark.parametrize(
    ("environ", "lines"),
    [
        (KAFKA, [("bus", "PLAINTEXT, not encrypted, as nobody", True)]),
        (
            SCRAM,
            [("bus", "SASL_SSL, encrypted, SCRAM-SHA-512 as app, its password from the secret kafka-password", False)],
        ),
        (
            {**KAFKA, "MQ_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092,[::1]:9092"},
            [("bus", "PLAINTEXT, not encrypted, as nobody", False)],
        ),
        (
            {"DB_POSTGRES_URL": "postgresql://app:geheim@db/orders"},
            [
                (
                    "db",
                    "postgresql, not encrypted, as app, its password from the settings, sslmode=prefer, "
                    "encrypted only if the server offers it",
                    True,
                )
            ],
        ),
        (
            {"DB_POSTGRES_URL": "postgresql://app:secret:pg@db/orders?sslmode=verify-full"},
            [("db", "postgresql, encrypted, as app, its password from the secret pg, sslmode=verify-full", False)],
        ),
        (
            {
                "MILLRACE_DB": "cassandra",
                "DB_CASSANDRA_HOSTS": "c1:9042,c2:9042",
                "DB_CASSANDRA_KEYSPACE": "shop",
                "DB_CASSANDRA_USER": "shop",
                "DB_CASSANDRA_PASSWORD": "geheim",
            },
            [("statements", "cassandra, not encrypted, as shop, its password from the settings", True)],
        ),
        (
            {
                "MILLRACE_DB": "cassandra",
                "DB_CASSANDRA_HOSTS": "c1:9042",
                "DB_CASSANDRA_KEYSPACE": "shop",
                "DB_CASSANDRA_TLS": "true",
                "DB_CASSANDRA_TLS_CA_FILE": "/ca.pem",
            },
            [("statements", "cassandra, encrypted, as nobody, authorities in /ca.pem", False)],
        ),
        (VAULT, [("secrets", "http, not encrypted, logged in by token, namespace team-a", True)]),
        ({}, []),
    ],
)
def test_the_security_in_force_is_told(tmp_path: Path, environ: dict[str, str], lines: list[Any]) -> None:
    found = list(security.in_force(loaded(tmp_path, environ)))
    assert [(way.part, way.text, way.exposed) for way in found] == lines
    assert "geheim" not in repr(found)
