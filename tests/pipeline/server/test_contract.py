"""The OpenAPI document, and what schemathesis makes of it as each role."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from facestream.pipeline.access.roles import ROLES
from facestream.pipeline.server.app import create_routes
from hypothesis import HealthCheck, Phase, given, settings

from tests.pipeline.server.conftest import Served

schemathesis = pytest.importorskip("schemathesis")

LEFT_OUT = ("/events", "/live", "/session", "/readyz")  # streams, and the session under test


def check_all(served: Served, who: str, *, examples: int) -> None:
    """Send made-up requests to every route: no 5xx, nothing that the document does not say."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    document = schemathesis.openapi.from_dict(create_routes().openapi())
    document.config.base_url = served.url
    headers = {"Authorization": f"Bearer {served.keys[who]}"}
    for found in document.get_all_operations():
        operation: Any = found.ok()
        if operation.path.endswith(LEFT_OUT):
            continue

        def run(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=checks)

        limits = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        limits(given(case=operation.as_strategy())(run))()


def test_the_document_names_the_contract() -> None:
    document = create_routes().openapi()
    paths = document["paths"]
    for method, path in (
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
        ("post", "/api/v1/people"),
        ("post", "/api/v1/people/{person_id}/photos"),
        ("post", "/api/v1/recognise"),
        ("post", "/api/v1/search"),
        ("get", "/api/v1/sightings"),
    ):
        operation = paths[path][method]
        assert operation["summary"]
        assert "application/problem+json" in operation["responses"]["4XX"]["content"]
    face = document["components"]["schemas"]["RecognisedFace"]["properties"]
    wanted = "box landmarks score name person_id similarity uncertainty verdict reason"
    assert set(wanted.split()) <= set(face)
    assert all(one.get("examples") or one.get("description") for one in face.values())


def test_made_up_requests(keyed_server: Served) -> None:
    """Who may do all; of the other roles each route is tested in ``test_access_routes``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_all(keyed_server, "admin", examples=1)


@pytest.mark.soak
@pytest.mark.parametrize("who", ROLES)
def test_many_made_up_requests(keyed_server: Served, who: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_all(keyed_server, who, examples=300)
