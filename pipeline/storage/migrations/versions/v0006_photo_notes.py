"""Notes on photos: set aside, when they were taken and hold, and the sighting they come from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    photo = sa.ForeignKey("photos.id", ondelete="CASCADE")
    op.create_table(
        "photo_notes",
        sa.Column("photo_id", sa.Integer, photo, primary_key=True, autoincrement=False),
        sa.Column("aside_at", sa.String(32)),
        sa.Column("aside_reason", sa.Text),
        sa.Column("taken_at", sa.String(32)),
        sa.Column("valid_from", sa.String(32)),
        sa.Column("valid_until", sa.String(32)),
        sa.Column("sighting", sa.String(32)),
        sa.Column("source", sa.Text),
        sa.Column("seen_at", sa.String(32)),
    )


def downgrade() -> None:
    op.drop_table("photo_notes")
