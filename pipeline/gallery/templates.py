"""The gallery's templates: the embeddings of all photos, in a table of their own.

A row is a block of ``BLOCK`` templates of one model. The template of a photo has a fixed place:
block ``photo_id // BLOCK``, slot ``photo_id % BLOCK``; a slot whose person id is 0 is empty. So
a million templates are 16,000 rows that lie apart from the crops: they are read in one to two
seconds, where a row each takes four to eleven.

A block has its full size from the start. SQLite overwrites a row of unchanged size in place, and
writes only the pages that differ: about five for one photo.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ..core.types import Floats
from ..storage.schema import TemplateRow
from .embeddings import MOST_LOGVAR, shipped_dim, usable

Ids = NDArray[np.int64]

# Fixed by the migration 0002. 64 × 128 float32 are 32 KB; 256 a block read no faster.
BLOCK = 64
# Blocks that tell how long a model's embeddings are.
_SAMPLED = 9


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


def dimension(session: Session, model_id: str | None) -> int | None:
    """How long the embeddings of a model are; None while there are none.

    Of a model that is not shipped most of the first blocks decide.
    """
    known = shipped_dim(model_id)
    if known is not None:
        return known
    sizes = session.scalars(
        select(func.length(TemplateRow.mu))
        .where(TemplateRow.model_id == (model_id or ""))
        .order_by(TemplateRow.block)
        .limit(_SAMPLED)
    )
    found = Counter(size // (4 * BLOCK) for size in sizes if size and size % (4 * BLOCK) == 0)
    return found.most_common(1)[0][0] if found else None


def read_templates(
    session: Session,
    model_id: str | None,
    *,
    after: int = -1,
    columns: Literal["mu", "both"] = "mu",
) -> Templates:
    """The templates of a model (None has none), of photos with an id above ``after``.

    Only those that can be compared: of the model's length, finite, and of a photo and the person
    who has it. ``columns="mu"`` leaves ``logvar`` out.
    """
    dim = dimension(session, model_id) or 0
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
    sizes = (8 * BLOCK, *(4 * BLOCK * dim for _ in range(1 + bool(logvar_column))))
    photo_ids, person_ids = (np.empty(count * BLOCK, np.int64) for _ in range(2))
    # Memory is taken as it is written, so empty slots cost none.
    arrays = [np.empty((count * BLOCK, dim), np.float32) for _ in sizes[1:]]
    end = 0
    for block, *blobs in rows:
        if not all(map(_is_blob, blobs, sizes)):
            continue
        people = np.frombuffer(blobs[0], "<i8")
        blocks = [np.frombuffer(blob, "<f4").reshape(BLOCK, dim) for blob in blobs[1:]]
        ids = block * BLOCK + np.arange(BLOCK)
        used = (people > 0) & (ids > after)
        start, end = end, end + int(np.count_nonzero(used))
        photo_ids[start:end], person_ids[start:end] = ids[used], people[used]
        for array, vectors in zip(arrays, blocks, strict=True):
            # Without a mask, one copy less.
            array[start:end] = vectors if end - start == BLOCK else vectors[used]
    nothing = np.zeros((0, dim), np.float32)
    mu, logvar = ([array[:end] for array in arrays] + [nothing])[:2]
    found = Templates(photo_ids[:end], person_ids[:end], mu, logvar)
    good = usable(mu)
    if columns == "both":
        good &= (np.abs(logvar) <= MOST_LOGVAR).all(axis=1)
    return _of_photos(session, found if good.all() else _rows(found, good), after)


def _rows(templates: Templates, rows: NDArray[Any]) -> Templates:
    logvar = templates.logvar[rows] if len(templates.logvar) else templates.logvar
    return Templates(
        templates.photo_ids[rows], templates.person_ids[rows], templates.mu[rows], logvar
    )


def _is_blob(blob: object, size: int) -> bool:
    return isinstance(blob, bytes) and len(blob) == size > 0


def _of_photos(session: Session, templates: Templates, after: int) -> Templates:
    """The templates whose photo is there, and of the person whom they are of."""
    query = session.connection().exec_driver_sql
    # Without a condition SQLite reads an index, and not the rows with the crops. A sum tells
    # whether they agree, without a list of a million.
    where = f"FROM photos WHERE id > {after}" if after >= 0 else "FROM photos"
    found = query(
        f"SELECT count(*), sum((id % 1000003) * (person_id % 1000003) % 1000003) {where}"
    ).one()
    photos, people = templates.photo_ids, templates.person_ids
    product = (photos % 1000003) * (people % 1000003) % 1000003
    if (found[0], found[1] or 0) == (len(photos), int(product.sum())):
        return templates
    owners: dict[int, int] = {row[0]: row[1] for row in query(f"SELECT id, person_id {where}")}
    rows = [
        row
        for row, (photo, person) in enumerate(zip(photos.tolist(), people.tolist(), strict=True))
        if owners.get(photo) == person
    ]
    return _rows(templates, np.array(rows, np.int64))


def write_templates(
    session: Session, model_id: str, photo_ids: Ids, person_ids: Ids, mu: Floats, logvar: Floats
) -> None:
    """Write N templates: ids N (of people above 0), ``mu`` and ``logvar`` N×D of one model.

    A block of another size, in which nothing can be used, is begun anew.
    """
    dim = mu.shape[1]
    for block in np.unique(photo_ids // BLOCK).tolist():
        row = session.get(TemplateRow, (model_id, block))
        if row is None:
            row = TemplateRow(model_id=model_id, block=block)
            session.add(row)
        if not _is_blob(row.mu, 4 * BLOCK * dim) or not _is_whole(row):
            row.person_ids = bytes(8 * BLOCK)
            row.mu = row.logvar = bytes(4 * BLOCK * dim)
        new = np.flatnonzero(photo_ids // BLOCK == block)
        _fill(row, photo_ids[new] % BLOCK, person_ids[new], mu[new], logvar[new])


def erase_templates(session: Session, photo_ids: Ids) -> None:
    """Overwrite the templates of these photos, of all models; a block without any is deleted, and
    one that has a wrong size."""
    for row, slots in _rows_of(session, photo_ids):
        _fill(row, slots, 0, 0, 0)
        if not any(row.person_ids):
            session.delete(row)


def assign_templates(session: Session, photo_ids: Ids, person_id: int) -> None:
    """Give the templates of these photos, of all models, to a person."""
    for row, slots in _rows_of(session, photo_ids):
        people = np.frombuffer(row.person_ids, "<i8").copy()
        people[slots] = np.where(people[slots] > 0, person_id, 0)  # this model may lack some
        row.person_ids = people.tobytes()


def _rows_of(session: Session, photo_ids: Ids) -> Iterator[tuple[TemplateRow, Ids]]:
    """The blocks of these photos, of all models, with the slots. A block that cannot be read is
    deleted: nothing in it is used, and whose it is cannot be told."""
    for block in np.unique(photo_ids // BLOCK).tolist():
        slots = photo_ids[photo_ids // BLOCK == block] % BLOCK
        for row in session.scalars(select(TemplateRow).where(TemplateRow.block == block)):
            if _is_whole(row):
                yield row, slots
            else:
                session.delete(row)


def _is_whole(row: TemplateRow) -> bool:
    size = len(row.mu) if isinstance(row.mu, bytes) else 0
    return (
        size % (4 * BLOCK) == 0
        and _is_blob(row.person_ids, 8 * BLOCK)
        and _is_blob(row.mu, size)
        and _is_blob(row.logvar, size)
    )


def _fill(
    row: TemplateRow, slots: Ids, person_ids: Ids | int, mu: Floats | int, logvar: Floats | int
) -> None:
    people = np.frombuffer(row.person_ids, "<i8").copy()
    people[slots] = person_ids
    row.person_ids = people.tobytes()
    for column, values in (("mu", mu), ("logvar", logvar)):
        vectors = np.frombuffer(getattr(row, column), "<f4").reshape(BLOCK, -1).copy()
        vectors[slots] = values
        setattr(row, column, vectors.tobytes())


def drop_other_models(session: Session, model_id: str) -> None:
    """Delete the templates of all models but this one."""
    session.execute(delete(TemplateRow).where(TemplateRow.model_id != model_id))
