"""A pattern as PostgreSQL matches it soonest.

Its regular expressions have a state for each time that something is repeated, and make it anew for each value:
`[0-9]{6}` takes twice as long as `[0-9]+`. Where all that matches has one length, the length says as much as a count.
"""

from __future__ import annotations

import re

_SINGLE = r"""
    \\[dwsDWS\W_]                       # a class, or a character that would mean something else
  | \[ \^? (?: [^\[\]\\] | \\. )+ \]    # a set
  | [^\\^$.|?*+()\[\]{}]                # itself
  | \.                                  # any
"""
_PART = re.compile(rf"(?P<single>{_SINGLE})(?:\{{(?P<times>[0-9]+)\}})?", re.VERBOSE | re.DOTALL)
WORTH = 4
"""From so many repetitions on it is sooner to look at the length as well."""


def whole(pattern: str) -> str:
    """What a text must match from end to end, as what it must match somewhere."""
    # A group costs a tenth more, and only alternatives need one.
    return f"^(?:{pattern})$" if "|" in pattern else f"^{pattern}$"


def by_length(pattern: str) -> tuple[int, str] | None:
    """The length in characters of all that the pattern matches as a whole, and a pattern that matches the same among
    texts of this length; None where there is no such length, or nothing to be gained."""
    parts: list[tuple[str, int]] = []
    at = 0
    while at < len(pattern):
        if (found := _PART.match(pattern, at)) is None:
            return None
        parts.append((found["single"], int(found["times"] or 1)))
        at = found.end()
    longest = max(range(len(parts)), key=lambda place: parts[place][1], default=0)
    if not parts or parts[longest][1] < WORTH:
        return None
    said = [f"{single}{{{times}}}" if times != 1 else single for single, times in parts]
    said[longest] = f"{parts[longest][0]}+"
    return sum(times for _, times in parts), "".join(said)
