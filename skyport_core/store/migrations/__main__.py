"""Drafts a new version from the difference between the tables and the newest version.

Usage: ``python -m skyport_core.store.migrations ID "what changes"``; read and edit the draft.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from ..database import Database
from ..schema import migration_config, upgrade


async def draft(revision: str, message: str) -> None:
    """Write ``versions/v<revision>_<message>.py``."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'draft.db'}")
        await upgrade(database)
        async with database.write() as connection:
            await connection.run_sync(_draft, revision, message)
        await database.close()


def _draft(connection: sa.Connection, revision: str, message: str) -> None:
    config = migration_config(connection)
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    command.revision(config, message, autogenerate=True, rev_id=revision)


if __name__ == "__main__":
    asyncio.run(draft(*sys.argv[1:]))
