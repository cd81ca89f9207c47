"""Opening a store: schema, keys, and databases that cannot be used."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from cryptography.fernet import Fernet

from skyport_core.store import DatabaseUnusable, Store, WrongSecretKey, upgrade_db
from skyport_core.store.database import Database
from skyport_core.store.tables import metadata
from tests.core.store.conftest import OpenStore
from tests.core.store.samples import put, request
from tests.infra.ports import free_ports


async def execute(db_url: str, statement: str) -> None:
    database = Database(db_url)
    async with database.write() as connection:
        await connection.execute(sa.text(statement))
    await database.close()


async def contents(db_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All tables there are: the names and types of their columns, then their rows."""

    def look(connection: sa.Connection) -> dict[str, list[tuple[Any, ...]]]:
        found = sa.MetaData()
        found.reflect(connection)
        return {
            table.name: [
                *((column.name, str(column.type)) for column in table.columns),
                *sorted(map(tuple, connection.execute(sa.select(table)))),
            ]
            for table in found.sorted_tables
        }

    database = Database(db_url)
    async with database.read() as connection:
        seen = await connection.run_sync(look)
    await database.close()
    return seen


async def test_the_versions_lead_to_the_tables(db_url: str) -> None:
    await upgrade_db(db_url)
    database = Database(db_url)
    async with database.read() as connection:
        difference = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    await database.close()
    assert difference == []


async def test_upgrading_again_changes_nothing(db_url: str) -> None:
    await upgrade_db(db_url)
    before = await contents(db_url)
    assert before["meta"] and before["alembic_version"]
    await upgrade_db(db_url)
    assert await contents(db_url) == before


async def test_several_upgrades_at_once(db_url: str) -> None:
    await asyncio.gather(*(upgrade_db(db_url) for _ in range(3)))


async def test_several_processes_upgrade_at_once(db_url: str) -> None:
    code = "import asyncio, sys; from skyport_core.store import upgrade_db;"
    code += "asyncio.run(upgrade_db(sys.argv[1]))"
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, db_url) for _ in range(3)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]


async def test_several_first_opens_at_once_agree(open_store: OpenStore, now: dt.datetime) -> None:
    stores = await asyncio.gather(*(open_store() for _ in range(3)))
    job = await put(stores[0], now, environment={"A": "1"})
    for store in stores:
        same = request(environment={"A": "1"})
        assert await store.put_job(job.id, "ada", same, now) == (job, False)


async def test_a_newer_database_is_refused(db_url: str, open_store: OpenStore) -> None:
    await upgrade_db(db_url)
    await execute(db_url, "UPDATE alembic_version SET version_num = '9999'")
    for upgrade in (True, False):
        with pytest.raises(DatabaseUnusable, match=r"newer release \(schema 9999\)"):
            await open_store(upgrade=upgrade)


async def test_an_older_database_is_refused_unless_it_may_be_upgraded(
    open_store: OpenStore,
) -> None:
    with pytest.raises(DatabaseUnusable, match="skyport-core upgrade-db"):
        await open_store(upgrade=False)
    await open_store()
    await open_store(upgrade=False)


async def test_what_was_stored_is_there_after_a_restart(
    open_store: OpenStore, now: dt.datetime
) -> None:
    store = await open_store()
    job = await put(store, now, environment={"TOKEN": "x"})
    await store.close()
    again = await open_store()
    assert await again.get_job(job.id) == job
    assert (await again.secrets(job.id)).environment == {"TOKEN": "x"}


async def test_another_secret_key_is_refused(open_store: OpenStore) -> None:
    await open_store()
    with pytest.raises(WrongSecretKey, match="written under another secret key"):
        await open_store(Fernet.generate_key())


async def test_a_malformed_secret_key_is_refused(open_store: OpenStore) -> None:
    with pytest.raises(DatabaseUnusable, match="not 32 bytes"):
        await open_store(b"secret")


async def test_secrets_are_not_readable_in_the_database(
    tmp_path: Path, secret_key: bytes, now: dt.datetime
) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", secret_key)
    await put(store, now, environment={"TOKEN": "very-secret"}, name="to-be-seen")
    await store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"to-be-seen" in stored and b"very-secret" not in stored


async def test_a_restored_copy_gets_its_write_ahead_log_back(
    tmp_path: Path, secret_key: bytes, now: dt.datetime
) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", secret_key)
    job = await put(store, now)
    await store.close()
    connection = sqlite3.connect(tmp_path / "db")
    connection.execute(f"VACUUM INTO '{tmp_path / 'copy'}'")
    connection.close()
    store = await Store.open(f"sqlite:///{tmp_path / 'copy'}", secret_key)
    assert await store.get_job(job.id) == job
    await store.close()
    connection = sqlite3.connect(tmp_path / "copy")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_a_new_sqlite_file_is_its_owners_alone(tmp_path: Path, secret_key: bytes) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", secret_key)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    await store.close()
    assert modes == {0o600}


async def test_sqlite_runs_with_a_write_ahead_log(tmp_path: Path, secret_key: bytes) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", secret_key)
    await store.close()
    connection = sqlite3.connect(tmp_path / "db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("not a url", "malformed"),
        ("mysql://host/name", "'mysql' is not supported"),
        ("sqlite://", "in memory"),
        ("sqlite:////nonexistent/folder/db", "No such file or directory"),
    ],
)
async def test_a_useless_address_is_explained(url: str, message: str, secret_key: bytes) -> None:
    with pytest.raises(DatabaseUnusable, match=message):
        await Store.open(url, secret_key)


async def test_a_server_that_is_away_is_explained_without_the_password(secret_key: bytes) -> None:
    url = f"postgresql://user:hunter2@127.0.0.1:{free_ports(1)[0]}/name"
    for opening in (Store.open(url, secret_key), upgrade_db(url)):
        with pytest.raises(DatabaseUnusable, match="cannot be used") as caught:
            await opening
        assert "hunter2" not in str(caught.value)


async def test_a_file_that_is_no_database_is_explained(tmp_path: Path, secret_key: bytes) -> None:
    (tmp_path / "db").write_text("something else " * 100)
    with pytest.raises(DatabaseUnusable, match="not a database"):
        await Store.open(f"sqlite:///{tmp_path / 'db'}", secret_key)
