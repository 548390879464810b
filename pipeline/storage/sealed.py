"""Fused embeddings of sightings as they are stored: sealed in an encrypted database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection, select

from ..core.types import Floats
from .schema import ForgottenRow
from .vault import vault_of


def stored_floats(data: bytes) -> Floats:
    """The float32 numbers of a column of ``SightingTemplateRow`` that is not sealed."""
    return np.frombuffer(data, "<f2").astype(np.float32)


def opened_floats(
    connection: Connection, row: Any, column: Literal["mu", "logvar"] = "mu"
) -> Floats:
    """The embedding of a row of ``SightingTemplateRow`` (its id, sighting, model and column).

    Raises:
        GalleryError: it was changed, or the key is missing.
    """
    place = place_of(row.sighting_id, row.model_id, column)
    return stored_floats(vault_of(connection).open(connection, getattr(row, column), *place))


def opened_means(connection: Connection, rows: Sequence[Any]) -> Floats:
    """The ``mu`` of at least one row of ``SightingTemplateRow`` (see `opened_floats`), M×D."""
    vault = vault_of(connection)
    opened = (
        vault.open(connection, row.mu, *place_of(row.sighting_id, row.model_id, "mu"))
        for row in rows
    )
    return stored_floats(b"".join(opened)).reshape(len(rows), -1)


def place_of(sighting_id: int, model_id: str, column: str) -> tuple[object, ...]:
    """What a column of a row of ``SightingTemplateRow`` is sealed with."""
    return ("sighting_templates", sighting_id, model_id, column)


def sealed(connection: Connection, sighting_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row of ``SightingTemplateRow`` as they are stored."""
    seal = vault_of(connection).seal
    columns = {
        column: seal(values[column], *place_of(sighting_id, values["model_id"], column))
        for column in ("mu", "logvar")
    }
    return {"sighting_id": sighting_id, **values, **columns}


def forgotten(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Ids of those sightings that were erased while they were open, or whose person was."""
    keys = {f"sighting/{row['uid']}": row["uid"] for row in rows}
    people = {row["uid"]: f"person/{row.get('person_id')}" for row in rows}
    wanted = [*keys, *set(people.values())]
    found = set(connection.scalars(select(ForgottenRow.key).where(ForgottenRow.key.in_(wanted))))
    return {uid for key, uid in keys.items() if key in found or people[uid] in found}
