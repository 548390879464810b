"""Runs, sightings, their fused embeddings and pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("alive_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "sightings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uid", sa.String(32), nullable=False, unique=True),
        sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("file", sa.Text),
        sa.Column("track_id", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("seen_at", sa.String(32), nullable=False),
        sa.Column("start_utc", sa.String(32)),
        sa.Column("end_utc", sa.String(32)),
        sa.Column("start_pts", sa.Float, nullable=False),
        sa.Column("end_pts", sa.Float, nullable=False),
        sa.Column("box", sa.LargeBinary, nullable=False),
        sa.Column("best_pts", sa.Float),
        sa.Column("best_score", sa.Float),
        sa.Column("faces", sa.Integer, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id", ondelete="SET NULL")),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("similarity", sa.Float, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("uncertainty", sa.Float),
        sa.Column("clearest", sa.Float),
        sa.Column("reason", sa.String(32)),
        sa.Column("flat", sa.Boolean),
        sa.Column("candidates", sa.Text),
        sa.Column("model_id", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sightings_seen", "sightings", ["seen_at", "id"])
    for name, column in (("source", "source"), ("person", "person_id"), ("verdict", "verdict")):
        op.create_index(f"ix_sightings_{name}", "sightings", [column, "seen_at", "id"])
    op.create_index("ix_sightings_state", "sightings", ["state"])
    op.create_table(
        "sighting_templates",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sighting_id", sa.Integer, _sighting(), nullable=False, unique=True),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("mu", sa.LargeBinary, nullable=False),
        sa.Column("logvar", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "media",
        sa.Column("sighting_id", sa.Integer, _sighting(), primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("path", sa.Text, nullable=False, unique=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
    )


def _sighting() -> sa.ForeignKey:
    return sa.ForeignKey("sightings.id", ondelete="CASCADE")


def downgrade() -> None:
    for table in ("media", "sighting_templates", "sightings", "runs"):
        op.drop_table(table)
