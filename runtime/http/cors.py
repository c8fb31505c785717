"""Which other sites' pages may read what modules answer (CORS, as the Fetch standard has it).

A browser asks first, without a key, and the answer to that holds nothing but whether it may. Pages of other sites
never post: `admission` refuses that. Cookies are not in use, so no credentials are allowed either: a page sends a key.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runtime.http.admission import SAFE, Asked

Raw = tuple[tuple[bytes, bytes], ...]

_ASKED_BEFORE = "access-control-request-method"
_PREFLIGHT: Raw = (
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"authorization, x-api-key, if-none-match, x-correlation-id, traceparent"),
    (b"access-control-max-age", b"600"),
)
_SEEN = (b"access-control-expose-headers", b"etag, link, retry-after, x-correlation-id")


class Cors(msgspec.Struct, frozen=True, kw_only=True):
    """`origins` as browsers write them; under `paths` and nowhere else. Without origins there is none of it."""

    origins: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()

    def preflight(self, asked: Asked) -> Raw | None:
        """The answer to a browser that asks whether a page may read, beside what every answer has; None for anything
        else."""
        if asked.method != "OPTIONS" or not self._allowed(asked):
            return None
        wanted = asked.headers.get(_ASKED_BEFORE, ())
        return _PREFLIGHT if wanted and wanted[0] in SAFE else None

    def told(self, asked: Asked) -> Raw:
        """What every answer has, problems too: the page should see what is wrong."""
        if not self.origins or not asked.path.startswith(self.paths):
            return ()
        vary = (b"vary", b"Origin")
        if not self._allowed(asked):
            return (vary,)
        return (vary, (b"access-control-allow-origin", _origin(asked)[0].encode()), _SEEN)

    def _allowed(self, asked: Asked) -> bool:
        given = _origin(asked)
        return len(given) == 1 and given[0] in self.origins and asked.path.startswith(self.paths)


def _origin(asked: Asked) -> Sequence[str]:
    return asked.headers.get("origin", ())
