"""The gallery's templates: the embeddings of all photos, in a table of their own.

A row is a block of ``BLOCK`` templates of one model. The template of a photo has a fixed place:
block ``photo_id // BLOCK``, slot ``photo_id % BLOCK``; a slot whose person id is 0 is empty. So
a million templates are 16,000 rows that lie apart from the crops: they are read in one to two
seconds, where a row each takes four to eleven.

In an encrypted database ``mu`` and ``logvar`` of each block are sealed (``storage.vault``).

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
from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from ..core.errors import GalleryCorrupt
from ..core.types import Floats
from ..storage.schema import TemplateRow
from ..storage.vault import OVERHEAD, vault_of
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
    whole = [_plain_size(size or 0) for size in sizes]
    found = Counter(size // (4 * BLOCK) for size in whole if size and size % (4 * BLOCK) == 0)
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
    # Plain SQL: no object is made of a row, and a value of another type is not converted.
    logvar_column = ", logvar" if columns == "both" else ""
    query = text(
        f"SELECT block, person_ids, mu{logvar_column} FROM templates "
        "WHERE model_id = :model AND block >= :first ORDER BY block"
    )
    rows = session.connection().execute(query, {"model": model_id or "", "first": first})
    sizes = (8 * BLOCK, *(4 * BLOCK * dim for _ in range(1 + bool(logvar_column))))
    photo_ids, person_ids = (np.empty(count * BLOCK, np.int64) for _ in range(2))
    # Memory is taken as it is written, so empty slots cost none.
    arrays = [np.empty((count * BLOCK, dim), np.float32) for _ in sizes[1:]]
    end = 0
    for block, *blobs in rows:
        for at, column in enumerate(("mu", "logvar")[: len(blobs) - 1], start=1):
            blobs[at] = _opened(session, blobs[at], model_id or "", block, column)
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
    return _of_photos(session, found if good.all() else take_rows(found, good), after)


def take_rows(templates: Templates, rows: NDArray[Any]) -> Templates:
    """Some of the templates, by a mask or by row numbers."""
    logvar = templates.logvar[rows] if len(templates.logvar) else templates.logvar
    return Templates(
        templates.photo_ids[rows], templates.person_ids[rows], templates.mu[rows], logvar
    )


def _is_blob(blob: object, size: int) -> bool:
    return isinstance(blob, bytes) and len(blob) == size > 0


def _of_photos(session: Session, templates: Templates, after: int) -> Templates:
    """The templates whose photo is there, and of the person whom they are of."""
    connection = session.connection()
    # Without a condition SQLite reads an index, and not the rows with the crops. A sum tells
    # whether they agree, without a list of a million.
    where = f"FROM photos WHERE id > {after}" if after >= 0 else "FROM photos"
    product = "CAST(id % 1000003 AS BIGINT) * (person_id % 1000003) % 1000003"
    found = connection.execute(text(f"SELECT count(*), sum({product}) {where}")).one()
    photos, people = templates.photo_ids, templates.person_ids
    products = (photos % 1000003) * (people % 1000003) % 1000003
    if (found[0], found[1] or 0) == (len(photos), int(products.sum())):
        return templates
    rows_now = connection.execute(text(f"SELECT id, person_id {where}"))
    owners: dict[int, int] = {row[0]: row[1] for row in rows_now}
    rows = [
        row
        for row, (photo, person) in enumerate(zip(photos.tolist(), people.tolist(), strict=True))
        if owners.get(photo) == person
    ]
    return take_rows(templates, np.array(rows, np.int64))


def read_some(session: Session, model_id: str | None, photo_ids: Ids) -> Templates:
    """The templates of these photos (ascending) that can be used, without ``logvar``.

    Reads only the blocks they are in.
    """
    dim = dimension(session, model_id) or 0
    found: list[tuple[int, int, Floats]] = []
    for block in np.unique(photo_ids // BLOCK).tolist():
        row = session.get(TemplateRow, (model_id or "", block))
        content = None if row is None else _BlockContent.read(session, row)
        if content is None or content.mu.shape[1] != dim:
            continue
        people, mu = content.people, content.mu
        slots = photo_ids[photo_ids // BLOCK == block] % BLOCK
        used = slots[(people[slots] > 0) & usable(mu[slots])]
        found += [(block * BLOCK + slot, int(people[slot]), mu[slot]) for slot in used.tolist()]
    return Templates(
        np.array([photo for photo, _, _ in found], np.int64),
        np.array([person for _, person, _ in found], np.int64),
        np.array([mu for *_, mu in found], np.float32).reshape(len(found), dim),
        np.zeros((0, dim), np.float32),
    )


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
        block_of = _BlockContent.read(session, row)
        if block_of is None or block_of.mu.shape[1] != dim:
            empty = np.zeros((BLOCK, dim), np.float32)
            block_of = _BlockContent(np.zeros(BLOCK, np.int64), empty, empty.copy())
        new = np.flatnonzero(photo_ids // BLOCK == block)
        slots = photo_ids[new] % BLOCK
        block_of.people[slots] = person_ids[new]
        block_of.mu[slots], block_of.logvar[slots] = mu[new], logvar[new]
        block_of.write(session, row)


def erase_templates(session: Session, photo_ids: Ids) -> None:
    """Overwrite the templates of these photos, of all models; a block without any is deleted, and
    one that has a wrong size."""
    for row, content, slots in _rows_of(session, photo_ids):
        content.people[slots] = 0
        content.mu[slots] = content.logvar[slots] = 0
        content.write(session, row)
        if not content.people.any():
            session.delete(row)


def assign_templates(session: Session, photo_ids: Ids, person_id: int) -> None:
    """Give the templates of these photos, of all models, to a person."""
    for row, content, slots in _rows_of(session, photo_ids):
        people = content.people
        people[slots] = np.where(people[slots] > 0, person_id, 0)  # this model may lack some
        row.person_ids = people.astype("<i8").tobytes()


def _rows_of(session: Session, photo_ids: Ids) -> Iterator[tuple[TemplateRow, _BlockContent, Ids]]:
    """The blocks of these photos, of all models, with the slots. A block that cannot be read is
    deleted: nothing in it is used, and whose it is cannot be told."""
    for block in np.unique(photo_ids // BLOCK).tolist():
        slots = photo_ids[photo_ids // BLOCK == block] % BLOCK
        for row in session.scalars(select(TemplateRow).where(TemplateRow.block == block)):
            content = _BlockContent.read(session, row)
            if content is None:
                session.delete(row)
            else:
                yield row, content, slots


@dataclass(frozen=True, slots=True, eq=False)
class _BlockContent:
    """The templates of a row of ``TemplateRow``: people BLOCK, ``mu`` and ``logvar`` BLOCK×D."""

    people: Ids
    mu: Floats
    logvar: Floats

    @classmethod
    def read(cls, session: Session, row: TemplateRow) -> _BlockContent | None:
        """None where the row is new or cannot be read."""
        mu, logvar = (
            _opened(session, getattr(row, column), row.model_id, row.block, column)
            for column in ("mu", "logvar")
        )
        size = len(mu) if isinstance(mu, bytes) else 0
        whole = size % (4 * BLOCK) == 0 and _is_blob(mu, size) and _is_blob(logvar, size)
        if not whole or not _is_blob(row.person_ids, 8 * BLOCK):
            return None
        return cls(
            np.frombuffer(row.person_ids, "<i8").copy(),
            *(np.frombuffer(blob, "<f4").reshape(BLOCK, -1).copy() for blob in (mu, logvar)),
        )

    def write(self, session: Session, row: TemplateRow) -> None:
        seal = vault_of(session).seal
        row.person_ids = self.people.astype("<i8").tobytes()
        for column, values in (("mu", self.mu), ("logvar", self.logvar)):
            data = values.astype("<f4").tobytes()
            setattr(row, column, seal(data, *place_of(row.model_id, row.block, column)))


def place_of(model_id: str, block: int, column: str) -> tuple[object, ...]:
    """What a column of a row of ``TemplateRow`` is sealed with."""
    return ("templates", block, model_id, column)


def _opened(session: Session, blob: Any, model_id: str, block: int, column: str) -> Any:
    """What was sealed; None where it is damaged."""
    if not isinstance(blob, bytes):
        return None
    try:
        place = place_of(model_id, block, column)
        return vault_of(session).open(session.connection(), blob, *place)
    except GalleryCorrupt:
        return None


def _plain_size(size: int) -> int:
    """How long the content of a column is that has this length, sealed or not."""
    return size - OVERHEAD if size % (4 * BLOCK) == OVERHEAD else size


def drop_other_models(session: Session, model_id: str) -> None:
    """Delete the templates of all models but this one."""
    session.execute(delete(TemplateRow).where(TemplateRow.model_id != model_id))
