"""A Redis that speaks TLS only, knows its clients by certificates, and lets no user in who has no password."""

from __future__ import annotations

from urllib.parse import urlencode

from tests.kit.certificates import Authority
from tests.kit.services.home import Home
from tests.kit.services.native import NativeServer
from tests.kit.services.ports import HOST, Port
from tests.kit.services.redis import find_program
from tests.kit.services.service import CannotStart, Running, Service, start_or_end

ADMIN, PASSWORD = "admin", "kit-password"
READY = "Ready to accept connections"


class SecuredRedisRunning(Running, frozen=True, kw_only=True):
    """`url` is the administrator's, and names the certificates; `bare_url` does neither."""

    bare_url: str
    authority: Authority


class SecuredRedis(Service):
    """Native only: an address alone would not say whom it trusts."""

    def __init__(self) -> None:
        remedy = "Install a Redis that was built with TLS (Debian, Ubuntu: apt install redis-server)."
        super().__init__("Redis with TLS and users", ways=(start_secured_redis,), remedy=remedy)

    def _given(self) -> Running:
        raise CannotStart("it is never given by an address")


def start_secured_redis() -> SecuredRedisRunning:
    """Raises `CannotStart`."""
    home, port = Home("redis-secured"), Port()
    authority = Authority(home.path)
    own = authority.server_file()
    settings = {
        "bind": HOST,
        "port": 0,
        "tls-port": port.number,
        "tls-cert-file": own,
        "tls-key-file": own,
        "tls-ca-cert-file": authority.ca_file,
        "tls-auth-clients": "yes",
        "dir": home.data,
        "save": '""',
    }
    lines = [f"{name} {value}\n" for name, value in settings.items()]
    lines += ["user default off\n", f"user {ADMIN} on >{PASSWORD} ~* &* +@all\n"]
    config = home.path / "redis.conf"
    config.write_text("".join(lines))
    server = NativeServer(
        "Redis", [find_program(), config], home=home, ports=[port], ready=lambda server: READY in server.log
    )
    start_or_end(server)
    client = authority.client_file("client")
    files = urlencode({"ssl_ca_certs": authority.ca_file, "ssl_certfile": client, "ssl_keyfile": client})
    return SecuredRedisRunning(
        name="Redis with TLS and users",
        url=f"rediss://{ADMIN}:{PASSWORD}@{port.address}/0?{files}",
        bare_url=f"rediss://{port.address}/0",
        how=f"native, process {server.pid}",
        end=server.end,
        native=server,
        authority=authority,
    )
