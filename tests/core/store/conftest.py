"""The store's tests run against SQLite and against PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from skyport_core.store import Store
from tests.infra.postgres import postgresql

__all__ = ["postgresql"]

OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture(params=["sqlite", "postgresql"])
def db_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'skyport.db'}"
    url: str = request.getfixturevalue("postgresql").empty_database()
    return url


@pytest.fixture
def secret_key() -> bytes:
    return Fernet.generate_key()


@pytest.fixture
async def open_store(db_url: str, secret_key: bytes) -> AsyncIterator[OpenStore]:
    """Opens stores on the test's database, closes them at the end."""
    stores = []

    async def open_(key: object = secret_key, **options: bool) -> Store:
        store = await Store.open(db_url, key, **options)  # type: ignore[arg-type]
        stores.append(store)
        return store

    yield open_
    for store in stores:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()


@pytest.fixture
def now() -> dt.datetime:
    return dt.datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=dt.timezone.utc)
