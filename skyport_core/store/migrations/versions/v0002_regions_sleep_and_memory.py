"""Where a partition is, what it costs and under which name it is kept; what gates remember."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "gate_data",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("site", "key", name=op.f("pk_gate_data")),
    )
    with op.batch_alter_table("partitions", schema=None) as batch_op:
        for name in ("region", "zone", "image", "keep", "reason"):
            batch_op.add_column(sa.Column(name, sa.Text(), server_default="", nullable=False))
        batch_op.add_column(
            sa.Column("spot", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch_op.add_column(sa.Column("price", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("max_price", sa.Double(), nullable=True))
    with op.batch_alter_table("partitions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_partitions_owner_keep"), ["owner", "keep"], unique=False
        )


def downgrade() -> None:
    """To the version before."""
    with op.batch_alter_table("partitions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_partitions_owner_keep"))
        for name in ("region", "zone", "spot", "price", "image", "max_price", "keep", "reason"):
            batch_op.drop_column(name)
    op.drop_table("gate_data")
