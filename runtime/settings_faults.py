"""What is wrong with settings, in words: the key, where its value came from, what came, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from contracts.ports.secrets import Secret
from contracts.redaction import names_a_secret, without_secrets
from runtime.settings_sources import Given
from runtime.settings_types import Form, shown

if TYPE_CHECKING:
    from runtime.settings import Settings

_LONGEST = 80


def of_fields(
    error: ValidationError, fields: Mapping[str, FieldInfo], given: Mapping[str, Given], keys: Mapping[str, str]
) -> dict[str, str]:
    """A line for each faulty field, by field."""
    faults: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(fault["loc"][0])
        if name in faults:
            continue
        why = fault["msg"].removeprefix("Value error, ") if fault["type"] == "value_error" else ""
        faults[name] = _line(keys[name], fields[name], given[name], why)
    return faults


def _line(key: str, field: FieldInfo, given: Given, why: str) -> str:
    if _form(field).secret or names_a_secret(key):
        came = f"{key} ({given.source}, not shown) is wrong"
    else:
        text = without_secrets(str(given.value))
        came = f"{key} ({given.source}) is {text[:_LONGEST] + '…' if len(text) > _LONGEST else text!r}"
    hint = ""
    if options := _options(field):
        spelled = {option.lower(): option for option in options}
        near = difflib.get_close_matches(str(given.value).lower(), spelled, n=1)
        hint = f"did you mean {spelled[near[0]]}?" if near else ""
    default = shown(field.default)
    hint = hint or (f"leave it out for {default}" if default else "leave it out if you don't need it")
    return f"{came}{': ' + why if why else ''}; allowed is {allowed(field)}; {hint}"


def allowed(field: FieldInfo) -> str:
    """What a field takes, in words."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    if form := _form(field).text or str(extra.get("form", "")):
        return form
    if options := _options(field):
        return "one of " + ", ".join(options)
    types = {field.annotation, *get_args(field.annotation)}
    if bool in types:
        return "true or false"
    if Path in types:
        return "a path"
    bounds = {name: getattr(one, name) for one in field.metadata for name in ("ge", "le") if hasattr(one, name)}
    number = "a whole number" if int in types else "a number"
    return f"{number} from {bounds['ge']} to {bounds['le']} {extra.get('unit', '')}".rstrip()


def _form(field: FieldInfo) -> Form:
    return next((one for one in field.metadata if isinstance(one, Form)), Form(""))


def _options(field: FieldInfo) -> list[str]:
    for annotation in (field.annotation, *get_args(field.annotation)):
        if get_origin(annotation) is Literal:
            return [str(option) for option in get_args(annotation)]
    return []


def between_fields(settings: Settings, *, skip: Collection[str]) -> list[str]:
    """Faults of settings that are fine one by one; those about a field in `skip` wait until that one is right."""
    return [fault for about, fault in _between(settings) if not set(about) & set(skip)]


def _between(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    for choice, value, needed in _NEEDS:
        if getattr(settings, choice) == value:
            for name in needed:
                if not getattr(settings, name):
                    yield (choice, name), f"--{choice} {value} needs {name.upper()}: set it"
    outside = settings.db_postgres_url is not None and settings.db != "memory"
    if settings.mq != "memory" and not outside and not settings.single_host:
        yield (
            ("mq", "db", "db_postgres_url"),
            f"--mq {settings.mq} needs DB_POSTGRES_URL, with --db postgres or cassandra: workers on one bus share one "
            "ledger; set it, or MILLRACE_SINGLE_HOST=true when every worker runs on this host",
        )
    for bucket in ("fs_s3", "fs_minio"):
        keys = (f"{bucket}_access_key", f"{bucket}_secret_key")
        given = [name for name in keys if getattr(settings, name) is not None]
        if len(given) == 1:
            missing = next(name for name in keys if name not in given)
            yield keys, f"{given[0].upper()} is set without {missing.upper()}: set both, or neither"
    if settings.fs_s3_kms_key is not None and settings.fs_s3_sse in (None, "AES256"):
        yield ("fs_s3_kms_key", "fs_s3_sse"), "FS_S3_KMS_KEY needs FS_S3_SSE=aws:kms: set it, or leave the key out"
    yield from _of_cassandra(settings)
    yield from _of_kafka(settings)
    yield from _of_vault(settings)
    if _with_files(settings, "mq_redis_stream_tls") and not _encrypts(settings.mq_redis_stream_url):
        yield (
            ("mq_redis_stream_url", *_tls_files("mq_redis_stream_tls")),
            "MQ_REDIS_STREAM_TLS_… is given, and MQ_REDIS_STREAM_URL doesn't encrypt: use rediss://, or leave it out",
        )
    if settings.metrics == "prometheus" and settings.metrics_prometheus_port == settings.http_port:
        yield (
            ("metrics_prometheus_port", "http_port"),
            f"METRICS_PROMETHEUS_PORT and HTTP_PORT are both {settings.http_port}: HTTP serves /metrics anyway; leave "
            "METRICS_PROMETHEUS_PORT out, or choose another port",
        )


def _of_cassandra(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    login = ("db_cassandra_user", "db_cassandra_password")
    given = [name for name in login if getattr(settings, name)]
    if len(given) == 1:
        missing = next(name for name in login if name not in given)
        yield login, f"{given[0].upper()} is set without {missing.upper()}: set both, or neither"
    files = _with_files(settings, "db_cassandra_tls")
    if files and not settings.db_cassandra_tls:
        why = "is not used without TLS: set DB_CASSANDRA_TLS=true, or leave it out"
        yield ("db_cassandra_tls", *files), f"{files[0].upper()} {why}"


def _of_kafka(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is given and would not be used is a fault as well: who names a password means to be known."""
    protocol, mechanism = settings.mq_kafka_security_protocol, settings.mq_kafka_sasl_mechanism
    needed = _TOKEN if mechanism == "OAUTHBEARER" else _PASSWORD
    about = ("mq_kafka_security_protocol", "mq_kafka_sasl_mechanism")
    if protocol.startswith("SASL"):
        for name in needed:
            if not getattr(settings, name):
                yield (*about, name), f"{protocol} with {mechanism} needs {name.upper()}: set it"
    else:
        for name in (*_PASSWORD, *_TOKEN):
            if getattr(settings, name):
                yield (*about, name), f"{name.upper()} is not used with {protocol}: {_CHOOSE} SASL_SSL, or leave it out"
    files = _with_files(settings, "mq_kafka_tls")
    if files and not protocol.endswith("SSL"):
        wanted = "SASL_SSL" if protocol.startswith("SASL") else "SSL"
        yield (*about, *files), f"{files[0].upper()} is not used with {protocol}: {_CHOOSE} {wanted}, or leave it out"


def _of_vault(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    if settings.secrets != "vault":
        return
    way = settings.secrets_vault_auth
    about = ("secrets", "secrets_vault_auth")
    if way == "token" and not (settings.secrets_vault_token or settings.secrets_vault_token_file):
        names = ("secrets_vault_token", "secrets_vault_token_file")
        yield (*about, *names), "--secrets vault needs SECRETS_VAULT_TOKEN or SECRETS_VAULT_TOKEN_FILE: set one of them"
    for name in _VAULT_NEEDS.get(way, ()):
        if not getattr(settings, name):
            yield (*about, name), f"SECRETS_VAULT_AUTH {way} needs {name.upper()}: set it"


def _encrypts(url: Secret | None) -> bool:
    return url is not None and url.reveal().startswith("rediss://")


def _tls_files(prefix: str) -> tuple[str, ...]:
    return f"{prefix}_ca_file", f"{prefix}_cert_file", f"{prefix}_key_file"


def _with_files(settings: Settings, prefix: str) -> list[str]:
    return [name for name in _tls_files(prefix) if getattr(settings, name) is not None]


_VAULT_NEEDS = {
    "approle": ("secrets_vault_role_id", "secrets_vault_secret_id"),
    "kubernetes": ("secrets_vault_role",),
}
_CHOOSE = "set MQ_KAFKA_SECURITY_PROTOCOL to"
_PASSWORD = ("mq_kafka_sasl_username", "mq_kafka_sasl_password")
_TOKEN = ("mq_kafka_oauth_url", "mq_kafka_oauth_client_id", "mq_kafka_oauth_client_secret")
_NEEDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("db", "cassandra", ("db_cassandra_hosts", "db_cassandra_keyspace")),
    ("fs", "s3", ("fs_s3_bucket",)),
    ("fs", "minio", ("fs_s3_bucket", "fs_minio_endpoint")),
    ("cache", "redis", ("cache_redis_url",)),
    ("mq", "kafka", ("mq_kafka_bootstrap_servers",)),
    ("mq", "redis-stream", ("mq_redis_stream_url",)),
    ("secrets", "file", ("secrets_file",)),
    ("secrets", "vault", ("secrets_vault_url",)),
)
