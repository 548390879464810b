"""The sightings that are an installation's own cohort of strangers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cohort_members",
        sa.Column(
            "sighting_id",
            sa.Integer,
            sa.ForeignKey("sightings.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
    )


def downgrade() -> None:
    op.drop_table("cohort_members")
