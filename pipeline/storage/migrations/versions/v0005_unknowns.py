"""Clusters of unnamed sightings, decisions with their history, and who a face is not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sightings", sa.Column("fixed", sa.Boolean))
    op.add_column("sightings", sa.Column("ignored", sa.Boolean))
    op.create_table(
        "operations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("undone_by", sa.Integer),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "operation_id",
            sa.Integer,
            sa.ForeignKey("operations.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("sighting_id", sa.Integer, _sighting(), nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    for column in ("operation_id", "sighting_id"):
        op.create_index(f"ix_decisions_{column}", "decisions", [column])
    op.create_table(
        "clusters",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("merged_into", sa.Integer),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cluster_members",
        sa.Column("sighting_id", sa.Integer, _sighting(), primary_key=True, autoincrement=False),
        sa.Column(
            "cluster_id",
            sa.Integer,
            sa.ForeignKey("clusters.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("core", sa.Boolean, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
    )
    op.create_index("ix_cluster_members_cluster_id", "cluster_members", ["cluster_id"])
    op.create_table(
        "rejections",
        sa.Column(
            "person_id",
            sa.Integer,
            sa.ForeignKey("people.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("sighting_id", sa.Integer, _sighting(), primary_key=True),
    )


def _sighting() -> sa.ForeignKey:
    return sa.ForeignKey("sightings.id", ondelete="CASCADE")


def downgrade() -> None:
    for table in ("rejections", "cluster_members", "clusters", "decisions", "operations"):
        op.drop_table(table)
    for column in ("fixed", "ignored"):
        op.drop_column("sightings", column)
