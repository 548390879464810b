"""Decoders that crash, hang or grow, beside sources that go on."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.config import RuntimeSettings
from facestream.pipeline.core.types import Frame, LazyFrame
from facestream.pipeline.ingest.decoders import SourceOpening
from facestream.pipeline.ingest.file_reader import Reader
from facestream.pipeline.metrics.families import DECODERS_LOST
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.source_queue import SourceQueue
from facestream.pipeline.sources import SourceOptions, SourceSpec, expand_sources
from facestream.pipeline.sources.process.source import ProcessSource

from tests.decoders import decoders, ended
from tests.media import make_clip
from tests.pipeline.ingest.loopback import STREAM, Connection, Server, Watched, watching
from tests.waiting import wait_until


def test_lost_decoders_cost_their_source_alone(clip: bytes) -> None:
    """It is opened again after a crash and a hang, and the other one loses nothing."""

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        connection.stream(clip, seconds=18.0)

    metrics = Metrics()
    opener = SourceOpening(RuntimeSettings(isolation="process"), metrics)
    with Server(serve) as bad, Server(serve) as good, watching(good.url(), opener=opener) as kept:
        kept.until_state("live")
        (good_process,) = decoders()
        processes = []
        with watching(bad.url("bad.ts"), opener=opener) as lost:
            for restarts, number in enumerate((signal.SIGSEGV, signal.SIGSTOP)):
                lost.until(partial(_restarted, lost, restarts))
                (process,) = set(decoders()) - {good_process}
                os.kill(process, number)
                processes.append(process)
            lost.until(partial(_restarted, lost, 2))
        assert kept.states == ["connecting", "live"]
    reasons = [event.reason for event in lost.events if event.state == "retrying"]
    assert reasons == ["its decoder crashed (SIGSEGV)", "no frame for 1.5 s"]
    assert metrics.value(DECODERS_LOST, source=lost.reader.state.name, cause="crash") == 1
    times = [frame.pts for frame in kept.frames]
    assert len(times) > 10
    assert np.diff(times) == pytest.approx(0.04, abs=0.001)  # each frame, one after another
    assert all(map(ended, processes))
    assert decoders() == []


def _restarted(watched: Watched, times: int) -> bool:
    return watched.reader.state.state == "live" and watched.reader.state.restarts == times


def test_a_file_whose_decoder_crashes_ends_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = [make_clip(tmp_path / name, frames=60) for name in ("a.mp4", "b.mp4")]
    queue: SourceQueue[Frame | LazyFrame] = SourceQueue()
    reader = Reader(
        *(expand_sources(clips), queue, Metrics()),
        buffer_frames=4,
        options=lambda _: SourceOptions(),
        opener=SourceOpening(RuntimeSettings(isolation="process"), Metrics()),
    )
    thread = threading.Thread(target=reader.run)
    thread.start()
    wait_until(lambda: reader.states[0].read > 0)
    os.kill(decoders()[0], signal.SIGABRT)
    frames: list[Frame | LazyFrame] = []
    while thread.is_alive() or queue.depth:
        if queue.depth:
            frames += queue.get_batch(8, 0.0)
    line = f"{clips[0]}: its decoder crashed (SIGABRT)"
    assert reader.states[0].problems == [line]
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [line]
    assert sum(frame.source == str(clips[1]) for frame in frames) == 60
    assert [state.complete for state in reader.states] == [True, True]


@pytest.mark.parametrize(
    ("isolation", "isolated"),
    [("auto", {"url", "camera"}), ("thread", set()), ("process", {"url", "camera", "video"})],
)
def test_which_sources_have_a_process(isolation: str, isolated: set[str]) -> None:
    runtime = RuntimeSettings.model_validate({"isolation": isolation})
    opening = SourceOpening(runtime, Metrics())
    specs = [
        SourceSpec("url", "rtsp://10.0.0.1/", "url"),
        SourceSpec("camera", "/dev/video7", "camera"),
        SourceSpec("video", "a.mp4", "video"),
    ]
    assert {spec.name for spec in specs if opening.isolates(spec)} == isolated
    assert {spec.name for spec in specs if opening.start_within(spec) > 0} == isolated


def test_the_settings_limit_it(tmp_path: Path) -> None:
    runtime = RuntimeSettings(isolation="process", decoder_memory=333)
    spec = expand_sources([make_clip(tmp_path / "a.mp4")])[0]
    with SourceOpening(runtime, Metrics())(spec, SourceOptions()) as source:
        assert isinstance(source, ProcessSource)
        limits = Path(f"/proc/{source.process_id}/limits").read_text()
    data = next(line for line in limits.splitlines() if line.startswith("Max data size"))
    assert data.split()[3] == str(333 << 20)
