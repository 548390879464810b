"""An error in one source's frames is that source's own: the others' frames all come out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from facestream.engines.closing import Closing
from facestream.engines.errors import InferenceError
from facestream.pipeline import Event, Pipeline, Settings, Sink
from facestream.pipeline.cli.run import exit_status
from facestream.pipeline.core.config import LiveSettings
from facestream.pipeline.core.errors import Closed, FacestreamError, SourceError
from facestream.pipeline.core.events import SourceStateEvent
from facestream.pipeline.core.types import Frame, FrameResult, Image, LazyFrame
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.ingest.file_reader import SourceState
from facestream.pipeline.ingest.isolation import PARK_AFTER, SourceIsolation
from facestream.pipeline.ingest.live_reader import LiveReader
from facestream.pipeline.metrics.families import FRAMES_DROPPED, SOURCE_ERRORS
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.source_queue import SourceQueue
from facestream.pipeline.sources import SourceInfo, SourceOptions, SourceSpec
from facestream.pipeline.sources.convert import Converter
from facestream.pipeline.sources.decode import DecodedPicture
from facestream.pipeline.sources.stream import StreamSource
from facestream.pipeline.stages.detect import frame_result
from facestream.pipeline.tracking.cuts import CutDetector

from tests.faces import face_clip
from tests.waiting import wait_until

FRAMES = 24
SIZES = {"hall": (320, 240), "torn": (320, 248), "odd": (320, 256), "lost": (320, 264)}


class Planted(Exception):
    """The error that a test planted."""


class Collector(Sink):
    """Remembers the frames, the states and the ends of each source."""

    def __init__(self) -> None:
        self.frames: dict[str, list[int]] = {name: [] for name in SIZES}
        self.states: dict[str, list[SourceStateEvent]] = {name: [] for name in SIZES}
        self.ended: list[str] = []

    def write(self, result: FrameResult) -> None:
        self.frames[result.frame.source].append(result.frame.index)

    def event(self, event: Event) -> None:
        if isinstance(event, SourceStateEvent):
            self.states[event.source].append(event)

    def source_ended(self, source: str) -> None:
        self.ended.append(source)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[str]:
    """Where a recorder serves the clips of its cameras: none of their frames is superseded."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder of "torn", the detector's input of "odd" and the tracker of "lost" raise."""
    decode, detect, track = StreamSource.__iter__, Mtcnn.detect_batch, CutDetector.__call__

    def broken_iter(self: StreamSource) -> Iterator[Frame]:
        if self.name == "torn":
            raise Planted("torn")
        return decode(self)

    def broken_detect(self: Mtcnn, images: list[Image], **more: Any) -> Any:
        if any(image.shape[0] == SIZES["odd"][1] for image in images):
            raise Planted("odd")
        return detect(self, images, **more)

    def broken_cut(self: CutDetector, image: Image) -> bool:
        if image.shape[0] == SIZES["lost"][1]:
            raise Planted("lost")
        return track(self, image)

    monkeypatch.setattr(StreamSource, "__iter__", broken_iter)
    monkeypatch.setattr(Mtcnn, "detect_batch", broken_detect)
    monkeypatch.setattr(CutDetector, "__call__", broken_cut)


def test_a_decoder_a_detector_input_and_a_tracker_that_raise_end_their_camera_only(
    tmp_path: Path, recorder: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("skimage")
    sources = []
    for name, size in SIZES.items():
        # Without a suffix it is live until it proves to be a file.
        face_clip(tmp_path / f"{name}.mkv", frames=FRAMES, size=size).rename(tmp_path / name)
        sources.append(SourceSpec("url", f"{recorder}/{name}", name))
    plant(monkeypatch)
    sink = Collector()
    caplog.set_level(logging.DEBUG, logger="facestream")
    # What is planted in the decoder is planted in this process.
    settings = Settings().with_values({"runtime.isolation": "thread"})
    with Pipeline(sources, settings=settings, sinks=[sink]) as pipeline:
        report = pipeline.run()
        errors = pipeline.metrics.values(SOURCE_ERRORS)
    assert sink.frames == {"hall": list(range(FRAMES)), "torn": [], "odd": [], "lost": []}
    assert errors == {
        ("torn", "decode"): 1,  # a file cannot be continued
        ("odd", "detect"): PARK_AFTER,
        ("lost", "recognise"): PARK_AFTER,
    }
    torn = sink.states["torn"][-1]
    assert (torn.state, torn.reason) == ("ended", "Planted: torn")
    assert "torn: Planted: torn" in report.problems
    for source, part in (("odd", "detect"), ("lost", "recognise")):
        last = sink.states[source][-1]
        reason = f"given up after 5 errors in a row in {part}, the last: Planted: {source}"
        assert (last.state, last.reason) == ("failed", reason)
        assert f"{source}: {reason}" in report.problems
    assert sink.states["hall"][-1].state == "ended"
    assert len(report.problems) == 3
    assert set(sink.ended) == set(SIZES)
    assert exit_status(report) == 3
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    warned = [line for line in said if "error in" in line]
    assert sorted(line.split(":")[0] for line in warned) == ["lost", "odd", "torn"]
    traces = [r for r in caplog.records if "Traceback" in r.getMessage()]
    assert {r.levelname for r in traces} == {"DEBUG"}
    assert all("Planted" in r.getMessage() for r in traces)


def test_a_file_that_fails_is_given_up_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skimage")
    clips = {
        name: face_clip(tmp_path / f"{name}.mp4", frames=FRAMES, size=SIZES[name])
        for name in ("odd", "lost", "hall")
    }
    plant(monkeypatch)
    with Pipeline(list(clips.values())) as pipeline:
        frames = [(result.frame.source, result.frame.index) for result in pipeline]
        report = pipeline.report()
    assert frames == [(str(clips["hall"]), index) for index in range(FRAMES)]
    assert [line.split(":")[0] for line in report.problems] == [
        str(clips["odd"]),
        str(clips["lost"]),
    ]
    assert exit_status(report) == 3
    assert report.dropped["failed"] >= 2 * PARK_AFTER


class Camera(Closing):
    """Gives pictures until it is stopped; ``broken`` cannot convert them, ``torn`` not decode."""

    live, bursts, whole = True, False, False
    info = SourceInfo(64, 48, 25.0, None, None, "arrival")
    corrupt, decoded, skipped = 0, 0, 0

    def __init__(self, spec: SourceSpec, options: SourceOptions) -> None:
        self.name = spec.name
        self.problems: list[str] = []
        self._halt = options.halt or threading.Event()

    def pictures(self) -> Iterator[DecodedPicture]:
        if self.name == "torn":
            raise Planted("no such packet")
        converter = _Broken() if self.name == "broken" else Converter(1.0)
        image = np.zeros((48, 64, 3), np.uint8)
        while not self._halt.wait(0.005):
            yield DecodedPicture(VideoFrame.from_ndarray(image, format="bgr24"), None, converter)

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def stop(self) -> None:
        """Its event is set."""

    def close(self) -> None:
        """Nothing to free."""


class _Broken(Converter):
    def __init__(self) -> None:
        super().__init__(1.0)

    def convert(self, frame: VideoFrame) -> Image | None:
        raise Planted("no such format")


def test_live_sources_that_cannot_be_decoded_or_converted_have_failed() -> None:
    queue, metrics = SourceQueue[Any](), Metrics()
    isolation = SourceIsolation(metrics, fatal=())
    events: list[SourceStateEvent] = []
    readers = {
        name: LiveReader(
            *(SourceSpec("url", f"test://{name}", name), queue, metrics),
            options=SourceOptions(),
            live=LiveSettings(retry_first=0.01, retry_longest=0.02),
            on_state=events.append,
            opener=Camera,
            isolation=isolation,
        )
        for name in ("broken", "torn", "good")
    }
    states = {name: reader.state for name, reader in readers.items()}
    isolation.watch(states.values())
    taken: list[str] = []

    def take() -> None:
        while True:
            try:
                items = queue.get_batch(4, 0.0)
            except Closed:
                return
            for item in items:
                result = frame_result(item, isolation)
                if result is not None:
                    states[item.source].processed += 1
                    taken.append(item.source)

    threads = [threading.Thread(target=run) for run in (take, *(r.run for r in readers.values()))]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: states["broken"].done and states["torn"].done)
        before = len(taken)
        wait_until(lambda: len(taken) > before + 5)
    finally:
        readers["good"].stop()
        threads[3].join(10)
        queue.close()
        for thread in threads:
            thread.join(10)
    assert set(taken) == {"good"}
    last = {event.source: event for event in events}
    assert {name: event.state for name, event in last.items()} == {
        "broken": "failed",
        "torn": "failed",
        "good": "ended",
    }
    assert "in convert, the last: Planted: no such format" in str(last["broken"].reason)
    assert "5 errors in a row in decode, the last: Planted: no such packet" in str(
        last["torn"].reason
    )
    assert states["broken"].lost >= PARK_AFTER
    assert states["broken"].finished
    assert metrics.value(SOURCE_ERRORS, source="broken", part="convert") == PARK_AFTER
    assert metrics.value(FRAMES_DROPPED, source="broken", cause="corrupt") == states["broken"].lost


def test_a_picture_that_raises_a_source_error_costs_its_frame_only() -> None:
    """Errors of the pipeline's own types end the run, that of a source does not."""

    def image() -> Image:
        raise SourceError("door: no such format at rtsp://bob:hush@door/x")

    metrics = Metrics()
    isolation = SourceIsolation(metrics, fatal=(FacestreamError,))
    item = LazyFrame("door", 0, 0.0, 0.0, 0.0, image)
    state = SourceState("door")
    isolation.watch([state])
    for _ in range(PARK_AFTER):
        assert frame_result(item, isolation) is None
    assert metrics.value(SOURCE_ERRORS, source="door", part="convert") == PARK_AFTER
    assert "no such format at rtsp://door" in str(state.failure)


def test_errors_with_good_frames_between_them_do_not_park() -> None:
    state = SourceState("door")
    isolation = SourceIsolation(fatal=())
    isolation.watch([state])
    for _ in range(3 * PARK_AFTER):
        isolation.failed("door", "detect", Planted("now and then"))
        isolation.failed("door", "convert", Planted("another part"))
        isolation.succeeded("door", "convert")
        if state.failure is None:
            isolation.succeeded("door", "detect")
    assert state.failure is None
    failures: list[str | None] = []
    for _ in range(PARK_AFTER):
        isolation.failed("door", "detect", Planted("always"))
        failures.append(state.failure)
    assert [failure is None for failure in failures] == [True] * (PARK_AFTER - 1) + [False]
    assert isolation.call("door", "detect", lambda: 1) is None


def test_what_serves_all_sources_ends_the_run() -> None:
    isolation = SourceIsolation(fatal=(InferenceError,))

    def engine(*_: object) -> list[str]:
        raise InferenceError("no device")

    with pytest.raises(InferenceError):
        isolation.call("door", "detect", engine)
    with pytest.raises(InferenceError):
        isolation.call_each("detect", engine, ["a", "b"], source=str)
    with pytest.raises(KeyboardInterrupt):
        isolation.failed("door", "decode", KeyboardInterrupt())
    with pytest.raises(Planted):
        SourceIsolation().failed("door", "decode", Planted("nobody isolates"))


def test_the_guilty_item_of_a_batch_is_found() -> None:
    metrics = Metrics()
    isolation = SourceIsolation(metrics, fatal=())
    calls: list[list[str]] = []

    def double(items: Any) -> list[str]:
        calls.append(list(items))
        if "bad" in items:
            raise Planted("bad")
        return [2 * item for item in items]

    assert isolation.call_each("detect", double, ["a", "b"], source=str) == ["aa", "bb"]
    assert isolation.call_each("detect", double, ["a", "bad", "b"], source=str) == [
        "aa",
        None,
        "bb",
    ]
    assert calls == [["a", "b"], ["a", "bad", "b"], ["a"], ["bad"], ["b"]]
    assert metrics.values(SOURCE_ERRORS) == {("bad", "detect"): 1}
    assert isolation.call_each("detect", double, [], source=str) == []
