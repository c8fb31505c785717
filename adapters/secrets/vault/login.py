"""How Vault learns who we are: by a token, an AppRole, or the pod's service account."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

import msgspec

from adapters.secrets.vault.client import Denied, VaultClient
from contracts.errors import Unavailable
from contracts.ports.secrets import Secret

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A token and how long it lives from now on, in seconds; 0: without end."""

    token: Secret
    life_s: float
    renewable: bool


class Login(Protocol):
    """One way; each call begins anew, with what files and settings say then."""

    async def __call__(self, client: VaultClient) -> Lease:
        """Raises `Down` or `Denied`."""
        ...


class ByToken:
    """Somebody else made the token: it stands in a setting, or in a file that Vault Agent, say, renews."""

    def __init__(self, token: Secret | None, file: Path | None) -> None:
        self._token = token
        self._file = file

    async def __call__(self, client: VaultClient) -> Lease:
        token = self._token if self._file is None else await _from_file(self._file)
        if token is None:
            raise Unavailable("Vault", "there is no token: set SECRETS_VAULT_TOKEN or SECRETS_VAULT_TOKEN_FILE")
        try:
            known = await client.ask("GET", "auth/token/lookup-self", token=token)
        except Denied as error:
            raise Denied("Vault", f"{error.why}; the token has ended or is wrong: give a new one") from None
        about = (known or {}).get("data") or {}
        return Lease(token=token, life_s=float(about.get("ttl") or 0), renewable=bool(about.get("renewable")))


class ByAppRole:
    """https://developer.hashicorp.com/vault/api-docs/auth/approle#login-with-approle"""

    def __init__(self, mount: str, role_id: str, secret_id: Secret) -> None:
        self._path = f"auth/{mount}/login"
        self._role_id = role_id
        self._secret_id = secret_id

    async def __call__(self, client: VaultClient) -> Lease:
        body = {"role_id": self._role_id, "secret_id": self._secret_id.reveal()}
        remedy = "check SECRETS_VAULT_ROLE_ID and SECRETS_VAULT_SECRET_ID"
        return await _logged_in(client, self._path, body, remedy)


class ByServiceAccount:
    """https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login; Kubernetes exchanges the file's token."""

    def __init__(self, mount: str, role: str, file: Path = SERVICE_ACCOUNT) -> None:
        self._path = f"auth/{mount}/login"
        self._role = role
        self._file = file

    async def __call__(self, client: VaultClient) -> Lease:
        jwt = await _from_file(self._file)
        remedy = f"check SECRETS_VAULT_ROLE, and that it is bound to this service account ({self._file})"
        return await _logged_in(client, self._path, {"role": self._role, "jwt": jwt.reveal()}, remedy)


async def _logged_in(client: VaultClient, path: str, body: dict[str, str], remedy: str) -> Lease:
    try:
        answer = await client.ask("POST", path, body=body)
    except Denied as error:
        raise Denied("Vault", f"{error.why}; {remedy}") from None
    if (lease := lease_in(answer)) is None:
        raise Denied("Vault", f"{client.address} gave no token for {path}; {remedy}")
    return lease


def lease_in(answer: dict[str, Any] | None) -> Lease | None:
    """The token of a login or a renewal."""
    auth = (answer or {}).get("auth") or {}
    if not (token := auth.get("client_token")):
        return None
    return Lease(
        token=Secret(token), life_s=float(auth.get("lease_duration") or 0), renewable=bool(auth.get("renewable"))
    )


async def _from_file(path: Path) -> Secret:
    try:
        text = (await asyncio.to_thread(path.read_text)).strip()
    except OSError as error:
        raise Unavailable("Vault", f"{path}: {error.strerror}; it must hold the token to log in by") from None
    except UnicodeDecodeError:
        raise Unavailable("Vault", f"{path} is not text; it must hold the token to log in by") from None
    if not text:
        raise Unavailable("Vault", f"{path} is empty; it must hold the token to log in by")
    return Secret(text)
