"""Brings a database to the schema that this release needs."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from .database import Database
from .errors import DatabaseUnusable

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x5350_4D49
"""Number of the advisory lock that lets one process at a time migrate on PostgreSQL."""


async def upgrade_db(db_url: str) -> None:
    """Create the tables, or bring them to this release's schema.

    Idempotent, and safe when several processes do it at once.

    Raises
    ------
    DatabaseUnusable
        The database cannot be reached or was written by a newer release.
    """
    database = Database(db_url)
    try:
        await upgrade(database)
    finally:
        await database.close()


async def upgrade(database: Database) -> None:
    """:func:`upgrade_db` on an open database."""
    with database.reached():
        async with database.write() as connection:
            await connection.run_sync(_upgrade, database.name)


async def check(database: Database) -> None:
    """Raise DatabaseUnusable unless the schema is exactly this release's."""
    with database.reached():
        async with database.read() as connection:
            await connection.run_sync(_check, database.name)


def migration_config(connection: sa.Connection) -> Config:
    """Alembic's configuration for work on ``connection``."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: sa.Connection, name: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    config = migration_config(connection)
    if not _is_current(connection, config, name):
        command.upgrade(config, "head")


def _check(connection: sa.Connection, name: str) -> None:
    if not _is_current(connection, migration_config(connection), name):
        raise DatabaseUnusable(
            f"The database {name} has an older schema than this release needs; make a copy of it"
            " and run: skyport-core upgrade-db"
        )


def _is_current(connection: sa.Connection, config: Config, name: str) -> bool:
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if unknown := present - known:
        raise DatabaseUnusable(
            f"The database {name} was written by a newer release (schema"
            f" {', '.join(sorted(unknown))}); install that release, or give another database."
        )
    return present == set(script.get_heads())
