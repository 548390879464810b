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
