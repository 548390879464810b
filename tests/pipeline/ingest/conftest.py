"""What all tests of live sources see to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest
from facestream.pipeline.core.config import RuntimeSettings
from facestream.pipeline.ingest.decoders import SourceOpening
from facestream.pipeline.metrics.store import Metrics

from tests.media import make_clip
from tests.pipeline.ingest.loopback import reading_threads


@pytest.fixture(autouse=True)
def nothing_left(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert "hush" not in caplog.text
    assert "hush" not in "".join(capfd.readouterr())  # FFmpeg writes there, if anything
    assert "hush" not in " ".join(thread.name for thread in threading.enumerate())
    deadline = time.monotonic() + 5  # FFmpeg's own time-outs
    while reading_threads() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert reading_threads() == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three seconds of a transport stream."""
    return make_clip(tmp_path_factory.mktemp("live") / "clip.ts", frames=75, fps=25).read_bytes()


@pytest.fixture(params=["thread", "process"])
def opener(request: pytest.FixtureRequest) -> SourceOpening:
    """Opens sources in this process, and in processes of their own."""
    runtime = RuntimeSettings.model_validate({"isolation": request.param})
    return SourceOpening(runtime, Metrics())
