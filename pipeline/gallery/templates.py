"""The gallery's templates: the embeddings of all photos, in a table of their own.

A row is a block of ``BLOCK`` templates of one model. The template of a photo has a fixed place:
block ``photo_id // BLOCK``, slot ``photo_id % BLOCK``; a slot whose person id is 0 is empty. So
a million templates are 16,000 rows that lie apart from the crops: they are read in one to two
seconds, where a row each takes four to eleven.

A block has its full size from the start. SQLite overwrites a row of unchanged size in place, and
writes only the pages that differ: about five for one photo.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from ..core.errors import GalleryCorrupt
from ..core.types import Floats
from .names import printable
from .schema import TemplateRow

Ids = NDArray[np.int64]

# Fixed by the migration 0002. 64 × 128 float32 are 32 KB; 256 a block read no faster.
BLOCK = 64


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """The templates of one model.

    Attributes:
        photo_ids: N int64, ascending.
        person_ids: N int64.
        mu: N×D float32, not normalised.
        logvar: N×D float32; 0×D where it was not asked for.
    """

    photo_ids: Ids
    person_ids: Ids
    mu: Floats
    logvar: Floats


def read_templates(
    session: Session,
    path: Path,
    model_id: str | None,
    *,
    after: int = -1,
    columns: Literal["mu", "both"] = "mu",
) -> Templates:
    """The templates of a model.

    Args:
        session: of the gallery.
        path: of the gallery, for messages.
        model_id: None has none.
        after: only photos with a larger id.
        columns: ``mu`` leaves ``logvar`` out.

    Raises:
        GalleryCorrupt: a block has a wrong size.
    """
    first = (after + 1) // BLOCK
    chosen = (TemplateRow.model_id == (model_id or ""), TemplateRow.block >= first)
    count = session.scalar(select(func.count()).select_from(TemplateRow).where(*chosen)) or 0
    # Plain SQL: no object is made of a row.
    logvar_column = ", logvar" if columns == "both" else ""
    rows = session.connection().exec_driver_sql(
        f"SELECT block, person_ids, mu{logvar_column} FROM templates "
        "WHERE model_id = ? AND block >= ? ORDER BY block",
        (model_id or "", first),
    )
    dim = -1
    photo_ids, person_ids = (np.empty(count * BLOCK, np.int64) for _ in range(2))
    arrays: list[Floats] = []
    end = 0
    for block, people_blob, *blobs in rows:
        if dim < 0:
            dim = len(blobs[0]) // (4 * BLOCK)
            # Memory is taken as it is written, so empty slots cost none.
            arrays = [np.empty((count * BLOCK, dim), np.float32) for _ in blobs]
        if len(people_blob) != 8 * BLOCK or {len(blob) for blob in blobs} != {4 * BLOCK * dim}:
            raise _damaged(path, block)
        people = np.frombuffer(people_blob, "<i8")
        ids = block * BLOCK + np.arange(BLOCK)
        used = (people > 0) & (ids > after)
        start, end = end, end + int(np.count_nonzero(used))
        photo_ids[start:end], person_ids[start:end] = ids[used], people[used]
        for array, blob in zip(arrays, blobs, strict=True):
            vectors = np.frombuffer(blob, "<f4").reshape(BLOCK, dim)
            # Without a mask, one copy less.
            array[start:end] = vectors if end - start == BLOCK else vectors[used]
    nothing = np.zeros((0, max(dim, 0)), np.float32)
    mu, logvar = ([array[:end] for array in arrays] + [nothing, nothing])[:2]
    return Templates(photo_ids[:end], person_ids[:end], mu, logvar)


def write_templates(
    session: Session,
    path: Path,
    model_id: str,
    photo_ids: Ids,
    person_ids: Ids,
    mu: Floats,
    logvar: Floats,
) -> None:
    """Put N templates into their places.

    Args:
        session: of the gallery, in a writing transaction.
        path: of the gallery, for messages.
        model_id: that made them.
        photo_ids: N.
        person_ids: N, above 0.
        mu: N×D.
        logvar: N×D.

    Raises:
        GalleryCorrupt: a block has a wrong size.
    """
    dim = mu.shape[1]
    for block in np.unique(photo_ids // BLOCK).tolist():
        columns = _read_blocks(session, path, block).get(model_id) or _Columns.empty(dim)
        if columns.mu.shape != (BLOCK, dim):
            raise _damaged(path, block)
        rows = np.flatnonzero(photo_ids // BLOCK == block)
        slots = photo_ids[rows] % BLOCK
        columns.person_ids[slots] = person_ids[rows]
        columns.mu[slots], columns.logvar[slots] = mu[rows], logvar[rows]
        _store(session, model_id, block, columns)


def erase_templates(session: Session, path: Path, photo_ids: Ids) -> None:
    """Overwrite the templates of these photos, of all models; a block without any is deleted.

    Raises:
        GalleryCorrupt: a block has a wrong size.
    """
    for block in np.unique(photo_ids // BLOCK).tolist():
        slots = photo_ids[photo_ids // BLOCK == block] % BLOCK
        for model_id, columns in _read_blocks(session, path, block).items():
            columns.person_ids[slots] = 0
            columns.mu[slots] = columns.logvar[slots] = 0
            _store(session, model_id, block, columns)


def embedded_photos(session: Session, model_id: str) -> set[int]:
    """The photos that this model has embedded."""
    rows = session.execute(
        select(TemplateRow.block, TemplateRow.person_ids).where(TemplateRow.model_id == model_id)
    )
    return {
        block * BLOCK + slot
        for block, people in rows
        for slot in np.flatnonzero(np.frombuffer(people, "<i8")).tolist()
    }


def drop_other_models(session: Session, model_id: str) -> None:
    """Delete the templates of all models but this one."""
    session.execute(delete(TemplateRow).where(TemplateRow.model_id != model_id))


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """A block as arrays that can be written: person ids, mu and logvar by slot."""

    person_ids: Ids
    mu: Floats
    logvar: Floats

    @classmethod
    def empty(cls, dim: int) -> _Columns:
        mu, logvar = (np.zeros((BLOCK, dim), np.float32) for _ in range(2))
        return cls(np.zeros(BLOCK, np.int64), mu, logvar)


def _read_blocks(session: Session, path: Path, block: int) -> dict[str, _Columns]:
    """The block of each model that has it."""
    row = TemplateRow
    found = {}
    for model_id, people, mean, variance in session.execute(
        select(row.model_id, row.person_ids, row.mu, row.logvar).where(row.block == block)
    ):
        if (len(people), len(mean)) != (8 * BLOCK, len(variance)) or len(mean) % (4 * BLOCK):
            raise _damaged(path, block)
        person_ids = np.frombuffer(people, "<i8").astype(np.int64)
        mu, logvar = (np.frombuffer(blob, "<f4").astype(np.float32) for blob in (mean, variance))
        found[model_id] = _Columns(person_ids, mu.reshape(BLOCK, -1), logvar.reshape(BLOCK, -1))
    return found


def _store(session: Session, model_id: str, block: int, columns: _Columns) -> None:
    """Write a block; an empty one is deleted."""
    if not columns.person_ids.any():
        here = (TemplateRow.model_id == model_id, TemplateRow.block == block)
        session.execute(delete(TemplateRow).where(*here))
        return
    blobs = {
        "person_ids": columns.person_ids.astype("<i8").tobytes(),
        "mu": columns.mu.astype("<f4").tobytes(),
        "logvar": columns.logvar.astype("<f4").tobytes(),
    }
    statement = insert(TemplateRow).values(model_id=model_id, block=block, **blobs)
    keys = ["model_id", "block"]
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=blobs))


def _damaged(path: Path, block: int) -> GalleryCorrupt:
    return GalleryCorrupt(
        f"the gallery '{printable(str(path))}' is damaged (block {block} of the embeddings has "
        "another size than it should); restore a copy, or move it away and enrol again"
    )
