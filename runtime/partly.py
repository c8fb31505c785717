"""A few fields of a message that can't be read whole: it may be of a newer version, which has added others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec


class Partly:
    """Reads the fields `names` of what `contract` says, whatever else stands beside them."""

    def __init__(self, contract: type[msgspec.Struct], names: Collection[str]) -> None:
        fields = [one for one in msgspec.structs.fields(contract) if one.name in names]
        made = msgspec.defstruct(
            "Partly", [_declared(one) for one in fields], rename={f.name: f.encode_name for f in fields}
        )
        self._decoder = msgspec.json.Decoder(made)

    def read(self, body: bytes) -> Any:
        """An object with these fields; None where they can't be read, either."""
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


def _declared(field: msgspec.structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.name, field.type, msgspec.field(default_factory=field.default_factory)
    if field.default is not msgspec.NODEFAULT:
        return field.name, field.type, field.default
    return field.name, field.type
