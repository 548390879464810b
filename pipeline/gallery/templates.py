"""The gallery's embeddings as arrays: all of them, or what changed since an earlier state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..core.errors import GalleryCorrupt
from ..core.types import Floats
from . import changes, queries
from .changes import Change, Head
from .names import printable
from .schema import PersonRow

Ids = NDArray[np.int64]

# Read without SQLAlchemy's types: 3 s rather than 12 s a million rows.
_ROWS = """
    SELECT embeddings.photo_id, photos.person_id, embeddings.mu {more}
    FROM embeddings JOIN photos ON photos.id = embeddings.photo_id
    WHERE embeddings.model_id = ? AND embeddings.photo_id > ?
    ORDER BY embeddings.photo_id
"""
_CHUNK = 20_000
# People asked for by id at once (SQLite takes 32766 variables).
_MANY = 500


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Templates:
    """Embeddings of the model in use, at one moment.

    Attributes:
        head: of which state of the gallery.
        model_id: None when nothing was ever added.
        names: person id to name.
        photo_ids: N int64, ascending.
        person_ids: N int64.
        mu: N×D float32, not normalised.
    """

    head: Head
    model_id: str | None
    names: dict[int, str]
    photo_ids: Ids
    person_ids: Ids
    mu: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """What changed since an earlier state.

    Attributes:
        added: photos that are new since, and the names of people who are new or renamed.
        removed: people who are gone, with all their photos.
    """

    added: Templates
    removed: frozenset[int]


def read_templates(session: Session, path: Path) -> Templates:
    """All of them.

    Raises:
        GalleryCorrupt: embeddings of different lengths.
    """
    model_id = queries.model_id(session)
    photo_ids, person_ids, (mu,) = read_rows(session, path, model_id)
    return Templates(
        head=changes.head(session),
        model_id=model_id,
        names=read_names(session),
        photo_ids=photo_ids,
        person_ids=person_ids,
        mu=mu,
    )


def read_delta(
    session: Session, path: Path, *, since: Head, after: int, model_id: str | None
) -> Delta | None:
    """What changed; None when that cannot be told, or the model is another.

    Args:
        session: of the gallery.
        path: of the gallery.
        since: the earlier state.
        after: the largest photo id there had been by then.
        model_id: of the embeddings there were.

    Raises:
        GalleryCorrupt: embeddings of different lengths.
    """
    log = changes.since(session, since)
    if log is None or queries.model_id(session) != model_id or _by(log, "model"):
        return None
    photo_ids, person_ids, (mu,) = read_rows(session, path, model_id, after=after)
    return Delta(
        Templates(
            head=changes.head(session),
            model_id=model_id,
            names=_names(session, sorted(_by(log, "added") | _by(log, "renamed"))),
            photo_ids=photo_ids,
            person_ids=person_ids,
            mu=mu,
        ),
        frozenset(_by(log, "removed")),
    )


def read_rows(
    session: Session,
    path: Path,
    model_id: str | None,
    *,
    after: int = -1,
    columns: Sequence[str] = ("mu",),
) -> tuple[Ids, Ids, tuple[Floats, ...]]:
    """Photo ids N, person ids N and one N×D float32 array a column, by photo id.

    Raises:
        GalleryCorrupt: embeddings of different lengths.
    """
    more = "".join(f", embeddings.{name}" for name in columns[1:])
    found = session.connection().exec_driver_sql(_ROWS.format(more=more), (model_id or "", after))
    ids: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    blocks: list[list[Floats]] = [[] for _ in columns]
    length: int | None = None
    for rows in found.partitions(_CHUNK):
        photo, person, *values = zip(*rows, strict=True)
        ids.append(np.array([photo, person], np.int64).T)
        for block, blobs in zip(blocks, values, strict=True):
            lengths = {len(blob) for blob in blobs} | ({length} if length is not None else set())
            if len(lengths) > 1 or min(lengths) % 4:
                raise GalleryCorrupt(
                    f"the gallery '{printable(str(path))}' holds embeddings of different "
                    "lengths; run 'facestream gallery re-embed'"
                )
            length = lengths.pop()
            array = np.frombuffer(b"".join(blobs), "<f4").astype(np.float32, copy=False)
            block.append(array.reshape(len(blobs), length // 4))
    pairs = np.concatenate(ids)
    dim = 0 if length is None else length // 4
    return (
        np.ascontiguousarray(pairs[:, 0]),
        np.ascontiguousarray(pairs[:, 1]),
        tuple(np.concatenate(block or [np.zeros((0, dim), np.float32)]) for block in blocks),
    )


def read_names(session: Session) -> dict[int, str]:
    """Everybody's name by id."""
    rows = session.connection().exec_driver_sql("SELECT id, name FROM people")
    return {row[0]: row[1] for row in rows.fetchall()}


def _by(log: list[Change], kind: str) -> set[int]:
    return {change.person_id for change in log if change.kind == kind}


def _names(session: Session, people: list[int]) -> dict[int, str]:
    """Names of those who are still there."""
    found: dict[int, str] = {}
    for start in range(0, len(people), _MANY):
        rows = session.execute(
            select(PersonRow.id, PersonRow.name).where(
                PersonRow.id.in_(people[start : start + _MANY])
            )
        )
        found.update((row.id, row.name) for row in rows)
    return found
