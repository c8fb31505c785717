"""What becomes of a row or a message that is refused: the reasons, and its text as PostgreSQL can keep it.

They are kept in `millrace.quarantine`, whatever refused them, and listed by `millrace quarantine list`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

MASK = "***"
RAW_BYTES = 8 << 10
"""How much of a row's text is kept."""


class Reason(msgspec.Struct, frozen=True):
    """Why a row was rejected. `column` is empty when it is the row as a whole. `code` groups, `message` explains."""

    column: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"column {self.column}: {self.message}" if self.column else self.message

    @property
    def group(self) -> str:
        return f"{self.column}: {self.code}" if self.column else self.code


def storable(raw: bytes) -> tuple[str, bool]:
    """Bytes as text that PostgreSQL can hold, cut to `RAW_BYTES`; and whether they had to be escaped. Escaped, every
    byte that is not text stands as \\xNN and a backslash as two, so that nothing is lost."""
    cut = raw[:RAW_BYTES]
    if len(raw) > RAW_BYTES:
        while cut and (cut[-1] & 0xC0) == 0x80:  # not in the middle of a character
            cut = cut[:-1]
        if cut and cut[-1] >= 0xC0:
            cut = cut[:-1]
    try:
        text = cut.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text, False
    return cut.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace").replace("\0", "\\x00"), True


def storable_reason(reason: Reason) -> Reason:
    """The same as text that PostgreSQL can hold."""
    message = reason.message.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    return Reason(reason.column, reason.code, message)


def mask_object(raw: bytes, hidden: Sequence[str]) -> bytes:
    """A JSON object with the values of these fields hidden; all of it when it can't be told where they are."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return MASK.encode()
    masked = msgspec.Raw(msgspec.json.encode(MASK))
    if not fields.keys() & set(hidden):
        return raw
    return msgspec.json.encode({name: masked if name in hidden else value for name, value in fields.items()})
