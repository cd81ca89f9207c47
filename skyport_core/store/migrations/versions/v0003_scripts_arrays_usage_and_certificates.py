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
        sa.Column("depends", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


_JOB_INDEXES = (("array_id",), ("owner", "live_number", "state"), ("depends", "live_number"))
"""The columns of each index that jobs get."""


def _name(columns: tuple[str, ...]) -> str:
    return f"ix_jobs_{'_'.join(columns)}"


# What jobs held a place when this version came: their lines of usage begin with that place.
_PLACED = """
INSERT INTO usage (job_id, attempt, owner, account, site, flavor, nodes, cpus, gpus, share, price,
                   currency, started_at)
SELECT jobs.id, jobs.attempt, jobs.owner, '', jobs.site, COALESCE(partitions.flavor, ''), 1,
       COALESCE(jobs.reserved_cpus, 0), COALESCE(jobs.reserved_gpus, 0), 1, partitions.price,
       CASE WHEN partitions.price IS NULL THEN '' ELSE 'USD' END,
       COALESCE((SELECT MAX(events.time) FROM events
                 WHERE events.job_id = jobs.id AND events.reason = 'placed'),
                jobs.started_at, jobs.state_since)
FROM jobs LEFT JOIN partitions ON partitions.name = jobs.partition
WHERE jobs.site IS NOT NULL
  AND jobs.state IN ('ALLOCATING', 'STAGING', 'STARTING', 'RUNNING', 'COLLECTING')
"""


def upgrade() -> None:
    """To this version."""
    # In place: other tables refer to these two, so that SQLite would not let a copy replace them.
    with op.batch_alter_table("job_ids", schema=None, recreate="never") as batch_op:
        batch_op.add_column(sa.Column("array_index", sa.Integer(), nullable=True))
    with op.batch_alter_table("jobs", schema=None, recreate="never") as batch_op:
        for added in _new_columns():
            batch_op.add_column(added)
        for columns in _JOB_INDEXES:
            batch_op.create_index(batch_op.f(_name(columns)), list(columns), unique=False)
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
    op.execute(sa.text(_PLACED))
    op.create_table(
        "certificates",
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("issued_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificates")),
    )
    for column in ("revoked_at", "issued_by", "name"):
        op.create_index(f"ix_certificates_{column}", "certificates", [column], unique=False)
    op.create_table(
        "refusals",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("revoked_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("issuer", "serial", name=op.f("pk_refusals")),
    )
    op.create_table(
        "identities",
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_identities")),
    )


def downgrade() -> None:
    """To the version before."""
    for table in ("identities", "refusals", "certificates", "usage", "job_scripts"):
        op.drop_table(table)
    with op.batch_alter_table("partitions", schema=None) as batch_op:
        batch_op.drop_column("count")
    with op.batch_alter_table("jobs", schema=None, recreate="never") as batch_op:
        for columns in _JOB_INDEXES:
            batch_op.drop_index(batch_op.f(_name(columns)))
        for added in _new_columns():
            batch_op.drop_column(added.name)
    with op.batch_alter_table("job_ids", schema=None, recreate="never") as batch_op:
        batch_op.drop_column("array_index")
