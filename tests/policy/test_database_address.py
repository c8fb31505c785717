"""A database's URL: what is taken, what is refused, and that nothing of its password is ever shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.database import names
from adapters.database.address import Address
from contracts.errors import Faults
from contracts.ports.secrets import Secret


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:secret@db.example:5432/app", "postgresql://db.example:5432/app"),
        ("postgres://db/app?sslmode=require", "postgresql://db/app"),
        ("postgresql://u:secret@a:1,b:2/app?target_session_attrs=primary", "postgresql://a:1,b:2/app"),
        ("postgresql://u:secret@[::1]:5432/app", "postgresql://[::1]:5432/app"),
        ("postgresql:///app?host=/run/postgresql&user=u&password=secret", "postgresql:///app?host=/run/postgresql"),
        ("postgresql://u:secret@%2Frun%2Fpostgresql/app", "postgresql:///run/postgresql/app"),
        ("postgresql://", "postgresql:///"),
    ],
)
def test_shows_where_but_not_who(url: str, shown: str) -> None:
    address = Address.of_url(url)
    assert address.shown == shown
    assert "secret" not in repr(address)


def test_keeps_what_the_driver_needs() -> None:
    address = Address.of_url(
        Secret("postgresql://u:p%40ss@h/app?sslmode=disable&statement_cache_size=0&options=-cx%3D1")
    )
    assert address.statement_cache_size == 0
    assert address.reveal() == {"dsn": "postgresql://u:p%40ss@h/app?sslmode=disable&options=-cx%3D1"}


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("mysql://u:hunter2@h/app", '"mysql://"'),
        ("u:hunter2@h/app", "no scheme"),
        ("postgresql://u:hunter2/x@h/app", "%2F"),
        ("postgresql://u:hunter2?x@h/app", "%2F"),
        ("postgresql://u:hunter2#x@h/app", "%2F"),
        ("postgresql://u:hunter2", "port"),
        ("postgresql://u:hunter2@h:99999/app", "65535"),
        ("postgresql://u:hunter2@h:port/app", "port"),
        ("postgresql://u:hunter2[@h/app", "%XX"),
        ("postgresql://u:hunter2\u2100@h/app", "%XX"),
        ("postgresql://u:hunter2@h/app?sslmode=on", "verify-full"),
        ("postgresql://u:hunter2@h/app?statement_cache_size=no", "PgBouncer"),
    ],
)
def test_refuses_with_the_remedy_and_without_the_password(url: str, fault: str) -> None:
    with pytest.raises(Faults) as refused:
        Address.of_url(url)
    assert fault in str(refused.value)
    assert "hunter2" not in str(refused.value)


@given(password=st.text(min_size=4), raw=st.booleans())
def test_no_password_is_ever_shown(password: str, raw: bool) -> None:
    mark = f"Zq9{password}Zq9"
    try:
        said = repr(Address.of_url(f"postgresql://user:{mark if raw else quote(mark, safe='')}@host/app"))
    except Faults as refused:
        said = str(refused)
    assert "Zq9" not in said


@given(schema=st.text(min_size=1), name=st.text(min_size=1))
def test_a_quoted_name_is_read_back(schema: str, name: str) -> None:
    if "\0" in schema + name:
        return
    assert names.split(f"{names.quote(schema)}.{names.quote(name)}") == (schema, name)
    assert names.split(names.quote(name)) == (None, name)
