"""Every setting, declared once: its key, type, bounds, default and what it is for.

What is given on the command line outranks the environment, which outranks `.env/<env>.env`, `.env/local.env` and the
default; `--env production` reads no file. A source that names a key with an empty value stands for the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from pydantic import Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from contracts.errors import Faults
from runtime import settings_faults as wrong
from runtime import settings_sources as sources
from runtime.settings_types import (
    BucketPrefix,
    CassandraConsistency,
    HostNames,
    Hosts,
    KafkaMechanism,
    KafkaProtocol,
    Key,
    LinkKey,
    LogLevel,
    Names,
    Origins,
    PostgresUrl,
    RedisUrl,
    VaultPath,
    WebUrl,
    shown,
)

Environment = Literal["local", "test", "staging", "production"]

CHOICES = ("db", "fs", "cache", "mq", "log", "metrics", "traces", "secrets", "env", "auto_migrate", "single_host")
"""Settings that are options of every command; their keys carry `MILLRACE_`, since `LOG` or `ENV` alone is anybody's."""


def _set(default: Any, what: str, *, unit: str = "", form: str = "", **bounds: Any) -> Any:
    return Field(default, description=what, json_schema_extra={"unit": unit, "form": form}, **bounds)


class Settings(BaseSettings):
    """One process's settings, checked whole; made by `load`. A secret shows in no repr and no listing."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )

    # Which implementation stands behind each port.
    env: Environment = _set("local", "The environment: selects the files of .env/.")
    db: Literal["postgres", "cassandra", "memory"] = _set(
        "postgres", "Database; without a URL postgres is embedded. Beside cassandra it keeps the ledger."
    )
    fs: Literal["local", "s3", "minio"] = _set("local", "Files.")
    cache: Literal["redis", "memory"] = _set("memory", "Cache.")
    mq: Literal["kafka", "redis-stream", "memory"] = _set("memory", "Bus.")
    log: Literal["json", "pretty"] | None = _set(None, "Log format; by default pretty on a terminal, else json.")
    metrics: Literal["prometheus", "memory", "noop"] = _set("prometheus", "Metrics.")
    traces: Literal["otlp", "noop"] = _set("noop", "Where traces go; otlp needs the extra `otlp`.")
    secrets: Literal["env", "file", "vault"] = _set("env", "Where secrets come from.")
    auto_migrate: bool = _set(True, "Apply pending migrations at start; by default on, except in production.")
    single_host: bool = _set(False, "Let a worker on Kafka or Redis keep its ledger in this host's own PostgreSQL.")

    # The process.
    modules: Names = _set((), "The modules to run; by default all.")
    millrace_home: Path = _set(Path(".millrace"), "What the embedded parts keep: database, files, health.")
    catalog_dir: Path = _set(Path("catalog"), "Where datasets and the like are declared.")
    drain_timeout_s: float = _set(
        30.0, "From the signal to stop to the cut of what still runs.", unit="s", ge=0, le=3600
    )
    worker_lease_s: float = _set(15.0, "A worker that is silent for so long has lost its jobs.", unit="s", ge=1, le=600)
    sync_threads: int = _set(
        16, "Handlers that are plain functions run in so many threads.", unit="threads", ge=1, le=1000
    )
    loop_stall_s: float = _set(
        1.0, "An event loop that stands still for so long is reported with its stack; 0 never.", unit="s", ge=0, le=600
    )
    outbox_max: int = _set(
        100_000, "More messages than that in the outbox pause the routes that emit.", unit="messages", ge=1, le=10**9
    )
    job_slots: int = _set(16, "Jobs that run side by side in one process.", unit="jobs", ge=1, le=1000)
    jobs_keep_days: int = _set(30, "Ended jobs are kept for so long.", unit="days", ge=1, le=3650)
    dead_letters_keep_days: int = _set(30, "Dead letters are kept for so long.", unit="days", ge=1, le=3650)
    health_file: Path | None = _set(None, "Status of a job process; by default health/PID.json in MILLRACE_HOME.")
    http_host: str = _set(
        "127.0.0.1",
        "Address that HTTP listens on.",
        form="a host name or an IP address",
        pattern=r"^[A-Za-z0-9._:%-]{1,255}$",
    )
    http_port: int = _set(8080, "Port that HTTP listens on; 0 picks a free one.", ge=0, le=65535)
    http_allowed_hosts: HostNames = _set((), "More names that this worker's HTTP answers to, such as a proxy's.")
    http_cors_origins: Origins = _set((), "Sites whose pages may read what modules answer, with an API key.")
    log_level: LogLevel = _set("info", "The lowest level that is logged.")
    metrics_prometheus_port: int | None = _set(None, "A port on which metrics are served too.", ge=1, le=65535)

    traces_otlp_endpoint: WebUrl = _set(
        None, "The collector that traces are sent to by OTLP over HTTP; by default http://127.0.0.1:4318."
    )
    traces_share: float = _set(1.0, "This share of the traces that begin here is kept.", ge=0, le=1)

    # What the implementations need.
    db_postgres_url: PostgresUrl = _set(None, "PostgreSQL; by default an embedded one.")
    db_pool_max: int = _set(10, "Connections to the database at most.", unit="connections", ge=2, le=1000)
    db_cassandra_hosts: Hosts = _set((), "Cassandra's contact points.")
    db_cassandra_keyspace: str | None = _set(
        None, "Cassandra's keyspace, which must be there.", form="a name", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,47}$"
    )
    db_cassandra_datacenter: str | None = _set(
        None, "The nearest data centre, whose nodes are asked; by default that of the contact points.", form="a name"
    )
    db_cassandra_user: str | None = _set(None, "Our name at Cassandra.", form="a name")
    db_cassandra_password: Key = _set(None, "Its password.")
    db_cassandra_tls: bool = _set(False, "Encrypt the way to Cassandra, and check whose certificate it has.")
    db_cassandra_tls_ca_file: Path | None = _set(
        None, "Authorities that its certificate may come from, as PEM; by default the machine's."
    )
    db_cassandra_tls_cert_file: Path | None = _set(None, "The certificate by which Cassandra knows us, as PEM.")
    db_cassandra_tls_key_file: Path | None = _set(None, "Its key, as PEM; by default in the certificate's file.")
    db_cassandra_tls_key_password: Key = _set(None, "The password of that key.")
    db_cassandra_consistency: CassandraConsistency = _set("LOCAL_QUORUM", "How many replicas a statement waits for.")
    db_cassandra_timeout_s: float = _set(
        10.0, "A request that is not answered for so long is given up.", unit="s", ge=0.1, le=600
    )
    db_cassandra_in_flight: int = _set(
        256, "Requests to Cassandra that wait for an answer at most.", unit="requests", ge=1, le=10_000
    )
    fs_local_root: Path = _set(Path(".millrace/files"), "Root of local files; by default files in MILLRACE_HOME.")
    fs_local_link_key: LinkKey = _set(None, "Signs links to local files, the same for all workers.")
    fs_local_url: WebUrl = _set(
        None, "Where those who get links to local files reach HTTP; by default HTTP_HOST and HTTP_PORT."
    )
    fs_s3_bucket: str | None = _set(
        None, "The bucket, on S3 and MinIO.", form="a bucket's name", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
    )
    fs_s3_region: str | None = _set(
        None, "The bucket's region.", form="a region such as eu-central-1", pattern=r"^[a-z0-9-]{1,32}$"
    )
    fs_s3_prefix: BucketPrefix = _set("", "Files lie beneath this in the bucket.")
    fs_s3_endpoint: WebUrl = _set(None, "An S3 that is not AWS's; with --fs minio FS_MINIO_ENDPOINT says it.")
    fs_s3_access_key: Key = _set(
        None, "The access key; by default the usual chain: environment, profile, web identity, container, instance."
    )
    fs_s3_secret_key: Key = _set(None, "The secret key of the access key.")
    fs_s3_path_style: bool = _set(
        False, "The bucket in the path instead of the host's name; always so with --fs minio."
    )
    fs_s3_sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = _set(
        None, "Encryption that the server is asked for; by default what the bucket does by itself."
    )
    fs_s3_kms_key: str | None = _set(
        None, "The KMS key to encrypt with.", form="a key's id, alias or ARN", pattern=r"^[A-Za-z0-9:/_-]{1,200}$"
    )
    fs_s3_timeout_s: float = _set(
        20.0, "An attempt in which nothing comes for so long is given up.", unit="s", ge=0.1, le=600
    )
    fs_s3_attempts: int = _set(4, "Attempts of each call to S3.", unit="attempts", ge=1, le=20)
    fs_minio_endpoint: WebUrl = _set(None, "MinIO's address.")
    fs_minio_access_key: Key = _set(None, "MinIO's access key; by default FS_S3_ACCESS_KEY.")
    fs_minio_secret_key: Key = _set(None, "MinIO's secret key; by default FS_S3_SECRET_KEY.")
    cache_redis_url: RedisUrl = _set(
        None, "The cache's Redis; rediss:// for TLS, with ?ssl_ca_certs=PATH for an authority of your own."
    )
    cache_redis_prefix: str = _set(
        "millrace:", "What the cache's keys in Redis begin with.", form="text", pattern=r"^[\x21-\x7e]{1,100}$"
    )
    cache_redis_timeout_s: float = _set(
        1.0, "A Redis that does not answer for so long is down, and is gone on without.", unit="s", ge=0.01, le=30
    )
    cache_memory_entries: int = _set(100_000, "Entries that the memory cache keeps.", unit="entries", ge=1, le=10**8)
    cache_memory_bytes: int = _set(64 << 20, "Bytes that the memory cache keeps.", unit="bytes", ge=1024, le=1 << 40)
    mq_kafka_bootstrap_servers: Hosts = _set((), "Kafka's bootstrap servers.")
    mq_kafka_security_protocol: KafkaProtocol = _set(
        "PLAINTEXT", "How Kafka's listener is spoken to: SSL encrypts, SASL says who we are."
    )
    mq_kafka_sasl_mechanism: KafkaMechanism = _set("SCRAM-SHA-512", "How Kafka is told who we are.")
    mq_kafka_sasl_username: str | None = _set(None, "Our name at Kafka, for PLAIN and SCRAM.", form="a name")
    mq_kafka_sasl_password: Key = _set(None, "Its password.")
    mq_kafka_oauth_url: WebUrl = _set(None, "The token endpoint for OAUTHBEARER (client-credentials grant).")
    mq_kafka_oauth_client_id: str | None = _set(None, "Our name at the token endpoint.", form="a name")
    mq_kafka_oauth_client_secret: Key = _set(None, "The secret of that name.")
    mq_kafka_oauth_scope: str = _set("", "The scope that tokens are asked for.", form="words with spaces between them")
    mq_kafka_tls_ca_file: Path | None = _set(
        None, "Authorities that Kafka's certificate may come from, as PEM; by default the machine's."
    )
    mq_kafka_tls_cert_file: Path | None = _set(None, "The certificate by which Kafka knows us, as PEM.")
    mq_kafka_tls_key_file: Path | None = _set(None, "Its key, as PEM; by default in the certificate's file.")
    mq_kafka_tls_key_password: Key = _set(None, "The password of that key.")
    mq_redis_stream_url: RedisUrl = _set(None, "The Redis whose streams are the bus; rediss:// encrypts.")
    mq_redis_stream_tls_ca_file: Path | None = _set(
        None, "Authorities that its certificate may come from, as PEM; by default the machine's."
    )
    mq_redis_stream_tls_cert_file: Path | None = _set(None, "The certificate by which it knows us, as PEM.")
    mq_redis_stream_tls_key_file: Path | None = _set(
        None, "The key of that certificate, as PEM; by default in the certificate's file."
    )
    mq_member: str = _set(
        "",
        "A name that this process keeps over restarts, such as its pod's: coming back in time moves no partition.",
        form="a name",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
    )
    mq_session_s: float = _set(
        10.0, "A worker that is silent for so long loses its partitions.", unit="s", ge=1, le=300
    )
    mq_revoke_wait_s: float = _set(
        10.0, "What runs on a partition that moves to another worker may go on for so long.", unit="s", ge=0, le=300
    )
    flags_file: Path | None = _set(None, "A YAML file with flags of modules, as in `orders.fast_path: true`.")
    secrets_file: Path | None = _set(None, "For --secrets file: a dotenv file, or a directory with a file per secret.")
    secrets_vault_url: WebUrl = _set(None, "Vault's address.")
    secrets_vault_namespace: str = _set("", "Vault's namespace.", form="a name or a path")
    secrets_vault_mount: VaultPath = _set("secret", "Where the key-value engine (version 2) is mounted.")
    secrets_vault_path: VaultPath = _set("millrace", "The secret below it in which keys are looked for.")
    secrets_vault_auth: Literal["token", "approle", "kubernetes"] = _set("token", "How Vault learns who we are.")
    secrets_vault_auth_mount: VaultPath = _set("", "Where that way is mounted; by default under its own name.")
    secrets_vault_token: Key = _set(None, "A token for Vault.")
    secrets_vault_token_file: Path | None = _set(None, "A file with a token, such as Vault Agent keeps.")
    secrets_vault_role_id: str | None = _set(None, "The id of an AppRole.", form="text")
    secrets_vault_secret_id: Key = _set(None, "A secret id of that AppRole.")
    secrets_vault_role: str | None = _set(None, "A role of Vault's Kubernetes method.", form="a name")
    secrets_vault_ca_file: Path | None = _set(
        None, "Authorities that Vault's certificate may come from, as PEM; by default the machine's."
    )
    secrets_refresh_s: float = _set(
        30.0, "What was read in Vault is read again after so long.", unit="s", ge=1, le=86_400
    )
    secrets_keep_s: float = _set(
        3600.0, "While Vault is down, what was read before is used for so long.", unit="s", ge=0, le=7 * 86_400
    )

    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _environ: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library calls it by these names
        init_settings: PydanticBaseSettingsSource,
        **_others: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` gathered: it knows where each value came from."""
        return (init_settings,)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd and keeps nothing from starting, a line each."""
        return self._warnings

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment over the files of `.env/`, whole: what secrets are looked up in. Don't print it."""
        return self._environ

    def explain(self) -> list[Explained]:
        """Every setting with its effective value, redacted, and where that came from."""
        return [
            Explained(key=key, value=shown(getattr(self, name)), source=self._sources.get(name, "default"))
            for name, key in KEYS.items()
        ]


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `millrace config show`."""

    key: str
    value: str
    source: str


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A setting as documents show it."""

    key: str
    default: str
    allowed: str
    description: str


def key_of(name: str) -> str:
    """The environment variable of a field."""
    return f"MILLRACE_{name.upper()}" if name in CHOICES else name.upper()


KEYS: Mapping[str, str] = {name: key_of(name) for name in Settings.model_fields}
"""The key of each field, in their order."""

_PATHS = [
    name for name, field in Settings.model_fields.items() if Path in (field.annotation, *get_args(field.annotation))
]


def load(*, overrides: Mapping[str, object], environ: Mapping[str, str], directory: Path) -> Settings:
    """The settings from these sources and nothing else; raises `Faults` with everything that is wrong.

    `overrides` is by field (`mq`) or key (`HTTP_PORT`). Relative paths are taken from `directory`, in which `.env/`
    is looked for.
    """
    gathered = sources.gather(overrides=overrides, environ=environ, directory=directory, keys=KEYS)
    given = {name: one.value for name, one in gathered.given.items()}
    values = given | _placed(given, environ, directory)
    faulty: dict[str, str] = {}
    try:
        loaded = Settings.model_validate(values)
    except ValidationError as error:
        faulty = wrong.of_fields(error, Settings.model_fields, gathered.given, KEYS)
        loaded = Settings.model_validate({name: value for name, value in values.items() if name not in faulty})
    faults = [*gathered.faults, *faulty.values(), *wrong.between_fields(loaded, skip=faulty.keys())]
    if faults:
        raise Faults("settings", faults) from None
    loaded._sources = {name: one.source for name, one in gathered.given.items()}
    loaded._warnings = tuple(gathered.warnings)
    loaded._environ = gathered.environ
    return loaded


def _placed(given: Mapping[str, object], environ: Mapping[str, str], directory: Path) -> dict[str, object]:
    """Every path made absolute, and the defaults that follow from other settings."""
    home_directory = environ.get("HOME")

    def placed(path: Any) -> Path | object:
        text = str(path)
        if home_directory and (text == "~" or text.startswith("~/")):
            text = home_directory + text[1:]
        return directory / text

    values: dict[str, object] = {}
    for name in _PATHS:
        if (path := given.get(name, Settings.model_fields[name].default)) is not None:
            values[name] = placed(path)
    if "fs_local_root" not in given:
        values["fs_local_root"] = Path(str(values["millrace_home"])) / "files"
    if "auto_migrate" not in given:
        values["auto_migrate"] = given.get("env") != "production"
    return values


def described() -> list[Described]:
    """All settings, for documents; a test compares them."""
    return [
        Described(
            key=KEYS[name],
            default=shown(field.default),
            allowed=wrong.allowed(field),
            description=field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
