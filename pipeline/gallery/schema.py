"""The gallery's tables. The migrations in ``migrations/versions`` make them; a test compares."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Dialect, ForeignKey, LargeBinary, String, Text
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
