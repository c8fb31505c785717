"""Secrets in files: a directory with a file per secret, as Kubernetes and Docker mount them, or one dotenv file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from adapters.secrets.keys import spellings
from contracts.errors import NotFound, Unavailable
from contracts.ports.secrets import Secret

LARGEST_BYTES = 1 << 20
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}")


class FileSecrets:
    """Reads at each call, so that a secret that is renewed in its place is seen.

    One line break at the end of a file does not count; an empty value counts as missing. In a directory, a key that
    is no plain file name (say, with a slash) is missing; in a dotenv file, `${…}` stands for itself.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    @property
    def address(self) -> str:
        return f"file://{self._path}"

    @property
    def seen_within_s(self) -> float:
        return 0.0

    async def open(self) -> None:
        await self.check()

    async def check(self) -> None:
        await asyncio.to_thread(self._look)

    async def close(self) -> None:
        """Nothing stays open."""

    async def get(self, key: str) -> Secret | None:
        """Raises `Unavailable` when what is there can't be read."""
        return await asyncio.to_thread(self._get, key)

    async def require(self, key: str) -> Secret:
        if (found := await self.get(key)) is not None:
            return found
        names = " or ".join(spellings(key))
        raise NotFound(f"there is no secret {key!r}: put it into {self._path}, named {names}")

    def __repr__(self) -> str:
        return f"FileSecrets({str(self._path)!r})"

    def _look(self) -> None:
        try:
            if self._path.is_dir():
                next(self._path.iterdir(), None)
            else:
                with self._path.open("rb"):
                    pass
        except OSError as error:
            raise Unavailable("secrets", f"{self._path}: {error.strerror}") from error

    def _get(self, key: str) -> Secret | None:
        try:
            in_directory = self._path.is_dir()
            pairs: Mapping[str, str] = {} if in_directory else _pairs(_text(self._path))
            for name in spellings(key):
                value = self._from_file(name) if in_directory else pairs.get(name)
                if value:
                    return Secret(value)
        except OSError as error:
            raise Unavailable("secrets", f"{self._path}: {error.strerror}") from error
        return None

    def _from_file(self, name: str) -> str | None:
        if not _FILE_NAME.fullmatch(name):
            return None
        try:
            text = _text(self._path / name)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return text.removesuffix("\n").removesuffix("\r")


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise Unavailable("secrets", f"{path} is larger than {LARGEST_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Without its cause: that one carries the content.
        raise Unavailable("secrets", f"{path} is not UTF-8 text") from None


def _pairs(text: str) -> dict[str, str]:
    import io

    from dotenv.parser import parse_stream

    return {one.key: one.value for one in parse_stream(io.StringIO(text)) if one.key and one.value is not None}
