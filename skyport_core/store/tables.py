"""The tables. A change here needs a new version in ``migrations/versions``."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UTCDateTime(TypeDecorator[dt.datetime]):
    """Aware datetimes in UTC, also on databases without time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """To UTC; a naive datetime is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; give an aware datetime.")
        return value.astimezone(dt.timezone.utc)

    def process_result_value(
        self, value: dt.datetime | None, dialect: Dialect
    ) -> dt.datetime | None:
        """As aware datetime in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=dt.timezone.utc)
        return value.astimezone(dt.timezone.utc)


def clean(text: str) -> str:
    """Replace what UTF-8 or PostgreSQL cannot hold: NUL and lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class CleanText(TypeDecorator[str]):
    """Text that may quote a program's output, so may hold anything."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Make it storable."""
        return None if value is None else clean(value)


meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

job_ids = sa.Table(
    "job_ids",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("tombstone", sa.Boolean, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    # Of one job of an array; with the time it says where the job stands in lists, for good.
    sa.Column("array_index", sa.Integer),
)
"""Every id ever seen. A submission and a deletion that race for an id race for its row here."""

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, sa.ForeignKey(job_ids.c.id), primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    # The number while the job holds it, else NULL: unique among the jobs that are not over.
    sa.Column("live_number", sa.Integer, nullable=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("state_since", UTCDateTime, nullable=False),
    sa.Column("site", sa.Text),
    sa.Column("node", sa.Text),
    sa.Column("username", sa.Text),
    sa.Column("partition", sa.Text),
    sa.Column("reserved_cpus", sa.Double),
    sa.Column("reserved_memory", sa.BigInteger),
    sa.Column("reserved_gpus", sa.Integer),
    sa.Column("listen_host", sa.Text),
    sa.Column("listen_port", sa.Integer),
    sa.Column("forward_ports", sa.JSON, nullable=False),
    sa.Column("excluded", sa.JSON, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("position", sa.Integer),
    sa.Column("wait_reason", CleanText, nullable=False),
    sa.Column("deadline", UTCDateTime),
    sa.Column("started_at", UTCDateTime),
    sa.Column("expires_at", UTCDateTime),
    sa.Column("ended_at", UTCDateTime),
    sa.Column("exit_code", sa.Integer),
    sa.Column("failure_reason", CleanText),
    sa.Column("failure_message", CleanText),
    sa.Column("failure_hint", CleanText),
    sa.Column("failure_log_tail", CleanText),
    sa.Column("cleanup_pending", sa.Boolean, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("held", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("requeue", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("flavor", sa.Text),
    sa.Column("array_id", sa.Text),
    sa.Column("array_index", sa.Integer),
    sa.Column("array_limit", sa.Integer),
    sa.Column("price", sa.Double),
    sa.Column("currency", sa.Text, nullable=False, server_default=""),
    sa.Column("share", sa.Double),
    sa.Column("walltime_told", sa.Integer),
    sa.Column("scripted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("secret", sa.Boolean, nullable=False, server_default=sa.false()),
    # Whether it waits for other jobs: few do, and they are asked for whenever a record is deleted.
    sa.Column("depends", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("version", sa.Integer, nullable=False),
    # Of the last event: kept here, so that the row's lock also orders the events.
    sa.Column("event_seq", sa.Integer, nullable=False),
    sa.Column("progress", sa.Integer, nullable=False),
    sa.UniqueConstraint("live_number"),
    sa.Index(None, "owner", "created_at"),
    # The jobs of an owner that have not ended are counted in it, however many have.
    sa.Index(None, "owner", "live_number", "state"),
    sa.Index(None, "depends", "live_number"),
    sa.Index(None, "state"),
    sa.Index(None, "created_at", "id"),
    sa.Index(None, "array_id"),
)

job_secrets = sa.Table(
    "job_secrets",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey(jobs.c.id), primary_key=True),
    sa.Column("token", sa.LargeBinary, nullable=False),
)

job_scripts = sa.Table(
    "job_scripts",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey(jobs.c.id), primary_key=True),
    sa.Column("script", sa.Text, nullable=False),
)

usage = sa.Table(
    "usage",
    metadata,
    # No key of a job's row: the account outlives the record of the job.
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("flavor", sa.Text, nullable=False),
    sa.Column("nodes", sa.Integer, nullable=False),
    sa.Column("cpus", sa.Double, nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("share", sa.Double, nullable=False),
    sa.Column("price", sa.Double),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("started_at", UTCDateTime, nullable=False),
    sa.Column("ended_at", UTCDateTime),
    sa.Index(None, "ended_at"),
)
"""One row for each time that a job got a place, ``ended_at`` once it gave it back."""

certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("serial", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("issued_at", UTCDateTime, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=False),
    sa.Column("revoked_at", UTCDateTime, index=True),
    sa.Column("reason", CleanText, nullable=False, server_default=""),
    sa.Column("issued_by", sa.Text, nullable=False, server_default="", index=True),
    sa.Index(None, "name"),
)

identities = sa.Table(
    "identities",
    metadata,
    sa.Column("uuid", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
)
"""Whom the UUIDs in certificates of the original Sky Port stand for."""

refusals = sa.Table(
    "refusals",
    metadata,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("serial", sa.Text, primary_key=True),
    sa.Column("revoked_at", UTCDateTime, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=False),
    sa.Column("reason", CleanText, nullable=False, server_default=""),
)
"""Certificates of the original Sky Port that are not accepted any more."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey(jobs.c.id), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", UTCDateTime, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("progress", sa.Integer, nullable=False),
    sa.Column("message", CleanText, nullable=False),
    sa.Column("reason", CleanText, nullable=False),
    sa.Column("hint", CleanText, nullable=False),
)

partitions = sa.Table(
    "partitions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False, index=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("flavor", sa.Text, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("state_since", UTCDateTime, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("region", sa.Text, nullable=False, server_default=""),
    sa.Column("zone", sa.Text, nullable=False, server_default=""),
    sa.Column("spot", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("price", sa.Double),
    sa.Column("image", sa.Text, nullable=False, server_default=""),
    sa.Column("max_price", sa.Double),
    sa.Column("keep", sa.Text, nullable=False, server_default=""),
    sa.Column("count", sa.Integer, nullable=False, server_default="1"),
    sa.Column("deadline", UTCDateTime),
    sa.Column("reason", CleanText, nullable=False, server_default=""),
    sa.Column("error", CleanText, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index(None, "owner", "keep"),
)

gate_data = sa.Table(
    "gate_data",
    metadata,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("token", sa.LargeBinary, nullable=False),
)

drains = sa.Table(
    "drains",
    metadata,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("reason", CleanText, nullable=False),
)
