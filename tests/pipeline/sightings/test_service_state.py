"""What the service keeps is sealed with the database."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from facestream.pipeline.core.user_key import ENVIRONMENT
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.encryption import Encryption
from facestream.pipeline.storage.service_state import ServiceStateRow, read_state, write_state
from sqlalchemy import select


def test_logins_of_cameras_are_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = {"url": "rtsp://me:tr0ub4dor@10.0.0.5/"}
    with Sightings(tmp_path / "house.db", create="if_missing") as store:
        with store.writing() as connection:
            write_state(connection, "camera/door", door)
        monkeypatch.setenv(ENVIRONMENT, base64.b64encode(bytes(32)).decode())
        Encryption(store).enable()
        with store.writing() as connection:
            write_state(connection, "camera/hall", door)
        with store.reading() as connection:
            assert read_state(connection, "camera/") == {"camera/door": door, "camera/hall": door}
            stored = connection.scalars(select(ServiceStateRow.content)).all()
            assert not any(b"tr0ub4dor" in content for content in stored)
        with store.writing() as connection:
            write_state(connection, "camera/door", None)
        with store.reading() as connection:
            assert set(read_state(connection, "camera/")) == {"camera/hall"}
