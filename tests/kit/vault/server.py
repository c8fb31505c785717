"""The server: what a request is answered, per namespace, by the documentation of the HTTP API.

https://developer.hashicorp.com/vault/api-docs: secret/kv/kv-v2, auth/token, auth/approle, auth/kubernetes, system.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.kit.answering import Answer, Answerer
from tests.kit.vault.tokens import Passing, Token, Tokens

ROOT_TOKEN = "kit-root"
MOUNT = "secret"
_RULE = re.compile(r'path\s+"([^"]+)"\s*\{\s*capabilities\s*=\s*\[([^\]]*)\]\s*\}')


class Refusal(Exception):
    def __init__(self, status: int, *errors: str, **more: Any) -> None:
        self.answer: Answer = (status, {"errors": list(errors), **more}, {})


class Namespace:
    """What one namespace holds."""

    def __init__(self) -> None:
        self.versions: dict[str, list[dict[str, Any] | None]] = defaultdict(list)
        """By path; a version that was deleted is None."""
        self.policies: dict[str, str] = {}
        self.roles: dict[str, dict[str, Any]] = {}


class VaultServer:
    """`asked` are all requests, as `METHOD path`. `time.advance` ends leases, `redirects_to` makes it a standby."""

    def __init__(self) -> None:
        self.time = Passing()
        self.tokens = Tokens(self.time)
        self.asked: list[str] = []
        self.sealed = False
        self.overloaded = False
        self.redirects_to = ""
        self._spaces: dict[str, Namespace] = defaultdict(Namespace)
        self.http = Answerer(self._answer)

    @property
    def url(self) -> str:
        return self.http.url

    def end(self) -> None:
        self.http.end()

    def _answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path = path.removeprefix("/v1/")
        self.asked.append(f"{method} {path}")
        try:
            if self.redirects_to:
                return 307, None, {"Location": f"{self.redirects_to}/v1/{path}"}
            if self.sealed and path not in {"sys/unseal", "sys/seal"}:
                raise Refusal(503, "Vault is sealed")
            if self.overloaded:
                raise Refusal(429, "rate limit quota exceeded")
            space = self._spaces[headers.get("X-Vault-Namespace", "")]
            return self._served(method, path, space, headers.get("X-Vault-Token", ""), json.loads(body or b"{}"))
        except Refusal as refused:
            return refused.answer

    def _served(self, method: str, path: str, space: Namespace, text: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/login"):
            return 200, self._login(path.split("/")[1], space, body), {}
        if path in {"sys/seal", "sys/unseal"}:
            self.sealed = path == "sys/seal"
            return 204, None, {}
        token = self._known(text)
        if path.startswith("auth/token/"):
            return self._of_token(path.removeprefix("auth/token/"), text, token, body)
        if path.startswith(f"{MOUNT}/data/"):
            self._allowed(token, space, path, {"GET": "read", "POST": "create", "DELETE": "delete"}[method])
            return self._of_data(method, path.removeprefix(f"{MOUNT}/data/"), space, body)
        if token is not None:
            raise Refusal(403, "permission denied")
        return self._administered(path, space, body)

    def _known(self, text: str) -> Token | None:
        """None for the root token, which may do all."""
        if text == ROOT_TOKEN:
            return None
        if (token := self.tokens.find(text)) is None:
            raise Refusal(403, "permission denied", **({} if text else {"warnings": ["missing client token"]}))
        return token

    def _allowed(self, token: Token | None, space: Namespace, path: str, capability: str) -> None:
        if token is None:
            return
        for name in token.policies:
            for pattern, capabilities in _RULE.findall(space.policies.get(name, "")):
                fits = path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern
                if fits and f'"{capability}"' in capabilities:
                    return
        raise Refusal(403, "1 error occurred:\n\t* permission denied\n\n")

    def _of_token(self, action: str, text: str, token: Token | None, body: dict[str, Any]) -> Answer:
        match action:
            case "lookup-self":
                left_s = self.tokens.left_s(token) if token else 0
                about = {"ttl": left_s, "renewable": bool(token and token.renewable), "id": text}
                return 200, {"data": about | {"policies": list(token.policies) if token else ["root"]}}, {}
            case "renew-self":
                if token is None or not token.renewable:
                    raise Refusal(400, "lease is not renewable")
                self.tokens.renew(token)
                return 200, self.tokens.auth(text), {}
            case "create" if token is None:
                made = self.tokens.make(
                    policies=body["policies"],
                    ttl_s=_seconds(body.get("ttl", 0)),
                    most_s=_seconds(body.get("explicit_max_ttl", 0)),
                    renewable=body.get("renewable", True),
                )
                return 200, self.tokens.auth(made), {}
            case "revoke" if token is None:
                self.tokens.revoke(body["token"])
                return 204, None, {}
        raise Refusal(403, "permission denied")

    def _of_data(self, method: str, path: str, space: Namespace, body: dict[str, Any]) -> Answer:
        versions = space.versions[path]
        if method == "POST":
            versions.append(body["data"])
            return 200, {"data": {"version": len(versions), "destroyed": False}}, {}
        if method == "DELETE":
            versions[-1:] = [None]
            return 204, None, {}
        if not versions:
            raise Refusal(404)
        metadata = {"version": len(versions), "destroyed": False, "deletion_time": "" if versions[-1] else "2026-01-01"}
        answer = {"data": {"data": versions[-1], "metadata": metadata}}
        return (200, answer, {}) if versions[-1] is not None else (404, answer, {})

    def _administered(self, path: str, space: Namespace, body: dict[str, Any]) -> Answer:
        match path.split("/"):
            case ["sys", "policies", "acl", name]:
                space.policies[name] = body["policy"]
            case ["sys", "auth", _]:
                pass  # what it enables is there anyway
            case ["auth", _, "role", name, "role-id"]:
                return 200, {"data": {"role_id": space.roles[name]["role_id"]}}, {}
            case ["auth", _, "role", name, "secret-id"]:
                space.roles[name]["secret_id"] = made = secrets.token_hex(16)
                return 200, {"data": {"secret_id": made}}, {}
            case ["auth", _, "config"]:
                space.roles["config"] = body
            case ["auth", _, "role", name]:
                space.roles[name] = {"role_id": secrets.token_hex(16), **body}
            case _:
                raise Refusal(404, f'no handler for route "{path}". route entry not found.')
        return 204, None, {}

    def _login(self, mount: str, space: Namespace, body: dict[str, Any]) -> dict[str, Any]:
        role = self._of_kubernetes(space, body) if mount == "kubernetes" else self._of_approle(space, body)
        made = self.tokens.make(
            policies=role["token_policies"],
            ttl_s=_seconds(role.get("token_ttl", 0)),
            most_s=_seconds(role.get("token_max_ttl", 0)),
        )
        return self.tokens.auth(made)

    def _of_approle(self, space: Namespace, body: dict[str, Any]) -> dict[str, Any]:
        for role in space.roles.values():
            if role.get("role_id") == body.get("role_id") and role.get("secret_id") == body.get("secret_id"):
                return role
        raise Refusal(400, "invalid role or secret ID")

    def _of_kubernetes(self, space: Namespace, body: dict[str, Any]) -> dict[str, Any]:
        """The real one shows the token to the cluster; this one knows by `config` which token is good."""
        if (role := space.roles.get(body.get("role", ""))) is None:
            raise Refusal(400, f'invalid role name "{body.get("role")}"')
        if body.get("jwt") != space.roles.get("config", {}).get("token_reviewer_jwt"):
            raise Refusal(403, "permission denied")
        return role


def _seconds(given: str | float) -> float:
    """`30`, `"30s"`, `"5m"` or `"1h"`."""
    text = str(given)
    return float(text.rstrip("smh")) * {"m": 60, "h": 3600}.get(text[-1], 1)
