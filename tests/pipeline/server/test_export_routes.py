"""Exports and the digest over HTTP."""

from __future__ import annotations

import pytest

from tests.pipeline.server.conftest import Served, publish


@pytest.mark.parametrize(
    ("path", "kind", "begins"),
    [
        ("exports/sightings?format=csv", "text/csv", b"id,source,"),
        ("exports/sightings?format=parquet", "application/vnd.apache.parquet", b"PAR1"),
        ("exports/presence?format=csv", "text/csv", b"name,"),
        ("exports/presence?format=ical", "text/calendar", b"BEGIN:VCALENDAR"),
        ("digest?day=2025-06-15", "text/html", b"<!doctype html>"),
        ("digest?day=2025-06-15&format=eml", "message/rfc822", b"Subject: Who was seen"),
    ],
)
def test_files_come_as_attachments(
    keyed_server: Served, path: str, kind: str, begins: bytes
) -> None:
    with keyed_server.client("viewer") as client:
        asked = client.get(f"/api/v1/{path}")
    assert asked.status_code == 200
    assert asked.headers["content-type"].startswith(kind)
    assert asked.headers["content-disposition"].startswith("attachment; filename=")
    assert asked.content.startswith(begins)


def test_a_key_for_one_camera_exports_no_other(keyed_server: Served) -> None:
    publish(keyed_server), publish(keyed_server, source="hall")
    with keyed_server.client("door") as client:
        for query in ("", "?camera=hall", "?camera=hall&camera=door"):
            assert "hall" not in client.get(f"/api/v1/exports/sightings{query}").text
        assert "hall" not in client.get("/api/v1/digest?day=2025-06-15").text


def test_exports_that_cannot_be(keyed_server: Served) -> None:
    with keyed_server.client("viewer") as client:
        for path in ("exports/sightings?format=ical", "exports/people", "digest?day=0001-01-01"):
            asked = client.get(f"/api/v1/{path}")
            assert asked.status_code == 422
            assert asked.headers["content-type"] == "application/problem+json"
