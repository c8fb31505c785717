from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.secrets.env import EnvSecrets
from adapters.secrets.file import LARGEST_BYTES, FileSecrets
from contracts.errors import Unavailable
from tests.conformance.secrets_suite import HELD, exercise_secrets

pytestmark = pytest.mark.anyio


async def test_env() -> None:
    environ = dict(HELD)

    async def change(key: str, value: str) -> None:
        environ[key] = value

    secrets = EnvSecrets(environ)
    await secrets.open()
    await exercise_secrets(secrets, change)
    await secrets.close()


async def test_directory(tmp_path: Path) -> None:
    """As Kubernetes mounts them: links to a directory that is exchanged as a whole."""
    _mount(tmp_path, dict(HELD), generation="1")
    (tmp_path / "directory").mkdir()

    async def change(key: str, value: str) -> None:
        _mount(tmp_path, {**HELD, key: value}, generation="2")

    secrets = FileSecrets(tmp_path)
    await secrets.open()
    await exercise_secrets(secrets, change)
    assert await secrets.get("directory") is None
    await secrets.close()


def _mount(root: Path, held: dict[str, str], *, generation: str) -> None:
    content = root / f"..{generation}"
    content.mkdir()
    for key, value in held.items():
        (content / key).write_text(value + ("\n" if key == "API_KEY" else ""), encoding="utf-8")
        if not (root / key).is_symlink():
            (root / key).symlink_to(f"..data/{key}")
    (root / "..new").symlink_to(content.name)
    (root / "..new").rename(root / "..data")


async def test_dotenv_file(tmp_path: Path) -> None:
    path = tmp_path / "local.secret.env"

    def write(held: dict[str, str]) -> None:
        lines = [f"export {key}='{value}'" for key, value in held.items()]
        path.write_text("# secrets\n\n" + "\n".join(lines), encoding="utf-8")

    async def change(key: str, value: str) -> None:
        write({**HELD, key: value})

    write(dict(HELD))
    secrets = FileSecrets(path)
    await secrets.open()
    await exercise_secrets(secrets, change)


async def test_dotenv_values_stand_for_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_SWEET", "expanded")
    (tmp_path / "f").write_text("A=x${HOME_SWEET}y\nB\nC=\n")
    secrets = FileSecrets(tmp_path / "f")
    assert (await secrets.require("A")).reveal() == "x${HOME_SWEET}y"
    assert await secrets.get("B") is None
    assert await secrets.get("C") is None


async def test_only_one_line_break_is_taken_off(tmp_path: Path) -> None:
    (tmp_path / "ONE").write_bytes(b" two lines \r\nand a blank one\n\n")
    assert (await FileSecrets(tmp_path).require("ONE")).reveal() == " two lines \r\nand a blank one\n"


async def test_what_cannot_be_read_is_told_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        await FileSecrets(tmp_path / "missing").open()
    with pytest.raises(Unavailable, match="No such file"):
        await FileSecrets(tmp_path / "missing").get("A")
    (tmp_path / "BINARY").write_bytes(b"hunter2\xff")
    with pytest.raises(Unavailable, match="not UTF-8") as caught:
        await FileSecrets(tmp_path).get("BINARY")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    (tmp_path / "HUGE").write_bytes(b"x" * (LARGEST_BYTES + 1))
    with pytest.raises(Unavailable, match="larger than"):
        await FileSecrets(tmp_path).get("HUGE")
    if os.geteuid() != 0:
        (tmp_path / "CLOSED").touch(mode=0o000)
        with pytest.raises(Unavailable, match="Permission denied"):
            await FileSecrets(tmp_path).get("CLOSED")
