"""One database, SQLite or PostgreSQL, with transactions that only read and ones that write."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from .errors import DatabaseUnusable

BUSY_TIMEOUT = 30
"""Seconds that a transaction on SQLite waits for another process's."""

CONNECT_TIMEOUT = 10
"""Seconds to reach PostgreSQL."""

COMMAND_TIMEOUT = 60
"""Seconds for one statement on PostgreSQL, so that a dead server is noticed."""

THREADS = 2
"""Transactions on SQLite that run in threads at a time: a writer, and a reader whom it does not
hold up. More would only take the interpreter's lock from each other and from the event loop."""

Result = TypeVar("Result")

Work = Callable[[sa.Connection], Result]
"""What is done in one transaction."""


class Database:
    """Connections to one database.

    On SQLite the writers of this process take turns in the order they came, which its own
    busy-waiting would not give.

    Parameters
    ----------
    db_url : str
        ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or
        ``postgresql://user:password@host:port/name``.

    Raises
    ------
    DatabaseUnusable
        The address is malformed, names another kind of database, or its driver is missing.
    """

    def __init__(self, db_url: str) -> None:
        url = _parse(db_url)
        self.name = url.render_as_string(hide_password=True)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._turn = asyncio.Lock()
        self._threads: _Threads | None = None
        if self.is_sqlite:
            _create_file(Path(str(url.database)), self.name)
            self._engine = _sqlite_engine(url)
            self._threads = _Threads(url)
        else:
            self._engine = _postgresql_engine(url)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database and changes nothing."""
        async with self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end of the block, or undone by an exception."""
        async with AsyncExitStack() as stack:
            if self.is_sqlite:
                await stack.enter_async_context(self._turn)
            connection = await stack.enter_async_context(self._engine.connect())
            connection = await connection.execution_options(skyport_write=True)
            async with connection.begin():
                yield connection

    async def run_reading(self, work: Work[Result]) -> Result:
        """What ``work`` finds in a transaction like :meth:`read`.

        For what is asked often. On SQLite all of it is one visit to a thread, where each statement
        of an asynchronous connection takes several.
        """
        if self._threads is not None:
            return await self._threads.run(work)
        async with self.read() as connection:
            return await connection.run_sync(work)

    async def run_writing(self, work: Work[Result]) -> Result:
        """What ``work`` answers, in a transaction like :meth:`write`; see :meth:`run_reading`."""
        if self._threads is not None:
            async with self._turn:
                return await self._threads.run(work, write=True)
        async with self.write() as connection:
            return await connection.run_sync(work)

    async def insert_new(
        self, connection: AsyncConnection, table: sa.Table, key: list[str], values: dict[str, Any]
    ) -> bool:
        """Insert a row unless one with the same unique ``key`` columns exists; tells which."""
        statement = self._insert(table).on_conflict_do_nothing(index_elements=key)
        return (await connection.execute(statement, values)).rowcount == 1

    async def upsert(
        self, connection: AsyncConnection, table: sa.Table, key: list[str], values: dict[str, Any]
    ) -> None:
        """Insert a row, or change the one with the same ``key`` columns."""
        rest = {name: value for name, value in values.items() if name not in key}
        statement = self._insert(table).values(values)
        await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=rest))

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Explain what the driver raises while the database is used for the first time."""
        try:
            yield
        except (OSError, DBAPIError) as error:
            raise DatabaseUnusable(
                f"The database {self.name} cannot be used: {error}. Check its address and that it"
                " is running."
            ) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._threads is not None:
            await self._threads.close()
        await self._engine.dispose()

    def _insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)


class _Threads:
    """Whole transactions on SQLite, each in a thread."""

    def __init__(self, url: sa.URL) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sqlite")
        self._reading = sa.create_engine(url.set(drivername="sqlite"), **_SQLITE)
        _set_up(self._reading)
        self._writing = self._reading.execution_options(skyport_write=True)

    async def run(self, work: Work[Result], *, write: bool = False) -> Result:
        """What ``work`` answers."""

        def transaction() -> Result:
            with (self._writing if write else self._reading).begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._pool, transaction)

    async def close(self) -> None:
        """Close all connections once what runs has ended."""
        await asyncio.to_thread(self._pool.shutdown)
        self._reading.dispose()


def _parse(db_url: str) -> sa.URL:
    try:
        url = sa.make_url(db_url)
    except ArgumentError as error:
        raise DatabaseUnusable(
            "The database's address is malformed; give sqlite:////absolute/path or"
            " postgresql://user:password@host:port/name."
        ) from error
    backend = "postgresql" if url.drivername == "postgres" else url.drivername.partition("+")[0]
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise DatabaseUnusable(
                "A database in memory would forget the jobs; give sqlite:////absolute/path."
            )
        return url.set(drivername="sqlite+aiosqlite")
    if backend == "postgresql":
        return url.set(drivername="postgresql+asyncpg")
    raise DatabaseUnusable(
        f"A database of the kind {backend!r} is not supported; use sqlite or postgresql."
    )


def _create_file(path: Path, name: str) -> None:
    """Make an empty database that its owner alone can read, with a write-ahead log.

    It appears under its name as a whole: switching the log on fails when two do it at once. An
    existing file is not even opened, since closing it would drop the locks on it of other
    connections of this process. SQLite gives its side files the mode of the database.
    """
    try:
        if path.exists():
            return
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            os.close(handle)
            with contextlib.closing(sqlite3.connect(draft)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            Path(draft).unlink()
    except OSError as error:
        raise DatabaseUnusable(
            f"The database {name} cannot be made: {error.strerror}. Its folder must exist and be"
            " writable."
        ) from error


# Parameters hold what users asked for: they have no place in a log.
_SQLITE: dict[str, Any] = {"hide_parameters": True, "connect_args": {"timeout": BUSY_TIMEOUT}}


def _sqlite_engine(url: sa.URL) -> AsyncEngine:
    engine = create_async_engine(url, **_SQLITE)
    _set_up(engine.sync_engine)
    return engine


def _set_up(engine: sa.Engine) -> None:
    """Prepare the connections of an engine for SQLite, and begin transactions as they are meant."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _record: object) -> None:
        # Transactions begin where _begin says, not where the driver guesses.
        connection.isolation_level = None
        cursor = connection.cursor()
        # What was answered survives a loss of power too, such as a revocation.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone() != ("wal",):
            # Not one that was made here: a copy restored from a backup.
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A writer takes the lock before it reads: what it read is then still true when it writes.
        write = connection.get_execution_options().get("skyport_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _postgresql_engine(url: sa.URL) -> AsyncEngine:
    try:
        return create_async_engine(
            url,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": CONNECT_TIMEOUT, "command_timeout": COMMAND_TIMEOUT},
        )
    except ModuleNotFoundError as error:
        raise DatabaseUnusable(
            "PostgreSQL needs the package asyncpg; install it with"
            " pip install 'skyport[postgresql]'."
        ) from error
