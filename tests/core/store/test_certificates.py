"""Certificates on record, and whom UUIDs stand for."""

from __future__ import annotations

import datetime as dt

from skyport_core.model import CertificateKind, CertificateRecord
from skyport_core.store import Standing, Store

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
HOUR = dt.timedelta(hours=1)
UUID = "1a2b3c4d-0000-4000-8000-00000000000a"


def record(serial: str, name: str = "alice", age: dt.timedelta = HOUR) -> CertificateRecord:
    return CertificateRecord(serial, CertificateKind.USER, name, NOW - age, NOW + HOUR)


async def test_a_record_comes_back_as_it_was_stored(store: Store) -> None:
    old, new, bobs = record("a", age=2 * HOUR), record("b"), record("c", "bob")
    for one in (old, new, bobs):
        await store.add_certificate(one)
    assert await store.certificate("a") == old
    assert await store.certificate("d") is None
    assert await store.certificates(name="alice") == [new, old]
    assert await store.certificates(kinds=[CertificateKind.ADMIN]) == []


async def test_what_was_revoked_first_holds(store: Store) -> None:
    await store.add_certificate(record("a"))
    revoked = await store.revoke_certificate("a", "stolen", NOW)
    assert revoked is not None
    assert (revoked.revoked_at, revoked.reason) == (NOW, "stolen")
    assert await store.revoke_certificate("a", "again", NOW + HOUR) == revoked
    assert await store.revoke_certificate("b") is None


async def test_only_what_would_be_accepted_else_counts_as_revoked(store: Store) -> None:
    await store.add_certificate(record("a"))
    await store.revoke_certificate("a")
    await store.adopt(UUID, "alice")
    await store.adopt(UUID, "dora")
    assert await store.standing(NOW) == Standing(frozenset({"a"}), {UUID: "dora"})
    await store.adopt(UUID, None)
    assert await store.standing(NOW + HOUR) == Standing(frozenset(), {})


async def test_a_core_keeps_its_identity(store: Store) -> None:
    assert await store.core_id() == await store.core_id()
