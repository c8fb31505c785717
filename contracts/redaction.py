"""What is kept out of logs, errors and listings: values under telling names, and passwords inside texts.

A second line of defence. The first one is `Secret`, which has to be revealed to be seen.
"""

from __future__ import annotations

import re
from itertools import pairwise

HIDDEN = "***"

_SECRET_WORDS = frozenset(
    {
        *("password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "authorization"),
        *("cookie", "credential", "credentials", "apikey", "jwt", "dsn"),
    }
)
_SECRET_PAIRS = frozenset({"api_key", "access_key", "private_key", "secret_key", "signing_key"})
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")

# A password may hold what a URL should escape, so it reaches to the last @; all but a port with a path behind it.
_IN_URL = re.compile(r"(?<=://)([^\s/?#@:'\"]*):(?!\d{1,5}[/?#])([^\s'\"]{0,512})@")
_TELLING = r"(?:password|passwd|passphrase|secret|token|signature|api_?key|access_?key)"
_AFTER_EQUALS = re.compile(
    rf"(?i)((?:^|(?<=[?&;,\s]))[a-z0-9_-]{{0,40}}{_TELLING}=)('[^']*'|\"[^\"]*\"|[^&;,\s'\"]+)", re.MULTILINE
)
_AFTER_COLON = re.compile(rf"(?i)(['\"][a-z0-9_-]{{0,40}}{_TELLING}['\"]\s*:\s*)('[^']*'|\"[^\"]*\")")
_AFTER_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}")


def names_a_secret(key: str) -> bool:
    """Whether a value under this key is to be hidden: `db_password`, `HTTP_TOKEN`, `apiKey`; not `null_tokens`."""
    words = [word.lower() for word in _WORDS.findall(key)]
    return any(word in _SECRET_WORDS for word in words) or any(
        f"{one}_{two}" in _SECRET_PAIRS for one, two in pairwise(words)
    )


def without_secrets(text: str) -> str:
    """The text with passwords in URLs, values after telling names and bearer tokens hidden."""
    if "@" in text and "://" in text:
        text = _IN_URL.sub(rf"\1:{HIDDEN}@", text)
    if "=" in text:
        text = _AFTER_EQUALS.sub(rf"\1{HIDDEN}", text)
    if ":" in text and ('"' in text or "'" in text):
        text = _AFTER_COLON.sub(rf"\1{HIDDEN}", text)
    if "earer" in text or "asic" in text or "BEARER" in text or "BASIC" in text:
        text = _AFTER_SCHEME.sub(rf"\1 {HIDDEN}", text)
    return text
