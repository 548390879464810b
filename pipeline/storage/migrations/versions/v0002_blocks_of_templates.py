"""Embeddings in blocks of 64 photos: the table ``templates`` takes the place of ``embeddings``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

log = logging.getLogger(__name__)

BLOCK = 64
_CHUNK = 4096


def upgrade() -> None:
    op.create_table(
        "templates",
        sa.Column("model_id", sa.Text, primary_key=True),
        sa.Column("block", sa.Integer, primary_key=True),
        sa.Column("person_ids", sa.LargeBinary, nullable=False),
        sa.Column("mu", sa.LargeBinary, nullable=False),
        sa.Column("logvar", sa.LargeBinary, nullable=False),
    )
    connection = op.get_bind()
    count = connection.exec_driver_sql("SELECT count(*) FROM embeddings").scalar_one()
    if count > 10_000:
        log.warning("the gallery is upgraded: once, about a minute for a million photos")
    models = connection.exec_driver_sql("SELECT DISTINCT model_id FROM embeddings").scalars().all()
    for model_id in models:
        for row in _blocks(connection, model_id):
            connection.exec_driver_sql("INSERT INTO templates VALUES (?, ?, ?, ?, ?)", row)
    op.drop_table("embeddings")


def _blocks(
    connection: Connection, model_id: str
) -> Iterator[tuple[str, int, bytes, bytes, bytes]]:
    """The model's embeddings of the commonest length, in blocks; others are left out."""
    lengths = connection.exec_driver_sql(
        "SELECT length(mu), count(*) FROM embeddings WHERE model_id = ? "
        "AND length(mu) = length(logvar) AND length(mu) % 4 = 0 "
        "GROUP BY length(mu) ORDER BY count(*) DESC",
        (model_id,),
    ).all()
    length = lengths[0][0] if lengths else 0
    rows = connection.exec_driver_sql(
        "SELECT embeddings.photo_id, photos.person_id, embeddings.mu, embeddings.logvar "
        "FROM embeddings JOIN photos ON photos.id = embeddings.photo_id "
        "WHERE embeddings.model_id = ? ORDER BY embeddings.photo_id",
        (model_id,),
    )
    stream = (row for some in rows.partitions(_CHUNK) for row in some)
    damaged = 0
    for block, photos in groupby(stream, lambda row: row[0] // BLOCK):
        people = np.zeros(BLOCK, "<i8")
        mu, logvar = (np.zeros((BLOCK, length // 4), "<f4") for _ in range(2))
        for photo, person, mean, variance in photos:
            if len(mean) != length or len(variance) != length:
                damaged += 1
                continue
            people[photo % BLOCK] = person
            mu[photo % BLOCK] = np.frombuffer(mean, "<f4")
            logvar[photo % BLOCK] = np.frombuffer(variance, "<f4")
        if people.any():
            yield model_id, block, people.tobytes(), mu.tobytes(), logvar.tobytes()
    if damaged:
        log.warning(
            "%d embeddings of the model '%s' are damaged and left out; "
            "'facestream gallery re-embed' makes them again",
            damaged,
            model_id,
        )
