"""Databases of earlier versions, with rows in them, are brought up to date where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from facestream.pipeline.core.location import locate
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.storage.database import REVISIONS, alembic_config, backend_of, writing
from facestream.pipeline.storage.schema import Base

from tests.pipeline.sightings.people import face

NOW = "2026-01-02T03:04:05.000000+00:00"
PEOPLE = 3


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database without tables."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if request.param == "sqlite":
        return str(tmp_path / "old.db")
    url: str = request.getfixturevalue("postgresql").new_database()
    return url


def rows_of(revision: str) -> dict[str, list[dict[str, object]]]:
    """What a database of that version holds."""
    box = np.arange(4, dtype="<f4").tobytes()
    people: list[dict[str, object]]
    people = [{"id": n, "name": f"P{n}", "name_key": f"p{n}", "created_at": NOW} for n in (1, 2, 3)]
    rows: dict[str, list[dict[str, object]]] = {"people": people}
    if revision < "0004":
        return rows
    rows["runs"] = [{"id": "r", "host": "h", "process": "1", "started_at": NOW, "alive_at": NOW}]
    rows["sightings"] = [
        {
            "id": n, "uid": f"{n:032x}", "run_id": "r", "source": "Tür", "track_id": n,
            "state": "closed", "seen_at": NOW, "start_pts": 0.0, "end_pts": 1.0, "box": box,
            "faces": 3, "looks": 1, "person_id": n % 3 + 1 if n % 2 else None,
            "verdict": "known" if n % 2 else "unsure", "similarity": 0.5, "probability": 0.5,
            "flat": bool(n % 2), "model_id": "m",
        }
        for n in range(1, 41)
    ]  # fmt: skip
    half = np.asarray(face(1, seed=1), "<f2").tobytes()
    rows["sighting_templates"] = [
        {"id": n, "sighting_id": n, "model_id": "m", "mu": half, "logvar": half}
        for n in range(1, 41)
    ]
    return rows


def make(place: str, revision: str) -> None:
    """A database of that version."""
    from alembic import command

    backend = backend_of(locate(place))
    backend.prepare("if_missing")
    engine = backend.engine()
    with writing(engine) as connection:
        with backend.upgrading(connection):
            command.upgrade(alembic_config(connection), revision)
        for name, rows in rows_of(revision).items():
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            connection.execute(sa.insert(table), rows)
    engine.dispose()


@pytest.mark.parametrize("revision", ["0003", "0004"])
def test_rows_of_earlier_versions_are_taken_over(place: str, revision: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    make(place, revision)
    with Sightings(place) as sightings:
        with sightings.reading() as connection:
            version = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
            assert version.scalars().all() == [REVISIONS[-1]]
            context = MigrationContext.configure(connection, opts={"compare_type": False})
            assert compare_metadata(context, Base.metadata) == []
            names = sa.select(Base.metadata.tables["people"].c.name)
            assert connection.execute(names).scalars().all() == ["P1", "P2", "P3"]
        if revision == "0004":
            page = sightings.page().sightings
            assert [int(one.id, 16) for one in page] == list(range(40, 0, -1))
            assert {(one.source, one.fixed, one.ignored) for one in page} == {("Tür", False, False)}
            assert (page[1].name, page[0].name) == ("P1", "unknown")
            found = sightings.template(page[0].id)
            assert found is not None
            assert np.abs(found - face(1, seed=1)).max() < 1e-2


def test_texts_are_in_the_order_of_bytes_on_a_server(
    place: str, request: pytest.FixtureRequest
) -> None:
    """Also in columns that were added later: ranges of keys and times need that."""
    if not place.startswith("postgresql"):
        pytest.skip("SQLite compares bytes")
    make(place, "0003")
    with Sightings(place) as sightings, sightings.reading() as connection:
        query = (
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = "
            "'public' AND data_type IN ('text', 'character varying') AND collation_name IS "
            "DISTINCT FROM 'C' AND table_name <> 'alembic_version'"
        )
        assert connection.execute(sa.text(query)).all() == []
