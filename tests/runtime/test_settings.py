from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from contracts.errors import Faults
from contracts.ports.secrets import Secret
from runtime import settings as module
from runtime.settings import KEYS, Settings, described, key_of, load

SPECIFIED = {
    *("DB_POSTGRES_URL", "DB_CASSANDRA_HOSTS", "DB_CASSANDRA_KEYSPACE", "FS_LOCAL_ROOT", "FS_S3_BUCKET"),
    *("FS_S3_REGION", "FS_MINIO_ENDPOINT", "FS_MINIO_ACCESS_KEY", "FS_MINIO_SECRET_KEY", "CACHE_REDIS_URL"),
    *("MQ_KAFKA_BOOTSTRAP_SERVERS", "MQ_REDIS_STREAM_URL", "LOG_LEVEL", "METRICS_PROMETHEUS_PORT"),
}


def loaded(
    directory: Path, environ: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """Settings from these sources, the files being those of `.env/`."""
    for name, text in (files or {}).items():
        (directory / ".env").mkdir(exist_ok=True)
        (directory / ".env" / f"{name}.env").write_text(text, encoding="utf-8")
    return load(overrides=overrides, environ=environ or {}, directory=directory)


def faults_of(directory: Path, environ: Mapping[str, str] | None = None, **more: Any) -> list[str]:
    with pytest.raises(Faults) as caught:
        loaded(directory, environ, **more)
    return caught.value.faults


def source_of(settings: Settings, key: str) -> str:
    return next(one.source for one in settings.explain() if one.key == key)


def value_of(settings: Settings, key: str) -> str:
    return next(one.value for one in settings.explain() if one.key == key)


def test_defaults(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    assert (found.env, found.db, found.fs, found.cache, found.mq) == ("local", "postgres", "local", "memory", "memory")
    assert (found.log, found.metrics, found.secrets, found.auto_migrate) == (None, "prometheus", "env", True)
    assert (found.http_host, found.http_port, found.drain_timeout_s) == ("127.0.0.1", 8080, 30)
    assert found.millrace_home == tmp_path / ".millrace"
    assert found.fs_local_root == tmp_path / ".millrace" / "files"
    assert found.catalog_dir == tmp_path / "catalog"
    assert found.db_postgres_url is None
    assert found.warnings == ()
    assert {one.source for one in found.explain()} == {"default"}


def test_the_keys_are_those_of_the_specification(tmp_path: Path) -> None:
    assert set(KEYS.values()) >= SPECIFIED
    assert [one.key for one in loaded(tmp_path).explain()] == list(KEYS.values())
    assert [one.key for one in described()] == list(KEYS.values())
    assert all(one.description.endswith(".") and one.allowed for one in described())
    assert key_of("mq") == "MILLRACE_MQ"


# Precedence.

PORTS = st.none() | st.integers(1, 65535)


@given(override=PORTS, environment=PORTS, of_env=PORTS, local=PORTS)
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_highest_source_wins(
    tmp_path: Path, override: int | None, environment: int | None, of_env: int | None, local: int | None
) -> None:
    def line(port: int | None) -> str:
        return f"HTTP_PORT={port}\n" if port is not None else ""

    found = loaded(
        tmp_path,
        {"HTTP_PORT": str(environment)} if environment is not None else {},
        {"staging": line(of_env), "local": line(local)},
        env="staging",
        **({"http_port": override} if override is not None else {}),
    )
    ranked = [
        (override, "command line"),
        (environment, "environment"),
        (of_env, ".env/staging.env:1"),
        (local, ".env/local.env:1"),
        (8080, "default"),
    ]
    expected = next((value, source) for value, source in ranked if value is not None)
    assert (found.http_port, source_of(found, "HTTP_PORT")) == expected


def test_the_environment_is_chosen_by_option_then_by_variable(tmp_path: Path) -> None:
    files = {"local": "LOG_LEVEL=debug", "test": "LOG_LEVEL=warn", "staging": "LOG_LEVEL=error"}
    assert loaded(tmp_path, {}, files).log_level == "debug"
    assert loaded(tmp_path, {"MILLRACE_ENV": "test"}, files).log_level == "warn"
    chosen = loaded(tmp_path, {"MILLRACE_ENV": "test"}, files, env="staging")
    assert (chosen.log_level, chosen.env) == ("error", "staging")
    assert source_of(chosen, "MILLRACE_ENV") == "command line, --env"


def test_production_reads_no_file(tmp_path: Path) -> None:
    files = {"local": "HTTP_PORT=1", "production": "HTTP_PORT=2\nnot a setting\n"}
    found = loaded(tmp_path, {"MILLRACE_ENV": "production"}, files)
    assert found.http_port == 8080
    assert found.environ == {"MILLRACE_ENV": "production"}


@pytest.mark.parametrize(
    ("environ", "override", "expected"),
    [
        ({}, {}, True),
        ({"MILLRACE_ENV": "staging"}, {}, True),
        ({"MILLRACE_ENV": "production"}, {}, False),
        ({"MILLRACE_ENV": "production", "MILLRACE_AUTO_MIGRATE": "true"}, {}, True),
        ({"MILLRACE_ENV": "production", "MILLRACE_AUTO_MIGRATE": "true"}, {"auto_migrate": False}, False),
        ({"MILLRACE_AUTO_MIGRATE": "no"}, {}, False),
    ],
)
def test_auto_migrate_is_on_except_in_production(
    tmp_path: Path, environ: dict[str, str], override: dict[str, Any], expected: bool
) -> None:
    (tmp_path / ".env").mkdir()
    (tmp_path / ".env" / "staging.env").touch()
    assert loaded(tmp_path, environ, **override).auto_migrate is expected


def test_an_empty_value_brings_the_default_back(tmp_path: Path) -> None:
    files = {"local": "HTTP_PORT=9000\nMODULES=a\n"}
    found = loaded(tmp_path, {"HTTP_PORT": "", "MODULES": "  "}, files)
    assert (found.http_port, found.modules) == (8080, ())
    assert source_of(found, "HTTP_PORT") == "default"


# Values.


def test_values_are_read_by_their_type(tmp_path: Path) -> None:
    environ = {
        "MODULES": "batch_etl, api_gateway,,",
        "MQ_KAFKA_BOOTSTRAP_SERVERS": "kafka-0:9092,[::1]:9093",
        "DRAIN_TIMEOUT_S": "2.5",
        "LOG_LEVEL": "WARNING",
        "HTTP_PORT": "0",
        "MILLRACE_LOG": "json",
        "MILLRACE_SINGLE_HOST": "1",
        "CATALOG_DIR": "/elsewhere/catalog",
        "MILLRACE_HOME": "~/state",
        "HOME": "/home/me",
        "DB_CASSANDRA_KEYSPACE": "Platform",
    }
    found = loaded(tmp_path, environ)
    assert found.modules == ("batch_etl", "api_gateway")
    assert found.mq_kafka_bootstrap_servers == ("kafka-0:9092", "[::1]:9093")
    assert (found.drain_timeout_s, found.log_level, found.http_port, found.log) == (2.5, "warn", 0, "json")
    assert found.single_host is True
    assert found.catalog_dir == Path("/elsewhere/catalog")
    assert found.fs_local_root == Path("/home/me/state/files")
    assert value_of(found, "MODULES") == "batch_etl,api_gateway"


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        loaded(tmp_path).http_port = 1


SECRET_ENVIRON = {
    "DB_POSTGRES_URL": "postgresql://me:hunter2@db:5432/millrace?password=hunter2&application_name=x",
    "CACHE_REDIS_URL": "redis://:hunter2@cache:6379/0",
    "MQ_REDIS_STREAM_URL": "rediss://me:hunter2@mq:6380/1",
    "FS_MINIO_ENDPOINT": "http://me:hunter2@minio:9000",
    "FS_MINIO_ACCESS_KEY": "hunter2",
    "FS_MINIO_SECRET_KEY": "hunter2",
    "FS_S3_ACCESS_KEY": "hunter2",
    "FS_S3_SECRET_KEY": "hunter2",
    "FS_LOCAL_LINK_KEY": "hunter2" * 5,
    "HTTP_TOKEN": "hunter2",
}


def test_secrets_show_nowhere(tmp_path: Path) -> None:
    found = loaded(tmp_path, SECRET_ENVIRON)
    assert found.db_postgres_url is not None
    assert found.db_postgres_url.reveal() == SECRET_ENVIRON["DB_POSTGRES_URL"]
    assert isinstance(found.fs_minio_secret_key, Secret)
    for text in (repr(found), str(found), str(found.explain()), str(found.model_dump()), str(found.__dict__)):
        assert "hunter2" not in text
    assert value_of(found, "CACHE_REDIS_URL") == "redis://:***@cache:6379/0"
    assert value_of(found, "DB_POSTGRES_URL") == (
        "postgresql://me:***@db:5432/millrace?password=***&application_name=x"
    )
    assert value_of(found, "FS_MINIO_SECRET_KEY") == "***"
    assert found.environ["HTTP_TOKEN"] == "hunter2", "secrets from the environment are looked up there"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DB_POSTGRES_URL", "mysql://me:hunter2@db/x"),
        ("DB_POSTGRES_URL", "hunter2"),
        ("DB_POSTGRES_URL", "hunter2:x"),
        ("DB_POSTGRES_URL", "postgresql://me:hunter2@db:port/x"),
        ("DB_POSTGRES_URL", "postgresql://me:hunter2@db:99999/x"),
        ("FS_LOCAL_LINK_KEY", "hunter2"),
        ("CACHE_REDIS_URL", "redis://:hunter2@"),
        ("CACHE_REDIS_URL", "redis://[hunter2"),
        ("FS_MINIO_ENDPOINT", "minio:9000/hunter2"),
        ("MQ_KAFKA_BOOTSTRAP_SERVERS", "kafka://me:hunter2@h:1"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "file", "override"])
def test_a_faulty_secret_is_not_shown_either(tmp_path: Path, key: str, value: str, where: str) -> None:
    if where == "file":
        (fault,) = faults_of(tmp_path, files={"local": f'{key}="{value}"\n'})
    elif where == "environment":
        (fault,) = faults_of(tmp_path, {key: value})
    else:
        given: dict[str, Any] = {key: value}
        (fault,) = faults_of(tmp_path, **given)
    assert fault.startswith(f"{key} (")
    assert "hunter2" not in fault


# Faults.


def test_all_faults_are_told_at_once_each_with_its_origin(tmp_path: Path) -> None:
    found = faults_of(
        tmp_path,
        {
            "HTTP_PORT": "99999",
            "DB_POOL_MAX": "many",
            "MILLRACE_AUTO_MIGRATE": "perhaps",
            "MILLRACE_LOG": "jsn",
            "DRAIN_TIMEOUT_S": "nan",
            "MODULES": "a,B c",
            "DB_POSTGRES_URL": "mysql://me:hunter2@db/x",
        },
        files={"local": "# ports\n\nMETRICS_PROMETHEUS_PORT=0\nFS_S3_BUCKET='X'\nnonsense\n"},
        mq="kafak",
        db="cassandra",
    )
    assert found == [
        ".env/local.env:5 is not KEY=value; a line that is no setting starts with #",
        "MILLRACE_MQ (command line, --mq) is 'kafak'; allowed is one of kafka, redis-stream, memory; "
        "did you mean kafka?",
        "MILLRACE_LOG (environment) is 'jsn'; allowed is one of json, pretty; did you mean json?",
        "MILLRACE_AUTO_MIGRATE (environment) is 'perhaps'; allowed is true or false; leave it out for true",
        "MODULES (environment) is 'a,B c': 'B c' can't be the name of a module; allowed is names with commas between "
        "them; leave it out if you don't need it",
        "DRAIN_TIMEOUT_S (environment) is 'nan'; allowed is a number from 0 to 3600 s; leave it out for 30",
        "HTTP_PORT (environment) is '99999'; allowed is a whole number from 0 to 65535; leave it out for 8080",
        "METRICS_PROMETHEUS_PORT (.env/local.env:3) is '0'; allowed is a whole number from 1 to 65535; leave it out if "
        "you don't need it",
        "DB_POSTGRES_URL (environment, not shown) is wrong: its scheme is 'mysql'; allowed is a URL such as "
        "postgresql://USER:PASSWORD@HOST:5432/DATABASE; leave it out if you don't need it",
        "DB_POOL_MAX (environment) is 'many'; allowed is a whole number from 2 to 1000 connections; leave it out "
        "for 10",
        "FS_S3_BUCKET (.env/local.env:4) is 'X'; allowed is a bucket's name; leave it out if you don't need it",
        "--db cassandra needs DB_CASSANDRA_HOSTS: set it",
        "--db cassandra needs DB_CASSANDRA_KEYSPACE: set it",
    ]


@pytest.mark.parametrize("name", ["http_port", "HTTP_PORT"])
def test_overrides_are_named_by_field_or_by_key(tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = {name: 1234}
    assert loaded(tmp_path, **given).http_port == 1234
    (fault,) = faults_of(tmp_path, http_prt=1)
    assert fault == "http_prt was given and is no setting; did you mean HTTP_PORT?"


URL = {"DB_POSTGRES_URL": "postgresql://db/x"}
KAFKA = {"MQ_KAFKA_BOOTSTRAP_SERVERS": "k:9092"}


@pytest.mark.parametrize(
    ("environ", "overrides", "expected"),
    [
        (KAFKA, {"mq": "kafka"}, "--mq kafka needs DB_POSTGRES_URL"),
        ({**KAFKA, **URL}, {"mq": "kafka", "db": "memory"}, "--mq kafka needs DB_POSTGRES_URL"),
        (URL, {"mq": "kafka"}, "--mq kafka needs MQ_KAFKA_BOOTSTRAP_SERVERS"),
        (URL, {"mq": "redis-stream"}, "--mq redis-stream needs MQ_REDIS_STREAM_URL"),
        ({}, {"cache": "redis"}, "--cache redis needs CACHE_REDIS_URL"),
        ({}, {"fs": "s3"}, "--fs s3 needs FS_S3_BUCKET"),
        ({"FS_S3_BUCKET": "lake"}, {"fs": "minio"}, "--fs minio needs FS_MINIO_ENDPOINT"),
        ({"FS_S3_ACCESS_KEY": "hunter2"}, {}, "FS_S3_ACCESS_KEY is set without FS_S3_SECRET_KEY"),
        ({"FS_MINIO_SECRET_KEY": "hunter2"}, {}, "FS_MINIO_SECRET_KEY is set without FS_MINIO_ACCESS_KEY"),
        ({"FS_S3_KMS_KEY": "alias/lake", "FS_S3_SSE": "AES256"}, {}, "FS_S3_KMS_KEY needs FS_S3_SSE=aws:kms"),
        ({"FS_S3_PREFIX": "lake/../other"}, {}, "it has an empty name, . or .. in it"),
        ({}, {"secrets": "file"}, "--secrets file needs SECRETS_FILE"),
        ({"METRICS_PROMETHEUS_PORT": "8080"}, {}, "are both 8080"),
    ],
)
def test_settings_that_need_each_other(
    tmp_path: Path, environ: dict[str, str], overrides: dict[str, Any], expected: str
) -> None:
    (fault,) = faults_of(tmp_path, environ, **overrides)
    assert expected in fault
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("environ", "overrides"),
    [
        ({**KAFKA, **URL}, {"mq": "kafka"}),
        (KAFKA, {"mq": "kafka", "single_host": True}),
        ({**KAFKA, "MILLRACE_SINGLE_HOST": "yes"}, {"mq": "kafka"}),
        ({"METRICS_PROMETHEUS_PORT": "8080"}, {"metrics": "noop"}),
        ({"HTTP_HOST": "192.0.2.1"}, {}),
    ],
)
def test_settings_that_fit_each_other(tmp_path: Path, environ: dict[str, str], overrides: dict[str, Any]) -> None:
    assert loaded(tmp_path, environ, **overrides).warnings == ()


def test_what_follows_from_a_fault_waits(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, {**KAFKA, "DB_POSTGRES_URL": "nonsense"}, mq="kafka")
    assert fault.startswith("DB_POSTGRES_URL (environment, not shown)")


# Warnings.


def test_an_unknown_key_gets_the_nearest_known_one(tmp_path: Path) -> None:
    environ = {"DB_POSTGRESS_URL": "x", "MILLRACE_MODE": "x", "db_pool_max": "3", "HTTP_TOKEN": "t", "PATH": "/bin"}
    found = loaded(tmp_path, environ, {"local": "DRAIN_TIMEOUT=5\nLOG_DIR=/var/log\nOTHER=1\nMILLRACE_ENV=test\n"})
    assert found.db_pool_max == 10
    assert found.warnings == (
        ".env/local.env:1: DRAIN_TIMEOUT is no setting; did you mean DRAIN_TIMEOUT_S?",
        ".env/local.env:2: LOG_DIR is no setting; did you mean LOG_LEVEL?",
        ".env/local.env:4: MILLRACE_ENV has no effect in a file, which it selects; use --env",
        "environment: DB_POSTGRESS_URL is no setting; did you mean DB_POSTGRES_URL?",
        "environment: MILLRACE_MODE is no setting; did you mean MILLRACE_HOME?",
        "environment: db_pool_max is not DB_POOL_MAX: keys are in upper case",
    )


def test_what_others_put_into_the_environment_is_passed_over(tmp_path: Path) -> None:
    environ = {
        "HTTP_PROXY": "http://proxy:3128",
        "DB_SERVICE_HOST": "10.0.0.1",
        "DB_SERVICE_PORT_POSTGRES": "5432",
        "DB_PORT": "tcp://10.0.0.1:5432",
        "DB_PORT_5432_TCP_ADDR": "10.0.0.1",
        "CACHE_PORT_6379_TCP": "tcp://10.0.0.2:6379",
    }
    assert loaded(tmp_path, environ).warnings == ()


def test_a_warning_never_carries_a_value(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"DB_PASSWORD": "hunter2", "MILLRACE_TOKEN": "hunter2"})
    assert len(found.warnings) == 2
    assert "hunter2" not in "".join(found.warnings)


def test_a_missing_file_of_the_chosen_environment_is_told(tmp_path: Path) -> None:
    found = loaded(tmp_path, {}, {"local": ""}, env="staging")
    assert found.warnings == (
        "there is no .env/staging.env for --env staging: only the environment and local.env count",
    )


def test_a_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HTTP_PORT=1\n")
    found = loaded(tmp_path)
    assert found.http_port == 8080
    assert found.warnings[0].endswith(".env is a file and was not read: settings are read from .env/local.env")


# Files.


def test_the_syntax_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "expanded")
    text = (
        "\ufeff# a comment\r\n"
        "export HTTP_PORT=81 # behind it\r\n"
        "DB_CASSANDRA_KEYSPACE = 'spaced'\r\n"
        'SECRETS_FILE="${WHO}/#file"\r\n'
        "HTTP_TOKEN=hunter2\r\n"
    )
    found = loaded(tmp_path, {}, {"local": text})
    assert found.http_port == 81
    assert found.db_cassandra_keyspace == "spaced"
    assert found.secrets_file == tmp_path / "${WHO}" / "#file"
    assert found.environ["HTTP_TOKEN"] == "hunter2"
    assert source_of(found, "SECRETS_FILE") == ".env/local.env:4"


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / ".env" / "local.env").mkdir(parents=True)
    assert faults_of(tmp_path) == [".env/local.env can't be read: Is a directory"]
    (tmp_path / ".env" / "local.env").rmdir()
    (tmp_path / ".env" / "local.env").write_bytes(b"HTTP_PORT=\xff")
    assert faults_of(tmp_path) == [".env/local.env can't be read: it is not UTF-8 text"]
    (tmp_path / ".env" / "local.env").write_bytes(b"#" * (2 << 20))
    assert faults_of(tmp_path) == [".env/local.env is larger than 1048576 bytes: that is no file of settings"]


def test_an_unknown_environment_is_a_fault_and_reads_nothing(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, {"MILLRACE_ENV": "../../etc/passwd"}, files={"local": "HTTP_PORT=x"})
    assert fault.startswith("MILLRACE_ENV (environment) is '../../etc/passwd'; allowed is one of local, test")


def test_nothing_but_the_given_sources_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", "1")
    monkeypatch.setenv("http_port", "2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".env").mkdir()
    (tmp_path / ".env" / "local.env").write_text("HTTP_PORT=3\n")
    assert loaded(tmp_path / "elsewhere").http_port == 8080


def test_the_committed_examples_are_fine(tmp_path: Path) -> None:
    folder = Path(module.__file__).parents[1]
    for env in ("local", "test", "staging"):
        found = load(overrides={"env": env}, environ={}, directory=folder)
        assert found.warnings == ()
        text = (folder / ".env" / f"{env}.env").read_text()
        shown = [line.lstrip("# ").partition("=")[0] for line in text.splitlines() if "=" in line and "_" in line]
        assert set(shown) <= set(KEYS.values()), "an example of a key that is no setting"


def test_a_settings_repr_survives_being_passed_on(tmp_path: Path) -> None:
    """What a worker process is handed keeps its values and still hides them."""
    found = pickle.loads(pickle.dumps(loaded(tmp_path, SECRET_ENVIRON)))  # noqa: S301
    assert found.db_postgres_url.reveal() == SECRET_ENVIRON["DB_POSTGRES_URL"]
    assert "hunter2" not in repr(found)


def test_origins_are_as_browsers_write_them(tmp_path: Path) -> None:
    given = " https://App.example:443, http://localhost:5173,http://[::1]:80 ,https://a.example:8443"
    assert loaded(tmp_path, {"HTTP_CORS_ORIGINS": given}).http_cors_origins == (
        *("https://app.example", "http://localhost:5173", "http://[::1]", "https://a.example:8443"),
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("*", "name each site"),
        ("app.example", "is not the origin of a site"),
        ("https://app.example/", "leave its path out"),
        ("null", "is not the origin"),
        ("file://x", "is not the origin"),
        ("https://user:pass@app.example", "is not the origin"),
    ],
)
def test_what_is_no_origin_is_a_fault(tmp_path: Path, given: str, why: str) -> None:
    (fault,) = faults_of(tmp_path, {"HTTP_CORS_ORIGINS": given})
    assert why in fault
    assert "HTTP_CORS_ORIGINS" in fault
    assert "pass@" not in fault
