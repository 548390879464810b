"""What several tests of sources need."""

from __future__ import annotations

import pytest

from tests.servers.recorder import Certificates, make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))
