"""The calibration of a database: read, stored and removed, with the strangers it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import numpy as np
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import Connection, select

from ..core.errors import GalleryCorrupt
from ..core.types import Floats
from ..identity.calibrated import CalibratedRules, StoredCalibration
from ..storage.schema import CohortMemberRow, MetaRow, SightingTemplateRow
from ..storage.sealed import opened_means

_KEY: Final = "calibration"


def read_calibration(connection: Connection) -> CalibratedRules | None:
    """The calibration in force; None: there is none.

    Raises:
        GalleryCorrupt: what is stored cannot be read.
    """
    text = connection.execute(select(MetaRow.value).where(MetaRow.key == _KEY)).scalar()
    if text is None:
        return None
    try:
        stored = StoredCalibration.model_validate_json(text)
    except ValidationError as error:
        raise GalleryCorrupt(
            "the calibration that is stored with the gallery cannot be read "
            f"({error.error_count()} mistakes); 'facestream calibrate --reset' removes it"
        ) from error
    return CalibratedRules(stored, _strangers(connection) if stored.own_cohort else None)


def write_calibration(
    connection: Connection, stored: StoredCalibration, members: Sequence[int] = ()
) -> None:
    """Replace the calibration.

    Args:
        stored: see the class.
        members: rows of the sightings whose embeddings are the own cohort. Only their ids are
            stored: a sighting that is erased leaves the cohort, too.
    """
    clear_calibration(connection)
    connection.execute(sa.insert(MetaRow).values(key=_KEY, value=stored.model_dump_json()))
    if members:
        connection.execute(
            sa.insert(CohortMemberRow), [{"sighting_id": member} for member in members]
        )


def clear_calibration(connection: Connection) -> bool:
    """Remove the calibration, so that the cards' thresholds hold; False: there was none."""
    connection.execute(sa.delete(CohortMemberRow))
    gone = connection.execute(sa.delete(MetaRow).where(MetaRow.key == _KEY))
    return bool(gone.rowcount)


def forget_in_calibration(connection: Connection, people: Collection[int]) -> None:
    """Take people who are removed, and their names, out of the calibration."""

    def without(stored: StoredCalibration) -> StoredCalibration:
        ceilings = {one: need for one, need in stored.ceilings.items() if one not in people}
        alike = [
            one
            for one in stored.report.get("lookalikes", ())
            if not {one.get("person_id"), one.get("resembles_id")} & set(people)
        ]
        report = {**stored.report, "lookalikes": alike}
        return stored.model_copy(update={"ceilings": ceilings, "report": report})

    _change(connection, without)


def share_ceiling(connection: Connection, old: int, new: int) -> None:
    """Photos of one person are another one's now, whose name needs as much from now on."""

    def shared(stored: StoredCalibration) -> StoredCalibration:
        if old not in stored.ceilings:
            return stored
        need = max(stored.ceilings[old], stored.ceilings.get(new, -1.0))
        return stored.model_copy(update={"ceilings": {**stored.ceilings, new: need}})

    _change(connection, shared)


def _change(
    connection: Connection, change: Callable[[StoredCalibration], StoredCalibration]
) -> None:
    row = select(MetaRow.value).where(MetaRow.key == _KEY)
    text = connection.execute(row).scalar()
    if text is None:
        return
    try:
        changed = change(StoredCalibration.model_validate_json(text)).model_dump_json()
    except ValidationError:  # it is of no use, and may name anybody
        clear_calibration(connection)
        return
    if changed != text:
        connection.execute(sa.update(MetaRow).where(MetaRow.key == _KEY).values(value=changed))


def _strangers(connection: Connection) -> Floats:
    rows = connection.execute(
        select(SightingTemplateRow.__table__)
        .join(CohortMemberRow, CohortMemberRow.sighting_id == SightingTemplateRow.sighting_id)
        .order_by(SightingTemplateRow.sighting_id)
    ).all()
    if not rows:
        return np.zeros((0, 1), np.float32)
    return opened_means(connection, rows)
