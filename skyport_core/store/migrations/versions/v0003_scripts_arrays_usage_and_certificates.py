"""Scripts, holds and arrays of jobs; what they used; who may come in."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def _new_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("requeue", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("flavor", sa.Text(), nullable=True),
        sa.Column("array_id", sa.Text(), nullable=True),
        sa.Column("array_index", sa.Integer(), nullable=True),
        sa.Column("array_limit", sa.Integer(), nullable=True),
        sa.Column("price", sa.Double(), nullable=True),
        sa.Column("currency", sa.Text(), server_default="", nullable=False),
        sa.Column("share", sa.Double(), nullable=True),
        sa.Column("walltime_told", sa.Integer(), nullable=True),
        sa.Column("scripted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("secret", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def upgrade() -> None:
    """To this version."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        for column in _new_columns():
            batch_op.add_column(column)
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_array_id"), ["array_id"], unique=False)
    # What had secrets then is not known; nothing that has ended is run again without them.
    op.execute(sa.text("UPDATE jobs SET secret = true"))
    sqlite = op.get_bind().dialect.name == "sqlite"
    name = "json_extract(spec, '$.name')" if sqlite else "CAST(spec AS json) ->> 'name'"
    op.execute(sa.text(f"UPDATE jobs SET name = COALESCE({name}, '')"))  # noqa: S608 - fixed texts
    with op.batch_alter_table("partitions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("count", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "job_scripts",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_scripts_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_scripts")),
    )
    op.create_table(
        "usage",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("flavor", sa.Text(), nullable=False),
        sa.Column("nodes", sa.Integer(), nullable=False),
        sa.Column("cpus", sa.Double(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_usage")),
    )
    op.create_index(op.f("ix_usage_ended_at"), "usage", ["ended_at"], unique=False)
    op.create_table(
        "certificates",
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificates")),
    )
    op.create_index(
        op.f("ix_certificates_revoked_at"), "certificates", ["revoked_at"], unique=False
    )
    op.create_table(
        "identities",
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_identities")),
    )


def downgrade() -> None:
    """To the version before."""
    for table in ("identities", "certificates", "usage", "job_scripts"):
        op.drop_table(table)
    with op.batch_alter_table("partitions", schema=None) as batch_op:
        batch_op.drop_column("count")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_array_id"))
        for column in _new_columns():
            batch_op.drop_column(column.name)
