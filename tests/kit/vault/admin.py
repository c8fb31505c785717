"""What an administrator does at Vault, over the same HTTP API: at a real one as at the kit's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from tests.kit.vault.server import MOUNT, ROOT_TOKEN

POLICY = f'path "{MOUNT}/data/%s" {{ capabilities = ["read"] }}'


class VaultAdmin:
    """Has all rights. Raises `httpx.HTTPStatusError`."""

    def __init__(self, url: str, *, namespace: str = "") -> None:
        headers = {"X-Vault-Token": ROOT_TOKEN} | ({"X-Vault-Namespace": namespace} if namespace else {})
        self._client = httpx.Client(base_url=f"{url}/v1/", headers=headers, timeout=10.0)

    def close(self) -> None:
        self._client.close()

    def write(self, path: str, values: Mapping[str, Any]) -> None:
        """A new version."""
        self._ask("POST", f"{MOUNT}/data/{path}", {"data": dict(values)})

    def delete(self, path: str) -> None:
        """The newest version."""
        self._ask("DELETE", f"{MOUNT}/data/{path}")

    def allow(self, *paths: str, policy: str = "reader") -> str:
        """A policy that lets its bearer read these paths and nothing else; its name."""
        self._ask("PUT", f"sys/policies/acl/{policy}", {"policy": "\n".join(POLICY % path for path in paths)})
        return policy

    def token(self, *policies: str, ttl: str = "1h", **more: Any) -> str:
        made = self._ask("POST", "auth/token/create", {"policies": policies, "ttl": ttl, **more})
        return str(made["auth"]["client_token"])

    def revoke(self, token: str) -> None:
        self._ask("POST", "auth/token/revoke", {"token": token})

    def app_role(self, name: str, *policies: str, **more: Any) -> tuple[str, str]:
        """The role's id, and a secret id for it."""
        try:
            self._ask("POST", "sys/auth/approle", {"type": "approle"})
        except httpx.HTTPStatusError as error:
            if "in use" not in error.response.text:
                raise
        self._ask("POST", f"auth/approle/role/{name}", {"token_policies": policies, **more})
        role_id = self._ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        return role_id, self._ask("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]

    def kubernetes_role(self, name: str, *policies: str, jwt: str, **more: Any) -> None:
        """At the kit's server, where `jwt` is the one service account's token that is good."""
        self._ask("POST", "auth/kubernetes/config", {"token_reviewer_jwt": jwt})
        self._ask("POST", f"auth/kubernetes/role/{name}", {"token_policies": policies, **more})

    def seal(self, sealed: bool = True) -> None:
        """At the kit's server, which is unsealed without keys."""
        self._ask("PUT", "sys/seal" if sealed else "sys/unseal")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = self._client.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else {}
