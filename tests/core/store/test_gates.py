"""What gates remember: theirs alone, by site and key, unreadable at rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet, MultiFernet

from skyport_core.store import GateMemory, Store, WrongSecretKey
from skyport_gates.gate import GateStore
from tests.core.store.conftest import OpenStore


@pytest.fixture
def memory(store: Store) -> GateStore:
    return GateMemory(store, "azure")


async def test_a_text_comes_back(memory: GateStore) -> None:
    assert await memory.get("operation/p1") is None
    await memory.put("operation/p1", "token \0 ü")
    assert await memory.get("operation/p1") == "token \0 ü"


async def test_a_text_is_replaced(memory: GateStore) -> None:
    await memory.put("prices", "old")
    await memory.put("prices", "new")
    assert await memory.items() == {"prices": "new"}


async def test_a_text_is_forgotten(memory: GateStore) -> None:
    await memory.put("prices", "old")
    await memory.put("prices", None)
    await memory.put("prices", None)
    assert await memory.get("prices") is None


async def test_texts_by_the_beginning_of_their_key(memory: GateStore) -> None:
    for key in ("skus/b", "skus/a", "SKUS/c", "skus%", "sku"):
        await memory.put(key, key.upper())
    assert list((await memory.items("skus/")).items()) == [
        ("skus/a", "SKUS/A"),
        ("skus/b", "SKUS/B"),
    ]
    assert len(await memory.items()) == 5


async def test_each_site_has_its_own(store: Store, memory: GateStore) -> None:
    await memory.put("prices", "mine")
    other = GateMemory(store, "azure2")
    assert await other.get("prices") is None
    assert await other.items() == {}


async def test_megabytes_come_back(memory: GateStore) -> None:
    text = "size " * 500_000
    await memory.put("skus/westeurope", text)
    assert await memory.get("skus/westeurope") == text


async def test_a_text_under_a_key_that_is_missing_is_explained(
    open_store: OpenStore, secret_key: bytes
) -> None:
    await open_store()
    new_key = Fernet.generate_key()
    both = await open_store(MultiFernet([Fernet(new_key), Fernet(secret_key)]))
    await GateMemory(both, "azure").put("secret", "x")
    with pytest.raises(WrongSecretKey, match="What a gate remembers"):
        await GateMemory(await open_store(), "azure").get("secret")


async def test_texts_are_not_readable_in_the_database(tmp_path: Path, secret_key: bytes) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", secret_key)
    await GateMemory(store, "azure").put("to-be-seen", "very-secret")
    await store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"to-be-seen" in stored and b"very-secret" not in stored
