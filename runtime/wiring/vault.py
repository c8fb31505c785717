"""Vault, as the settings say: where it is, how one logs in, and what is read there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from adapters.secrets.vault import login
from adapters.secrets.vault.client import VaultClient
from adapters.secrets.vault.secrets import Place, VaultSecrets
from adapters.tls import Tls
from contracts.ports import Clock, Secret

if TYPE_CHECKING:
    from runtime.settings import Settings


def vault_secrets(chosen: Settings, clock: Clock) -> VaultSecrets:
    """Makes no connection."""
    assert chosen.secrets_vault_url is not None  # the settings were checked together
    mount = chosen.secrets_vault_auth_mount or chosen.secrets_vault_auth
    ways: Mapping[str, Callable[[], login.Login]] = {
        "token": lambda: login.ByToken(chosen.secrets_vault_token, chosen.secrets_vault_token_file),
        "approle": lambda: login.ByAppRole(
            mount, chosen.secrets_vault_role_id or "", chosen.secrets_vault_secret_id or Secret("")
        ),
        "kubernetes": lambda: login.ByServiceAccount(mount, chosen.secrets_vault_role or ""),
    }
    client = VaultClient(
        chosen.secrets_vault_url.reveal(),
        clock=clock,
        namespace=chosen.secrets_vault_namespace,
        tls=Tls(ca_file=chosen.secrets_vault_ca_file),
    )
    return VaultSecrets(
        client,
        ways[chosen.secrets_vault_auth](),
        clock=clock,
        place=Place(mount=chosen.secrets_vault_mount, path=chosen.secrets_vault_path),
        refresh_s=chosen.secrets_refresh_s,
        keep_s=chosen.secrets_keep_s,
    )
