"""From what is requested to the sinks of a run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.errors import OutputError
from facestream.pipeline.sinks.fan_out import FanOut
from facestream.pipeline.sinks.outputs import OutputRequest, open_outputs
from facestream.pipeline.sinks.registry import SINKS
from facestream.pipeline.sources import SourceSpec

from tests.pipeline.tracks import picture, read_video, result


def videos(*paths: Path) -> list[SourceSpec]:
    return [SourceSpec("video", str(path), str(path)) for path in paths]


def test_the_video_of_one_source_never_replaces_another_source(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "out-a.mp4"
    for path in (first, second):
        path.write_bytes(b"a source of this run")
    request = OutputRequest(annotate=tmp_path / "out.mp4")
    outputs = open_outputs(request, Settings(), videos(first, second))
    with FanOut(outputs.sinks) as sinks:
        for source in (first, second):
            sinks.write(result(picture(), source=str(source)))
    assert second.read_bytes() == b"a source of this run"
    assert [path.name for path in outputs.files] == ["out-a-2.mp4", "out-out-a.mp4"]
    assert [len(read_video(path)[0]) for path in outputs.files] == [1, 1]


def test_two_outputs_cannot_be_one_file(tmp_path: Path) -> None:
    request = OutputRequest(events=str(tmp_path / "x"), report=tmp_path / "." / "x")
    with pytest.raises(OutputError, match="two outputs of this run are"):
        open_outputs(request, Settings(), videos(tmp_path / "a.mp4"))
    nowhere = OutputRequest(events="/dev/null", report=Path("/dev/null"))
    with FanOut(open_outputs(nowhere, Settings(), videos(tmp_path / "a.mp4")).sinks):
        pass


def test_what_was_opened_is_closed_when_a_later_output_cannot_be(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    closed: list[str] = []

    class Noted(FanOut):
        def close(self) -> None:
            closed.append("noted")

    SINKS.register("noted", lambda address, options: Noted())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        request = OutputRequest(out=tmp_path, others=["noted:"], restream=f":{port}")
        with pytest.raises(OutputError, match="cannot serve pictures at"):
            open_outputs(request, Settings(), videos(tmp_path / "a.mp4"))
    assert closed == ["noted"]
