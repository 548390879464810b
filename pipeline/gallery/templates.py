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
from sqlalchemy.orm import Session

from ..core.errors import GalleryCorrupt
from ..core.types import Floats
from ..storage.names import printable
from ..storage.schema import TemplateRow

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
    """The templates of a model (None has none), of photos with an id above ``after``.

    ``path`` is for messages; ``columns="mu"`` leaves ``logvar`` out.

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
    """Write N templates: ids N (of people above 0), ``mu`` and ``logvar`` N×D of one model.

    Raises GalleryCorrupt if a block has a wrong size.
    """
    dim = mu.shape[1]
    for block in np.unique(photo_ids // BLOCK).tolist():
        row = session.get(TemplateRow, (model_id, block))
        if row is None:
            row = TemplateRow(model_id=model_id, block=block, person_ids=bytes(8 * BLOCK))
            row.mu = row.logvar = bytes(4 * BLOCK * dim)
            session.add(row)
        new = np.flatnonzero(photo_ids // BLOCK == block)
        if len(row.mu) != 4 * BLOCK * dim:
            raise _damaged(path, block)
        _fill(row, path, photo_ids[new] % BLOCK, person_ids[new], mu[new], logvar[new])


def erase_templates(session: Session, path: Path, photo_ids: Ids) -> None:
    """Overwrite the templates of these photos, of all models; a block without any is deleted.

    Raises GalleryCorrupt if a block has a wrong size.
    """
    for block in np.unique(photo_ids // BLOCK).tolist():
        slots = photo_ids[photo_ids // BLOCK == block] % BLOCK
        for row in session.scalars(select(TemplateRow).where(TemplateRow.block == block)):
            _fill(row, path, slots, 0, 0, 0)
            if not any(row.person_ids):
                session.delete(row)


def assign_templates(session: Session, path: Path, photo_ids: Ids, person_id: int) -> None:
    """Give the templates of these photos, of all models, to a person.

    Raises GalleryCorrupt if a block has a wrong size.
    """
    for block in np.unique(photo_ids // BLOCK).tolist():
        slots = photo_ids[photo_ids // BLOCK == block] % BLOCK
        for row in session.scalars(select(TemplateRow).where(TemplateRow.block == block)):
            if len(row.person_ids) != 8 * BLOCK:
                raise _damaged(path, block)
            people = np.frombuffer(row.person_ids, "<i8").copy()
            people[slots] = np.where(people[slots] > 0, person_id, 0)  # this model may lack some
            row.person_ids = people.tobytes()


def _fill(
    row: TemplateRow,
    path: Path,
    slots: Ids,
    person_ids: Ids | int,
    mu: Floats | int,
    logvar: Floats | int,
) -> None:
    """Write the slots of a block; raises ``GalleryCorrupt`` where it has a wrong size."""
    sizes = len(row.person_ids), len(row.mu), len(row.logvar)
    if sizes != (8 * BLOCK, sizes[1], sizes[1]) or sizes[1] % (4 * BLOCK):
        raise _damaged(path, row.block)
    people = np.frombuffer(row.person_ids, "<i8").copy()
    people[slots] = person_ids
    row.person_ids = people.tobytes()
    for column, values in (("mu", mu), ("logvar", logvar)):
        vectors = np.frombuffer(getattr(row, column), "<f4").reshape(BLOCK, -1).copy()
        vectors[slots] = values
        setattr(row, column, vectors.tobytes())


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


def _damaged(path: Path, block: int) -> GalleryCorrupt:
    return GalleryCorrupt(
        f"the gallery '{printable(str(path))}' is damaged (block {block} of the embeddings has "
        "another size than it should); restore a copy, or move it away and enrol again"
    )
