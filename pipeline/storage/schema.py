"""The tables of people and sightings, made by ``migrations/versions``; a test compares them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Dialect, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC, stored as ISO 8601 text (SQLite has no type for it)."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class FloatArray(TypeDecorator[NDArray[np.float32]]):
    """A float32 array of a fixed shape, stored as little-endian bytes."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def process_bind_param(
        self, value: NDArray[np.float32] | None, dialect: Dialect
    ) -> bytes | None:
        return None if value is None else np.asarray(value, "<f4").tobytes()

    def process_result_value(
        self, value: bytes | None, dialect: Dialect
    ) -> NDArray[np.float32] | None:
        if value is None:
            return None
        return np.frombuffer(value, "<f4").astype(np.float32).reshape(self.shape)


class Base(DeclarativeBase):
    """All tables."""


class PersonRow(Base):
    """A person. Ids are never reused."""

    __tablename__ = "people"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    name_key: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    photos: Mapped[list[PhotoRow]] = relationship(passive_deletes="all", order_by="PhotoRow.id")


class PhotoRow(Base):
    """A face of a person: its photo, and the aligned crop it was embedded from."""

    __tablename__ = "photos"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    width: Mapped[int]
    height: Mapped[int]
    box: Mapped[NDArray[np.float32]] = mapped_column(FloatArray(4))
    landmarks: Mapped[NDArray[np.float32]] = mapped_column(FloatArray(5, 2))
    score: Mapped[float]
    crop: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class PhotoNoteRow(Base):
    """What is known of a photo beyond its face; few photos have such a row.

    A table of its own: a search must know it of all photos, and a column of ``photos`` would lie
    behind their crops. ``sighting`` outlives the sighting's row.
    """

    __tablename__ = "photo_notes"

    photo_id: Mapped[int] = mapped_column(
        ForeignKey("photos.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    aside_at: Mapped[datetime | None] = mapped_column(UtcTime)
    aside_reason: Mapped[str | None] = mapped_column(Text)
    taken_at: Mapped[datetime | None] = mapped_column(UtcTime)
    valid_from: Mapped[datetime | None] = mapped_column(UtcTime)
    valid_until: Mapped[datetime | None] = mapped_column(UtcTime)
    sighting: Mapped[str | None] = mapped_column(String(32))
    source: Mapped[str | None] = mapped_column(Text)
    seen_at: Mapped[datetime | None] = mapped_column(UtcTime)


class TemplateRow(Base):
    """One model's embeddings of the crops of ``templates.BLOCK`` photos, by photo id."""

    __tablename__ = "templates"

    model_id: Mapped[str] = mapped_column(Text, primary_key=True)
    block: Mapped[int] = mapped_column(primary_key=True)
    # In this order: SQLite reads a row up to the last column that is asked for.
    person_ids: Mapped[bytes] = mapped_column(LargeBinary)
    mu: Mapped[bytes] = mapped_column(LargeBinary)
    logvar: Mapped[bytes] = mapped_column(LargeBinary)


class MetaRow(Base):
    """``model_id`` in use, ``generation`` (counts the changes), and the log (``changes``)."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class RunRow(Base):
    """A run that stores sightings. It is alive while ``alive_at`` advances, or its process lives.

    Sightings that a run left open are closed as ``interrupted`` when it is found dead.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    host: Mapped[str] = mapped_column(Text)
    process: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    alive_at: Mapped[datetime] = mapped_column(UtcTime)


class SightingRow(Base):
    """A face from when it appeared until it left."""

    __tablename__ = "sightings"
    __table_args__ = (
        Index("ix_sightings_seen", "seen_at", "id"),
        Index("ix_sightings_source", "source", "seen_at", "id"),
        Index("ix_sightings_person", "person_id", "seen_at", "id"),
        Index("ix_sightings_verdict", "verdict", "seen_at", "id"),
        Index("ix_sightings_state", "state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    source: Mapped[str] = mapped_column(Text)
    file: Mapped[str | None] = mapped_column(Text)
    track_id: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    # When it began, or when it was stored if that is not known: for order and filters.
    seen_at: Mapped[datetime] = mapped_column(UtcTime)
    start_utc: Mapped[datetime | None] = mapped_column(UtcTime)
    end_utc: Mapped[datetime | None] = mapped_column(UtcTime)
    start_pts: Mapped[float]
    end_pts: Mapped[float]
    box: Mapped[NDArray[np.float32]] = mapped_column(FloatArray(4))
    best_pts: Mapped[float | None]
    best_score: Mapped[float | None]
    faces: Mapped[int]
    looks: Mapped[int]
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"))
    verdict: Mapped[str] = mapped_column(String(16))
    similarity: Mapped[float]
    probability: Mapped[float]
    uncertainty: Mapped[float | None]
    # Sigma of the surest embedding.
    clearest: Mapped[float | None]
    reason: Mapped[str | None] = mapped_column(String(32))
    flat: Mapped[bool | None]
    # JSON, a list of [person id, similarity].
    candidates: Mapped[str | None] = mapped_column(Text)
    model_id: Mapped[str] = mapped_column(Text)
    # A human decided who it is: nothing else changes that any more.
    fixed: Mapped[bool | None]
    # It resembles somebody who is to be ignored.
    ignored: Mapped[bool | None]


class SightingTemplateRow(Base):
    """The fused embedding of a sighting: float16, little-endian, D each.

    A table of its own: a search reads the embeddings alone, a page of sightings none. The ids
    rise in the order of writing, so that an index reads what is new.
    """

    __tablename__ = "sighting_templates"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    sighting_id: Mapped[int] = mapped_column(
        ForeignKey("sightings.id", ondelete="CASCADE"), unique=True
    )
    model_id: Mapped[str] = mapped_column(Text)
    # In this order: SQLite reads a row up to the last column that is asked for.
    mu: Mapped[bytes] = mapped_column(LargeBinary)
    logvar: Mapped[bytes] = mapped_column(LargeBinary)


class MediaRow(Base):
    """A picture of a sighting: a JPEG file below the media folder."""

    __tablename__ = "media"

    sighting_id: Mapped[int] = mapped_column(
        ForeignKey("sightings.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    path: Mapped[str] = mapped_column(Text, unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int]


class CohortMemberRow(Base):
    """A sighting of the installation's own cohort of strangers (``facestream calibrate``)."""

    __tablename__ = "cohort_members"

    sighting_id: Mapped[int] = mapped_column(
        ForeignKey("sightings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )


class ErasingRow(Base):
    """A picture of which no row is left and whose file is to be erased: a crash leaves it here."""

    __tablename__ = "erasing"

    # Relative to the media folder.
    path: Mapped[str] = mapped_column(Text, primary_key=True)


class ForgottenRow(Base):
    """A person or an open sighting that was erased: runs that still know it store it no more."""

    __tablename__ = "forgotten"

    # ``person/ID`` or ``sighting/UID``.
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)


class ReceiptRow(Base):
    """That something was erased: when, by whom, how much; neither whom nor what it looked like."""

    __tablename__ = "receipts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    # JSON, see ``sightings.receipts.Receipt``.
    content: Mapped[str] = mapped_column(Text)


class DataKeyRow(Base):
    """A key by which templates and pictures are encrypted, itself encrypted by the user's key."""

    __tablename__ = "data_keys"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    # The first characters of a hash of the user's key, to tell a wrong one.
    user_key: Mapped[str] = mapped_column(String(16))
    # ``active``: writes; ``old``: still read, until all is encrypted anew.
    state: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class OperationRow(Base):
    """Something that changed decisions, and can be undone: who did it, and when."""

    __tablename__ = "operations"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    who: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    summary: Mapped[str] = mapped_column(Text)
    # JSON: what an undo needs besides the decisions.
    details: Mapped[str] = mapped_column(Text)
    undone_by: Mapped[int | None]


class DecisionRow(Base):
    """What an operation changed of a sighting; ``before`` and ``after`` are JSON objects."""

    __tablename__ = "decisions"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    operation_id: Mapped[int] = mapped_column(
        ForeignKey("operations.id", ondelete="CASCADE"), index=True
    )
    sighting_id: Mapped[int] = mapped_column(
        ForeignKey("sightings.id", ondelete="CASCADE"), index=True
    )
    before: Mapped[str] = mapped_column(Text)
    after: Mapped[str] = mapped_column(Text)
    cause: Mapped[str] = mapped_column(Text)


class ClusterRow(Base):
    """Unnamed sightings that show one person. Ids are never reused.

    ``state`` is ``open``, ``ignored``, ``named``, or ``merged`` (into ``merged_into``).
    """

    __tablename__ = "clusters"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    merged_into: Mapped[int | None]


class ClusterMemberRow(Base):
    """A sighting of a cluster; one that is ``pinned`` was put there by a human."""

    __tablename__ = "cluster_members"

    sighting_id: Mapped[int] = mapped_column(
        ForeignKey("sightings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    cluster_id: Mapped[int] = mapped_column(
        ForeignKey("clusters.id", ondelete="CASCADE"), index=True
    )
    # Clear enough to connect others.
    core: Mapped[bool]
    pinned: Mapped[bool]


class RejectionRow(Base):
    """A sighting that is not this person; faces that resemble it more than them are not either."""

    __tablename__ = "rejections"

    person_id: Mapped[int] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True
    )
    sighting_id: Mapped[int] = mapped_column(
        ForeignKey("sightings.id", ondelete="CASCADE"), primary_key=True
    )
