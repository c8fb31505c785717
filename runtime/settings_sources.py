"""Where settings come from: the command line, the environment and the files of `.env/`, each value with its origin."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

PREFIXES = (
    *("DB_", "FS_", "CACHE_", "MQ_", "LOG_", "METRICS_", "SECRETS_", "HTTP_", "MILLRACE_", "DRAIN_", "JOB_", "JOBS_"),
    *("WORKER_", "DEAD_LETTERS_", "CATALOG_", "HEALTH_"),
)
NOT_SETTINGS = frozenset({"HTTP_PROXY", "HTTP_TOKEN", "MILLRACE_REFERENCE_DATA"})
"""Keys with one of our prefixes that are no settings and no mistakes: a proxy, a secret, a place for tests."""

_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")
"""What Kubernetes puts into every pod for each service: one named `db` makes DB_SERVICE_HOST, DB_PORT and more."""

_LARGEST_FILE_BYTES = 1 << 20
ENVIRONMENTS = ("local", "test", "staging", "production")


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A value and where it came from. Its repr keeps the value to itself."""

    value: object
    source: str

    def __repr__(self) -> str:
        return f"Given(from {self.source})"


class Gathered(msgspec.Struct, kw_only=True):
    """What the sources say, by field, the highest one winning; `environ` holds also what are no settings."""

    given: dict[str, Given] = {}
    environ: dict[str, str] = {}
    warnings: list[str] = []
    faults: list[str] = []


def gather(
    *, overrides: Mapping[str, object], environ: Mapping[str, str], directory: Path, keys: Mapping[str, str]
) -> Gathered:
    """Read every source; a later one replaces what an earlier one gave, an empty value brings the default back."""
    gathered = Gathered()
    names = {key: name for name, key in keys.items()}
    env = str(overrides.get("env") or overrides.get(keys["env"]) or environ.get(keys["env"]) or "local")
    for path in _files(env, directory, gathered):
        _take_file(path, directory, names, gathered)
    _take("environment", environ, names, gathered)
    for given, value in overrides.items():
        name = names.get(given, given)
        if name not in keys:
            gathered.faults.append(f"{given} was given and is no setting{_nearest(given.upper(), names)}")
        elif value is None or value == "":
            gathered.given.pop(name, None)
        else:
            flag = keys[name] == f"MILLRACE_{name.upper()}"
            source = f"command line, --{name.replace('_', '-')}" if flag else "command line"
            gathered.given[name] = Given(value=value, source=source)
    return gathered


def _files(env: str, directory: Path, gathered: Gathered) -> list[Path]:
    """Lowest first."""
    if env == "production" or env not in ENVIRONMENTS:
        return []
    folder = directory / ".env"
    if folder.is_file():
        gathered.warnings.append(f"{folder} is a file and was not read: settings are read from .env/{env}.env")
        return []
    wanted = [folder / "local.env", folder / f"{env}.env"] if env != "local" else [folder / "local.env"]
    if folder.is_dir() and not wanted[-1].exists() and env != "local":
        gathered.warnings.append(
            f"there is no .env/{env}.env for --env {env}: only the environment and local.env count"
        )
    return [path for path in wanted if path.exists()]


def _take_file(path: Path, directory: Path, names: Mapping[str, str], gathered: Gathered) -> None:
    from dotenv.parser import parse_stream

    shown = path.relative_to(directory).as_posix()
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            text = stream.read(_LARGEST_FILE_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        gathered.faults.append(f"{shown} can't be read: {reason}")
        return
    if len(text) > _LARGEST_FILE_BYTES:
        gathered.faults.append(f"{shown} is larger than {_LARGEST_FILE_BYTES} bytes: that is no file of settings")
        return
    for binding in parse_stream(io.StringIO(text)):
        origin = binding.original
        blank_lines = origin.string[: len(origin.string) - len(origin.string.lstrip())].count("\n")
        line = f"{shown}:{origin.line + blank_lines}"
        if binding.error or (binding.key is not None and binding.value is None):
            gathered.faults.append(f"{line} is not KEY=value; a line that is no setting starts with #")
        elif binding.key is not None:
            _take(line, {binding.key: binding.value or ""}, names, gathered)


def _take(source: str, pairs: Mapping[str, str], names: Mapping[str, str], gathered: Gathered) -> None:
    in_file = source != "environment"
    for key, value in pairs.items():
        gathered.environ[key] = value
        name = names.get(key)
        if name is None:
            if warning := _about_unknown(key, source, names):
                gathered.warnings.append(warning)
        elif name == "env" and in_file:
            gathered.warnings.append(f"{source}: {key} has no effect in a file, which it selects; use --env")
        elif value.strip() == "":
            gathered.given.pop(name, None)
        else:
            gathered.given[name] = Given(value=value, source=source)


def _about_unknown(key: str, source: str, names: Collection[str]) -> str:
    if key in NOT_SETTINGS:
        return ""
    if key.upper() in names:
        return f"{source}: {key} is not {key.upper()}: keys are in upper case"
    if not key.startswith(PREFIXES) or _OF_KUBERNETES.search(key):
        return ""
    return f"{source}: {key} is no setting{_nearest(key, names)}"


def _nearest(key: str, names: Collection[str]) -> str:
    kin = [name for name in names if name.split("_")[0] == key.split("_")[0]]
    near = difflib.get_close_matches(key, kin, n=1, cutoff=0.5) or difflib.get_close_matches(
        key, names, n=1, cutoff=0.8
    )
    return f"; did you mean {near[0]}?" if near else "; `millrace config show` lists those that there are"
