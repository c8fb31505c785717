"""Vault: the real one in a container, else the kit's server, which answers by the documentation of its HTTP API."""

from __future__ import annotations

from typing import Any

from tests.kit.services.containers import from_container
from tests.kit.services.service import Running, Service
from tests.kit.vault.server import ROOT_TOKEN, VaultServer

NAME = "Vault"
IMAGE = "hashicorp/vault:1.20"
READY = "Root Token: "
"""The last that a server for development says of its start."""


class Vault(Service):
    """It is never missing; `how` says which it is. One that is given by its address must know the kit's root token."""

    def __init__(self) -> None:
        super().__init__(NAME, ways=(_container, _answering), remedy="Start Docker.")


def _container() -> Running:
    def make() -> Any:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        container = DockerContainer(IMAGE).waiting_for(LogMessageWaitStrategy(READY))
        return container.with_env("VAULT_DEV_ROOT_TOKEN_ID", ROOT_TOKEN).with_exposed_ports(8200)

    def url(container: Any) -> str:
        return f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8200)}"

    return from_container(NAME, IMAGE, make, url)


def _answering() -> Running:
    server = VaultServer()
    return Running(name=NAME, url=server.url, how="the kit's server for Vault's HTTP API", end=server.end)
